"""Training on several cores: blocks of replicates in processes of their own, with the bits of one process.

A step is mostly Python and small kernels, so threads would wait for each other; processes do not. While they train, the
process that asked for them probes and writes what they have sent.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import queue
import signal
import sys
import threading
import warnings
from collections.abc import Generator, Iterator, Sequence
from itertools import pairwise
from multiprocessing.connection import Connection

import torch

from nngeom_cli.config import OptimizerConfig
from nngeom_cli.networks import Network
from nngeom_cli.tasks import Task
from nngeom_cli.training import Checkpoint, train

__all__ = ["available_cores", "train_on_cores"]

BLOCK = 10  # replicates whose buffers fit the cache together


def available_cores() -> int:
    """Cores that this process may use for training: those it may run on, or NNGEOM_CORES if that is set."""
    if "NNGEOM_CORES" in os.environ:
        return int(os.environ["NNGEOM_CORES"])
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def train_on_cores(
    network: Network,
    task: Task,
    optimizer: OptimizerConfig,
    generators: Sequence[torch.Generator],
    record: Sequence[int],
    start: Checkpoint | None = None,
    *,
    cores: int = 1,
) -> Generator[Checkpoint, None, None]:
    """As `train`, with the replicates in blocks on up to `cores` cores.

    Processes are forked, so this needs Linux and the CPU; elsewhere the blocks are trained in turns.
    `network` has the weights of the checkpoint at each yield. `generators` stay as they are.
    """
    on_cpu = network.parameters.device.type == "cpu"
    workers = min(cores, network.replicates) if on_cpu and sys.platform == "linux" else 1
    blocks = split(network.replicates, max(workers, -(-network.replicates // BLOCK)) if on_cpu else 1)
    trainings = [
        train(network.block(b), task, optimizer, generators[b], record, start and start.block(b)) for b in blocks
    ]
    with in_processes([trainings[share] for share in split(len(trainings), workers)]) as sources:
        for parts in zip(*sources, strict=True):
            checkpoint = Checkpoint.join([block for part in parts for block in part])
            network.load(checkpoint.weights)
            yield checkpoint


def split(length: int, parts: int) -> list[slice]:
    """A range cut into `parts` slices of nearly the same length.

    Example:
        >>> split(8, 3)
        [slice(0, 2, None), slice(2, 5, None), slice(5, 8, None)]
    """
    edges = [length * part // parts for part in range(parts + 1)]
    return [slice(low, high) for low, high in pairwise(edges)]


@contextlib.contextmanager
def in_processes(shares: Sequence[Sequence[Iterator[Checkpoint]]]) -> Iterator[list[Iterator[tuple[Checkpoint, ...]]]]:
    """For each share of the trainings an iterator of their checkpoints, made in a process of its own if there are more.

    The processes end with the `with` block, however it ends, and with this process, however that ends.
    """
    sources: list[Iterator[tuple[Checkpoint, ...]]] = [zip(*share, strict=True) for share in shares]
    if len(sources) == 1:
        yield sources
        return
    fork = multiprocessing.get_context("fork")
    processes, receivers = [], []
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*fork.*", DeprecationWarning)  # no thread of ours holds a lock here
        for source in sources:
            receiver, sender = fork.Pipe(duplex=False)
            process = fork.Process(target=send_all, args=(source, sender), daemon=True)
            process.start()
            sender.close()  # before the next fork: a pipe ends when the only process that writes to it does
            processes.append(process)
            receivers.append(receiver)
    try:
        yield [receive_all(receiver) for receiver in receivers]
    finally:
        for process in processes:
            process.kill()
            process.join()


def send_all(source: Iterator[tuple[Checkpoint, ...]], sender: Connection) -> None:
    """What a training process does: sends each item, then None; or the exception that ended it."""
    for number in (signal.SIGINT, signal.SIGTERM):  # a terminal or a scheduler sends them to the whole group
        signal.signal(number, signal.SIG_IGN)  # the parent decides
    threading.Thread(target=end_with_parent, daemon=True).start()
    try:
        for item in source:
            sender.send_bytes(pickle.dumps(item))
        sender.send_bytes(pickle.dumps(None))
    except Exception as error:
        sender.send_bytes(pickle.dumps(error))


def end_with_parent() -> None:
    """Ends this process when its parent is gone."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def receive_all(receiver: Connection) -> Iterator[tuple[Checkpoint, ...]]:
    """The items that a training process sends, read as they come, so that it never waits for the reader."""
    items: queue.SimpleQueue[tuple[Checkpoint, ...] | Exception | None] = queue.SimpleQueue()

    def read() -> None:
        try:
            while True:
                items.put(pickle.loads(receiver.recv_bytes()))
        except (EOFError, OSError):
            items.put(ChildProcessError("a training process ended without a word"))

    threading.Thread(target=read, daemon=True).start()
    while (item := items.get()) is not None:
        if isinstance(item, Exception):
            raise item
        yield item
