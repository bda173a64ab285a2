"""Large modules: nngeom's spectrum and curvature against what a user would write, and how time and memory grow.

python benchmarks/modules.py [spectrum] [plane] [growth] [full] [whole] [photograph]

`full` is `spectrum` and `plane` with the channels of a ResNet-18, `whole` R with its error at 36 x 36 points on two
threads, `photograph` one image of (3, 224, 224): many minutes each, and only if named.
Seconds are CPU time of the process, all threads together; memory is the peak resident memory of a separate process.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

import torch
from timing import in_turns, machine
from torch import Tensor, nn
from torch.func import jacfwd, jacrev, vmap

from nngeom_cli.geometry import ModuleFeatureMap, measure
from nngeom_cli.geometry.operators import leading
from nngeom_cli.geometry.routes import propagated

NARROW, WIDE = 16, 64  # channels of the first stage
SIDE, TOP = 32, 6
CURVATURE = ("ricci_scalar",)
WITH_ERROR = ("ricci_scalar", "ricci_scalar_error")


class Block(nn.Module):
    """Two convolutions and a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.SiLU(),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut = nn.Sequential()
        if stride > 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.silu(self.body(x) + self.shortcut(x))


def residual_network(width: int = WIDE, blocks: int = 2, *, photographs: bool = False) -> nn.Sequential:
    """A ResNet with four stages, SiLU for ReLU; with two blocks and 64 channels it has the layers of a ResNet-18."""
    torch.manual_seed(0)
    stem: list[nn.Module] = [nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.SiLU()]
    if photographs:
        stem[0] = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        stem.append(nn.MaxPool2d(3, 2, 1))
    channels = [width * 2**stage for stage in range(4)]
    stages = [
        Block(channels[max(stage - 1, 0)] if block == 0 else channels[stage], channels[stage], 1 + (stage > 0 == block))
        for stage in range(4)
        for block in range(blocks)
    ]
    return nn.Sequential(*stem, *stages, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def at_pooling(model: nn.Sequential, side: int) -> ModuleFeatureMap:
    return ModuleFeatureMap(model, str(len(model) - 1), shape=(3, side, side))


def numbers(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def on_a_plane(feature_map: ModuleFeatureMap, side: int) -> ModuleFeatureMap:
    origin, *directions = numbers(3, 3 * side * side)
    return feature_map.restricted_to(origin, torch.stack(directions))


def written(model: nn.Sequential) -> Callable[[Tensor], Tensor]:
    """The features of one point as a user would write them, without nngeom."""
    model = model.eval().double().requires_grad_(False)

    def features(point: Tensor) -> Tensor:
        output = model(point.reshape(1, 3, SIDE, SIDE)).flatten()
        return output / len(output) ** 0.5

    return features


def spectrum(width: int = NARROW, rounds: int = 3) -> None:
    """The leading eigenvalues at an image, with and without the Jacobian."""
    model = residual_network(width)
    feature_map, by_hand = at_pooling(model, SIDE), written(model)
    function, x = feature_map.each()[0], numbers(1, 3 * SIDE**2)
    bounds = leading(function._at, x[0], TOP).bounds

    def without() -> Tensor:
        return leading(function._at, x[0], TOP).values.square()

    def users() -> Tensor:
        jacobians = vmap(jacrev(by_hand, chunk_size=64))(x)
        return torch.linalg.svdvals(jacobians)[0, :TOP].square()

    def own() -> Tensor:
        jacobian = function.jet(x, second=False).jacobian[0, :, :, 0]
        return torch.linalg.svdvals(jacobian)[:TOP].square()

    for side in (users, own):
        torch.testing.assert_close(side(), without(), rtol=1e-6, atol=0)
    print(f"leading {TOP} eigenvalues at (3, {SIDE}, {SIDE}), {8 * width} features; bounds up to {bounds.max():.0e}")
    show(in_turns({"block Lanczos": without, "the whole Jacobian": own, "vmap(jacrev) and svdvals": users}, rounds))


def gauss(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """R on a plane as a user would write it: jacfwd of jacfwd, and the Gauss equation."""

    def scalar(u: Tensor) -> Tensor:
        jacobian, hessian = jacfwd(function)(u), jacfwd(jacfwd(function))(u)
        metric = jacobian.mT @ jacobian
        tangent = torch.linalg.solve(metric, torch.einsum("ia,ibc->abc", jacobian, hessian).flatten(1))
        normal = hessian - (jacobian @ tangent).reshape(hessian.shape)
        gaussian = (normal[:, 0, 0] * normal[:, 1, 1] - normal[:, 0, 1] ** 2).sum() / torch.linalg.det(metric)
        return 2 * gaussian

    return scalar


def plane(width: int = NARROW, rounds: int = 3, count: int = 16) -> None:
    """R at points of a plane, by jets and by nested jacobians."""
    model, points = residual_network(width), numbers(count, 2) / 3
    feature_map, features = on_a_plane(at_pooling(model, SIDE), SIDE), written(model)
    origin, *directions = numbers(3, 3 * SIDE**2)
    function = gauss(lambda u: features(origin + u @ torch.stack(directions)))
    start = time.process_time()
    expected = measure(feature_map, points, CURVATURE)["ricci_scalar"]
    first = time.process_time() - start
    print(f"R at {count} points of a plane, {8 * width} features; {first:.1f} s for the first time, with the trial")

    def users() -> Tensor:
        return vmap(function, chunk_size=4)(points)

    torch.testing.assert_close(users(), expected, rtol=1e-6, atol=0)
    sides = {
        "jets": lambda: measure(feature_map, points, CURVATURE),
        "jets, and the error": lambda: measure(feature_map, points, WITH_ERROR),
        "jacfwd(jacfwd) by hand": users,
    }
    show({name: seconds / count for name, seconds in in_turns(sides, rounds).items()})


def show(median: dict[str, float]) -> None:
    own = next(iter(median.values()))
    for name, seconds in median.items():
        print(f"  {name:28}{seconds:10.3f} s{seconds / own:8.1f}", flush=True)


def growth() -> None:
    """Seconds and memory by the size of images, the width, the depth and the number of points, each on its own."""
    print("CPU s and peak memory so far; width 16, 2 blocks a stage, 16 points, images of 32 x 32 unless stated")
    rows: dict[str, Sequence[tuple[int, int, int, int]]] = {
        "pixels": [(16, 2, side, 16) for side in (16, 32, 64, 128)],
        "width": [(width, 2, 32, 16) for width in (8, 16, 32, 64)],
        "blocks": [(16, blocks, 32, 16) for blocks in (1, 2, 4)],
        "points": [(16, 2, 32, points) for points in (1, 16, 256)],
    }
    for name, cases in rows.items():
        for case in cases:
            command = [sys.executable, __file__, "one", *map(str, case)]
            line = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
            print(f"  {name:8}{line}", flush=True)


def one(width: int, blocks: int, side: int, count: int, *, photographs: bool = False) -> None:
    """The curvature and the spectrum of one network, printed on one line as they are found."""
    feature_map = at_pooling(residual_network(width, blocks, photographs=photographs), side)
    image, points = numbers(3 * side**2), numbers(count, 2) / 3
    flat, function = on_a_plane(feature_map, side), feature_map.each()[0]._at
    print(f"width {width}, {blocks} blocks, d {3 * side**2}, n {8 * width}, {count} points:", end=" ", flush=True)
    widest = flat.dimensions(points).widest
    parts = {
        "evaluation": lambda: feature_map(image),
        "jets of a point": lambda: propagated(flat.each()[0]._at, points[:1], widest, second=True),
        f"{TOP} eigenvalues": lambda: leading(function, image, TOP),
        "first R": lambda: measure(flat, points[:1], CURVATURE),
        "R and error, each": lambda: measure(flat, points, WITH_ERROR),
    }
    for name, compute in parts.items():
        start = time.process_time()
        compute()
        seconds = (time.process_time() - start) / (count if "each" in name else 1)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"{name} {seconds:.3g} s, {memory:.2f} GiB", end="; ", flush=True)
    print()


def whole(side: int = 36) -> None:
    """R with its error on a whole plane of the largest network, on two threads."""
    torch.set_num_threads(2)
    axis = torch.linspace(-1, 1, side, dtype=torch.float64)
    points = torch.cartesian_prod(axis, axis)
    feature_map = on_a_plane(at_pooling(residual_network(), SIDE), SIDE)
    for name, some in {"first point, with the trial": points[:1], f"{side} x {side} points": points}.items():
        clocks = time.process_time(), time.perf_counter()
        found = measure(feature_map, some, WITH_ERROR)
        cpu, wall = time.process_time() - clocks[0], time.perf_counter() - clocks[1]
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        digits = (found["ricci_scalar_error"] / found["ricci_scalar"].abs()).median()
        print(
            f"R and its error, {name}: {cpu:.0f} CPU s, {wall:.0f} s, {memory:.2f} GiB, error / R {digits:.0e}",
            flush=True,
        )


def full() -> None:
    """What performance.md says of the ResNet-18."""
    spectrum(WIDE, 1)
    plane(WIDE, 3)


def photograph() -> None:
    """One image of (3, 224, 224)."""
    one(WIDE, 2, 224, 1, photographs=True)


PARTS: dict[str, Callable[[], None]] = {part.__name__: part for part in (spectrum, plane, growth)}
NAMED: dict[str, Callable[[], None]] = {part.__name__: part for part in (full, whole, photograph)}


def main(names: list[str]) -> None:
    torch.set_num_threads(1)
    if names[:1] == ["one"]:
        one(*map(int, names[1:]))
        return
    print(machine())
    for name in names or PARTS:
        (PARTS | NAMED)[name]()


if __name__ == "__main__":
    main(sys.argv[1:])
