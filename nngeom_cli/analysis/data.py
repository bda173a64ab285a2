"""How the geometry at examples relates to the certainty of the prediction, to classes and to errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import xarray as xr

from nngeom_cli.analysis.degeneracy import is_prediction, largest_rank, layer_words
from nngeom_cli.analysis.statistic import (
    Array,
    Field,
    Flag,
    Reason,
    Result,
    averaged,
    chosen_boundaries,
    curvature,
    first_flag,
    flagged,
    labelled,
    mean_where,
    others,
    require_kind,
    unconditional,
)

__all__ = ["data_statistics", "data_words", "examples_words", "volume_words"]

DATA = ("epoch", "layer", "replicate")
DISTANCE = "adversarial_distance"
OF_OUTPUT = (DISTANCE, "first_order")  # fields that have no layer
ASKED = {
    "margin": "the size of the margin",
    "entropy": "the entropy of the prediction",
    "robustness": "the adversarial distance",
}
Statistic: TypeAlias = "Callable[[Array], Result]"


def data_statistics(geometry: xr.Dataset, *, boundaries: Sequence[str] | None = None) -> xr.Dataset:
    """How the geometry at examples relates to margin and entropy of the prediction, to classes and to errors.

    Of log effective volume and, where R was measured, of log |R|:
    `*_margin`: Spearman's correlation with the size of the margin; negative where the quantity is larger near a change
    of the prediction.
    `*_entropy`: Spearman's correlation with the entropy of the prediction.
    `*_margin_within`, `*_entropy_within`: the same within classes: ranks are taken among the examples of each true
    class, so that a difference between classes is no relation.
    `*_right_mean`, `*_wrong_mean`: mean over the examples that are predicted right, or wrong.
    Of these and of local rank and participation ratio:
    `*_mean`: mean over all examples.
    `*_wrong_contrast`: mean over the examples that are predicted wrong minus that over the others.
    `*_by_class`: mean over the examples of each true class; NaN where none is usable.
    Where distances to the decision boundary were measured, `*_robustness` and `*_robustness_within` are like `*_margin`
    with the adversarial distance, also of the log of the largest eigenvalue of the metric, and of the first-order
    distance, which has no layer; and the adversarial distance has means and contrasts like log effective volume.
    A point is left out, and counted, as in `grid_statistics`.

    Whose prediction it is, `boundary` says: `final`, that of the last checkpoint at every epoch; `own`, that of the
    checkpoint; `other`, a control: the mean of the statistic over the final predictions of the next k replicates,
    cyclically, k = min(n - 1, 7).

    Args:
        geometry: `run.geometry` of a data probe; its last epoch is the final network.
        boundaries: those that are asked for, in this order; by default all.

    Returns:
        `*_mean` (epoch, layer, replicate), the others (boundary, epoch, layer, replicate), each with its `_undefined`;
        `*_by_class` (epoch, layer, replicate, class). Counts of examples: `class_points` (class), `wrong_points`
        (epoch, replicate), and (epoch, layer, replicate) `effective_volume_missing` and, where R was measured,
        `curvature_missing`, `curvature_zero`, `curvature_unreliable`.

    Raises:
        ValueError: `geometry` is of another kind, or a boundary has an unknown name.

    Example:
        >>> data_statistics(run.geometry).effective_volume_margin.sel(boundary="final")    # doctest: +SKIP
    """
    require_kind(geometry, "data")
    asked = chosen_boundaries(boundaries, "data")
    labels = geometry.true_class.values
    classes = np.unique(labels)
    members = [np.flatnonzero(labels == label) for label in classes]
    fields, counts = _fields(geometry)
    predictions = _predictions(geometry, asked)
    wrong, variables = predictions["wrong"], dict[str, Any]()

    def asked_of(name: str, label: str, units: str, what: dict[str, list[Array]], field: Field, of: Statistic) -> None:
        results = {
            boundary: averaged([of(each) for each in what[boundary]], field.values.shape[:-1]) for boundary in asked
        }
        variables.update(_without_layer(field, flagged(name, results, DATA, label, units, "data")))

    def correlations_of(field: Field, names: Sequence[str]) -> None:
        for name in names:
            label = f"rank correlation of {field.words} with {ASKED[name]}"
            asked_of(f"{field.name}_{name}", label, "", predictions[name], field, _correlation(field))
            within = f"{field.name}_{name}_within"
            asked_of(within, f"{label}, within classes", "", predictions[name], field, _correlation(field, members))

    def means_of(field: Field, units: str) -> None:
        mean = unconditional(f"{field.name}_mean", field.mean, DATA, f"mean {field.words}", units)
        variables.update(_without_layer(field, mean))
        label = f"mean {field.words} where the prediction is"
        asked_of(f"{field.name}_wrong_contrast", f"{label} wrong minus right", units, wrong, field, _contrast(field))
        if field.name in ("local_rank", "participation_ratio"):
            return
        asked_of(f"{field.name}_right_mean", f"{label} right", units, wrong, field, _mean_of(field, right=True))
        asked_of(f"{field.name}_wrong_mean", f"{label} wrong", units, wrong, field, _mean_of(field, right=False))

    for field in fields:
        units = "nats" if field.words.startswith("log") else ""
        means_of(field, units)
        by_class = [mean_where(field.values[..., rows], field.usable[..., rows]) for rows in members]
        about = {"long_name": f"mean {field.words} of each class", "units": units}
        variables[f"{field.name}_by_class"] = ((*DATA, "class"), np.stack(by_class, axis=-1), about)
        if field.name not in ("local_rank", "participation_ratio"):
            correlations_of(field, [name for name in predictions if name != "wrong"])
    if DISTANCE in geometry:
        distance, *estimates = _distances(geometry)
        means_of(distance, distance_units(geometry))
        for field in estimates:
            correlations_of(field, ["robustness"])
    wrong_points = (geometry.predicted_class != geometry.true_class).sum("point").transpose("epoch", "replicate")
    of_class = np.array([len(rows) for rows in members])
    statistics = labelled(variables, counts, asked, DATA, geometry.assign_attrs(points=len(labels)))
    counted: xr.Dataset = statistics.assign_coords({"class": classes}).assign(
        class_points=("class", of_class, {"long_name": "examples", "units": ""}),
        wrong_points=wrong_points.assign_attrs(long_name="examples that are predicted wrong", units=""),
    )
    if DISTANCE in geometry:
        missing = geometry[DISTANCE].isnull().sum("point").transpose("epoch", "replicate")
        counted["distance_missing"] = missing.assign_attrs(
            long_name="examples without an adversarial distance", units=""
        )
    return counted


def distance_units(geometry: xr.Dataset) -> str:
    """The unit of distances in input space."""
    return str(geometry[DISTANCE].attrs.get("units", "input units"))


def _without_layer(field: Field, variables: dict[str, Any]) -> dict[str, Any]:
    """Statistics of a field that has no layer: along the other dimensions only."""
    if field.name not in OF_OUTPUT:
        return variables
    place = DATA.index("layer")
    return {
        name: (tuple(dim for dim in dims if dim != "layer"), values.take(0, axis=place - len(DATA)), about)
        for name, (dims, values, about) in variables.items()
    }


def _distances(geometry: xr.Dataset) -> list[Field]:
    """The adversarial distance, and what may go with it: the largest eigenvalue of the metric, the first-order one."""
    order = (*DATA, "point")
    with np.errstate(divide="ignore"):
        largest = np.log(geometry.spectrum.isel(k=0).transpose(*order).values)
    adversarial, linear = (
        geometry[name].expand_dims("layer").transpose(*order).values for name in (DISTANCE, "first_order_distance")
    )
    fields = {
        "adversarial_distance": ("adversarial distance", adversarial),
        "largest_eigenvalue": ("log largest eigenvalue", largest),
        "first_order": ("first-order distance", linear),
    }
    return [Field(name, words, values, np.isfinite(values)) for name, (words, values) in fields.items()]


def _fields(geometry: xr.Dataset) -> tuple[list[Field], dict[str, tuple[Array, str]]]:
    """What was measured at the examples (epoch, layer, replicate, point), and what is left out of it."""

    def values(name: str) -> Array:
        array: Array = geometry[name].transpose(*DATA, "point").values.astype(float)
        return array

    names = {
        "effective_volume": ("log_effective_volume_element", "log effective volume element"),
        "participation_ratio": ("participation_ratio", "participation ratio"),
        "local_rank": ("local_rank", "local rank"),
    }
    fields = [
        Field(name, words, values(variable), np.isfinite(values(variable))) for name, (variable, words) in names.items()
    ]
    missing = (~fields[0].usable, "points left out of log effective volume: it is not finite")
    counts = {"effective_volume_missing": missing}
    if "ricci_scalar" in geometry:
        log_curvature, curved, error, flat, left_out = curvature(values("ricci_scalar"), values("ricci_scalar_error"))
        fields.append(Field("curvature", "log |R|", log_curvature, curved, error, flat))
        counts |= left_out
    return fields, counts


def _predictions(geometry: xr.Dataset, boundaries: Sequence[str]) -> dict[str, dict[str, list[Array]]]:
    """What `ASKED` names, and 1 where the prediction is wrong, each (epoch or 1, 1, replicate, point).

    For each kind of boundary a list: it has several where each replicate is asked about the predictions of others. NaN
    where a network has no outputs.
    """
    margin, entropy, predicted = (
        geometry[name].transpose("epoch", "replicate", "point").values[:, None]
        for name in ("margin", "entropy", "predicted_class")
    )
    wrong = np.where(np.isfinite(margin), predicted != geometry.true_class.values, np.nan)
    values = {"margin": abs(margin), "entropy": entropy, "wrong": wrong}
    if DISTANCE in geometry:
        values["robustness"] = geometry[DISTANCE].transpose("epoch", "replicate", "point").values[:, None]
    return {
        name: {"final": [own[-1:]], "own": [own], "other": others(own[-1:], axis=2) if "other" in boundaries else []}
        for name, own in values.items()
    }


def _unknown(values: Array) -> Reason:
    return ~np.isfinite(values).all(axis=-1), Flag.NO_POINT


def _correlation(field: Field, members: Sequence[Array] | None = None) -> Callable[[Array], Result]:
    """The rank correlation of a field with a quantity; if members of classes are given, within these."""
    if members is None:
        return lambda values: field.rank_correlation(values, [_unknown(values)])
    parts = [(rows, field.at(rows)) for rows in members if len(rows) > 1]

    def within(values: Array) -> Result:
        pooled = np.zeros((3, *np.broadcast_shapes(field.values.shape, values.shape)[:-1]))
        constant, alone = np.ones(pooled.shape[1:], dtype=bool), np.ones(pooled.shape[1:], dtype=bool)
        for rows, part in parts:
            mine, theirs = part.ranks, part.ranks_of(values[..., rows])
            pooled += [(a * b).sum(axis=-1) for a, b in ((mine, theirs), (mine, mine), (theirs, theirs))]
            constant &= part.constant
            alone &= part.usable.sum(axis=-1) < 2
        covariance, *variances = pooled
        constant |= (variances[0] == 0) | (variances[1] == 0)
        reasons = [_unknown(values), *field.reasons, (alone, Flag.NO_POINT), (constant, Flag.CONSTANT)]
        with np.errstate(invalid="ignore"):
            return covariance / np.sqrt(variances[0] * variances[1]), first_flag(reasons)

    return within


def _mean_of(field: Field, *, right: bool) -> Callable[[Array], Result]:
    """The mean of a field where the prediction is right, or wrong."""

    def mean(wrong: Array) -> Result:
        chosen = field.usable & (wrong == (0 if right else 1))
        reasons = [_unknown(wrong), *field.reasons, (~chosen.any(axis=-1), Flag.ALL_ALIKE)]
        return mean_where(field.values, chosen), first_flag(reasons)

    return mean


def _contrast(field: Field) -> Callable[[Array], Result]:
    """The mean of a field where the prediction is wrong minus that where it is right."""

    def contrast(wrong: Array) -> Result:
        (at_wrong, flags), (at_right, other_flags) = (_mean_of(field, right=right)(wrong) for right in (False, True))
        return at_wrong - at_right, np.where(flags == Flag.DEFINED, other_flags, flags)

    return contrast


def data_words(measured: xr.Dataset) -> list[str]:
    """How the volume at the examples goes with the certainty of the prediction: a sentence for each layer.

    Args:
        measured: the geometry of one epoch.
    """
    names = ("effective_volume_margin", "effective_volume_entropy")
    statistics = data_statistics(measured.expand_dims("epoch"), boundaries=["final", "other"])[list(names)]
    means = statistics.isel(epoch=0).mean("replicate")
    sentences = []
    for layer in measured.layer.values.tolist():
        (margin, other_margin), (entropy, other_entropy) = (means[name].sel(layer=layer).values for name in names)
        if np.isfinite([margin, entropy]).all():
            alone = not np.isfinite([other_margin, other_entropy]).all()
            of_others = ("", "") if alone else (f" (of other networks {other_margin:.2f})", f" ({other_entropy:.2f})")
            sentences.append(
                f"{layer_words(measured.attrs, layer)} at {examples_words(measured)}: rank correlation of "
                f"{volume_words(measured.attrs, layer)} with "
                f"the margin {margin:.2f}{of_others[0]}, with the entropy {entropy:.2f}{of_others[1]} (means)"
            )
    return sentences


def examples_words(geometry: xr.Dataset) -> str:
    """How many of which examples: `1000 of 1797 training examples`."""
    count, there = geometry.sizes["point"], int(geometry.attrs["examples"])
    which = {"train": "training", "test": "test"}[geometry.attrs["split"]]
    return f"{count if count == there else f'{count} of {there}'} {which} example{'s' * (there > 1)}"


def volume_words(attributes: Mapping[str, Any], layer: int = 1) -> str:
    """What the volume is: of as many directions as there are dimensions it is the volume element itself.

    Of the prediction no more directions than its metric has count.

    Example:
        >>> volume_words({"widths": [64, 30, 10], "top_k": 6}), volume_words({"widths": [2, 8, 1], "top_k": 2})
        ('log effective volume element of the top 6', 'log volume element')
    """
    top_k = int(attributes["top_k"])
    if is_prediction(attributes, layer):
        top_k = min(top_k, largest_rank(attributes, layer))
    whole = top_k == int(attributes["widths"][0])
    return "log volume element" if whole else f"log effective volume element of the top {top_k}"
