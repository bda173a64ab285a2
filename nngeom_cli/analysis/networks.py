"""The numbers of an experiment that is a sweep: a row a network, and what the networks of all its runs say together."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from scipy.stats import rankdata

from nngeom_cli.analysis.bootstrap import over_replicates
from nngeom_cli.analysis.grid import grid_statistics
from nngeom_cli.errors import require
from nngeom_cli.store.measured import check_measured
from nngeom_cli.store.run import Run
from nngeom_cli.system.progress import Progress

__all__ = ["COMPARISONS", "FITTED_SCALES", "FITTED_WIDTHS", "PREDICTORS", "networks", "power_law"]

Array = NDArray[Any]

RESAMPLES = 5000
QUANTILES = (0.025, 0.975)
FITTED_WIDTHS = 16  # narrower networks are not yet in the regime of the power law
FITTED_SCALES = 3.0  # the same for output scales

# Geometry of a trained network that may have to do with its test accuracy.
PREDICTORS = {
    "log_volume": "mean log volume",
    "volume_change": "relative change of log volume",
    "volume_band_contrast": "log volume at the boundary minus elsewhere",
    "volume_rank_correlation": "log volume and nearness to the boundary, ranks",
    "curvature_band_contrast": "log |R| at the boundary minus elsewhere",
}


def networks(runs: Sequence[Run]) -> pd.DataFrame:
    """A row for each network of some runs on a grid: what was set, how it trained, the geometry of its first layer.

    Columns: `width` (of that layer), `parametrization`, `output_scale`, `activation`, `weight_decay`, `seed`; `loss`,
    `accuracy` and, if there is one, `test_accuracy` at the end; over the grid `volume_change`, the root mean square of
    log V trained minus initial over that of log V initial, `initial_log_volume` and `log_volume` (means, nats),
    `initial_curvature` and `curvature` (medians of |R|); and `grid_statistics` of the trained network, with
    `initial_` those before training, to the final boundary. All are NaN for a network that diverged.

    Args:
        runs: whose last checkpoint is measured; others are left out.

    Raises:
        ValueError: a run's probe is no grid.
    """
    tables = []
    with Progress("run", len(runs)) as progress:
        for place, run in enumerate(runs):
            if "replicates" in run.info and run.first_and_last.indexes["epoch"].is_unique:
                tables.append(_networks_of(run))
            progress.update(place + 1)
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _networks_of(run: Run) -> pd.DataFrame:
    config = run.config
    check_measured(run.first_and_last, run.directory)
    seeds = [row["replicate"] for row in run.info["replicates"]]
    require(
        seeds == run.first_and_last.replicate.values.tolist(),
        f"{run.directory}/run.json: replicates",
        "those that were measured",
        seeds,
        "Copy it again.",
    )
    geometry = run.first_and_last.isel(layer=[0])
    log_volume, curvature = geometry.log_volume_element.isel(layer=0), abs(geometry.ricci_scalar).isel(layer=0)
    first, last = log_volume.isel(epoch=0), log_volume.isel(epoch=1)
    over = ("y", "x")
    numbers: dict[str, Any] = {
        "volume_change": np.sqrt(((last - first) ** 2).mean(over) / (first**2).mean(over)),
        "initial_log_volume": first.mean(over),
        "log_volume": last.mean(over),
        "initial_curvature": curvature.isel(epoch=0).median(over),
        "curvature": curvature.isel(epoch=1).median(over),
    }
    measured = grid_statistics(geometry, own=False).sel(boundary="final").isel(layer=0)
    for name in ("volume_band_contrast", "volume_rank_correlation", "curvature_band_contrast"):
        numbers |= {f"initial_{name}": measured[name].isel(epoch=0), name: measured[name].isel(epoch=1)}
    final = pd.DataFrame(run.info["replicates"]).drop(columns="solved").rename(columns={"replicate": "seed"})
    final = final.astype({"seed": int} | {name: float for name in final if name != "seed"})
    table = final.assign(**{name: values.values for name, values in numbers.items()})
    architecture = config["architecture"]
    settings = {
        "width": architecture["hidden"][0],
        "parametrization": architecture["parametrization"],
        "output_scale": architecture["output_scale"],
        "activation": architecture["activation"],
        "weight_decay": config["optimizer"]["weight_decay"],
    }
    if architecture["parametrization"] == "ntk" and len(np.atleast_1d(run.first_and_last.attrs["widths"])) == 3:
        table["distance_to_infinite_width"] = _distance_to_infinite_width(first, architecture["activation"])
    table.loc[table.loss.isna(), table.columns != "seed"] = np.nan
    for place, (name, value) in enumerate(settings.items()):
        table.insert(place, name, value)
    return table


def _distance_to_infinite_width(log_volume: xr.DataArray, activation: str) -> Array:
    """Root mean square of log V minus its limit, over that of the limit (weights of variance 1/d, biases of 1)."""
    import torch  # the one number here that is not on disk: figures that do not show it start without torch

    from nngeom_cli.geometry import InfiniteWidth

    radius = np.hypot(log_volume.x, log_volume.y)
    theory = InfiniteWidth(activation, weight_std=math.sqrt(0.5), bias_std=1.0, dimension=2)
    limit = xr.zeros_like(radius) + theory.log_volume_element(torch.from_numpy(radius.values)).numpy()
    difference = ((log_volume - limit) ** 2).mean(("y", "x")) / (limit**2).mean()
    distance: Array = np.sqrt(difference).values
    return distance


def power_law(x: Array, y: Array, rng: np.random.Generator) -> dict[str, float]:
    """The rate r of y ~ x^r by least squares on logarithms, and a bootstrap interval over the networks at each x.

    Args:
        x: positive, `(networks,)`; each value has several networks.
        y: what was measured of them; those that are not positive are left out.
        rng: draws the resamples.

    Returns:
        `estimate`, `low`, `high` of r (95 %), `factor` (y = factor x^r) and `n`, the number of networks.

    Example:
        >>> x, y = np.array([1, 1, 2, 2, 4, 4]), np.array([3, 3, 1.5, 1.5, 0.75, 0.75])
        >>> law = power_law(x, y, np.random.default_rng(0))
        >>> [round(law[name], 6) + 0.0 for name in ("estimate", "low", "high", "factor")]
        [-1.0, -1.0, -1.0, 3.0]
    """
    usable = np.isfinite(y) & (y > 0)
    x, y = x[usable], y[usable]
    places = np.unique(x)
    if len(places) < 2:
        return {"estimate": math.nan, "low": math.nan, "high": math.nan, "factor": math.nan, "n": len(x)}
    groups = [np.log(y[x == place]) for place in places]
    centred = np.log(places) - np.log(places).mean()
    weights = centred / (centred**2).sum()
    means = np.array([group.mean() for group in groups])
    resampled = np.stack([rng.choice(group, (RESAMPLES, len(group))).mean(axis=1) for group in groups])
    low, high = np.quantile(weights @ resampled, QUANTILES)
    slope = float(weights @ means)
    factor = math.exp(means.mean() - slope * np.log(places).mean())
    return {"estimate": slope, "low": float(low), "high": float(high), "factor": factor, "n": len(x)}


def grouped_rank_correlation(
    x: Array, y: Array, groups: Array, *, within: bool, rng: np.random.Generator
) -> dict[str, float]:
    """Spearman's correlation over networks, with a bootstrap interval that takes the networks of a group together.

    Args:
        x: `(networks,)`; networks without a value are left out.
        y: `(networks,)`.
        groups: the setting of each network.
        within: whether ranks are taken within each group, so that differences between settings count for nothing.
        rng: draws the resamples of groups; within groups, of networks.

    Returns:
        `estimate`, `low`, `high` (95 %) and `n`.

    Example:
        >>> x, groups = np.array([1.0, 2, 3, 11, 12, 13]), np.array([0, 0, 0, 1, 1, 1])
        >>> y = np.array([3.0, 2, 1, 13, 12, 11])
        >>> for within in (False, True):
        ...     found = grouped_rank_correlation(x, y, groups, within=within, rng=np.random.default_rng(0))
        ...     print(round(found["estimate"], 3))
        0.543
        -1.0
    """
    usable = np.isfinite(x) & np.isfinite(y)
    members = [np.flatnonzero(usable & (groups == group)) for group in np.unique(groups)]
    members = [member for member in members if len(member) > (1 if within else 0)]
    if not members:
        return {"estimate": math.nan, "low": math.nan, "high": math.nan, "n": 0}

    def correlation(parts: list[Array]) -> Array:
        """Of each resample, from the networks `(resamples, some)` that are ranked together."""
        a, b = (
            np.concatenate([rankdata(values[part], axis=1) - (part.shape[1] + 1) / 2 for part in parts], axis=1)
            for values in (x, y)
        )
        with np.errstate(invalid="ignore"):
            return np.asarray((a * b).sum(axis=1) / np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1)))

    if within:
        estimate = correlation([member[None] for member in members])
        resampled = correlation(
            [member[rng.integers(len(member), size=(RESAMPLES, len(member)))] for member in members]
        )
    else:
        estimate = correlation([np.concatenate(members)[None]])
        drawn = rng.integers(len(members), size=(RESAMPLES // 5, len(members)))
        resampled = np.concatenate([correlation([np.concatenate([members[p] for p in row])[None]]) for row in drawn])
    low, high = np.nanquantile(resampled, QUANTILES)
    return {"estimate": float(estimate[0]), "low": low, "high": high, "n": sum(map(len, members))}


def width(table: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Rates at which the change of log V under training and its initial distance from infinite width fall with n."""
    rows = []
    for parametrization, part in table[table.width >= FITTED_WIDTHS].groupby("parametrization"):
        for name in ("volume_change", "distance_to_infinite_width"):
            if name in part and part[name].notna().any():
                law = power_law(part.width.to_numpy(float), part[name].to_numpy(), rng)
                rows.append({"statistic": f"rate of {name} in width", "of": parametrization} | law)
    return pd.DataFrame(rows)


def lazy(table: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Rate at which the change of log V falls with the output scale, and the accuracy at each scale."""
    part = table[table.output_scale >= FITTED_SCALES]
    law = power_law(part.output_scale.to_numpy(), part.volume_change.to_numpy(), rng)
    rate = pd.DataFrame([{"statistic": "rate of volume_change in output scale", "of": f">= {FITTED_SCALES:g}"} | law])
    return pd.concat([rate, _means(table, "output_scale", ["accuracy", "volume_change"], rng)], ignore_index=True)


def generalization(table: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Rank correlations of geometry with test accuracy: over all networks, and within each setting."""
    groups = table.groupby(["width", "activation", "weight_decay"]).ngroup().to_numpy()
    rows = []
    for name in PREDICTORS:
        for within in (False, True):
            found = grouped_rank_correlation(
                table[name].to_numpy(), table.test_accuracy.to_numpy(), groups, within=within, rng=rng
            )
            of = "seeds of one setting" if within else "all networks"
            rows.append({"statistic": f"rank correlation of {name} with test_accuracy", "of": of} | found)
    return pd.DataFrame(rows)


def activations(table: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """What training does to volume and curvature, for each activation: means over networks."""
    with np.errstate(divide="ignore", invalid="ignore"):
        table = table.assign(
            log_volume_gain=table.log_volume - table.initial_log_volume,
            contrast_gain=table.volume_band_contrast - table.initial_volume_band_contrast,
            log_curvature_gain=np.log(table.curvature / table.initial_curvature),
        )
    names = ["accuracy", "log_volume_gain", "volume_band_contrast", "contrast_gain", "log_curvature_gain"]
    return _means(table, "activation", names, rng)


def _means(table: pd.DataFrame, setting: str, names: list[str], rng: np.random.Generator) -> pd.DataFrame:
    """Mean of each column over the networks at each setting, with the interval of `over_replicates`."""
    rows = []
    for value, part in table.groupby(setting, sort=False):
        for name in names:
            values = xr.DataArray(part[name].to_numpy(float), dims="replicate")
            found = over_replicates(values.where(np.isfinite(values)), rng)
            rows.append(
                {"statistic": f"mean {name}", "of": value} | {key: number.item() for key, number in found.items()}
            )
    return pd.DataFrame(rows)


COMPARISONS: dict[str, Callable[[pd.DataFrame, np.random.Generator], pd.DataFrame]] = {
    "width": width,
    "lazy": lazy,
    "generalization": generalization,
    "activations": activations,
}
