"""The recorder: measures a user's model in the user's own training loop."""

from __future__ import annotations

import contextlib
import math
import shlex
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pandas as pd
import torch

from nngeom_cli.config.general import DTYPES
from nngeom_cli.config.probe import PREDICTION
from nngeom_cli.config.recorded import RecordedConfig, load_recorded
from nngeom_cli.config.schedule import checkpoint_epochs
from nngeom_cli.errors import ConfigError, one_of, require
from nngeom_cli.models.modules import Modules
from nngeom_cli.probes.make import make_probe
from nngeom_cli.recorder.data import Examples
from nngeom_cli.recorder.resuming import earlier
from nngeom_cli.recorder.settings import probe_settings
from nngeom_cli.recorder.states import differing, state_bytes
from nngeom_cli.runs.provenance import provenance, recorded, timestamp
from nngeom_cli.store.history import History
from nngeom_cli.store.layout import FIGURES, state_name
from nngeom_cli.store.run import load_run
from nngeom_cli.store.run_directory import RunDirectory
from nngeom_cli.system.writer import sole_writer
from nngeom_cli.training.loop import evaluate

__all__ = ["Recorder"]

MOST_NAMED = 8  # epochs in a sentence


class Unfinished(KeyboardInterrupt):
    """The loop ended before the last epoch."""


class Recorder:
    """Measures a model at scheduled epochs of a training loop, and writes a run directory.

    `nngeom figures`, `animate` and `summarize`, and `load_run`, take that directory. The model is copied for each
    measurement; it, its mode and the generators of random numbers are left as they are.

    A script that was killed is started again: what was measured is kept, and `record(epoch)` of such an epoch only
    checks that the parameters are the same as then. So the loop may start from the beginning with the same seeds, or
    from the script's own checkpoint.

    Args:
        directory: of the run; a new one, or one that the same recorder wrote before.
        model: a module that takes a batch of inputs and returns one output for each class, or a single output; several
            modules of one architecture are replicates.
        inputs: examples among which the probe finds its places, `(examples, *shape)`.
        labels: their classes, `(examples,)`, integers from 0.
        layer: the name of a submodule as in `model.named_modules()`, or several; "prediction", where no submodule has
            that name, is the probabilities of the classes, with their Fisher metric.
        epochs: the last epoch; 0 is before training.
        probe: a name of conf/probe, such as "plane", or a mapping with `kind` and other keys of the section `probe`;
            without a kind, a grid for inputs of two numbers, else paths.
        checkpoints: when to measure, as `probe.checkpoints`: "log 8", "linear 5" or a list; the first and the last
            epoch are always included.
        dtype: in which the copy is measured, float64 or float32; None keeps that of the model.
        threshold: a single output above it means class 1; 0 says that it is a logit.
        name: of the data, in figures; None: the name of the directory.
        seed: the number of the first replicate.
        figures: whether to draw at the end.

    Attributes:
        due: the epochs that are measured.
        measured: those that have been, in this process or before.
        figures: paths of what was drawn.
        origin: of saved states that are measured, for run.json.

    Raises:
        ConfigError: an argument is wrong; nothing has been written.
        ValueError: there is no such layer, or it cannot be measured.

    Example:
        >>> net = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.LayerNorm(8), torch.nn.Linear(8, 2))
        >>> x, y = torch.rand(20, 2), torch.arange(20) % 2
        >>> record = Recorder("outputs/runs/mine", net, x, y, layer="1", epochs=30, checkpoints=[10])
        >>> record.due
        [0, 10, 30]
    """

    def __init__(
        self,
        directory: str | Path,
        model: torch.nn.Module | Sequence[torch.nn.Module],
        inputs: Any,
        labels: Any,
        *,
        layer: str | Sequence[str],
        epochs: int,
        probe: str | Mapping[str, Any] | None = None,
        checkpoints: str | Sequence[int] | None = None,
        dtype: torch.dtype | None = torch.float64,
        threshold: float = 0.5,
        name: str | None = None,
        seed: int = 0,
        figures: bool = True,
    ) -> None:
        self.directory = Path(directory)
        plain = not str(self.directory).startswith("~")  # h5py would write elsewhere than all else
        require(plain, "directory", "a path that needs no shell", self.directory, "Write it out.")
        self.models: list[Any] = list(model) if isinstance(model, list | tuple) else [model]
        modules = bool(self.models) and all(isinstance(each, torch.nn.Module) for each in self.models)
        require(modules, "model", "a torch.nn.Module, or a list of them", type(model).__name__, "Give the network.")
        layers: list[Any] = list(layer) if isinstance(layer, list | tuple) else [layer]
        named = bool(layers) and all(isinstance(each, str) for each in layers)
        names = "a name of model.named_modules(), or a list of them"
        require(named and len(set(layers)) == len(layers), "layer", names, layer, 'The model\'s output is "".')
        finite = isinstance(threshold, int | float) and math.isfinite(threshold)
        require(finite, "threshold", "a finite number", threshold, "0 for a logit, 0.5 for a probability.")
        predicted = PREDICTION in layers and PREDICTION not in dict(self.models[0].named_modules())
        layers = [each for each in layers if each != PREDICTION or not predicted]
        examples = Examples(inputs, labels)
        self._told: set[str] = set()
        self._layers, self._example, self._dtype = layers, examples.example, dtype
        with self._telling_once():
            network = self._network()
            about = network.describe()
            point = examples.flat[:1].to(about.device, about.dtype)
            maps = [network.feature_map(number + 1) for number in range(len(layers))]
            rank = max((each.dimensions(point).rank_bound for each in maps), default=max(1, about.widths[-1] - 1))
            numbers: list[int | str] = [*range(1, len(layers) + 1), *([PREDICTION] if predicted else [])]
        exact = str(about.dtype).removeprefix("torch.")
        require(exact in DTYPES, "dtype", one_of(DTYPES), exact, "Curvature needs float64.")
        self.config: RecordedConfig = load_recorded(
            {
                "recorded": {
                    "model": about.name,
                    "layers": layers,
                    "shape": list(examples.shape),
                    "outputs": about.widths[-1],
                    "examples": len(examples.flat),
                    "classes": examples.classes,
                    "data": examples.digest(),
                    "threshold": threshold,
                },
                "task": {"name": self.directory.name if name is None else name},
                "optimizer": {"epochs": epochs},
                "probe": probe_settings(probe, checkpoints, examples, numbers, rank),
                "figures": {"draw": figures},
                "seed": seed,
                "replicates": len(self.models),
                "device": "auto",
                "dtype": exact,
            }
        )
        self._task = examples.task(self.config.task.name, about.widths[-1], self.config.recorded.threshold)
        self._probe = make_probe(self.config.probe, self._task, seed)
        self._device = about.device
        self.due = checkpoint_epochs(self.config.probe.checkpoints, epochs)
        self.measured: set[int] = set()
        self.figures: list[Path] = []
        self.origin: dict[str, str] | None = None
        self._rows: dict[int, pd.DataFrame] = {}
        self._store: RunDirectory | None = None
        self._stack: contextlib.ExitStack | None = None

    @contextlib.contextmanager
    def _telling_once(self) -> Iterator[None]:
        """Gives each warning of the geometry once in a recording, at the line that records."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield
        for each in caught:
            if str(each.message) not in self._told:
                self._told.add(str(each.message))
                warnings.warn(each.message, each.category, stacklevel=4)

    def _network(self) -> Modules:
        return Modules(self.models, self._layers, self._example, self._dtype)

    def __enter__(self) -> Recorder:
        found = earlier(self.directory, self.config)
        with contextlib.ExitStack() as stack:
            self.directory.mkdir(parents=True, exist_ok=True)
            stack.enter_context(sole_writer(self.directory))
            if found is None:
                command = shlex.join(["python", *sys.argv])
                about = {"command": command, **provenance(self.config, self._device), "started": timestamp()}
                about["source"] = {"probe": about["source"]["probe"]}
                about |= {"measured_from": self.origin} if self.origin else {}
                self._store = RunDirectory(self.directory, about)
            else:
                self._store = RunDirectory(self.directory, found.info)
                self._store.checksums = found.checksums
                self._rows = {int(epoch): rows for epoch, rows in found.history.groupby("epoch")}
                self._store.history = History(found.history)
                self.measured = {epoch for epoch in self.due if epoch in found.measured}
            if not self._complete:
                stack.enter_context(recorded(self._store))
            self._stack = stack.pop_all()
        return self

    @property
    def _complete(self) -> bool:
        """Whether an earlier process had come to the end."""
        assert self._store is not None
        return self._store.info.get("status") in ("complete", "diverged") and self.measured == set(self.due)

    def __call__(self, epoch: int, *, loss: float | Sequence[float] | None = None, accuracy: Any = None) -> bool:
        """Measures the model if the schedule says so.

        Args:
            epoch: how many epochs it has been trained.
            loss: of the model, or of each; None: that of the inputs where the model is measured, the cross-entropy, or
                the mean squared error of a single output that is no logit.
            accuracy: likewise.

        Returns:
            Whether it was measured now.

        Raises:
            ConfigError: the epoch is none, or was measured before with other parameters.
        """
        store = self._store
        if store is None or self._stack is None:
            raise ConfigError(
                "`record(epoch)` must be called inside `with Recorder(...) as record`. Got a call outside."
            )
        last = self.config.optimizer.epochs
        if isinstance(epoch, np.integer):
            epoch = int(epoch)
        whole = isinstance(epoch, int) and not isinstance(epoch, bool) and 0 <= epoch <= last
        require(whole, "epoch", f"an integer from 0 to {last}, the last epoch", epoch, "Raise `epochs`.")
        scores = {"loss": self._score("loss", loss), "accuracy": self._score("accuracy", accuracy)}
        if epoch in self.measured:
            self._require_same(epoch)
        elif epoch in self.due:
            with self._telling_once():
                self._measure(store, epoch, scores)
            return True
        elif loss is not None or accuracy is not None:
            self._rows.setdefault(epoch, self._rows_of(epoch, scores))
        return False

    def _measure(self, store: RunDirectory, epoch: int, scores: dict[str, np.ndarray | None]) -> None:
        network = self._network()
        if any(score is None for score in scores.values()):
            found = evaluate(network, self._task, self._task.inputs, self._task.labels)
            for name, value in zip(("loss", "accuracy"), found, strict=True):
                scores[name] = value if scores[name] is None else scores[name]
        self._rows[epoch] = self._rows_of(epoch, scores)
        store.write_geometry(epoch, self._probe(network))
        store.history = History(pd.concat([self._rows[key] for key in sorted(self._rows)], ignore_index=True))
        store.write_state(epoch, state_bytes(self.models))
        self.measured.add(epoch)

    def _rows_of(self, epoch: int, scores: Mapping[str, np.ndarray | None]) -> pd.DataFrame:
        """A row of history for each replicate; NaN for a score that is not known."""
        known = {name: math.nan if score is None else score for name, score in scores.items()}
        return pd.DataFrame({"epoch": epoch, "replicate": self._seeds, **known})

    @property
    def _seeds(self) -> list[int]:
        return [self.config.seed + replicate for replicate in range(len(self.models))]

    def _score(self, name: str, values: Any) -> np.ndarray | None:
        """A score of each replicate, if it is given."""
        if values is None:
            return None
        several = isinstance(values, Sequence)
        one_each = f"one number, or one for each of {len(self.models)} models"
        try:
            numbers = [torch.as_tensor(each).detach().double().cpu() for each in (values if several else [values])]
            array = (torch.stack(numbers) if several else numbers[0]).numpy()
        except (TypeError, ValueError, RuntimeError):
            require(False, name, one_each, values, "Average over the batches.")
            raise
        require(array.shape in ((), (len(self.models),)), name, one_each, array.shape, "Average over the batches.")
        return np.full(len(self.models), array)

    def _require_same(self, epoch: int) -> None:
        """Raises ConfigError unless the parameters are those that were measured at the epoch."""
        path = self.directory / state_name(epoch)
        if name := differing(self.models, path):
            raise ConfigError(
                f"`record({epoch})` must be given the model that was measured at that epoch. Got another {name}. "
                f"Load {path} first, train with the same seeds, or record into a new directory."
            )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        assert self._stack is not None
        stack, self._stack = self._stack, None
        if error is not None:
            return bool(stack.__exit__(kind, error, trace))
        try:
            with stack:
                if not self._complete:
                    self._finish()
        except Unfinished as unfinished:
            warnings.warn(str(unfinished), stacklevel=2)
        return False

    def _finish(self) -> None:
        """Writes the final scores and draws; raises if an epoch was not measured."""
        store, last = self._store, self.config.optimizer.epochs
        assert store is not None
        if missing := [epoch for epoch in self.due if epoch not in self.measured]:
            more = f" and {len(missing) - MOST_NAMED} more" if len(missing) > MOST_NAMED else ""
            named = ", ".join(map(str, missing[:MOST_NAMED]))
            raise Unfinished(
                f"The recording is not complete. Not measured: epoch {named}{more}. "
                "Call record(0) before training, record(epoch) after every epoch, and start the script again."
            )
        final = self._rows[last]
        rows = [
            {
                "replicate": seed,
                "loss": loss if math.isfinite(loss) else None,
                "accuracy": accuracy if math.isfinite(loss) and math.isfinite(accuracy) else None,
                "solved": bool(accuracy >= self._task.solved_accuracy),
            }
            for seed, loss, accuracy in zip(self._seeds, final.loss.tolist(), final.accuracy.tolist(), strict=True)
        ]
        store.update(replicates=rows, diverged=store.divergence(last))
        if self.config.figures.draw:
            from nngeom_cli.figures import draw_figures

            self.figures = draw_figures(load_run(self.directory), directory=self.directory / FIGURES)
