"""Steps on a GPU: as many as were asked for, by kernels that a graph can record, to the numbers of the CPU."""

import contextlib

import pytest
import torch

from nngeom_cli.config.optimizer import AdamConfig, AdamWConfig, SgdConfig
from nngeom_cli.config.task import SinusoidConfig, XorConfig
from nngeom_cli.tasks.make import make_task
from nngeom_cli.training import cuda_graph
from nngeom_cli.training.backpropagation import LossGradient
from nngeom_cli.training.batches import Batches
from nngeom_cli.training.cuda_graph import GraphedStep
from nngeom_cli.training.loop import batch_generators, initial_generators, train
from nngeom_cli.training.network import Network, initial_network
from nngeom_cli.training.optimizers import Optimizer

SGD = SgdConfig("sgd", lr=0.05, weight_decay=1e-3, epochs=20, batch_size=None, momentum=0.9)
ADAM = AdamConfig("adam", lr=0.01, weight_decay=0.1, epochs=20, batch_size=12, betas=[0.9, 0.999], eps=1e-8)
ADAMW = AdamWConfig("adamw", lr=0.01, weight_decay=0.1, epochs=20, batch_size=None, betas=[0.9, 0.999], eps=1e-8)
TASK = make_task(SinusoidConfig("sinusoid", points=50, data_seed=0))  # batches of 12 leave a last one of 2


def test_each_call_is_one_step_whether_run_or_replayed(monkeypatch):
    done, recording = [], []

    class Stream:
        def wait_stream(self, other):
            pass

    class Graph:
        def replay(self):
            done.extend(recording)

    @contextlib.contextmanager
    def record(graph, stream):
        assert isinstance(stream, Stream)
        before = len(done)
        yield
        recording.extend(done[before:])
        del done[before:]  # what is recorded does not run

    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", record)
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", contextlib.nullcontext)
    called = []

    def kernels():
        called.append("from Python")
        done.append("step")

    step = GraphedStep(kernels)
    for count in range(1, 3 * cuda_graph.WARM_UP):
        step()
        assert len(done) == count
    assert len(called) == cuda_graph.WARM_UP + 1


@pytest.mark.parametrize("activation", ["relu", "sigmoid", "softplus", "tanh", "erf", "gelu", "silu", "monomial3"])
@pytest.mark.parametrize("options", [{}, {"parametrization": "ntk", "output_scale": 2.0}], ids=["standard", "lazy"])
@pytest.mark.parametrize(
    ("task", "optimizer"), [(TASK, ADAM), (make_task(XorConfig("xor")), ADAMW)], ids=["cross_entropy", "mse"]
)
def test_a_step_asks_for_no_number_that_the_device_holds(task, optimizer, options, activation):
    """A graph cannot record such a question. Tensors on the device `meta` hold no numbers and refuse it, too.

    The rule of SGD is not there; it is the same kind of kernel as Adam's.
    """
    network = Network([2, 5, 3, task.outputs], activation, 3, device="meta", **options)
    gradient = LossGradient(network, task.loss, Batches(task, network, None).batch)
    gradient()
    Optimizer(optimizer, network.parameters, gradient.gradient).step()
    with pytest.raises(RuntimeError, match="meta"):
        gradient.gradient.sum().item()


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
@pytest.mark.parametrize("optimizer", [SGD, ADAM], ids=["whole", "batches"])
@pytest.mark.parametrize("options", [{}, {"parametrization": "ntk", "output_scale": 2.0}], ids=["standard", "lazy"])
def test_training_on_a_gpu_is_training_on_the_cpu(optimizer, options):
    """Rounding differs, by 1e-16 a step; 100 steps of a smooth loss leave 1e-9."""

    def checkpoints(device, start=None):
        network = initial_network([2, 8, 8, 2], "sigmoid", initial_generators(0, 20), device=device, **options)
        return list(train(network, TASK, optimizer, batch_generators(0, 20), [0, 9, 20], start))

    here, there = checkpoints("cpu"), checkpoints("cuda")
    for mine, other in zip(here, there, strict=True):
        for weights, same in zip(mine.weights, other.weights, strict=True):
            torch.testing.assert_close(torch.from_numpy(same), torch.from_numpy(weights), rtol=1e-9, atol=1e-11)
    (last,) = checkpoints("cuda", there[1])
    for weights, same in zip(last.weights, there[2].weights, strict=True):
        torch.testing.assert_close(torch.from_numpy(same), torch.from_numpy(weights), rtol=1e-12, atol=1e-14)
