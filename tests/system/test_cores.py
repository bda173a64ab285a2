"""Blocks of replicates in processes: the bits of one process, and no process left behind."""

import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from itertools import chain
from pathlib import Path

import numpy as np
import psutil
import pytest

from nngeom_cli.config.optimizer import AdamConfig
from nngeom_cli.config.schedule import history_epochs
from nngeom_cli.config.task import SinusoidConfig
from nngeom_cli.errors import LostProcessError
from nngeom_cli.system import parallel as cores
from nngeom_cli.system.parallel import available_cores, in_processes, split
from nngeom_cli.tasks.make import make_task
from nngeom_cli.training import blocks
from nngeom_cli.training.blocks import train_on_cores
from nngeom_cli.training.loop import batch_generators, initial_generators, train
from nngeom_cli.training.network import initial_network

TASK = make_task(SinusoidConfig("sinusoid", points=50, data_seed=0))
OPTIMIZER = AdamConfig("adam", lr=0.01, weight_decay=0.1, epochs=6, batch_size=12, betas=[0.9, 0.999], eps=1e-8)
needs_fork = pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux only")


def network(replicates):
    return initial_network([2, 5, 2], "sigmoid", initial_generators(0, replicates))


def trained(replicates, start=None, **options):
    return list(
        train_on_cores(
            network(replicates), TASK, OPTIMIZER, batch_generators(0, replicates), [0, 2, 6], start, **options
        )
    )


def assert_same(one, other):
    assert one.epoch == other.epoch
    arrays = [[c.loss, c.accuracy, *c.weights, *chain(*c.optimizer.values()), c.generators] for c in (one, other)]
    for left, right in zip(*arrays, strict=True):
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("in_cache", [1, 1000, 10**9])
@pytest.mark.parametrize("replicates", [1, 3, 23])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_blocks_have_the_bits_of_one_block(replicates, count, in_cache, monkeypatch):
    monkeypatch.setattr(blocks, "NUMBERS_IN_CACHE", in_cache)
    whole = list(train(network(replicates), TASK, OPTIMIZER, batch_generators(0, replicates), [0, 2, 6]))
    for one, other in zip(whole, trained(replicates, cores=count), strict=True):
        assert_same(one, other)


@pytest.mark.parametrize("count", [1, 2])
def test_blocks_go_on_from_a_checkpoint(count):
    _, middle, last = trained(3)
    (again,) = trained(3, start=middle, cores=count)
    assert_same(again, last)


@pytest.mark.parametrize("count", [1, 2])
def test_network_has_the_weights_of_the_checkpoint_at_each_yield(count):
    mine = network(4)
    for checkpoint in train_on_cores(mine, TASK, OPTIMIZER, batch_generators(0, 4), [0, 2, 6], cores=count):
        for live, saved in zip(mine.weights, checkpoint.weights, strict=True):
            np.testing.assert_array_equal(live.numpy(), saved)


def test_a_block_fits_the_cache(monkeypatch):
    sizes = []
    monkeypatch.setattr(blocks, "train", lambda block, *rest: sizes.append(block.replicates) or train(block, *rest))
    replicate = network(1).parameters.numel() + 5 * OPTIMIZER.batch_size
    monkeypatch.setattr(blocks, "NUMBERS_IN_CACHE", 8 * replicate)
    trained(23)
    assert sizes == [7, 8, 8]


@needs_fork
def test_processes_do_not_look_for_garbage_in_what_they_share():
    def frozen():
        yield gc.get_freeze_count()

    with in_processes([frozen(), frozen()]) as counts:
        assert all(next(count) > 1000 for count in counts)
    assert gc.get_freeze_count() == 0


@needs_fork
def test_nothing_is_left_where_a_process_cannot_be_started(monkeypatch):
    start = multiprocessing.context.ForkProcess.start
    started = []

    def only_once(process):
        if started:
            raise BlockingIOError("no more processes")
        start(process)
        started.append(process)

    monkeypatch.setattr(multiprocessing.context.ForkProcess, "start", only_once)
    with pytest.raises(BlockingIOError), in_processes([iter([1]), iter([2])]):
        pass
    assert gc.get_freeze_count() == 0
    assert not started[0].is_alive()


@needs_fork
def test_an_error_in_a_process_is_raised_here(monkeypatch):
    def broken(block, *_):
        yield from ()
        raise ArithmeticError(f"block of {block.replicates}")

    monkeypatch.setattr(blocks, "train", broken)
    with pytest.raises(ArithmeticError, match="block of 2"):
        trained(4, cores=2)
    assert multiprocessing.active_children() == []


@needs_fork
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGUSR1])
def test_a_killed_process_is_noticed_with_the_signal_that_killed_it(number):
    training = train_on_cores(network(4), TASK, OPTIMIZER, batch_generators(0, 4), history_epochs(10**6), cores=2)
    next(training)
    os.kill(multiprocessing.active_children()[0].pid, number)
    with pytest.raises(LostProcessError, match="ended unexpectedly") as caught:
        list(training)
    assert caught.value.exitcode == -number
    assert multiprocessing.active_children() == []


def letters():
    """One after the other, each after a process that stops itself: as SIGSTOP from outside does."""
    for letter in "abc":
        os.kill(os.getpid(), signal.SIGSTOP)
        yield letter


@needs_fork
def test_a_stopped_process_is_waited_for(monkeypatch):
    monkeypatch.setattr(cores, "LOOK_SECONDS", 0.02)
    over, began = threading.Event(), time.monotonic()
    with in_processes([letters(), iter("xyz")]) as (stopped, _):
        children = multiprocessing.active_children()

        def let_go():
            while not over.wait(0.3):
                for child in children:
                    os.kill(child.pid, signal.SIGCONT)

        waker = threading.Thread(target=let_go)
        waker.start()
        assert list(stopped) == ["a", "b", "c"]
        over.set()
        waker.join()
    assert time.monotonic() - began > 3 * 0.3


@needs_fork
def test_a_stopped_process_goes_on_when_the_end_is_near(monkeypatch):
    monkeypatch.setattr(cores, "LOOK_SECONDS", 0.05)
    with in_processes([letters(), iter("xyz")], asked=lambda: True) as (stopped, _):
        assert list(stopped) == ["a", "b", "c"]


@needs_fork
def test_a_process_that_stays_stopped_is_given_up_when_the_end_is_near(monkeypatch):
    def forever():
        while True:
            os.kill(os.getpid(), signal.SIGSTOP)
        yield

    monkeypatch.setattr(cores, "LOOK_SECONDS", 0.05)
    with pytest.raises(KeyboardInterrupt), in_processes([forever(), iter("xyz")], asked=lambda: True) as (stopped, _):
        next(stopped)
    assert multiprocessing.active_children() == []


@needs_fork
def test_processes_end_when_nobody_listens_any_more():
    training = train_on_cores(network(4), TASK, OPTIMIZER, batch_generators(0, 4), history_epochs(10**6), cores=2)
    next(training)
    assert len(multiprocessing.active_children()) == 2
    training.close()
    assert multiprocessing.active_children() == []


@needs_fork
def test_processes_end_with_a_parent_that_is_killed_even_if_they_are_stopped():
    code = """
import multiprocessing, sys
sys.path.insert(0, sys.argv[1])
from test_cores import *
training = train_on_cores(network(4), TASK, OPTIMIZER, batch_generators(0, 4), history_epochs(10**7), cores=2)
next(training)
print(*[child.pid for child in multiprocessing.active_children()], flush=True)
list(training)
"""
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(Path(__file__).parent)], stdout=subprocess.PIPE, text=True
    )
    children = [int(word) for word in parent.stdout.readline().split()]
    os.kill(children[0], signal.SIGSTOP)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert len(children) == 2
    deadline = time.monotonic() + 20
    while any(alive(child) for child in children) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(alive(child) for child in children)


def alive(pid):
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_cores_can_be_set_from_outside(monkeypatch):
    monkeypatch.setenv("NNGEOM_CORES", "3")
    assert available_cores() == 3
    monkeypatch.delenv("NNGEOM_CORES")
    assert available_cores() >= 1


def test_split_loses_nothing():
    assert [len(range(23)[part]) for part in split(23, 4)] == [5, 6, 6, 6]
