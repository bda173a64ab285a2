"""The paper's problems (Appendix C), and others in the plane."""

from __future__ import annotations

import math

import numpy as np
import torch

from nngeom_cli.config.task import (
    SCANNED,
    CirclesConfig,
    DigitsConfig,
    MoonsConfig,
    SinusoidConfig,
    SpiralsConfig,
    XorConfig,
)
from nngeom_cli.tasks.losses import MeanSquaredError
from nngeom_cli.tasks.task import Task

__all__ = ["circles", "digits", "moons", "sinusoid", "spirals", "xor"]


def xor(_: XorConfig) -> Task:
    """Four corners of a square, (C.1), labels 0 1 1 0; one linear output against the label, decision at 0.5."""
    inputs = torch.tensor([[-1, -1], [-1, 1], [1, -1], [1, 1]], dtype=torch.float64)
    return Task("xor", inputs, torch.tensor([0, 1, 1, 0]), outputs=1, loss=MeanSquaredError(threshold=0.5))


def sinusoid(config: SinusoidConfig) -> Task:
    """Points uniform in [-1, 1]^2, class 1 above x_2 = 3/5 sin(7 x_1 - 1), (C.2)."""
    random = torch.Generator().manual_seed(config.data_seed)
    inputs = torch.rand(config.points, 2, dtype=torch.float64, generator=random) * 2 - 1
    labels = (inputs[:, 1] > 0.6 * torch.sin(7 * inputs[:, 0] - 1)).long()
    return Task("sinusoid", inputs, labels, outputs=2)


def digits(config: DigitsConfig) -> Task:
    """scikit-learn's 8 x 8 digits, raw pixels 0..16, all ten or some; enlarged by bilinear interpolation if asked for.

    Pixels are squares: pixel i of s per side has its centre at (i + 1/2) 8 / s - 1/2 in units of the scanned pixels.
    Between their centres it interpolates linearly, and beyond the outermost it takes those. So values stay within
    0..16, and the enlarged images still span no more than 64 dimensions.
    """
    from sklearn.datasets import load_digits

    images, written = load_digits(return_X_y=True)
    labels = np.full(len(written), -1)
    for label, digit in enumerate(config.chosen):
        labels[written == digit] = label
    images, labels = images[labels >= 0], labels[labels >= 0]
    inputs = torch.as_tensor(images, dtype=torch.float64)
    if config.side != SCANNED:
        scanned = inputs.reshape(-1, 1, SCANNED, SCANNED)
        enlarged = torch.nn.functional.interpolate(scanned, (config.side, config.side), mode="bilinear")
        inputs = enlarged.flatten(1)
    shape = tuple(config.image_shape)
    return Task(
        "digits",
        inputs,
        torch.as_tensor(labels).long(),
        outputs=config.outputs,
        solved_accuracy=0.9,
        image_shape=shape,
    )


def moons(config: MoonsConfig) -> Task:
    """Half circles of radius 1 around (0, 0), upper, and (1, 1/2), lower."""
    from sklearn.datasets import make_moons

    points, labels = make_moons(config.points, noise=config.noise, random_state=config.data_seed)
    return Task("moons", torch.as_tensor(points), torch.as_tensor(labels), outputs=2, solved_accuracy=0.95)


def circles(config: CirclesConfig) -> Task:
    """Circles around the origin; class 1 is the inner one."""
    from sklearn.datasets import make_circles

    points, labels = make_circles(
        config.points, noise=config.noise, factor=config.factor, random_state=config.data_seed
    )
    return Task("circles", torch.as_tensor(points), torch.as_tensor(labels), outputs=2, solved_accuracy=0.95)


def spirals(config: SpiralsConfig) -> Task:
    """Radius sqrt(u), angle 2 pi turns sqrt(u) + pi label, u uniform in [0, 1]: evenly dense along the arms."""
    random = torch.Generator().manual_seed(config.data_seed)
    radius = torch.rand(config.points, dtype=torch.float64, generator=random).sqrt()
    labels = torch.arange(config.points) % 2
    angle = math.pi * (2 * config.turns * radius + labels)
    noise = config.noise * torch.randn(config.points, 2, dtype=torch.float64, generator=random)
    inputs = radius[:, None] * torch.stack([angle.cos(), angle.sin()], dim=1) + noise
    return Task("spirals", inputs, labels, outputs=2, solved_accuracy=0.95)
