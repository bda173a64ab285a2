"""What the paper says about its figures, each statement as a number with its expected range.

The ranges were fixed before the runs: for a statement of the paper, the sign that it names; for a count or a size, what
an independent implementation of the same experiments found (docs/reproduction.md).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import xarray as xr
from scipy.stats import binomtest

from nngeom_cli.analysis.bootstrap import LEVEL, Centre, Estimate, estimate
from nngeom_cli.analysis.grid import grid_statistics
from nngeom_cli.analysis.path import path_statistics
from nngeom_cli.store.run import Run

__all__ = ["CLAIMS", "Claim", "Measured", "verdict"]

POSITIVE, NEGATIVE = (0.0, math.inf), (-math.inf, 0.0)

Stage = Literal["initial", "trained", "difference"]


class Measured:
    """The statistics of a run, first and last checkpoint, each computed on first use."""

    def __init__(self, run: Run) -> None:
        self.info = run.info
        self.geometry = run.first_and_last

    @functools.cached_property
    def box(self) -> xr.Dataset:
        """Over the points inside the data's box, or along the paths."""
        return (grid_statistics if self.geometry.attrs["kind"] == "grid" else path_statistics)(self.geometry)

    @functools.cached_property
    def window(self) -> xr.Dataset:
        """Over the whole plotted window."""
        x, y = self.geometry.x.values, self.geometry.y.values
        return grid_statistics(self.geometry.assign_attrs(box=[x[0], x[-1], y[0], y[-1]]))

    def final(self, name: str) -> list[float]:
        """`accuracy` or `solved` of each network at the end."""
        return [float(row[name]) for row in self.info["replicates"]]


Measure = Callable[[Any], Estimate]  # of a `Measured`; of the theory, of its curves


@dataclass(frozen=True)
class Claim:
    """A statement, and the number that decides it.

    Attributes:
        run: the run that it is about, as `reproduction` names it.
        statement: the paper's, or what an independent implementation found.
        statistic: what the number is.
        expected: the range in which it was expected.
        measure: gives the number.
        finding: why the number is not what the paper says; empty if no reason is known.
    """

    run: str
    statement: str
    statistic: str
    expected: tuple[float, float]
    measure: Measure
    finding: str = ""


def verdict(claim: Claim, obtained: Estimate) -> str:
    """`holds`, `differs` where that is a known finding, else `off`.

    A range that is open on one side must hold the whole interval; a finite one must meet it.

    Example:
        >>> rises = Claim("figure2", "It rises.", "rise", (0.0, math.inf), lambda _: Estimate(0, 0, 0, 8))
        >>> verdict(rises, Estimate(0.5, 0.1, 0.9, 8)), verdict(rises, Estimate(0.5, -0.1, 1.1, 8))
        ('holds', 'off')
    """
    low, high = claim.expected
    if math.isinf(low) or math.isinf(high):
        holds = low < obtained.low and obtained.high < high
    else:
        holds = obtained.low <= high and low <= obtained.high
    return "holds" if holds else "differs" if claim.finding else "off"


def at_stage(
    name: str, stage: Stage, *, boundary: str = "final", centre: Centre = "mean", where: str = "box"
) -> Measure:
    """A statistic over networks: before training, after it, or the paired difference."""

    def measure(measured: Measured) -> Estimate:
        values = getattr(measured, where)[name].sel(boundary=boundary).isel(layer=0, drop=True)
        initial, trained = (values.isel(epoch=place, drop=True) for place in (0, -1))
        staged = {"initial": initial, "trained": trained, "difference": trained - initial}[stage]
        return over_networks(staged, centre)

    return measure


def over_networks(values: xr.DataArray, centre: Centre = "mean") -> Estimate:
    """Mean or median over networks."""
    return estimate(values, np.random.default_rng(0), centre)


def gap(name: str, *, centre: Centre = "mean", rises: bool) -> Measure:
    """Distance between the intervals of trained and untrained networks; negative where they overlap."""

    def measure(measured: Measured) -> Estimate:
        before, after = (at_stage(name, stage, centre=centre)(measured) for stage in ("initial", "trained"))
        value = after.low - before.high if rises else before.low - after.high
        return Estimate(value, value, value, min(before.n, after.n))

    return measure


def share_solved(measured: Measured) -> Estimate:
    solved = measured.final("solved")
    count = int(sum(solved))
    return Estimate(count / len(solved), *proportion(count, len(solved)), len(solved))


def mean_accuracy(measured: Measured) -> Estimate:
    return over_networks(xr.DataArray(measured.final("accuracy"), dims="replicate"))


def largest_curvature(measured: Measured) -> Estimate:
    value = float(np.abs(measured.geometry.ricci_scalar).max())
    return Estimate(value, value, value, measured.geometry.sizes["replicate"])


def share_of_printed(curves: xr.Dataset) -> Estimate:
    """Ricci scalar of the widest finite erf layers over what the paper prints for infinite width, at |x| = 1.5."""
    at = curves.sel(activation="erf").sel(radius=1.5, method="nearest")
    printed = curves.attrs["paper_curvature_factor"] * at.ricci_scalar
    return over_networks((at.finite_ricci_scalar.isel(width=-1) / printed).rename(network="replicate"))


def proportion(count: int, of: int) -> tuple[float, float]:
    """The 95 % interval of a proportion that was `count` of `of`: Wilson's."""
    interval = binomtest(count, of).proportion_ci(LEVEL, method="wilson")
    return float(interval.low), float(interval.high)


EXPANDS = "Training expands the volume element along the decision boundary."
REDUCES = "Training reduces the curvature along the decision boundary."
IN_BAND = "within 0.15 of the boundary minus elsewhere, nats"
FLAT_FINDING = (
    "Two inputs and two hidden units: the feature map is a local diffeomorphism of the plane, so R = 0 identically, "
    "in both of the paper's conventions. What Figure 1 shows in its lower row cannot be a curvature of this network."
)
FACTOR = (
    "The paper's curvatures, (4), (9) and what follows from them, are three times the true ones: a sign in (A.5) is "
    "reversed (docs/conventions.md has the proof). Random networks of finite width approach a third of (9)."
)
DEPENDS = (
    "With two hidden units the sign depends on where one looks: over the whole plotted window, which reaches past the "
    "data, the volume grows near the boundary with sigmoid, and with softplus 50 networks show no effect; "
    "inside the square that the data span it falls there, with both."
)


def solved_claim(run: str, count: int, of: int) -> Claim:
    found = f"An independent implementation solved the task with {count} of {of} networks."
    return Claim(run, found, "networks that solve the task", proportion(count, of), share_solved)


def plane_claims(run: str) -> Iterator[Claim]:
    """Both halves of the paper's claim for a network whose curvature is not identically 0."""
    for words, name, statement, rises in (
        ("log V", "volume_band_contrast", EXPANDS, True),
        ("log |R|", "curvature_band_contrast", REDUCES, False),
    ):
        sign = POSITIVE if rises else NEGATIVE
        yield Claim(run, statement, f"{words} {IN_BAND}: trained", sign, at_stage(name, "trained"))
        yield Claim(run, statement, "the same: trained minus initial", sign, at_stage(name, "difference"))
        apart = "the same: gap between the intervals of trained and untrained networks"
        yield Claim(run, statement, apart, POSITIVE, gap(name, rises=rises))


def flat_claims(run: str) -> Iterator[Claim]:
    """The claims about a network of widths [2, 2, 1]."""
    shown = "The network has a scalar curvature, which training reduces along the boundary."
    yield Claim(run, shown, "largest |R| of all points", POSITIVE, largest_curvature, finding=FLAT_FINDING)
    for where, words in (("window", "in the whole window"), ("box", "in the data's square")):
        name = f"log V {IN_BAND}, {words}: trained minus initial"
        measure = at_stage("volume_band_contrast", "difference", where=where)
        yield Claim(run, EXPANDS, name, POSITIVE, measure, finding=DEPENDS)


def digits_claims(run: str, accuracy: tuple[float, float], trained: float, untrained: float) -> Iterator[Claim]:
    """The effective volume is large where the prediction changes."""
    low, high = accuracy
    found = f"An independent implementation reached {low:.0%} to {high:.0%}."
    yield Claim(run, found, "training accuracy, mean", accuracy, mean_accuracy)
    name = "peak_distance"
    words = "steps of 64 from the volume's maximum to the nearest change of prediction, median"
    stages: list[tuple[Stage, float, str, str]] = [
        ("trained", trained, "final", "trained"),
        ("initial", untrained, "own", "untrained, by their own predictions"),
    ]
    for stage, value, boundary, who in stages:
        found = f"An independent implementation found {value:g}, on other pairs."
        measure = at_stage(name, stage, boundary=boundary, centre="median")
        yield Claim(run, found, f"{words}: {who}", (value, value), measure)
    large = "The effective volume element is large at images near the decision boundary."
    difference = at_stage(name, "difference", centre="median")
    yield Claim(run, large, "the same: trained minus initial", NEGATIVE, difference)
    apart = "the same: gap between the intervals of trained and untrained networks"
    yield Claim(run, large, apart, POSITIVE, gap(name, centre="median", rises=False))
    excess = at_stage("change_excess", "trained", centre="median")
    yield Claim(run, large, "log volume at the changes minus the path's mean, nats, median: trained", POSITIVE, excess)


def sinusoid_claims(run: str) -> Iterator[Claim]:
    yield solved_claim(run, 6, 6)
    words = "rank correlation of log V with minus the distance to the boundary"
    stages: list[tuple[Stage, float, float]] = [("initial", 0.04, 0.32), ("trained", 0.30, 0.65)]
    for stage, low, high in stages:
        found = f"An independent implementation found {low:g} to {high:g} in single networks."
        yield Claim(run, found, f"{words}: {stage}", (low, high), at_stage("volume_rank_correlation", stage))
    yield from plane_claims(run)


def theory_claims() -> Iterator[Claim]:
    name = "Ricci scalar of erf layers of width 1024 at |x| = 1.5 over what (9) prints, mean"
    yield Claim(
        "theory", "(9) is the Ricci scalar of a wide random network.", name, (1.0, 1.0), share_of_printed, FACTOR
    )


CLAIMS: tuple[Claim, ...] = (
    *theory_claims(),
    solved_claim("figure1-sigmoid", 43, 50),
    *flat_claims("figure1-sigmoid"),
    solved_claim("figure1-softplus", 48, 50),
    *flat_claims("figure1-softplus"),
    solved_claim("figure1-width8-sigmoid", 50, 50),
    *plane_claims("figure1-width8-sigmoid"),
    *plane_claims("figure1-width8-softplus"),
    *sinusoid_claims("figure2"),
    *digits_claims("figure3-sigmoid", accuracy=(0.91, 0.95), trained=3, untrained=12),
    *digits_claims("figure3-softplus", accuracy=(0.94, 0.97), trained=9, untrained=24),
)
