"""Slow, literal transcriptions of the textbook formulas and of the paper's printed ones, for any torch callable.

Each takes a feature map `f` of one point (d,) -> (n,) and the point `x`, and differentiates with reverse-mode autograd.
Index order as in docs/conventions.md: dg[m, n, a] = d_a g_mn, christoffel[r, m, n] = Gamma^r_mn, riemann[m, n, a, b].
"""

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor
from torch.func import jacrev

FeatureMap = Callable[[Tensor], Tensor]
HERE = Path(__file__).parent
DOUBLE = torch.float64


def golden(name: str) -> dict:
    """The reference values of `golden.json` or `golden_hard.json`, decimal strings."""
    return json.loads((HERE / name).read_text())


TOLERANCE = {"golden.json": 1e-10, "golden_hard.json": 1e-6}
NETWORKS = [(name, index) for name in TOLERANCE for index in range(len(golden(name)["mlp"]))]
FILES = {name: golden(name) for name in TOLERANCE}


def doubles(numbers: object) -> Tensor:
    """Nested lists of numbers or decimal strings as float64."""
    if isinstance(numbers, list):
        return torch.stack([doubles(entry) for entry in numbers])
    return torch.tensor(float(numbers), dtype=DOUBLE)


def points(*shape: int, seed: int = 1, dtype: torch.dtype = DOUBLE) -> Tensor:
    """Gaussian points."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def random_network(
    widths: list[int], seed: int, replicates: tuple[int, ...] = (), scale: float = 1.0
) -> tuple[list[Tensor], list[Tensor]]:
    """Gaussian weights of standard deviation scale * sqrt(2 / inputs), biases of scale / 2."""
    generator = torch.Generator().manual_seed(seed)
    weights, biases = [], []
    for inputs, outputs in pairwise(widths):
        weight = torch.randn(*replicates, outputs, inputs, generator=generator, dtype=DOUBLE)
        weights.append(scale * (2 / inputs) ** 0.5 * weight)
        biases.append(scale * torch.randn(*replicates, outputs, generator=generator, dtype=DOUBLE) / 2)
    return weights, biases


def network_function(weights: list[Tensor], biases: list[Tensor], phi: FeatureMap) -> FeatureMap:
    """The feature map of eq. (1), layer after layer, as a bare torch callable."""

    def features(point: Tensor) -> Tensor:
        for weight, bias in zip(weights, biases, strict=True):
            point = phi(weight @ point + bias)
        return point / len(point) ** 0.5

    return features


def metric(f: FeatureMap, x: Tensor) -> Tensor:
    """g_mn = d_m Phi_i d_n Phi_i: eq. (2)."""
    jacobian = jacrev(f)(x)
    return torch.einsum("im,in->mn", jacobian, jacobian)


def metric_derivative(f: FeatureMap, x: Tensor) -> Tensor:
    """dg[m, n, a] = d_a g_mn."""
    return jacrev(lambda point: metric(f, point))(x)


def christoffel(f: FeatureMap, x: Tensor) -> Tensor:
    """Gamma^r_mn = 1/2 g^rl (d_m g_nl - d_l g_mn + d_n g_ml): eq. (A.3)."""
    dg = metric_derivative(f, x)
    lowered = torch.einsum("nlm->lmn", dg) - torch.einsum("mnl->lmn", dg) + torch.einsum("mln->lmn", dg)
    return torch.einsum("rl,lmn->rmn", torch.linalg.inv(metric(f, x)), lowered) / 2


def riemann_31(f: FeatureMap, x: Tensor) -> Tensor:
    """R^m_nab = d_a Gamma^m_bn - d_b Gamma^m_an + Gamma^m_ar Gamma^r_bn - Gamma^m_br Gamma^r_an: (A.5), sign right."""
    return _derivative_terms(f, x) - _printed_product_terms(f, x)


def riemann_31_printed(f: FeatureMap, x: Tensor) -> Tensor:
    """(A.5) as printed: d_a Gamma^m_bn - d_b Gamma^m_an + Gamma^r_an Gamma^m_br - Gamma^r_bn Gamma^m_ar."""
    return _derivative_terms(f, x) + _printed_product_terms(f, x)


def _derivative_terms(f: FeatureMap, x: Tensor) -> Tensor:
    slope = jacrev(lambda point: christoffel(f, point))(x)  # slope[m, b, n, a] = d_a Gamma^m_bn
    return torch.einsum("mbna->mnab", slope) - torch.einsum("manb->mnab", slope)


def _printed_product_terms(f: FeatureMap, x: Tensor) -> Tensor:
    gamma = christoffel(f, x)
    return torch.einsum("ran,mbr->mnab", gamma, gamma) - torch.einsum("rbn,mar->mnab", gamma, gamma)


def riemann(f: FeatureMap, x: Tensor) -> Tensor:
    """R_mnab = g_ml R^l_nab: (A.10)."""
    return torch.einsum("ml,lnab->mnab", metric(f, x), riemann_31(f, x))


def riemann_printed_4(f: FeatureMap, x: Tensor) -> Tensor:
    """Eq. (4) as printed: -3/4 g^rl (d_r g_ma d_l g_nb - d_r g_mb d_l g_na)."""
    inverse, dg = torch.linalg.inv(metric(f, x)), metric_derivative(f, x)
    product = torch.einsum("rl,mar,nbl->mnab", inverse, dg, dg)
    return -3 / 4 * (product - product.transpose(2, 3))


def ricci(f: FeatureMap, x: Tensor) -> Tensor:
    """R_nb = R^a_nab."""
    return torch.einsum("anab->nb", riemann_31(f, x))


def scalar(f: FeatureMap, x: Tensor) -> Tensor:
    """R = g^bn R^a_nab: (A.17)."""
    return torch.einsum("bn,nb->", torch.linalg.inv(metric(f, x)), ricci(f, x))


def scalar_of(riemann_tensor: Tensor, metric_tensor: Tensor) -> Tensor:
    """R = g^ma g^nb R_mnab of a (4, 0) tensor: (A.18)."""
    inverse = torch.linalg.inv(metric_tensor)
    return torch.einsum("ma,nb,mnab->", inverse, inverse, riemann_tensor)


def paraboloid(p: Tensor) -> Tensor:
    """z = x^2 + y^2 over the plane: R(0) = 8."""
    return torch.stack([p[0], p[1], p @ p])


def monkey_saddle(p: Tensor) -> Tensor:
    """z = x^3 - 3 x y^2 over the plane."""
    return torch.stack([p[0], p[1], p[0] ** 3 - 3 * p[0] * p[1] ** 2])


class Sine(torch.autograd.Function):
    """sin as a function with derivatives of its own."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x):
        return x.sin()

    @staticmethod
    def setup_context(ctx, inputs, output):  # noqa: ARG004
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx, gradient):
        return gradient * ctx.saved_tensors[0].cos()

    @staticmethod
    def jvp(ctx, tangent):
        return tangent * ctx.saved_tensors[0].cos()
