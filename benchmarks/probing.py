"""Milliseconds per grid or path: nngeom's geometry against torch.func, against torch.autograd, and its memory.

python benchmarks/probing.py [memory] [grid] [wide] [path] [images] [growth]
"""

from __future__ import annotations

import math
import resource
import sys
from collections.abc import Callable

import torch
from timing import in_turns, machine
from torch import Tensor, nn

from nngeom_cli.config.optimizer import AdamConfig
from nngeom_cli.config.task import DigitsConfig
from nngeom_cli.geometry import MLPFeatureMap, log_effective_volume_element, measure
from nngeom_cli.tasks.make import make_task
from nngeom_cli.training.loop import batch_generators, initial_generators, train
from nngeom_cli.training.network import initial_network

Derivative = Callable[[Callable[..., Tensor]], Callable[..., Tensor]]
Side = Callable[[Tensor], tuple[Tensor, Tensor]]
QUANTITIES = ("log_volume_element", "ricci_scalar")


def first_layer(width: int, d: int = 2) -> tuple[nn.Module, MLPFeatureMap]:
    """A random layer as a torch module, and as nngeom's feature map."""
    torch.manual_seed(0)
    linear = nn.Linear(d, width, dtype=torch.float64)
    return nn.Sequential(linear, nn.Sigmoid()), MLPFeatureMap([linear.weight], [linear.bias], "sigmoid")


def plane(side: int) -> Tensor:
    axis = torch.linspace(-1.5, 1.5, side, dtype=torch.float64)
    return torch.stack(torch.meshgrid(axis, axis, indexing="xy"), dim=-1).reshape(-1, 2)


def curvature_of_one_layer(metric: Tensor, derivative: Tensor) -> tuple[Tensor, Tensor]:
    """Log volume and Ricci scalar from g and its derivatives (a last), by the paper's (4) with the correct factor 1/4.

    The metric of one layer has totally symmetric first derivatives, so its second derivatives are not needed.
    """
    inverse = torch.linalg.inv(metric)
    product = torch.einsum("...rl,...mar,...nbl->...mnab", inverse, derivative, derivative)
    riemann = -(product - product.transpose(-1, -2)) / 4
    scalar = torch.einsum("...ma,...nb,...mnab->...", inverse, inverse, riemann)
    return torch.linalg.slogdet(metric)[1] / 2, scalar


def metric_of(model: nn.Module, width: int, derivative: Derivative) -> Callable[[Tensor], Tensor]:
    def metric(x: Tensor) -> Tensor:
        jacobian = derivative(model)(x)
        return jacobian.mT @ jacobian / width

    return metric


def with_christoffel_symbols(model: nn.Module, width: int, derivative: Derivative) -> Side:
    """The textbook method, for any model: g by a Jacobian, Christoffel symbols by a second, Riemann by a third."""
    metric = metric_of(model, width, derivative)

    def christoffel(x: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        g, slope = metric(x), torch.func.jacfwd(metric)(x)
        lowered = (slope.permute(1, 0, 2) + slope.permute(2, 0, 1) - slope.permute(2, 1, 0)) / 2
        inverse = torch.linalg.inv(g)
        gamma = torch.einsum("rl,lmn->rmn", inverse, lowered)
        return gamma, (gamma, torch.stack([g, inverse]))

    def volume_and_scalar(x: Tensor) -> tuple[Tensor, Tensor]:
        slope, (gamma, (g, inverse)) = torch.func.jacfwd(christoffel, has_aux=True)(x)
        ricci = (
            torch.einsum("abna->nb", slope)
            - torch.einsum("aanb->nb", slope)
            + torch.einsum("aar,rbn->nb", gamma, gamma)
            - torch.einsum("abr,ran->nb", gamma, gamma)
        )
        return torch.linalg.slogdet(g)[1] / 2, (inverse * ricci).sum()

    return torch.func.vmap(volume_and_scalar)


def with_first_derivatives(model: nn.Module, width: int, derivative: Derivative) -> Side:
    """The paper's method, for one layer only: g and its first derivatives."""
    metric = metric_of(model, width, derivative)
    return lambda x: curvature_of_one_layer(torch.func.vmap(metric)(x), torch.func.vmap(torch.func.jacfwd(metric))(x))


def with_a_loop(model: nn.Module, width: int) -> Callable[[Tensor], list[tuple[Tensor, Tensor]]]:
    """Point by point with torch.autograd.functional, as published code in the field does."""

    def metric(x: Tensor) -> Tensor:
        jacobian = torch.autograd.functional.jacobian(model, x, create_graph=True)
        return jacobian.mT @ jacobian / width

    return lambda x: [
        curvature_of_one_layer(metric(p).detach(), torch.autograd.functional.jacobian(metric, p)) for p in x
    ]


def grid(width: int, *, forward_only: bool) -> None:
    """Log volume and Ricci scalar on a grid of the plane."""
    model, feature_map = first_layer(width)
    x = plane(40)
    few = x[::160]
    ours = measure(feature_map, x, QUANTITIES)
    sides: dict[str, Callable[[], object]] = {"nngeom": lambda: measure(feature_map, x, QUANTITIES)}
    peers = {
        "torch.func, any model, forward": with_christoffel_symbols(model, width, torch.func.jacfwd),
        "torch.func, one layer, forward": with_first_derivatives(model, width, torch.func.jacfwd),
    }
    if not forward_only:
        peers["torch.func, any model, over reverse"] = with_christoffel_symbols(model, width, torch.func.jacrev)
        peers["torch.func, one layer, over reverse"] = with_first_derivatives(model, width, torch.func.jacrev)
    for name, peer in peers.items():
        torch.testing.assert_close(peer(x)[1], ours["ricci_scalar"], rtol=1e-3, atol=1e-5)
        sides[name] = lambda peer=peer: peer(x)
    if not forward_only:
        peer_loop = with_a_loop(model, width)
        torch.testing.assert_close(peer_loop(few)[0][1], ours["ricci_scalar"][0], rtol=1e-3, atol=1e-5)
        sides["loop over points, one layer"] = lambda: peer_loop(few)
    median = in_turns(sides)
    if not forward_only:
        median["loop over points, one layer"] *= len(x) / len(few)
    print(f"log volume and Ricci scalar on 40 x 40 points, {width} units")
    show(median)


def path() -> None:
    """Effective volume of trained digits networks along 65 images."""
    task = make_task(DigitsConfig("digits"))
    network = initial_network([64, 30, 10], "sigmoid", initial_generators(0, 1))
    optimizer = AdamConfig("adam", lr=0.005, weight_decay=0.1, epochs=10, batch_size=12, betas=[0.9, 0.999], eps=1e-8)
    for _ in train(network, task, optimizer, batch_generators(0, 1), [optimizer.epochs]):
        pass
    feature_map = network.feature_map(1)
    weight, bias = network.weights[0][0, :, :-1], network.weights[0][0, :, -1]
    t = torch.arange(65, dtype=torch.float64)[:, None] / 64
    x = task.inputs[3] + t * (task.inputs[8] - task.inputs[3])

    def features(p: Tensor) -> Tensor:
        return torch.sigmoid(weight @ p + bias) / math.sqrt(30)

    def loop() -> Tensor:
        values = []
        for p in x:
            jacobian = torch.autograd.functional.jacobian(features, p)
            values.append(torch.linalg.eigvalsh(jacobian.mT @ jacobian)[-6:].log().sum() / 2)
        return torch.stack(values)

    torch.testing.assert_close(loop(), log_effective_volume_element(feature_map, x, 6)[0], rtol=1e-3, atol=1e-3)
    print("log effective volume element of a trained digits network at 65 images")
    show(in_turns({"nngeom": lambda: log_effective_volume_element(feature_map, x, 6), "loop of jacobians": loop}))


def images() -> None:
    """Effective volume of the leading 10 directions of 2000 units at images of 28 x 28 pixels, and a plane there."""
    layer, feature_map = first_layer(2000, 784)
    x = 16 * torch.rand(3, 784, dtype=torch.float64)

    def features(p: Tensor) -> Tensor:
        return layer(p) / math.sqrt(2000)

    def whole() -> Tensor:
        return torch.stack([torch.linalg.svdvals(torch.func.jacrev(features)(p))[:10].log().sum() for p in x])

    def metric() -> Tensor:
        jacobians = (torch.func.jacrev(features)(p) for p in x)
        return torch.stack([torch.linalg.eigvalsh(j.mT @ j)[-10:].log().sum() / 2 for j in jacobians])

    torch.testing.assert_close(whole(), log_effective_volume_element(feature_map, x, 10))
    sides = {"nngeom": lambda: log_effective_volume_element(feature_map, x, 10)}
    print("log effective volume element of the leading 10 at 3 images of 28 x 28 pixels, 2000 units")
    show(in_turns(sides | {"jacrev and svdvals": whole, "jacrev, g and eigvalsh": metric}, 5))
    on_plane = feature_map.restricted_to(x[0], torch.linalg.qr((x[1:] - x[0]).mT).Q.mT)
    print("log volume and Ricci scalar on the plane through them, 36 x 36 points")
    show(in_turns({"nngeom": lambda: measure(on_plane, plane(36), QUANTITIES)}, 5))
    print(f"resident at most: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


def memory() -> None:
    """Resident memory of one million points."""
    _, feature_map = first_layer(8)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    measure(feature_map, plane(1000), QUANTITIES)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"one million points, 8 units: {after:.0f} MB resident at most, {before:.0f} MB of them before the first")


def growth() -> None:
    """Milliseconds for log volume and Ricci scalar, by the number of points, units and replicates."""

    def row(name: str, cases: dict[int, tuple[MLPFeatureMap, Tensor]]) -> None:
        sides = {size: lambda c=case: measure(*c, QUANTITIES) for size, case in cases.items()}
        median = in_turns(sides, 5)
        print(
            f"  {name:12}" + "".join(f"{size:>8}: {seconds * 1e3:.1f}" for size, seconds in median.items()), flush=True
        )

    print("log volume and Ricci scalar, ms; 1600 points, 8 units and 1 replicate unless stated")
    row("points", {side**2: (first_layer(8)[1], plane(side)) for side in (10, 40, 160, 400)})
    row("units", {width: (first_layer(width)[1], plane(40)) for width in (4, 16, 64, 250, 1000)})
    row(
        "replicates",
        {
            count: (initial_network([2, 8, 1], "sigmoid", initial_generators(0, count)).feature_map(1), plane(40))
            for count in (1, 10, 50)
        },
    )


def show(median: dict[str, float]) -> None:
    own = median["nngeom"]
    for name, seconds in median.items():
        print(f"  {name:36}{seconds * 1e3:12.2f} ms{seconds / own:10.1f}", flush=True)


def main(names: list[str]) -> None:
    torch.set_num_threads(1)
    print(machine())
    cases: dict[str, Callable[[], None]] = {
        "memory": memory,
        "grid": lambda: grid(8, forward_only=False),
        "wide": lambda: grid(250, forward_only=True),  # forward over reverse would take tens of gigabytes
        "path": path,
        "images": images,
        "growth": growth,
    }
    for name in names or cases:
        cases[name]()


if __name__ == "__main__":
    main(sys.argv[1:])
