"""The columns of a table over runs: what each is, which are shown without being asked for, which value is best."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase

from nngeom_cli.analysis.controls import CONTROLS
from nngeom_cli.errors import ConfigError, did_you_mean

__all__ = ["BEST", "FEW", "MEANINGS", "MINUS", "PAGE", "compared", "default_columns", "definitions", "matching"]

PAGE = "docs/statistics.md"
MINUS = ".minus_control"
BEST = {"loss": min, "accuracy": max, "test_loss": min, "test_accuracy": max, "solved": max}  # of scores alone
FEW = (  # shown without being asked for, where a run has them; the first ones are the last to go
    *("accuracy", "test_accuracy", "solved"),
    *("volume_band_contrast", "curvature_band_contrast", "peak_distance", "change_excess"),
    *("geodesic_stretch", "straight_excess"),
    *("effective_volume_entropy", "curvature_entropy", "effective_volume_margin", "curvature_margin"),
)
NATS, INPUT, NONE = "nats", "input units", ""
MEANINGS = {  # unit and meaning; docs/statistics.md has formulas, what 0 means, and what each does not say
    "loss": (NONE, "mean training loss after the last epoch, in the unit of task.loss"),
    "accuracy": (NONE, "share of training examples whose class is predicted"),
    "test_loss": (NONE, "loss over the examples that task.test_fraction keeps from training"),
    "test_accuracy": (NONE, "accuracy over these examples"),
    "volume_penalty": (NONE, "what optimizer.volume_penalty adds to the loss after the last epoch"),
    "solved": (NONE, "share of networks whose training accuracy reaches the task's bound, with Wilson's interval"),
    "volume_rank_correlation": (NONE, "grids: rank correlation of log V with closeness to the boundary"),
    "volume_band_contrast": (NATS, "grids: mean log V near the boundary minus elsewhere"),
    "volume_band_mean": (NATS, "grids: mean log V near the boundary"),
    "volume_mean": (NATS, "grids, planes: mean log V everywhere"),
    "curvature_rank_correlation": (NONE, "grids: rank correlation of log |R| with closeness to the boundary"),
    "curvature_band_contrast": (NATS, "grids: mean log |R| near the boundary minus elsewhere"),
    "curvature_band_mean": (NATS, "grids: mean log |R| near the boundary"),
    "curvature_mean": (NATS, "grids, planes, examples: mean log |R| everywhere"),
    "peak_distance": ("steps", "paths: from the largest effective volume to the nearest change of prediction"),
    "change_excess": (NATS, "paths: mean log effective volume at changes of prediction minus the path's mean"),
    "volume_at_change": (NATS, "paths: mean log effective volume at changes of prediction"),
    "length": (NONE, "paths: Riemannian length, in units of feature space"),
    "length_near_change": (NONE, "paths: share of the length near a change of prediction"),
    "length_excess": (NONE, "paths: that share minus the share at constant speed"),
    "geodesic_stretch": (NATS, "geodesics: log of the length of the shortest path over the distance in input space"),
    "straight_excess": (NONE, "geodesics: by how much of it the straight path is longer than the shortest"),
    "geodesic_length": (NONE, "geodesics: length of the shortest path, in units of feature space"),
    "geodesic_deviation": (NONE, "geodesics: how far the shortest path leaves the straight one, over its length"),
    "geodesic_share": (NONE, "geodesics: share of the shortest path's length before the prediction changes"),
    "straight_share": (NONE, "geodesics: the same share of the straight path's length"),
    "crossing_apart": (
        NONE,
        "geodesics: distance of the places where the two cross the boundary, over the straight one",
    ),
    "effective_volume_entropy": (NONE, "planes, examples: rank correlation of log effective volume with the entropy"),
    "volume_entropy": (NONE, "planes: rank correlation of log V with the entropy of the prediction"),
    "curvature_entropy": (NONE, "planes, examples: rank correlation of log |R| with the entropy of the prediction"),
    "effective_volume_mean": (NATS, "planes, examples: mean log effective volume everywhere"),
    "effective_volume_margin": (NONE, "examples: rank correlation of log effective volume with the margin"),
    "effective_volume_margin_within": (NONE, "examples: the same, ranked within classes"),
    "effective_volume_entropy_within": (NONE, "examples: effective_volume_entropy, ranked within classes"),
    "effective_volume_right_mean": (NATS, "examples: mean log effective volume at those predicted right"),
    "effective_volume_wrong_mean": (NATS, "examples: mean log effective volume at those predicted wrong"),
    "effective_volume_wrong_contrast": (NATS, "examples: the latter minus the former"),
    "effective_volume_robustness": (NONE, "examples: rank correlation of log effective volume with robustness"),
    "effective_volume_robustness_within": (NONE, "examples: the same, ranked within classes"),
    "curvature_margin": (NONE, "examples: rank correlation of log |R| with the margin"),
    "curvature_margin_within": (NONE, "examples: the same, ranked within classes"),
    "curvature_entropy_within": (NONE, "examples: curvature_entropy, ranked within classes"),
    "curvature_right_mean": (NATS, "examples: mean log |R| at those predicted right"),
    "curvature_wrong_mean": (NATS, "examples: mean log |R| at those predicted wrong"),
    "curvature_wrong_contrast": (NATS, "examples: the latter minus the former"),
    "curvature_robustness": (NONE, "examples: rank correlation of log |R| with robustness"),
    "curvature_robustness_within": (NONE, "examples: the same, ranked within classes"),
    "largest_eigenvalue_robustness": (NONE, "examples: that of the metric's largest eigenvalue with robustness"),
    "largest_eigenvalue_robustness_within": (NONE, "examples: the same, ranked within classes"),
    "first_order_robustness": (NONE, "examples: rank correlation of margin / |its gradient| with robustness"),
    "first_order_robustness_within": (NONE, "examples: the same, ranked within classes"),
    "adversarial_distance_mean": (INPUT, "examples: mean robustness: smallest change found that changes a prediction"),
    "adversarial_distance_right_mean": (INPUT, "examples: mean robustness of those predicted right"),
    "adversarial_distance_wrong_mean": (INPUT, "examples: mean robustness of those predicted wrong"),
    "adversarial_distance_wrong_contrast": (INPUT, "examples: the latter minus the former"),
    "participation_ratio_mean": (NONE, "examples: mean number of directions that share the stretching"),
    "participation_ratio_wrong_contrast": (NONE, "examples: that number at those predicted wrong minus right"),
    "local_rank_mean": (NONE, "examples: mean rank of J, by probe.rank_tolerance"),
    "local_rank_wrong_contrast": (NONE, "examples: that rank at those predicted wrong minus right"),
}
SUFFIXES = {
    "NAME.change": "trained minus untrained, paired by network",
    "NAME.other, .mirrored, .rotated, .middle, .within": "a control: the same of lines that this network did not draw",
    "NAME.minus_other, ...": "the difference from that control, paired by network",
    "NAME.minus_control": "the difference from the strongest control, untrained networks included; it is named",
    "NAME.infinite_width": "the same of the untrained layer at infinite width, where the initial weights are Gaussian",
    "NAME.layer1, ..., .prediction": "of one layer, where several were measured",
}


def definitions() -> str:
    """What each column is, as `nngeom summarize --columns help` prints it."""
    width = max(map(len, MEANINGS)) + 2
    lines = [f"{name:{width}}{text}{f' ({unit})' if unit else ''}" for name, (unit, text) in MEANINGS.items()]
    width = max(map(len, SUFFIXES)) + 2
    lines += ["", "NAME is of the trained networks, at the last epoch. Of statistics there are also", ""]
    lines += [f"{name:{width}}{text}" for name, text in SUFFIXES.items()]
    more = "Any key of a config is a column too: optimizer.lr, or a section: architecture. Patterns are: 'volume_*'."
    return "\n".join([*lines, "", more, f"{PAGE} defines each: formula, unit, what 0 means, what it has to beat."])


def compared(name: str, metrics: Sequence[str]) -> bool:
    """Whether a statistic has a control."""
    return any(f"{name}.minus_{control}" in metrics for controls in CONTROLS.values() for control in controls)


def default_columns(metrics: Sequence[str]) -> list[str]:
    """The columns that are shown without being asked for, the most important first.

    Example:
        >>> names = ["loss", "accuracy", "peak_distance", "peak_distance.change", "peak_distance.minus_other"]
        >>> default_columns(names)
        ['accuracy', 'peak_distance', 'peak_distance.minus_control']
    """
    found = [
        name for few in FEW for name in metrics if re.fullmatch(rf"{few}(\.layer\d+|\.prediction)?", name)
    ]  # of several layers, one after the other
    return [*found, *(name + MINUS for name in found if compared(name, metrics))]


def matching(asked: str, metrics: Sequence[str], keys: Sequence[str]) -> tuple[list[str], list[str]]:
    """The metrics and the config keys that a word of `--columns` names: itself, a pattern, a section, or `all`.

    Raises:
        ConfigError: it names none.
    """
    known = [*metrics, *(name + MINUS for name in metrics if compared(name, metrics))]
    found = [name for name in known if fnmatchcase(name, asked)] if asked != "all" else list(metrics)
    of_config = [key for key in keys if fnmatchcase(key, asked) or key.startswith(f"{asked}.")]
    if not found and not of_config:
        suggestion = did_you_mean(asked, [*known, *keys]) or "`nngeom summarize --columns help` lists them."
        raise ConfigError(
            f"`--columns` must be scores, statistics or config keys of the runs. Got {asked}. {suggestion}"
        )
    return found, of_config
