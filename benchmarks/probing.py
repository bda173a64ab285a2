"""Milliseconds per grid or path: nngeom's geometry against torch.func, against torch.autograd, and its memory.

python benchmarks/probing.py [grid] [wide] [path] [memory]
"""

from __future__ import annotations

import math
import resource
import sys
from collections.abc import Callable

import torch
from timing import in_turns, machine
from torch import Tensor, nn

from nngeom_cli.config import AdamConfig, DigitsConfig
from nngeom_cli.geometry import MLPFeatureMap, log_effective_volume_element, measure
from nngeom_cli.networks import initial_network
from nngeom_cli.tasks import make_task
from nngeom_cli.training import batch_generators, initial_generators, train

QUANTITIES = ("log_volume_element", "ricci_scalar")


def first_layer(width: int, d: int = 2) -> tuple[nn.Module, MLPFeatureMap]:
    """A random layer as a user has it, and as nngeom takes it."""
    torch.manual_seed(0)
    linear = nn.Linear(d, width, dtype=torch.float64)
    return nn.Sequential(linear, nn.Sigmoid()), MLPFeatureMap([linear.weight], [linear.bias], "sigmoid")


def plane(side: int) -> Tensor:
    axis = torch.linspace(-1.5, 1.5, side, dtype=torch.float64)
    return torch.stack(torch.meshgrid(axis, axis, indexing="xy"), dim=-1).reshape(-1, 2)


def by_the_book(metric: Tensor, derivative: Tensor) -> tuple[Tensor, Tensor]:
    """Log volume and Ricci scalar from g and its derivatives (a last), by the paper's (4) with the right factor 1/4.

    The metric of one layer has totally symmetric first derivatives, so its second derivatives are not needed.
    """
    inverse = torch.linalg.inv(metric)
    raised = torch.einsum("...am,...bn,...mnr->...abr", inverse, inverse, derivative)  # T^ab_r
    scalar = (
        -(
            torch.einsum(
                "...rl,...aar,...bbl->...", inverse, *[torch.einsum("...mr,...mnl->...rnl", metric, raised)] * 2
            )
            - torch.einsum("...rl,...abr,...mnl,...ma,...nb->...", inverse, raised, raised, metric, metric)
        )
        / 4
    )
    return torch.linalg.slogdet(metric)[1] / 2, scalar


def with_torch_func(model: nn.Module, width: int, mode: str) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """The metric by one jacobian, its derivative by another around it; all points by vmap."""
    outer, inner = {
        "reverse": (torch.func.jacrev, torch.func.jacrev),
        "forward": (torch.func.jacfwd, torch.func.jacfwd),
        "forward over reverse": (torch.func.jacfwd, torch.func.jacrev),
    }[mode]

    def metric(x: Tensor) -> Tensor:
        jacobian = inner(model)(x)
        return jacobian.mT @ jacobian / width

    return lambda x: by_the_book(torch.func.vmap(metric)(x), torch.func.vmap(outer(metric))(x))


def with_a_loop(model: nn.Module, width: int) -> Callable[[Tensor], list[tuple[Tensor, Tensor]]]:
    """Point by point with torch.autograd.functional, as the published code of the field does."""

    def metric(x: Tensor) -> Tensor:
        jacobian = torch.autograd.functional.jacobian(model, x, create_graph=True)
        return jacobian.mT @ jacobian / width

    return lambda x: [by_the_book(metric(p).detach(), torch.autograd.functional.jacobian(metric, p)) for p in x]


def grid(width: int, modes: list[str], *, loop: bool) -> None:
    model, feature_map = first_layer(width)
    x = plane(40)
    few = x[::160]
    ours = measure(feature_map, x, QUANTITIES)
    sides: dict[str, Callable[[], object]] = {"nngeom": lambda: measure(feature_map, x, QUANTITIES)}
    for mode in modes:
        peer = with_torch_func(model, width, mode)
        torch.testing.assert_close(peer(x)[1], ours["ricci_scalar"], rtol=1e-3, atol=1e-6)
        sides[f"torch.func, {mode}"] = lambda peer=peer: peer(x)
    if loop:
        peer_loop = with_a_loop(model, width)
        torch.testing.assert_close(peer_loop(few)[0][1], ours["ricci_scalar"][0], rtol=1e-3, atol=1e-6)
        sides["loop of torch.autograd.functional"] = lambda: peer_loop(few)
    median = in_turns(sides)
    if loop:
        median["loop of torch.autograd.functional"] *= len(x) / len(few)
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


def memory() -> None:
    """Resident memory of one million points."""
    _, feature_map = first_layer(8)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    measure(feature_map, plane(1000), QUANTITIES)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"one million points, 8 units: {after:.0f} MB resident at most, of which {before:.0f} MB before the first")


def show(median: dict[str, float]) -> None:
    own = median["nngeom"]
    for name, seconds in median.items():
        print(f"  {name:36}{seconds * 1e3:12.2f} ms{seconds / own:10.1f}", flush=True)


def main(names: list[str]) -> None:
    torch.set_num_threads(1)
    print(machine())
    cases: dict[str, Callable[[], None]] = {
        "memory": memory,
        "grid": lambda: grid(8, ["reverse", "forward", "forward over reverse"], loop=True),
        "wide": lambda: grid(250, ["forward"], loop=False),
        "path": path,
    }
    for name in names or cases:
        cases[name]()


if __name__ == "__main__":
    main(sys.argv[1:])
