"""A step on a CUDA device as one launch: launching its small kernels one by one would take longer than running them."""

from __future__ import annotations

from collections.abc import Callable

import torch

__all__ = ["GraphedStep"]

WARM_UP = 3  # first steps, in which libraries set themselves up; a graph cannot record that


class GraphedStep:
    """The same step at each call: run directly at first, then replayed from a CUDA graph.

    Args:
        step: reads and writes the same memory each time, and reads no number back from the device.
    """

    def __init__(self, step: Callable[[], object]) -> None:
        self.step = step
        self.steps = 0
        self.graph = torch.cuda.CUDAGraph()
        self.aside = torch.cuda.Stream()  # nothing can be recorded on the main one

    def __call__(self) -> None:
        """One step."""
        if self.steps < WARM_UP:
            self._warm_up()
        else:
            if self.steps == WARM_UP:
                with torch.cuda.graph(self.graph, stream=self.aside):  # records, and runs nothing
                    self.step()
            self.graph.replay()
        self.steps += 1

    def _warm_up(self) -> None:
        main = torch.cuda.current_stream()
        self.aside.wait_stream(main)
        with torch.cuda.stream(self.aside):
            self.step()
        main.wait_stream(self.aside)
