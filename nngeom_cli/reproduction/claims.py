"""What the paper says, in both of its readings, each statement with the numbers that decide it.

Relative: near the decision boundary against elsewhere. Absolute: near the boundary, trained against untrained. The
expected sides are those that the paper names; ranges and findings that were set after numbers had been seen say so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import xarray as xr

from nngeom_cli.analysis.bootstrap import Centre, Estimate, proportion
from nngeom_cli.reproduction.measured import Area, Measured, over_networks, proportion_difference
from nngeom_cli.reproduction.verdict import NEGATIVE, POSITIVE, Finding, Part, Range, Verdict

__all__ = ["CLAIMS", "TITLES", "Claim", "Result"]


@dataclass(frozen=True)
class Claim:
    """A statement, and the numbers that decide it.

    Attributes:
        run: the run that it is about, as `reproduction` names it.
        reading: relative or absolute; what else it is, where the paper's words have one reading.
        statement: the paper's words, or what else is checked.
        statistic: what is measured, with its unit.
        measure: gives the parts that decide it, of the `Measured` run; of the theory, of its curves.
        subject: volume or curvature; empty where it is neither.
        area: where the statistic is taken; empty where that does not matter.
        main: whether the summary counts it; others show how the verdict depends on statistic and area.
        finding: why the number is not what the paper says; None if no reason is known.
    """

    run: str
    reading: str
    statement: str
    statistic: str
    measure: Callable[[Any], Sequence[Part]]
    subject: str = ""
    area: Area | str = ""
    main: bool = True
    finding: Finding | None = None


@dataclass(frozen=True)
class Result:
    """A claim, its numbers and what they say of it; `deciding` names those for which it does not hold."""

    claim: Claim
    parts: Sequence[Part]
    word: Verdict
    deciding: Sequence[str]


TITLES = {
    "theory": "Section 3 and equation (9): infinite width",
    "figure1-sigmoid": "Figure 1: XOR, widths [2, 2, 1], sigmoid",
    "figure1-softplus": "Figure 1: XOR, widths [2, 2, 1], softplus",
    "figure1-width8-sigmoid": "Figure 1 with 8 hidden units: XOR, [2, 8, 1], sigmoid",
    "figure1-width8-softplus": "Figure 1 with 8 hidden units: XOR, [2, 8, 1], softplus",
    "figure2": "Figure 2: sinusoid, [2, 8, 8, 2], sigmoid, first hidden layer",
    "figure3-sigmoid": "Figure 3: digits, [64, 30, 10], sigmoid",
    "figure3-softplus": "Figure 3: digits, [64, 30, 10], softplus",
}

WORDS = {
    ("volume", "relative"): 'Section 4: the volume element "grows relatively large [...] in the vicinity of the '
    'decision boundary".',
    ("volume", "absolute"): 'Abstract: training "magnifies local areas [...] along decision boundaries".',
    ("curvature", "relative"): 'Section 4: the scalar curvature grows "relatively small [...] in the vicinity of the '
    'decision boundary".',
    ("curvature", "absolute"): 'Abstract: training "reduces curvature along decision boundaries".',
    ("digits", "relative"): 'Appendix C: the effective volume element "consistently grows (relatively) large at input '
    'images near the decision boundary".',
    ("digits", "absolute"): "Section 4: it is \"consistently large at interpolated images near the network's decision "
    'boundary".',
}
FLAT = Finding(
    "Two inputs and two hidden units: the feature map is a local diffeomorphism of the plane, so R = 0 wherever it is "
    "defined, in both conventions. What Figure 1 shows in its lower row cannot be a curvature of this network.",
    proved=True,
)
FACTOR = Finding(
    "The paper's curvatures, (4), (9) and what follows from them, are three times the true ones: a sign in (A.5) is "
    "reversed (docs/conventions.md has the proof). Random networks of finite width approach a third of (9).",
    proved=True,
)
TWO_UNITS = Finding(
    "With two hidden units mean log V falls under training, and inside the square that the data span it falls most "
    "near the boundary. Over the whole window, which reaches past the data, sigmoid networks gain near the boundary "
    "against elsewhere, not clearly more than near the boundaries of other networks; softplus networks show no gain."
)
RISES = Finding(
    "Mean log |R| rises under training, less in the band than elsewhere: relatively smaller, absolutely larger. "
    "With other seeds it was seen again for the sinusoid, and not clearly for XOR with 8 sigmoid units."
)
FALLS = Finding(
    "The effective volume falls under training, with weight decay 0.1, and less at the changes of prediction than on "
    "the rest of the path: relatively larger, absolutely smaller."
)
BROAD_PEAK = Finding(
    "With softplus the maximum of the effective volume is nearer to the changes of prediction than before training, "
    "but the middle of the path is nearer still: changes of prediction tend to lie there."
)
MOST = (0.5, math.inf)  # of the networks
MARGIN = 0.15  # of a share of networks; set after the counts were known
TENTH = 0.1  # of a ratio; set after it was known

SOLVED = "More than half of the networks learn the task."
SHARED = "The share of networks that learn the task is that of an independent implementation"


def solved(measured: Measured) -> Estimate:
    """The share of networks that solve the task."""
    each = measured.final("solved")
    return proportion(int(sum(each)), len(each))


def solved_claims(run: str, count: int, of: int) -> Iterator[Claim]:
    share = "networks that solve the task"
    yield Claim(run, "check", SOLVED, share, lambda measured: [Part(share, solved(measured), MOST)])
    theirs = proportion(count, of)
    words = f"{SHARED} ({count} of {of}) within {MARGIN:g}."
    difference = "ours minus theirs"
    yield Claim(
        run,
        "check",
        words,
        f"share of networks, {difference}",
        lambda measured: [Part(difference, proportion_difference(solved(measured), theirs), (-MARGIN, MARGIN))],
        main=False,
    )


def accuracy_claim(run: str, low: float, high: float) -> Claim:
    name = "training accuracy, mean"
    words = f"Networks reach the {low:.0%} to {high:.0%} of an independent implementation."

    def measure(measured: Measured) -> list[Part]:
        accuracies = xr.DataArray(measured.final("accuracy"), dims="replicate")
        return [Part(name, over_networks(accuracies), (low, high))]

    return Claim(run, "check", words, name, measure, main=False)


def parts_of(
    name: str, area: Area, expected: Range | None, *, level: bool = False, centre: Centre = "mean"
) -> Callable[[Measured], list[Part]]:
    """What measures a statistic with its controls (`Measured.parts`)."""
    return lambda measured: list(measured.parts(name, area, expected, level=level, centre=centre))


def plane_claims(run: str, subject: str, findings: dict[tuple[str, str], Finding]) -> Iterator[Claim]:
    """Both readings of a statement about volume or curvature on a plane, in the data's square and the window."""
    symbol, side = {"volume": ("log V", POSITIVE), "curvature": ("log |R|", NEGATIVE)}[subject]
    areas: tuple[Area, Area] = ("square", "window")
    for area in areas:
        make = partial(Claim, run, subject=subject, area=area)
        for reading, statistic, name, level in (
            ("relative", f"mean {symbol} in the band minus elsewhere, nats", "band_contrast", True),
            ("relative", f"rank correlation of {symbol} with closeness", "rank_correlation", True),
            ("absolute", f"mean {symbol} in the band, nats", "band_mean", False),
        ):
            yield make(
                reading,
                WORDS[subject, reading],
                statistic,
                parts_of(f"{subject}_{name}", area, side, level=level),
                main=area == "square" and name != "rank_correlation",
                finding=findings.get((area, reading)),
            )
        yield make(
            "shown",
            "",
            f"mean {symbol} everywhere, nats",
            parts_of(f"{subject}_mean", area, None),
            main=False,
        )


def flat_claim(run: str) -> Claim:
    words = "The network has a scalar curvature, which training reduces along the boundary (Figure 1, lower row)."
    name = "networks with R other than 0 somewhere"

    def measure(measured: Measured) -> list[Part]:
        R = measured.geometry.ricci_scalar
        curved = (R != 0).any([dim for dim in R.dims if dim != "replicate"])
        return [Part(name, proportion(int(curved.sum()), curved.size), MOST)]

    return Claim(run, "check", words, name, measure, subject="curvature", finding=FLAT)


def digits_claims(run: str, peak: Finding | None) -> Iterator[Claim]:
    """The effective volume is large where the prediction changes."""
    make = partial(Claim, run, subject="volume", area="path")
    of_paths = partial(parts_of, area="path", centre="median")
    relative, absolute = (WORDS["digits", reading] for reading in ("relative", "absolute"))
    yield make(
        "relative",
        relative,
        "log V_eff at the changes minus the path's mean, nats",
        of_paths("change_excess", expected=POSITIVE, level=True),
    )
    yield make(
        "relative",
        relative,
        "steps of 64 from the peak of V_eff to the nearest change",
        of_paths("peak_distance", expected=NEGATIVE),
        main=False,
        finding=peak,
    )
    yield make(
        "absolute",
        absolute,
        "log V_eff at the changes, nats",
        of_paths("volume_at_change", expected=POSITIVE),
        finding=FALLS,
    )
    mean = "log V_eff, the path's mean, nats"
    yield make("shown", "", mean, of_paths("volume_mean", expected=None), main=False)


def share_of_printed(curves: xr.Dataset) -> Estimate:
    """Ricci scalar of the widest finite erf layers over what the paper prints for infinite width, at |x| = 1.5."""
    at = curves.sel(activation="erf").sel(radius=1.5, method="nearest")
    printed = curves.attrs["paper_curvature_factor"] * at.ricci_scalar
    return over_networks((at.finite_ricci_scalar.isel(width=-1) / printed).rename(network="replicate"))


def theory_claims() -> Iterator[Claim]:
    name = "R of erf layers of width 1024 at |x| = 1.5 over what (9) prints, mean"
    for words, ratio, finding in (
        ("(9) is the Ricci scalar of a wide random network, within a tenth.", 1.0, FACTOR),
        ("A third of (9) is, within a tenth.", 1 / 3, None),
    ):
        expected = (ratio * (1 - TENTH), ratio * (1 + TENTH))

        def measure(curves: xr.Dataset, expected: Range = expected) -> list[Part]:
            return [Part(name, share_of_printed(curves), expected)]

        yield Claim("theory", "check", words, name, measure, finding=finding)


BOTH = (("square", "absolute"), ("window", "absolute"))
TWO = {(area, reading): TWO_UNITS for area in ("square", "window") for reading in ("relative", "absolute")}

CLAIMS: tuple[Claim, ...] = (
    *theory_claims(),
    *solved_claims("figure1-sigmoid", 43, 50),
    flat_claim("figure1-sigmoid"),
    *plane_claims("figure1-sigmoid", "volume", TWO),
    *solved_claims("figure1-softplus", 48, 50),
    flat_claim("figure1-softplus"),
    *plane_claims("figure1-softplus", "volume", TWO),
    *solved_claims("figure1-width8-sigmoid", 50, 50),
    *plane_claims("figure1-width8-sigmoid", "volume", {}),
    *plane_claims("figure1-width8-sigmoid", "curvature", dict.fromkeys(BOTH, RISES)),
    *plane_claims("figure1-width8-softplus", "volume", {}),
    *plane_claims("figure1-width8-softplus", "curvature", {}),
    *solved_claims("figure2", 6, 6),
    *plane_claims("figure2", "volume", {}),
    *plane_claims("figure2", "curvature", dict.fromkeys(BOTH, RISES)),
    accuracy_claim("figure3-sigmoid", 0.91, 0.95),
    *digits_claims("figure3-sigmoid", None),
    accuracy_claim("figure3-softplus", 0.94, 0.97),
    *digits_claims("figure3-softplus", BROAD_PEAK),
)
