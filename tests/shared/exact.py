"""The geometry of a fully connected network where float64 has no say: the Christoffel route in mpmath, many digits."""

import mpmath
from mpmath import mpf
from torch import Tensor

DIGITS = 400


def _sigmoid(z):
    y = 1 / (1 + mpmath.exp(-z))
    return y, y * (1 - y), y * (1 - y) * (1 - 2 * y)


def _tanh(z):
    y = mpmath.tanh(z)
    return y, 1 - y**2, -2 * y * (1 - y**2)


def _softplus(z):
    y = 1 / (1 + mpmath.exp(-z))
    return mpmath.log1p(mpmath.exp(z)), y, y * (1 - y)


def _erf(z):
    density = mpmath.sqrt(2 / mpmath.pi) * mpmath.exp(-(z**2) / 2)
    return mpmath.erf(z / mpmath.sqrt(2)), density, -z * density


def _gelu(z):
    density, mass = mpmath.npdf(z), mpmath.ncdf(z)
    return z * mass, mass + z * density, density * (2 - z**2)


def _sin(z):
    return mpmath.sin(z), mpmath.cos(z), -mpmath.sin(z)


ACTIVATIONS = {"sigmoid": _sigmoid, "tanh": _tanh, "softplus": _softplus, "erf": _erf, "gelu": _gelu, "sin": _sin}


def jet(weights: list[Tensor], biases: list[Tensor], activation: str, point: Tensor):
    """First and second derivatives of the features times sqrt(n): lists over units of d and d x d numbers."""
    d = len(point)
    values = [mpf(number) for number in point.tolist()]
    first = [[mpf(a == b) for a in range(d)] for b in range(d)]
    second = [[[mpf(0)] * d for _ in range(d)] for _ in range(d)]
    for weight, bias in zip(weights, biases, strict=True):
        rows = [[mpf(number) for number in row] for row in weight.tolist()]
        z = [mpmath.fdot(row, values) + mpf(number) for row, number in zip(rows, bias.tolist(), strict=True)]
        slopes = [[mpmath.fdot(row, [f[a] for f in first]) for a in range(d)] for row in rows]
        bends = [[[mpmath.fdot(row, [s[a][b] for s in second]) for b in range(d)] for a in range(d)] for row in rows]
        phi = [ACTIVATIONS[activation](number) for number in z]
        values = [p[0] for p in phi]
        first = [[p[1] * u[a] for a in range(d)] for p, u in zip(phi, slopes, strict=True)]
        second = [
            [[p[2] * u[a] * u[b] + p[1] * h[a][b] for b in range(d)] for a in range(d)]
            for p, u, h in zip(phi, slopes, bends, strict=True)
        ]
    return first, second


def geometry(weights: list[Tensor], biases: list[Tensor], activation: str, point: Tensor):
    """Log volume element and Ricci scalar.

    g = J^T J, Gamma_ab,c = H_ab . J_c, and R from the (4, 0) Riemann tensor
    H_ac . H_bd - H_ad . H_bc - g^-1 (Gamma_ac Gamma_bd - Gamma_ad Gamma_bc).
    """
    with mpmath.workdps(DIGITS):
        first, second = jet(weights, biases, activation, point)
        n, d = len(first), len(first[0])
        metric = mpmath.matrix(d, d)
        for a in range(d):
            for b in range(d):
                metric[a, b] = mpmath.fdot((u[a], u[b]) for u in first) / n
        inverse = metric**-1
        lowered = [
            [
                [mpmath.fdot((h[a][b], u[c]) for h, u in zip(second, first, strict=True)) / n for c in range(d)]
                for b in range(d)
            ]
            for a in range(d)
        ]

        def inner(a, b, c, e):  # normal parts of H_ab and H_ce
            full = mpmath.fdot((h[a][b], h[c][e]) for h in second) / n
            return full - mpmath.fsum(
                inverse[r, s] * lowered[a][b][r] * lowered[c][e][s] for r in range(d) for s in range(d)
            )

        scalar = mpmath.fsum(
            inverse[a, c] * inverse[b, e] * (inner(a, c, b, e) - inner(a, e, b, c))
            for a in range(d)
            for b in range(d)
            for c in range(d)
            for e in range(d)
        )
        return mpmath.log(mpmath.det(metric)) / 2, scalar
