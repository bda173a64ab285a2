"""Probes measure anything that answers what `Model` asks, and learn nothing else of it."""

from dataclasses import replace

import pytest
import torch
from test_data_probe import DATA
from test_probes import GRID, PATH, PLANE, network_for

from nngeom_cli.config.probe import PREDICTION
from nngeom_cli.config.task import DigitsConfig, SinusoidConfig
from nngeom_cli.models.modules import Modules
from nngeom_cli.probes.make import make_probe
from nngeom_cli.tasks.make import make_task

SINUSOID = SinusoidConfig("sinusoid", points=50, data_seed=0)


def modules_like(network):
    """The same networks as torch has them."""
    for replicate in range(network.replicates):
        layers = []
        for weights in network.weights:
            linear = torch.nn.Linear(weights.shape[2] - 1, weights.shape[1]).double()
            linear.weight.data, linear.bias.data = weights[replicate, :, :-1].clone(), weights[replicate, :, -1].clone()
            layers += [linear, torch.nn.Sigmoid()]
        yield torch.nn.Sequential(*layers[:-1])


@pytest.mark.parametrize(
    ("config", "task"),
    [
        (GRID, make_task(SINUSOID)),
        (replace(PATH, layers=[1, 2], pairs=[[0, 1]], steps=4, top_k=3), make_task(DigitsConfig("digits"))),
        (replace(PLANE, layers=[2, 1], triples=[[0, 6, 8]], top_k=2), make_task(DigitsConfig("digits"))),
        (replace(DATA, layers=[2, 1, PREDICTION], points=5, top_k=2), make_task(DigitsConfig("digits"))),
        (DATA, make_task(SINUSOID)),
        (replace(GRID, layers=[PREDICTION, 2]), make_task(SINUSOID)),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
@pytest.mark.filterwarnings("ignore:The feature map uses:UserWarning")
def test_modules_are_measured_as_the_same_networks_of_the_runner_are(config, task):
    network = network_for(task, [5, 3])
    modules = Modules(list(modules_like(network)), ["1", "3"], task.inputs[0])
    own, foreign = (make_probe(config, task, seed=7)(model) for model in (network, modules))
    assert foreign.attrs == own.attrs | {"activation": "Sequential", "layer_names": "1\n3"}
    assert set(foreign) == set(own)
    for name in own:
        assert foreign[name].dims == own[name].dims
        scale = float(abs(own[name]).max())
        if not str(name).endswith("_error"):  # another route has other errors
            assert abs(foreign[name] - own[name]).max() <= 1e-9 * scale + 1e-12, name
    if "ricci_scalar_error" in own:
        off = abs(foreign.ricci_scalar - own.ricci_scalar)
        assert (foreign.ricci_scalar.isnull() == own.ricci_scalar.isnull()).all()  # that of two classes has none
        assert ((off <= 3 * (own.ricci_scalar_error + foreign.ricci_scalar_error)) | off.isnull()).all()


def test_the_state_of_a_network_is_its_weights_by_name():
    network = network_for(make_task(SINUSOID), [5, 4])
    state = network.state()
    assert list(state) == ["weights.0", "weights.1", "weights.2"]
    assert all(torch.equal(values, weights) for values, weights in zip(state.values(), network.weights, strict=True))
    about = network.describe()
    assert (about.name, about.widths, about.dtype) == ("sigmoid", (2, 5, 4, 2), torch.float64)
