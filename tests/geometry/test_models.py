"""A table of models that people have: the curvature at a submodule is right to its stated error, or refused."""

from typing import NamedTuple

import mpmath
import numpy as np
import pytest
import torch
import twins
from reference import DOUBLE, Sine, points
from torch import nn
from torch.nn.utils import parametrizations

from nngeom_cli.geometry import ModuleFeatureMap, measure

X = points(4, 2)


class Model(NamedTuple):
    """A model; the layer that is measured; the same map on two of mpmath's numbers, without 1/sqrt(n)."""

    module: nn.Module
    layer: str
    twin: object
    factor: float = 1.0  # of the point


def chain(*parts):
    def twin(z):
        for part in parts:
            z = part(z)
        return z

    return twin


def shaped(*shape):
    return lambda z: z.reshape(shape)


def perceptron(name, scale=1.0):
    kind = getattr(nn, name)
    module = nn.Sequential(nn.Linear(2, 7), kind(), nn.Linear(7, 6), kind(), nn.Linear(6, 3))
    with torch.no_grad():
        module[0].weight *= scale
    twin = chain(twins.linear(module[0]), twins.activation(name), twins.linear(module[2]), twins.activation(name))
    return Model(module, "3", twin)


def normed(norm, twin):
    module = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), norm, nn.Linear(8, 3))
    return Model(module, "2", chain(twins.linear(module[0]), twins.activation("Tanh"), twin(norm)))


def batch_norm():
    norm = nn.BatchNorm1d(8)
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2)

    def twin(norm):
        spread = twins.each(mpmath.sqrt, twins.numbers(norm.running_var) + mpmath.mpf(norm.eps))
        return lambda z: (z - twins.numbers(norm.running_mean)) / spread

    return normed(norm, twin)


def group_norm():
    return normed(nn.GroupNorm(2, 8), lambda norm: lambda z: twins.normalized(z.reshape(2, 4), norm.eps).ravel())


def rms_norm():
    return normed(nn.RMSNorm(8, eps=1e-5), lambda norm: lambda z: twins.normalized(z, norm.eps, centred=False))


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.inner, self.act = nn.Linear(2, 6), nn.Linear(6, 6), nn.SiLU()

    def forward(self, x):
        z = self.first(x)
        return z + self.act(self.inner(z))


def residual():
    module = Residual()
    first, inner, act = twins.linear(module.first), twins.linear(module.inner), twins.activation("SiLU")
    return Model(nn.Sequential(module, nn.Linear(6, 1)), "0", lambda x: first(x) + act(inner(first(x))))


def convolutional(groups=1, pool=None):
    conv, parts = nn.Conv1d(2, 4, 3, groups=groups), [nn.Linear(2, 14), nn.Unflatten(1, (2, 7))]
    module = nn.Sequential(*parts, conv, nn.GELU(), pool or nn.Identity(), nn.Flatten(), nn.LazyLinear(2))
    module(torch.zeros(1, 2))
    pooled = {"AvgPool1d": lambda z: z.reshape(4, 2, 2).mean(axis=2), "MaxPool1d": lambda z: z.reshape(4, 2, 2).max(2)}
    after = pooled.get(type(pool).__name__, lambda z: z)
    crop = (lambda z: z[:, :4]) if pool else (lambda z: z)
    parts = (twins.linear(module[0]), shaped(2, 7), twins.convolution(conv), twins.activation("GELU"), crop, after)
    return Model(module, "4", chain(*parts))


def dropout():
    module = nn.Sequential(nn.Linear(2, 6), nn.Dropout(0.5), nn.Tanh(), nn.Dropout(0.9), nn.Linear(6, 1))
    return Model(module, "3", chain(twins.linear(module[0]), twins.activation("Tanh")))


def gated():
    module = nn.Sequential(nn.Linear(2, 12), nn.GLU(), nn.Linear(6, 1))
    first = twins.linear(module[0])
    return Model(module, "1", lambda x: first(x)[:6] * twins.activation("Sigmoid")(first(x)[6:]))


def piecewise():
    module = nn.Sequential(nn.Linear(2, 7), nn.PReLU(), nn.Linear(7, 6), nn.Tanh())
    parts = (twins.linear(module[0]), twins.activation("PReLU"), twins.linear(module[2]), twins.activation("Tanh"))
    return Model(module, "3", chain(*parts))


class Frequencies(nn.Module):
    def forward(self, x):
        phases = x[..., None] * torch.tensor([1.0, 2.0, 4.0], dtype=x.dtype)
        return torch.cat([phases.sin(), phases.cos()], -1).flatten(1)


def embedding():
    module = nn.Sequential(Frequencies(), nn.Linear(12, 5), nn.Softplus())

    def waves(x):
        phases = x[:, None] * np.array([1, 2, 4])
        return np.concatenate([twins.each(mpmath.sin, phases), twins.each(mpmath.cos, phases)], axis=1).ravel()

    return Model(module, "2", chain(waves, twins.linear(module[1]), twins.activation("Softplus")))


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.attention = nn.Linear(2, 12), nn.MultiheadAttention(4, 2, batch_first=True)
        self.out = nn.Identity()

    def forward(self, x):
        z = self.first(x).unflatten(1, (3, 4))
        return self.out(self.attention(z, z, z, need_weights=False)[0])


def attention():
    module = Attention()
    return Model(module, "out", chain(twins.linear(module.first), shaped(3, 4), twins.attention(module.attention)))


def transformer(norm_first=False):
    block = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True, activation="gelu", norm_first=norm_first)
    module = nn.Sequential(nn.Linear(2, 12), nn.Unflatten(1, (3, 4)), block, nn.Flatten(), nn.Linear(12, 2))
    mixed, norms = twins.attention(block.self_attn), [twins.layer_norm(norm) for norm in (block.norm1, block.norm2)]
    dense = chain(twins.linear(block.linear1), twins.activation("GELU"), twins.linear(block.linear2))

    def twin(z):
        if norm_first:
            z = z + mixed(norms[0](z))
            return z + dense(norms[1](z))
        z = norms[0](z + mixed(z))
        return norms[1](z + dense(z))

    return Model(module, "2", chain(twins.linear(module[0]), shaped(3, 4), twin))


def weight_norm():
    model = perceptron("Tanh")
    parametrizations.weight_norm(model.module[2])
    model.module.double()
    parts = (twins.linear(model.module[0]), twins.activation("Tanh"), twins.linear(model.module[2]))
    return model._replace(twin=chain(*parts, twins.activation("Tanh")))


class Fourier(nn.Module):
    def forward(self, z):
        spectrum = torch.fft.rfft(z)
        return torch.cat([spectrum.real, spectrum.imag[..., 1:-1]], -1)


def fourier():
    module = nn.Sequential(nn.Linear(2, 6), nn.Tanh(), Fourier(), nn.SiLU())

    def transform(z):
        angles = [[2 * mpmath.pi * j * k / 6 for j in range(6)] for k in range(4)]
        cosines = np.array([[mpmath.cos(angle) for angle in row] for row in angles])
        sines = np.array([[-mpmath.sin(angle) for angle in row] for row in angles])
        return np.concatenate([cosines @ z, (sines @ z)[1:3]])

    parts = (twins.linear(module[0]), twins.activation("Tanh"), transform, twins.activation("SiLU"))
    return Model(module, "3", chain(*parts))


def compiled():
    model = perceptron("GELU")
    return model._replace(module=torch.compile(model.module, backend="eager"), layer="_orig_mod.3")


def parallel():
    model = perceptron("Mish")
    return model._replace(module=nn.DataParallel(model.module), layer="module.3")


def in_place_first():
    module = nn.Sequential(nn.SiLU(inplace=True), nn.Linear(2, 6), nn.Tanh())
    parts = (twins.activation("SiLU"), twins.linear(module[1]), twins.activation("Tanh"))
    return Model(module, "2", chain(*parts))


class Sines(nn.Module):
    def forward(self, z):
        return Sine.apply(z)


def custom():
    module = nn.Sequential(nn.Linear(2, 6), Sines())
    return Model(module, "1", chain(twins.linear(module[0]), lambda z: twins.each(mpmath.sin, z)))


class Autocast(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        with torch.autocast("cpu", torch.bfloat16):
            return self.inner(x)


def autocast():
    model = perceptron("Tanh")
    return model._replace(module=Autocast(model.module), layer="inner.3")


def half():
    module = perceptron("SiLU").module.half()
    parts = (twins.linear(module[0]), twins.activation("SiLU"), twins.linear(module[2]), twins.activation("SiLU"))
    return Model(module, "3", chain(*parts))


class Coarse(nn.Module):
    def forward(self, x):
        return x.float()


def coarse():
    module = nn.Sequential(nn.Linear(2, 6), Coarse(), nn.Tanh(), Coarse(), Doubled())
    return Model(module, "4", chain(twins.linear(module[0]), twins.activation("Tanh")))


class Doubled(nn.Module):
    def forward(self, x):
        return x.double()


SMOOTH = ["Sigmoid", "Tanh", "Softplus", "GELU", "SiLU", "Mish", "ELU", "SELU", "CELU", "LogSigmoid", "Softsign"]
SMOOTH += ["Tanhshrink", "ReLU"]
TABLE = {f"perceptron of {name}": lambda name=name: perceptron(name) for name in SMOOTH}
TABLE |= {f"saturated perceptron of {name}": lambda name=name: perceptron(name, 30.0) for name in SMOOTH[:-1]}
TABLE |= {
    "layer norm": lambda: normed(nn.LayerNorm(8), twins.layer_norm),
    "batch norm": batch_norm,
    "group norm": group_norm,
    "rms norm": rms_norm,
    "residual": residual,
    "convolution": convolutional,
    "depthwise convolution": lambda: convolutional(groups=2),
    "mean pooling": lambda: convolutional(pool=nn.AvgPool1d(2)),
    "max pooling": lambda: convolutional(pool=nn.MaxPool1d(2)),
    "dropout": dropout,
    "gated": gated,
    "prelu": piecewise,
    "embedding": embedding,
    "attention": attention,
    "transformer": transformer,
    "transformer, norm first": lambda: transformer(norm_first=True),
    "weight norm": weight_norm,
    "fourier": fourier,
    "compiled": compiled,
    "parallel": parallel,
    "in place first": in_place_first,
    "custom function": custom,
    "half": half,
    "autocast": autocast,
}


def made(make):
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return make()


@pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")
@pytest.mark.parametrize("name", TABLE)
def test_curvature_of_a_model_is_right_to_its_stated_error(name):
    error, stated, exact = errors(made(TABLE[name]), X)
    assert (error <= stated).all(), (error / stated).max()
    known = stated < 1e-6 * exact.abs()
    assert known.sum() >= 3 or (exact == 0).all()


def errors(model, x):
    """Of R: the true ones, those that are stated, and the exact R."""
    feature_map = ModuleFeatureMap(model.module, model.layer)
    measured = measure(feature_map, x, ("ricci_scalar", "ricci_scalar_error"))
    n = feature_map(x).shape[-1]
    exact = torch.tensor([n * twins.ricci(model.twin, point) for point in x], dtype=DOUBLE)
    return (measured["ricci_scalar"] - exact).abs(), measured["ricci_scalar_error"], exact


@pytest.mark.parametrize("distance", [1e3, 1e6, 1e9])
@pytest.mark.parametrize("name", ["Sigmoid", "Tanh", "Softplus", "SiLU", "GELU"])
def test_stated_errors_contain_the_rounding_of_sums_far_from_the_origin(name, distance):
    """z = W x + b with a large W x and b, whose difference has few digits left."""

    def make():
        module = nn.Sequential(nn.Linear(2, 7), getattr(nn, name)()).double()
        far = torch.tensor([distance, -distance], dtype=DOUBLE)
        with torch.no_grad():
            module[0].bias -= module[0].weight @ far
        return Model(module, "1", chain(twins.linear(module[0]), twins.activation(name)))

    error, stated, exact = errors(made(make), X + torch.tensor([distance, -distance], dtype=DOUBLE))
    assert (error <= stated).all(), (error / stated).max()
    assert (stated < 1e6 * distance * 2e-16 * exact.abs()).sum() >= 3


def test_stated_errors_contain_float32_inside_float64():
    model = made(coarse)
    with pytest.warns(UserWarning, match=r"computes in torch\.float32"):
        error, stated, exact = errors(model, X)
    assert (error <= stated).all(), (error / stated).max()
    assert ((stated > 1e-10 * exact.abs()) & (stated < 1e-1 * exact.abs())).all()
