"""Microseconds per optimizer step and replicate: nngeom against the loop that a torch user writes, and JAX.

    python benchmarks/training.py [sinusoid] [xor] [digits] [modules] [growth] [cores] [gpu]

The loop trains one network after another, so its cost per replicate does not depend on their number.
JAX is included if it is installed (the extra `jax`): one compiled loop over all steps, replicates by vmap.
`modules` compares convolutional and residual networks with that loop, and with plain layers of the same widths.
`cores` compares all cores of the machine with one, in wall-clock time; `gpu` compares a CUDA GPU, if there is one, with
one core.
"""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import pairwise

import torch
from timing import in_turns, machine
from torch import nn

from nngeom_cli.config.architecture import FullyConnectedConfig
from nngeom_cli.config.convolutional import ConvolutionalConfig
from nngeom_cli.config.optimizer import AdamConfig, SgdConfig
from nngeom_cli.config.task import DigitsConfig, SinusoidConfig, XorConfig
from nngeom_cli.system.parallel import available_cores
from nngeom_cli.tasks.make import make_task
from nngeom_cli.tasks.task import Task
from nngeom_cli.training.blocks import train_on_cores
from nngeom_cli.training.loop import batch_generators, initial_generators, train
from nngeom_cli.training.module_network import ModuleNetwork
from nngeom_cli.training.network import initial_network

HAS_JAX = importlib.util.find_spec("jax") is not None
Optimizer = SgdConfig | AdamConfig
CASES: dict[str, tuple[Task, list[int], Optimizer]] = {
    "sinusoid": (
        make_task(SinusoidConfig("sinusoid", points=400, data_seed=0)),
        [2, 8, 8, 2],
        SgdConfig("sgd", lr=0.05, weight_decay=0.0, epochs=200, batch_size=None, momentum=0.9),
    ),
    "xor": (
        make_task(XorConfig("xor")),
        [2, 8, 1],
        SgdConfig("sgd", lr=0.02, weight_decay=1e-4, epochs=400, batch_size=None, momentum=0.9),
    ),
    "digits": (
        make_task(DigitsConfig("digits")),
        [64, 30, 10],
        AdamConfig("adam", lr=0.005, weight_decay=0.1, epochs=1, batch_size=12, betas=[0.9, 0.999], eps=1e-8),
    ),
}


def steps_of(task: Task, optimizer: Optimizer) -> int:
    """Optimizer steps of a run."""
    return optimizer.epochs * -(-len(task.inputs) // (optimizer.batch_size or len(task.inputs)))


def ours(task: Task, widths: list[int], optimizer: Optimizer, replicates: int, device: str = "cpu") -> None:
    network = initial_network(widths, "sigmoid", initial_generators(0, replicates), device=device)
    for _ in train(network, task, optimizer, batch_generators(0, replicates), [optimizer.epochs]):
        pass


def user_loop(task: Task, widths: list[int], optimizer: Optimizer, model: nn.Module | None = None) -> None:
    """One network in torch's own modules, as tutorials write it."""
    if model is None:
        layers: list[nn.Module] = []
        for into, out in pairwise(widths):
            layers += [nn.Linear(into, out), nn.Sigmoid()]
        model = nn.Sequential(*layers[:-1]).double()
    if isinstance(optimizer, SgdConfig):
        steps: torch.optim.Optimizer = torch.optim.SGD(
            model.parameters(), lr=optimizer.lr, momentum=optimizer.momentum, weight_decay=optimizer.weight_decay
        )
    else:
        steps = torch.optim.Adam(model.parameters(), lr=optimizer.lr, weight_decay=optimizer.weight_decay)
    labels: torch.Tensor = task.labels
    criterion: nn.Module = nn.CrossEntropyLoss()
    if task.outputs == 1:
        labels, criterion = task.labels.double()[:, None], nn.MSELoss()
    whole = [(task.inputs, labels)]
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(task.inputs, labels), batch_size=optimizer.batch_size or 1, shuffle=True
    )
    for _ in range(optimizer.epochs):
        for x, y in loader if optimizer.batch_size else whole:
            steps.zero_grad()
            criterion(model(x), y).backward()
            steps.step()


def jax_loop(task: Task, widths: list[int], optimizer: Optimizer, replicates: int) -> Callable[[], object]:
    """All replicates by vmap, all steps in one compiled fori_loop; compiled before it is timed."""
    import jax  # not earlier: its threads do not survive a fork

    jax.config.update("jax_enable_x64", True)
    jnp = jax.numpy
    x, y = jnp.asarray(task.inputs.numpy()), jnp.asarray(task.labels.numpy())
    points, size = len(x), optimizer.batch_size or len(x)
    keys = jax.random.split(jax.random.key(0), replicates)

    def initial(key):
        parameters = []
        for into, out in pairwise(widths):
            key, first, second = jax.random.split(key, 3)
            bound = into**-0.5
            parameters.append(
                (
                    jax.random.uniform(first, (into, out), minval=-bound, maxval=bound),
                    jax.random.uniform(second, (out,), minval=-bound, maxval=bound),
                )
            )
        return parameters

    def loss(parameters, x, y):
        for weight, bias in parameters[:-1]:
            x = jax.nn.sigmoid(x @ weight + bias)
        outputs = x @ parameters[-1][0] + parameters[-1][1]
        if task.outputs == 1:
            return jnp.mean((outputs[:, 0] - y) ** 2)
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(outputs), y[:, None], axis=1))

    tree = jax.tree_util.tree_map

    def update(step, parameters, state, gradient):
        gradient = tree(lambda g, p: g + optimizer.weight_decay * p, gradient, parameters)
        if isinstance(optimizer, SgdConfig):
            state = tree(lambda v, g: optimizer.momentum * v + g, state, gradient)
            return tree(lambda p, v: p - optimizer.lr * v, parameters, state), state
        beta1, beta2 = optimizer.betas
        mean = tree(lambda m, g: beta1 * m + (1 - beta1) * g, state[0], gradient)
        square = tree(lambda s, g: beta2 * s + (1 - beta2) * g * g, state[1], gradient)
        rate, scale = optimizer.lr / (1 - beta1 ** (step + 1.0)), 1 / (1 - beta2 ** (step + 1.0))
        return tree(lambda p, m, s: p - rate * m / (jnp.sqrt(s * scale) + optimizer.eps), parameters, mean, square), (
            mean,
            square,
        )

    def run(key):
        parameters = initial(key)
        zeros = tree(jnp.zeros_like, parameters)
        state = zeros if isinstance(optimizer, SgdConfig) else (zeros, zeros)
        order = jax.random.permutation(key, points)

        def step(index, carry):
            parameters, state = carry
            rows = jax.lax.dynamic_slice(order, (index * size % (points - size + 1),), (size,))
            batch = (x, y) if size == points else (x[rows], y[rows])
            return update(index, parameters, state, jax.grad(loss)(parameters, *batch))

        return jax.lax.fori_loop(0, steps_of(task, optimizer), step, (parameters, state))

    compiled = jax.jit(jax.vmap(run))
    return lambda: jax.block_until_ready(compiled(keys))


def beside_others(names: list[str]) -> None:
    """The step of each task on one thread, compared with a torch loop and JAX."""
    print(f"{'task':10}{'replicates':>11}{'nngeom':>9}{'torch loop':>12}{'ratio':>7}{'JAX':>8}{'ratio':>7}   us")
    for name in names:
        task, widths, optimizer = CASES[name]
        steps = steps_of(task, optimizer)
        for replicates in (1, 10, 50):
            sides: dict[str, Callable[[], object]] = {
                "nngeom": partial(ours, task, widths, optimizer, replicates),
                "torch": partial(user_loop, task, widths, optimizer),
            }
            if HAS_JAX:
                sides["jax"] = jax_loop(task, widths, optimizer, replicates)
            median = in_turns(sides)
            own, loop = median["nngeom"] / steps / replicates, median["torch"] / steps
            line = f"{name:10}{replicates:11}{own * 1e6:9.1f}{loop * 1e6:12.1f}{loop / own:7.1f}"
            if HAS_JAX:
                other = median["jax"] / steps / replicates
                line += f"{other * 1e6:8.1f}{other / own:7.2f}"
            print(line, flush=True)


class Skip(nn.Module):
    """h + layer(h)."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        return h + self.layer(h)


def convolutional_model() -> nn.Module:
    """The network of `architecture=convolutional`, in torch's own modules."""
    convolutions: list[nn.Module] = [nn.Unflatten(1, (1, 8, 8))]
    for into, out in pairwise([1, 8, 16]):
        convolutions += [nn.Conv2d(into, out, 3, padding=1), nn.Softplus(), nn.AvgPool2d(2)]
    return nn.Sequential(*convolutions, nn.Flatten(), nn.Linear(64, 10)).double()


def residual_model() -> nn.Module:
    """That of `architecture.residual=true architecture.layer_norm=true architecture.hidden=[64,64]`."""
    layers = [Skip(nn.Sequential(nn.Linear(64, 64), nn.LayerNorm(64), nn.Sigmoid())) for _ in range(2)]
    return nn.Sequential(*layers, nn.Linear(64, 10)).double()


def modules() -> None:
    """Networks that are modules, trained one replicate after another, against a torch loop and against plain layers."""
    print(
        f"{'digits, batches of 36':24}{'replicates':>11}{'nngeom':>9}{'torch loop':>12}{'ratio':>7}"
        f"{'plain':>8}{'ratio':>7}   us, the scores over all examples after 50 steps included"
    )
    task, _, optimizer = CASES["digits"]
    optimizer = replace(optimizer, batch_size=36)
    convolutional = ConvolutionalConfig(
        kind="convolutional",
        hidden=[],
        activation="softplus",
        channels=[8, 16],
        kernel=[3],
        stride=[1],
        pool=[2],
        pooling="average",
    )
    residual = FullyConnectedConfig(hidden=[64, 64], activation="sigmoid", residual=True, layer_norm=True)
    cases = {"convolutional": (convolutional, convolutional_model), "residual, layer_norm": (residual, residual_model)}
    steps = steps_of(task, optimizer)
    for name, (architecture, model) in cases.items():
        for replicates in (1, 8):

            def own(architecture=architecture, replicates=replicates) -> None:
                network = ModuleNetwork(architecture, (8, 8), 10, replicates)
                network.draw(initial_generators(0, replicates))
                for _ in train(network, task, optimizer, batch_generators(0, replicates), [1]):
                    pass

            sides: dict[str, Callable[[], object]] = {
                "nngeom": own,
                "torch": lambda model=model: user_loop(task, [], optimizer, model()),
                "plain": partial(ours, task, [64, 64, 64, 10], optimizer, replicates),
            }
            median = in_turns(sides, 5)
            mine, loop = median["nngeom"] / steps / replicates, median["torch"] / steps
            plain = median["plain"] / steps / replicates
            print(
                f"{name:24}{replicates:11}{mine * 1e6:9.0f}{loop * 1e6:12.0f}{loop / mine:7.2f}"
                f"{plain * 1e6:8.0f}{mine / plain:7.1f}",
                flush=True,
            )


def growth() -> None:
    """Microseconds per step and replicate of the sinusoid's network, by points, units of both layers and replicates."""
    print("sinusoid, us per step and replicate; 400 points, 8 units and 10 replicates unless stated")

    def row(name: str, epochs: int, cases: dict[int, tuple[int, int, int]]) -> None:
        optimizer, sides = replace(CASES["sinusoid"][2], epochs=epochs), {}
        for size, (points, width, replicates) in cases.items():
            task = make_task(SinusoidConfig("sinusoid", points=points, data_seed=0))
            sides[size] = partial(ours, task, [2, width, width, 2], optimizer, replicates)
        median = in_turns(sides, 5)
        each = {size: median[size] / epochs / cases[size][2] for size in cases}
        print(f"  {name:12}" + "".join(f"{size:>8}: {seconds * 1e6:.0f}" for size, seconds in each.items()), flush=True)

    row("points", 200, {points: (points, 8, 10) for points in (100, 400, 1600, 6400)})
    row("units", 60, {width: (400, width, 10) for width in (8, 32, 128, 256)})
    row("replicates", 200, {count: (400, 8, count) for count in (1, 2, 5, 10, 20, 50)})


def cores() -> None:
    """Whole trainings, with the replicates shared among all cores, against the same on one core."""
    count = available_cores()
    print(f"{'task':10}{'replicates':>11}{'one core':>10}{f'{count} cores':>9}{'ratio':>7}   s")
    for name, replicates, epochs in (("sinusoid", 50, 4000), ("sinusoid", 8, 20_000), ("digits", 50, 30)):
        task, widths, optimizer = CASES[name]
        optimizer = replace(optimizer, epochs=epochs)

        def side(on: int, task=task, widths=widths, optimizer=optimizer, replicates=replicates) -> None:
            network = initial_network(widths, "sigmoid", initial_generators(0, replicates))
            order = batch_generators(0, replicates)
            for _ in train_on_cores(network, task, optimizer, order, [optimizer.epochs], cores=on):
                pass

        median = in_turns({"one": partial(side, 1), "all": partial(side, count)}, 5, time.perf_counter)
        one, all_ = median["one"], median["all"]
        print(f"{name:10}{replicates:11}{one:10.2f}{all_:9.2f}{one / all_:7.2f}", flush=True)


def gpu() -> None:
    """Whole trainings of the sinusoid's network on a GPU, against the same on one core, from few replicates to many."""
    print(f"sinusoid, us per step, {torch.cuda.get_device_name()}")
    print(f"{'units':>6}{'replicates':>11}{'one core':>10}{'GPU':>8}{'ratio':>7}")
    task, _, optimizer = CASES["sinusoid"]
    for width, replicates, epochs in ((8, 10, 2000), (8, 100, 500), (8, 1000, 100), (256, 10, 50), (256, 100, 20)):
        run = partial(ours, task, [2, width, width, 2], replace(optimizer, epochs=epochs), replicates)
        median = in_turns({"cpu": run, "cuda": partial(run, "cuda")}, 3, time.perf_counter)
        core, card = (median[device] / epochs * 1e6 for device in ("cpu", "cuda"))
        print(f"{width:6}{replicates:11}{core:10.0f}{card:8.0f}{core / card:7.1f}", flush=True)


def main(names: list[str]) -> None:
    torch.set_num_threads(1)
    print(machine())
    if not names or "cores" in names:
        cores()  # first, while this process has no threads
    if tasks := [name for name in CASES if name in (names or CASES)]:
        beside_others(tasks)
    if not names or "modules" in names:
        modules()
    if not names or "growth" in names:
        growth()
    if torch.cuda.is_available() and (not names or "gpu" in names):
        gpu()


if __name__ == "__main__":
    main(sys.argv[1:])
