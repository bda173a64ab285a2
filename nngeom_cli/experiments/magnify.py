"""Whether magnification by design, a penalty on volume, changes test accuracy or robustness."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.lines import Line2D

from nngeom_cli.analysis.bootstrap import estimate
from nngeom_cli.analysis.data import data_statistics
from nngeom_cli.analysis.paired import detectable_difference, sign_flip_p
from nngeom_cli.analysis.relation import detectable_correlation, grouped_rank_correlation, holm, permutation_p
from nngeom_cli.experiments.panels import DOT, panels
from nngeom_cli.experiments.table import means, networks_in_words, row, row_of
from nngeom_cli.figures.canvas import Sheet
from nngeom_cli.figures.style import CLASS_COLOURS, LINE, SMALL_FONT_SIZE, TEXT_WIDTH, wrapped
from nngeom_cli.store.measured import check_measured
from nngeom_cli.store.run import Run
from nngeom_cli.system.progress import Progress

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["COLUMNS", "draw", "networks_at_examples", "statistics"]

OUTCOMES = {"test_accuracy": "test accuracy", "robust_distance": "robust distance (input units)"}
VOLUMES = {"log_volume_near": "log V near the boundary (nats)", "log_volume": "log V at test examples (nats)"}
CHECKS = (*VOLUMES, "accuracy", "adversarial_distance")  # differences without a test: what the penalty did
AT_POINTS = {
    "first_order_robustness": "|m| / |∇m|",
    "largest_eigenvalue_robustness": "largest\neigenvalue",
    "effective_volume_robustness": "log V",
}
SCOPES = {"within settings": True, "between settings": False}
WHOSE = {  # of rank correlations at points: colour and words
    "": (CLASS_COLOURS[2], "trained"),
    "initial_": ("0.75", "untrained"),
    "_other": (CLASS_COLOURS[9], "others' distances"),
}
COLOURS = {"boundary": CLASS_COLOURS[0], "everywhere": CLASS_COLOURS[3]}
LEVEL = 0.05
COLUMNS = (
    *("strength", "where", "activation", "data_seed", "seed", "loss", "accuracy", "test_accuracy"),
    *("log_volume", "log_volume_near", "adversarial_distance", "robust_distance"),
    *(f"{before}{name}{end}" for name in AT_POINTS for before, end in (("", ""), ("initial_", ""), ("", "_other"))),
)


def networks_at_examples(runs: Sequence[Run]) -> pd.DataFrame:
    """A row for each network of some runs of `probe=data probe.robustness=true`: its penalty, scores and distances.

    Columns: `COLUMNS`. `log_volume` is the mean over the examples, `log_volume_near` that with the weights of the
    penalty at the boundary; `robust_distance` the mean of the adversarial distance, 0 where the prediction is wrong.
    What ends with `_robustness` is a statistic of `data_statistics`, `_other` its control; `initial_` is before
    training. All are NaN for a network that diverged.
    """
    tables = []
    with Progress("run", len(runs)) as progress:
        for place, run in enumerate(runs):
            if "replicates" in run.info and run.first_and_last.indexes["epoch"].is_unique:
                tables.append(_networks_of(run))
            progress.update(place + 1)
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=COLUMNS)


def _networks_of(run: Run) -> pd.DataFrame:
    geometry, optimizer = run.first_and_last, run.config["optimizer"]
    check_measured(geometry, run.directory)
    geometry = geometry.isel(layer=[0])
    last = geometry.isel(epoch=-1, layer=0)
    volume = last.log_effective_volume_element.where(np.isfinite(last.log_effective_volume_element))
    weights = np.exp(-((last.first_order_distance / optimizer["volume_penalty_width"]) ** 2) / 2)
    right = last.predicted_class == last.true_class
    numbers: dict[str, xr.DataArray] = {
        "log_volume": volume.mean("point"),
        "log_volume_near": (weights * volume).sum("point") / weights.where(volume.notnull()).sum("point"),
        "adversarial_distance": last.adversarial_distance.mean("point"),
        "robust_distance": last.adversarial_distance.where(right, 0.0).mean("point", skipna=False),
    }
    found = data_statistics(geometry, boundaries=["final", "other"])
    for name in AT_POINTS:
        statistic = found[name].isel(layer=0) if "layer" in found[name].dims else found[name]
        final = statistic.sel(boundary="final")
        numbers |= {name: final.isel(epoch=-1), f"initial_{name}": final.isel(epoch=0)}
        numbers[f"{name}_other"] = statistic.sel(boundary="other").isel(epoch=-1)
    table = xr.Dataset({name: values.reset_coords(drop=True) for name, values in numbers.items()}).to_dataframe()
    scores = pd.DataFrame(run.replicates).set_index("replicate")
    for name in ("loss", "accuracy", "test_accuracy"):
        table[name] = scores[name].astype(float) if name in scores else np.nan
    table.loc[table.loss.isna()] = np.nan
    settings = {
        "strength": float(optimizer["volume_penalty"]),
        "where": optimizer["volume_penalty_where"],
        "activation": run.config["architecture"]["activation"],
        "data_seed": run.config.get("task", {}).get("data_seed"),
    }
    return table.rename_axis("seed").reset_index().assign(**settings)[list(COLUMNS)]


def statistics(table: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Paired differences from training without a penalty, relations over networks and at points, and means.

    Networks of one data set and setting are averaged, and pairs are data sets. `p` is by sign flips of differences and
    by permutations of correlations, `p_holm` that corrected for all of them; `detectable` is what would have been
    found with a probability of 80 %.
    """
    setting = ["where", "strength", "data_seed"]
    sets = table.groupby(setting)[[name for name in COLUMNS if name not in (*setting, "activation", "seed")]].mean()
    once = table[(table.strength != 0) | (table["where"] == "boundary")]  # without a penalty they are the same networks
    settings = _settings(table)
    correlations = [(name, outcome, scope) for name in VOLUMES for outcome in OUTCOMES for scope in SCOPES]
    tests, rows = len(settings) * len(OUTCOMES) + len(correlations), []
    for where, strength in settings:
        difference = sets.loc[where, strength] - sets.loc[where].xs(0.0, level="strength")
        for name in (*OUTCOMES, *CHECKS):
            values = difference[name].to_numpy(float)
            found = row(f"paired difference of {name}", _of(where, strength), _estimate(values, rng))
            if name in OUTCOMES:
                found |= {"p": sign_flip_p(values, rng), "detectable": detectable_difference(values, tests=tests)}
            rows.append(found)
    for name, outcome, scope in correlations:
        data = [once[each].to_numpy(float) for each in (name, outcome)]
        data += [once.groupby(["where", "strength"]).ngroup().to_numpy(), once.data_seed.to_numpy()]
        within = SCOPES[scope]
        found = row(
            f"rank correlation of {name} with {outcome}", scope, grouped_rank_correlation(*data, within=within, rng=rng)
        )
        found["p"] = permutation_p(*data, within=within, rng=rng)
        found["detectable"] = detectable_correlation(*data, within=within, tests=tests, rng=rng)
        rows.append(found)
    result = pd.DataFrame(
        rows, columns=["statistic", "of", "estimate", "low", "high", "p", "p_holm", "detectable", "n"]
    )
    result["p_holm"] = holm(result.p.to_numpy(float))
    averages = sets.reset_index()
    averages["of"] = [
        _of(where, strength) for where, strength in zip(averages["where"], averages.strength, strict=True)
    ]
    for name in AT_POINTS:
        averages[f"{name}_gain"] = averages[name] - averages[f"initial_{name}"]
        averages[f"{name}_over_other"] = averages[name] - averages[f"{name}_other"]
    columns = [name for name in averages if name not in (*setting, "of")]
    return pd.concat([result, means(averages, "of", columns, rng)], ignore_index=True)


def _settings(table: pd.DataFrame) -> list[tuple[str, float]]:
    """Places and strengths of penalties whose place has networks without one, too."""
    known = sorted({*zip(table["where"], table.strength, strict=True)}, key=str)
    controlled = {where for where, strength in known if strength == 0}
    return sorted((where, strength) for where, strength in known if strength != 0 and where in controlled)


def _of(where: str, strength: float) -> str:
    return f"{where} {strength:+g}" if strength else f"{where} 0"


def _estimate(values: Any, rng: np.random.Generator) -> Any:
    return estimate(xr.DataArray(values, dims="replicate"), rng)


def draw(table: pd.DataFrame, statistics: pd.DataFrame) -> Sheet:
    """Differences from training without a penalty, outcomes against volume, and rank correlations at points."""
    sets = table.dropna(subset="loss").data_seed.nunique()
    words = (
        f"{networks_in_words(table)} on {sets} data sets: trained on the loss + λ mean w log V of the hidden layer "
        "(λ < 0 magnifies), minus trained without, paired by data set (dots; bars: mean and 95 % interval; filled: "
        f"p < {LEVEL:g} after Holm's correction for all tests on this sheet; log V is untested). Robust distance: mean "
        "length of the smallest change found that makes a test example wrong, 0 where it is wrong already"
    )
    conclusion = wrapped(_conclusion(statistics), TEXT_WIDTH - 0.1, SMALL_FONT_SIZE)
    lines = conclusion.count("\n") + 1
    sheet, grid = panels(words, 6, rows=2, lines=1, keys=lines + 3, gap=0.6)
    for axes, (name, title) in zip(grid, {**OUTCOMES, **VOLUMES}.items(), strict=False):
        _draw_differences(axes, table, statistics, name)
        axes.set_title(f"Δ {title}", fontsize=SMALL_FONT_SIZE)
        axes.set_xlabel("λ", fontsize=SMALL_FONT_SIZE, labelpad=1.0)
    _draw_networks(grid[4], table)
    _draw_points(grid[5], statistics)
    sheet.text(0.05, sheet.height - lines * LINE - 0.42, conclusion, fontsize=SMALL_FONT_SIZE)
    keys = [Line2D([], [], color=colour, marker="o", markersize=3.0, label=where) for where, colour in COLOURS.items()]
    keys.append(Line2D([], [], color="0.55", marker="o", markersize=3.0, linestyle="none", label="no penalty"))
    keys += [
        Line2D([], [], color=colour, marker="o", markersize=3.0, label=f"last panel: {label}")
        for colour, label in WHOSE.values()
    ]
    sheet.legend(keys, 3)
    return sheet


def _draw_differences(axes: Axes, table: pd.DataFrame, statistics: pd.DataFrame, name: str) -> None:
    settings = _settings(table)
    strengths = sorted({strength for _, strength in settings})
    sets = table.groupby(["where", "strength", "data_seed"])[name].mean()
    for where, strength in settings:
        place = strengths.index(strength) + (0.17 if where == "everywhere" else -0.17)
        colour = COLOURS.get(where, "black")
        values = (sets.loc[where, strength] - sets.loc[where].xs(0.0, level="strength")).to_numpy(float)
        axes.plot(np.full(len(values), place - 0.07), values, **DOT | {"color": colour, "alpha": 0.35})
        found = row_of(statistics, f"paired difference of {name}", _of(where, strength))
        shown = _corrected(statistics, f"paired difference of {name}", _of(where, strength)) < LEVEL
        axes.plot([place + 0.07] * 2, [found["low"], found["high"]], color=colour, linewidth=1.0)
        face = colour if shown else "white"
        axes.plot(place + 0.07, found["estimate"], "o", color=colour, markersize=3.5, mfc=face)
    axes.axhline(0.0, color="0.8", linewidth=0.6, zorder=0)
    axes.set_xticks(range(len(strengths)), [f"{strength:+g}".replace("-", "\N{MINUS SIGN}") for strength in strengths])


def _draw_networks(axes: Axes, table: pd.DataFrame) -> None:
    """Robust distance of each network against its volume."""
    for (where, strength), part in table.groupby(["where", "strength"]):
        if strength == 0 and where != "boundary":
            continue
        colour = COLOURS.get(str(where), "black") if strength else "0.55"
        axes.plot(part.log_volume, part.robust_distance, **DOT | {"color": colour})
    axes.set_xlabel("log V at test examples (nats)", fontsize=SMALL_FONT_SIZE, labelpad=1.0)
    axes.set_title("robust distance, networks", fontsize=SMALL_FONT_SIZE)


def _draw_points(axes: Axes, statistics: pd.DataFrame) -> None:
    """Rank correlations of the adversarial distance with what is measured at an example, without a penalty."""
    for place, name in enumerate(AT_POINTS):
        for shift, (end, (colour, _)) in zip((-0.2, 0.0, 0.2), WHOSE.items(), strict=True):
            column = f"{end}{name}" if end.endswith("_") else f"{name}{end}"
            found = row_of(statistics, f"mean {column}", _of("boundary", 0.0))
            axes.plot([found["low"], found["high"]], [place + shift] * 2, color=colour, linewidth=1.0)
            axes.plot(found["estimate"], place + shift, "o", color=colour, markersize=3.0)
    axes.axvline(0.0, color="0.8", linewidth=0.6, zorder=0)
    axes.set_yticks(range(len(AT_POINTS)), list(AT_POINTS.values()))
    axes.tick_params(axis="y", labelsize=SMALL_FONT_SIZE - 1)
    axes.set_ylim(len(AT_POINTS) - 0.5, -0.5)
    axes.set_xlim(-1.05, 1.05)
    axes.set_title("ranks with adversarial distance, λ = 0", fontsize=SMALL_FONT_SIZE)


def _corrected(statistics: pd.DataFrame, statistic: str, of: str) -> float:
    found = statistics[(statistics.statistic == statistic) & (statistics.of == of)]
    return float(found.p_holm.iloc[0]) if len(found) else np.nan


def _conclusion(statistics: pd.DataFrame) -> str:
    """What was found of each outcome, what would have been, and the relations over networks."""
    tested = statistics[statistics.p.notna()]
    sentences = []
    for outcome, title in OUTCOMES.items():
        differences = tested[tested.statistic == f"paired difference of {outcome}"]
        said = "; ".join(f"{of} {_in_words(found)}" for of, found in _found(differences))
        sentences.append(f"{title.partition(' (')[0].capitalize()} differs (p < {LEVEL:g}): {said or 'nowhere'}.")
        least = differences.detectable.dropna()
        if len(least):
            size = f"{least.min():.2g} to {least.max():.2g}"
            sentences.append(f"Differences of {size} would have been found with a probability of 80 %.")
    for scope in SCOPES:
        related = tested[(tested.of == scope) & tested.statistic.str.startswith("rank correlation")]
        said = "; ".join(
            f"{found['statistic'].removeprefix('rank correlation of ').replace(' with ', ' and ')} {_in_words(found)}"
            for _, found in _found(related)
        )
        sentences.append(f"Related {scope}: {said or 'nothing'}.")
    return " ".join(sentences)


def _found(rows: pd.DataFrame) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows whose corrected p is small."""
    for _, found in rows[rows.p_holm < LEVEL].iterrows():
        yield str(found.of), found.to_dict()


def _in_words(found: dict[str, Any]) -> str:
    return f"{found['estimate']:+.3f} [{found['low']:.3f}, {found['high']:.3f}]"
