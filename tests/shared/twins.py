"""Models written out in mpmath, on numpy arrays of its numbers, and the curvature of such a map, with many digits."""

import mpmath
import numpy as np
from mpmath import mpf

DIGITS = 160
_STEP = mpf(10) ** -45


def numbers(values):
    """A tensor's entries, exactly, as an array of mpmath's numbers."""
    return np.vectorize(mpf, otypes=[object])(values.detach().double().numpy())


def logistic(z):
    return 1 / (1 + mpmath.exp(-z))


def log_logistic(z):
    return mpmath.log1p(mpmath.exp(z))


def elu(z, alpha=1, scale=1):
    return scale * (z if z > 0 else alpha * mpmath.expm1(z))


SELU = (mpf(1.6732632423543772848170429916717), mpf(1.0507009873554804934193349852946))
FUNCTIONS = {
    "Sigmoid": logistic,
    "Tanh": mpmath.tanh,
    "Softplus": log_logistic,
    "GELU": lambda z: z * mpmath.ncdf(z),
    "SiLU": lambda z: z * logistic(z),
    "Mish": lambda z: z * mpmath.tanh(log_logistic(z)),
    "ELU": elu,
    "SELU": lambda z: elu(z, *SELU),
    "CELU": elu,
    "LogSigmoid": lambda z: -log_logistic(-z),
    "Softsign": lambda z: z / (1 + abs(z)),
    "Tanhshrink": lambda z: z - mpmath.tanh(z),
    "ReLU": lambda z: max(z, mpf(0)),
    "PReLU": lambda z: z if z > 0 else z / 4,
}


def each(function, z):
    return np.vectorize(function, otypes=[object])(z)


def activation(name):
    return lambda z: each(FUNCTIONS[name], z)


def linear(module):
    weight = numbers(module.weight)
    bias = numbers(module.bias) if module.bias is not None else 0
    return lambda z: z @ weight.T + bias


def softmax(z):
    exponentials = each(mpmath.exp, z - z.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def normalized(z, eps, *, centred=True):
    """Along the last axis."""
    z = z - z.mean(axis=-1, keepdims=True) if centred else z
    return z / each(mpmath.sqrt, (z * z).mean(axis=-1, keepdims=True) + mpf(eps))


def layer_norm(module):
    weight, bias = numbers(module.weight), numbers(module.bias)
    return lambda z: normalized(z, module.eps) * weight + bias


def convolution(module):
    """One-dimensional, without padding, on (channels, length)."""
    weight, bias = numbers(module.weight), numbers(module.bias)
    out, each_group, size = weight.shape

    def twin(z):
        rows = []
        for channel in range(out):
            first = channel // (out // module.groups) * each_group
            part = z[first : first + each_group]
            windows = [(part[:, k : k + size] * weight[channel]).sum() for k in range(z.shape[1] - size + 1)]
            rows.append(np.array(windows) + bias[channel])
        return np.array(rows)

    return twin


def attention(module):
    """Of a sequence with itself, (length, width), by nn.MultiheadAttention without masks."""
    weight, bias = numbers(module.in_proj_weight), numbers(module.in_proj_bias)
    heads = module.num_heads
    after = linear(module.out_proj)

    def twin(z):
        length, width = z.shape
        three = (z @ weight.T + bias).reshape(length, 3, heads, width // heads)
        queries, keys, values = three.transpose(1, 2, 0, 3)
        root = mpmath.sqrt(width // heads)
        mixed = [softmax(q @ k.T / root) @ v for q, k, v in zip(queries, keys, values, strict=True)]
        return after(np.stack(mixed, axis=1).reshape(length, width))

    return twin


def ricci(twin, point):
    """R of a map of two inputs, by the Gauss equation, from differences with many digits."""
    with mpmath.workdps(DIGITS):
        x = [mpf(number) for number in point.tolist()]

        def at(one, two):
            return np.asarray(twin(np.array([x[0] + one * _STEP, x[1] + two * _STEP], dtype=object))).ravel()

        centre = at(0, 0)
        ahead, behind = (at(1, 0), at(0, 1)), (at(-1, 0), at(0, -1))
        first = [(plus - minus) / (2 * _STEP) for plus, minus in zip(ahead, behind, strict=True)]
        second = [(plus - 2 * centre + minus) / _STEP**2 for plus, minus in zip(ahead, behind, strict=True)]
        mixed = (at(1, 1) - at(1, -1) - at(-1, 1) + at(-1, -1)) / (4 * _STEP**2)
        g = np.array([[one @ other for other in first] for one in first])
        determinant = g[0, 0] * g[1, 1] - g[0, 1] ** 2
        inverse = np.array([[g[1, 1], -g[0, 1]], [-g[0, 1], g[0, 0]]]) / determinant

        def normal(bend):
            along = inverse @ np.array([bend @ one for one in first])
            return bend - along[0] * first[0] - along[1] * first[1]

        return float(2 * (normal(second[0]) @ normal(second[1]) - normal(mixed) @ normal(mixed)) / determinant)
