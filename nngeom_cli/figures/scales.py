"""The scales of colours: from the values that they show, without outliers, and with ticks at powers of ten."""

from __future__ import annotations

import numpy as np
from matplotlib.colors import LogNorm, Normalize, SymLogNorm

from nngeom_cli.figures.style import Array

__all__ = [
    "TINY",
    "linear_norm",
    "log_norm",
    "log_ticks",
    "magnitude",
    "magnitude_norm",
    "minor_ticks",
    "power_words",
    "symmetric_log_norm",
    "symmetric_log_ticks",
    "volume",
]

TINY = float(np.finfo(np.float64).tiny)


def linear_norm(values: Array) -> Normalize | None:
    """Linear scale over the finite values, without outliers that would stretch it; None where no value is finite."""
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return None
    low, high = finite.min(), finite.max()
    inner = np.percentile(finite, [1, 99])
    if high - low > 1.5 * np.ptp(inner) > 0:
        low, high = inner
    if high - low <= 1e-9 * max(abs(low), abs(high)):  # a constant field, but for rounding
        low, high = low - 0.5, high + 0.5
    return Normalize(float(low), float(high))


def symmetric_log_norm(values: Array) -> Normalize | None:
    """Signed logarithmic scale, linear near 0; None where no finite value differs from 0.

    The linear part ends at a power of ten below nine tenths of the magnitudes, one to six decades under the limit.
    """
    magnitudes = np.abs(values[np.isfinite(values)])
    magnitudes = magnitudes[magnitudes > 0]
    if magnitudes.size == 0:
        return None
    low, high = np.percentile(magnitudes, [10, 99])
    limit = magnitudes.max() if magnitudes.max() <= 10 * high else high
    threshold = 10 ** np.floor(np.log10(np.clip(low, 1e-6 * limit, 0.1 * limit)))
    return SymLogNorm(float(threshold), linscale=0.5, vmin=-float(limit), vmax=float(limit), base=10)


def magnitude_norm(values: Array) -> Normalize | None:
    """The positive half of `symmetric_log_norm`, for magnitudes."""
    norm = symmetric_log_norm(values)
    if norm is not None:
        norm.vmin = 0.0
    return norm


def log_norm(values: Array) -> Normalize | None:
    """Logarithmic scale of positive values, without outliers that would stretch it; None where there are none."""
    magnitudes = values[np.isfinite(values) & (values > TINY)]
    if magnitudes.size == 0:
        return None
    low, high = np.percentile(magnitudes, [1, 99])
    limit = magnitudes.max() if magnitudes.max() <= 10 * high else high
    low = max(low, 1e-8 * limit)
    low, limit = (low, limit) if limit > 1.01 * low else (low / 3, limit * 3)
    return LogNorm(float(low), float(limit))


def magnitude(values: Array) -> Array:
    """Absolute values; 0 as a number that has a logarithm."""
    return np.maximum(np.abs(values), TINY)


def volume(log_volume: Array) -> Array:
    """V; infinite where it has no number."""
    with np.errstate(over="ignore"):
        return np.exp(log_volume)


def log_ticks(norm: Normalize) -> tuple[list[float], list[str]]:
    """Powers of ten, at most five of them evenly spaced; where there are fewer than two, the ends."""
    assert norm.vmin is not None
    assert norm.vmax is not None
    powers = decades(norm.vmin, norm.vmax)
    if len(powers) < 2:
        return [norm.vmin, norm.vmax], [f"{norm.vmin:.2g}", f"{norm.vmax:.2g}"]
    values = [10.0**power for power in powers[:: -(-len(powers) // 5)]]
    return values, [power_words(value) for value in values]


def decades(low: float, high: float) -> range:
    """The powers of ten between two positive numbers."""
    return range(int(np.ceil(np.log10(low) - 1e-9)), int(np.floor(np.log10(high) + 1e-9)) + 1)


def minor_ticks(norm: Normalize) -> list[float]:
    """Every power of ten on a logarithmic scale, of both signs where it has both."""
    assert norm.vmin is not None
    assert norm.vmax is not None
    least = norm.linthresh if isinstance(norm, SymLogNorm) else norm.vmin
    positive = [10.0**power for power in decades(least, norm.vmax)]
    return [*(-value for value in reversed(positive) if norm.vmin < 0), *positive]


def symmetric_log_ticks(norm: Normalize) -> tuple[list[float], list[str]]:
    """Zero and at most three powers of ten on each side that is shown, none so near to zero that their labels touch."""
    assert isinstance(norm, SymLogNorm)
    assert norm.vmin is not None
    assert norm.vmax is not None
    first, last = round(np.log10(norm.linthresh)), int(np.floor(np.log10(norm.vmax) + 1e-9))
    powers = range(last, first - 1, -max(1, int(np.ceil((last - first + 1) / 3))))
    far = [power for power in reversed(powers) if float(norm(10.0**power)) > float(norm(0.0)) + 0.1]
    positive = [(10.0**power, power_words(10.0**power)) for power in far]
    negative = [(-value, f"−{text}") for value, text in reversed(positive)] if norm.vmin < 0 else []
    ticks = [*negative, (0.0, "0"), *positive]
    return [value for value, _ in ticks], [text for _, text in ticks]


def power_words(value: float) -> str:
    """A power of ten, or 0, as an axis shows it: 0, 1, 10, 100, 10³."""
    power = round(np.log10(value)) if value else 0
    return f"{value:g}" if 0 <= power <= 2 else "10" + str(power).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
