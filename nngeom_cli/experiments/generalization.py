"""Whether the geometry of a trained network is related to its test accuracy, and what relation could have been seen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from nngeom_cli.analysis.relation import detectable_correlation, grouped_rank_correlation, holm, permutation_p
from nngeom_cli.analysis.statistic import CONTROLS
from nngeom_cli.experiments.panels import DOT, panels
from nngeom_cli.experiments.table import interval_in_words, networks_in_words, p_in_words, row
from nngeom_cli.figures.canvas import Sheet
from nngeom_cli.figures.style import CLASS_COLOURS, LINE, SMALL_FONT_SIZE, TEXT_WIDTH, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw", "statistics"]

# Geometry of a trained network that may be related to its test accuracy.
PREDICTORS = {
    "volume_change": "change of log volume (nats)",
    "volume_band_mean": "log volume at the boundary (nats)",
    "volume_band_contrast": "log volume, boundary minus elsewhere (nats)",
    "volume_rank_correlation": "log volume and closeness, ranks",
    "curvature_band_mean": "log |R| at the boundary (nats)",
    "curvature_band_contrast": "log |R|, boundary minus elsewhere (nats)",
}
SETTING = ["width", "activation", "weight_decay"]
SCOPES = {"within settings": True, "between settings": False}
LEVEL = 0.05


def statistics(table: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Rank correlations of geometry with test accuracy at each checkpoint, between settings and within them.

    `p` is by permutation of seeds (within) or settings (between), `p_holm` that corrected for all of them, at all
    checkpoints; `detectable` is the correlation that would have been found with a probability of 80 % at the last.
    Then the same for the controls' boundaries, and the settings whose networks do not differ in test accuracy.
    """
    rows, last = [], table.epoch.max()
    tests = table.epoch.nunique() * len(PREDICTORS) * len(SCOPES)
    for epoch, part in table.groupby("epoch"):
        for name in PREDICTORS:
            for scope, within in SCOPES.items():
                data = _arrays(part, name)
                found = row(_name(name), scope, grouped_rank_correlation(*data, within=within, rng=rng), epoch=epoch)
                found["p"] = permutation_p(*data, within=within, rng=rng)
                if epoch == last:
                    found["detectable"] = detectable_correlation(*data, within=within, tests=tests, rng=rng)
                rows.append(found)
    result = pd.DataFrame(rows)
    result["p_holm"] = holm(result.p.to_numpy())
    final = table[table.epoch == last]
    controls = [
        row(
            f"{_name(name)}, {control} boundary",
            scope,
            grouped_rank_correlation(*_arrays(final, f"{name}_{control}"), within=within, rng=rng),
            epoch=last,
        )
        for name in PREDICTORS
        for control in CONTROLS["grid"]
        if f"{name}_{control}" in final
        for scope, within in SCOPES.items()
    ]
    still = without_spread(final)
    none = {"statistic": "settings without spread of test_accuracy", "of": "; ".join(still) or "none", "n": len(still)}
    columns = ["statistic", "of", "epoch", "estimate", "low", "high", "p", "p_holm", "detectable", "n"]
    return pd.concat([result, pd.DataFrame([*controls, none])], ignore_index=True).reindex(columns=columns)


def _name(predictor: str) -> str:
    return f"rank correlation of {predictor} with test_accuracy"


def _arrays(table: pd.DataFrame, name: str) -> tuple[np.ndarray[Any, Any], ...]:
    """A column, test accuracy, settings, and what the networks of one seed share: their data, or else their seed."""
    data = table.data_seed
    seeds = data if data.nunique() > 1 else table.seed
    settings = table.groupby(SETTING).ngroup()
    return tuple(column.to_numpy() for column in (table[name], table.test_accuracy, settings, seeds))


def without_spread(table: pd.DataFrame) -> list[str]:
    """Settings all of whose networks have the same test accuracy: nothing can be related to it there."""
    spread = table.groupby(SETTING).test_accuracy.nunique()
    return [f"n = {width:g}, {kind}, weight decay {decay:g}" for width, kind, decay in spread[spread == 1].index]


def draw(table: pd.DataFrame, statistics: pd.DataFrame) -> Sheet:
    """Test accuracy against each statistic of the geometry at the end; the correlations through training."""
    last = table.epoch.max()
    final = table[table.epoch == last]
    seeds = len(np.unique(_arrays(final, "volume_change")[3]))
    words = (
        f"{networks_in_words(table)} of {seeds} seeds in {final.groupby(SETTING).ngroups} settings: test accuracy "
        f"against the geometry of the hidden layer at epoch {last:g}. ρ: Spearman's rank correlation, 95 % interval, "
        "and p by permutation, corrected for all tests on this sheet (Holm). Within settings: data and initial weights "
        "differ (seeds resampled). Between settings: of their means (settings and seeds resampled)"
    )
    conclusion = wrapped(_conclusion(statistics, last), TEXT_WIDTH - 0.1, SMALL_FONT_SIZE)
    sheet, grid = panels(words, 8, rows=3, lines=3, keys=conclusion.count("\n") + 2)
    _draw_networks(grid[: len(PREDICTORS)], final, statistics[statistics.epoch == last])
    for axes, scope in zip(grid[len(PREDICTORS) :], SCOPES, strict=True):
        _draw_epochs(axes, statistics[statistics.of == scope])
        axes.set_title(f"ρ {scope} (filled: p < {LEVEL:g})", fontsize=SMALL_FONT_SIZE)
        axes.set_xlabel("epoch", fontsize=SMALL_FONT_SIZE)
    place = grid[-1].get_position()
    dots, curves = (axes.get_legend_handles_labels() for axes in (grid[0], grid[-1]))
    widths = ", ".join(f"{width:g}" for width in sorted(final.width.unique()))
    sheet.figure.legend(
        [*dots[0], *curves[0]],
        [*(f"{kind} (larger: n = {widths})" for kind in dots[1]), *curves[1]],
        loc="upper left",
        bbox_to_anchor=(place.x1 + 0.02, place.y1),
        handlelength=1.2,
        borderaxespad=0.0,
    )
    lines = conclusion.count("\n") + 1
    sheet.text(0.05, sheet.height - lines * LINE - 0.03, conclusion, fontsize=SMALL_FONT_SIZE)
    return sheet


def _draw_networks(grid: list[Axes], final: pd.DataFrame, statistics: pd.DataFrame) -> None:
    """Test accuracy of each network against each statistic of its geometry."""
    for axes, (name, title) in zip(grid, PREDICTORS.items(), strict=True):
        for place, (kind, part) in enumerate(final.groupby("activation")):
            for size, some in part.groupby("width"):
                look = DOT | {"color": CLASS_COLOURS[place], "markersize": 0.8 + 0.35 * np.log2(float(size))}
                axes.plot(some[name], some.test_accuracy, label=kind if size == part.width.max() else None, **look)
        lines = [title]
        for scope in SCOPES:
            found = statistics[(statistics.statistic == _name(name)) & (statistics.of == scope)].iloc[0].to_dict()
            p = p_in_words(found["p_holm"])
            lines.append(f"{scope}: ρ {found['estimate']:.2f} {interval_in_words(found)}, {p}")
        axes.set_title("\n".join(lines), fontsize=SMALL_FONT_SIZE - 0.5)
        axes.set_ylabel("test accuracy" if axes in grid[::3] else "")


def _draw_epochs(axes: Axes, statistics: pd.DataFrame) -> None:
    """Each correlation through training; filled where its corrected p is small."""
    for place, (name, title) in enumerate(PREDICTORS.items()):
        found = statistics[statistics.statistic == _name(name)]
        colour = CLASS_COLOURS[place]
        axes.plot(found.epoch, found.estimate, color=colour, linewidth=0.8, label=title)
        shown = found.p_holm < LEVEL
        for some, face in ((found[shown], colour), (found[~shown], "white")):
            axes.plot(
                some.epoch, some.estimate, **DOT | {"color": colour, "alpha": 1.0, "markeredgewidth": 0.6}, mfc=face
            )
    axes.axhline(0.0, color="0.8", linewidth=0.6, zorder=0)
    axes.set_xscale("log")
    epochs = sorted(statistics.epoch.unique())
    axes.set_xticks(epochs, [f"{epoch:g}" for epoch in epochs])
    axes.minorticks_off()


def _conclusion(statistics: pd.DataFrame, last: float) -> str:
    """What was found at the last epoch, what could have been, and where nothing could be."""
    final = statistics[(statistics.epoch == last) & statistics.p.notna()]  # without the controls
    sentences = []
    for scope in SCOPES:
        of = final[final.of == scope]
        found = of[of.p_holm < LEVEL]
        named = ", ".join(f"{PREDICTORS[name]} {found.estimate[place]:.2f}" for place, name in _predictors(found))
        sentences.append(f"Found {scope} (p < {LEVEL:g}): {named or 'nothing'}.")
        least = of.detectable.dropna()
        if len(least) < len(of):
            sentences.append(f"{len(of) - len(least)} of {len(of)} could hardly have been found, whatever their size.")
        if len(least):
            size = f"{least.min():.2f} to {least.max():.2f}, depending on the statistic,"
            sentences.append(f"A correlation of {size} would have been found with a probability of 80 %.")
    still = statistics[statistics.statistic.str.startswith("settings without spread")].iloc[0]
    sentences.append(f"Settings without spread of test accuracy: {still['of']}.")
    return " ".join(sentences)


def _predictors(rows: pd.DataFrame) -> Iterator[tuple[Any, str]]:
    """The place of each row and the predictor that it is of."""
    return ((place, next(name for name in PREDICTORS if _name(name) == rows.statistic[place])) for place in rows.index)
