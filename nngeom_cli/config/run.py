"""The config of one run: the checks between its sections, and its hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from nngeom_cli.config.architecture import LayerSize
from nngeom_cli.config.convolutional import ArchitectureConfig
from nngeom_cli.config.general import FiguresConfig, NumbersConfig
from nngeom_cli.config.optimizer import OptimizerConfig
from nngeom_cli.config.probe import PREDICTION, DataConfig, GeodesicConfig, PathConfig, PlaneConfig, ProbeConfig
from nngeom_cli.config.sections import known_keys
from nngeom_cli.config.task import FileConfig, SplitConfig, TaskConfig
from nngeom_cli.errors import require, shown

__all__ = ["Config", "config_hash"]


@dataclass(frozen=True, kw_only=True)
class Config(NumbersConfig):
    """One run, checked."""

    task: TaskConfig
    architecture: ArchitectureConfig
    optimizer: OptimizerConfig
    probe: ProbeConfig
    figures: FiguresConfig

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one input, (d,), or that of an image."""
        return tuple(self.task.image_shape or (self.task.inputs,))

    @property
    def layers(self) -> list[LayerSize]:
        """Sizes of the hidden layers and of the output."""
        return self.architecture.layers(self.shape, self.task.outputs)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_schedule()
        self._check_penalized_layer()
        shown, last = self.figures.replicate, self.seed + self.replicates - 1
        require(
            shown is None or self.seed <= shown <= last,
            "figures.replicate",
            f"between {self.seed} and {last}, the seeds of the replicates, or null",
            shown,
            "null takes the first that solved the task.",
        )
        if isinstance(self.task, FileConfig) and None in (self.task.columns, self.task.class_names, self.task.rows):
            return  # `tables/table_file.py` looks into the file and makes a config that is checked to the end
        task, batch_size, size = self.task, self.optimizer.batch_size, self.task.size
        self.architecture.check(task.name, self.shape)
        self._check_penalized_rank()
        if isinstance(task, SplitConfig):
            require(size > 0, "task.test_fraction", "such that examples are left", task.test_fraction, "Lower it.")
        require(
            batch_size is None or batch_size <= size or isinstance(task, FileConfig),
            "optimizer.batch_size",
            f"at most {size}, the number of examples of task={task.name}",
            batch_size,
            "null takes the full batch.",
        )
        if isinstance(self.probe, PathConfig):
            self._check_examples("pairs", self.probe.pairs, self.probe.endpoints)
            self._check_top_k(self.probe.top_k or 1)
        elif isinstance(self.probe, GeodesicConfig):
            self._check_examples("pairs", self.probe.pairs, self.probe.endpoints)
        elif isinstance(self.probe, PlaneConfig):
            self._check_examples("triples", self.probe.triples, self.probe.corners)
            self._check_top_k(self.probe.top_k or 1)
        elif isinstance(self.probe, DataConfig):
            self._check_split(self.probe.split)
            require(
                not self.probe.robustness or self.architecture.output_scale is None,
                "probe.robustness",
                "false where architecture.output_scale is given",
                self.probe.robustness,
                "The boundary is that of alpha (h - h_0); with architecture.output_scale=null it is that of h.",
            )
            self._check_top_k(self.probe.top_k or 1)
        else:
            require(
                task.inputs == 2,
                "probe.kind",
                f"path, geodesic, plane or data for task={task.name}, whose inputs have {task.inputs} dimensions",
                self.probe.kind,
                f"Choose probe={'path' if isinstance(task, FileConfig) else task.name}.",
            )

    def _check_schedule(self) -> None:
        probe, output = self.probe, self.architecture.depth + 1
        predicted = f", and {PREDICTION}" if self.task.outputs != 1 else ""
        require(
            all(1 <= layer <= output for layer in probe.hidden_or_output),
            "probe.layers",
            f"all, or layers from 1, the first hidden one, to {output}, the output{predicted}",
            probe.layers,
            "The first hidden layer: probe.layers=[1].",
        )
        require(
            self.architecture.output_scale is None or {output, PREDICTION}.isdisjoint(probe.layers),
            "probe.layers",
            "hidden layers where architecture.output_scale is given",
            probe.layers,
            f"The output is layer {output}, and the prediction follows from it.",
        )
        require(
            PREDICTION not in probe.layers or self.task.outputs != 1,
            "probe.layers",
            f"layers with numbers for task={self.task.name}, whose output is no probability",
            probe.layers,
            f"The metric of the output is that of layer {output}.",
        )
        if isinstance(probe.checkpoints, list):
            require(
                max(probe.checkpoints, default=0) <= self.optimizer.epochs,
                "probe.checkpoints",
                f"at most {self.optimizer.epochs}, the last epoch",
                probe.checkpoints,
                "Train longer with optimizer.epochs, or name earlier epochs.",
            )

    def _check_penalized_layer(self) -> None:
        """The penalty is on the volume of a hidden layer, and a part of the loss itself."""
        optimizer, hidden = self.optimizer, self.architecture.depth
        require(
            optimizer.volume_penalty_layer is None or optimizer.volume_penalty_layer <= hidden,
            "optimizer.volume_penalty_layer",
            f"a hidden layer, 1 to {hidden}, or null",
            optimizer.volume_penalty_layer,
            "null takes the last.",
        )
        require(
            not optimizer.volume_penalty or self.architecture.output_scale is None,
            "optimizer.volume_penalty",
            "0 where architecture.output_scale is given, which divides the loss",
            optimizer.volume_penalty,
            "Use architecture.output_scale=null.",
        )
        require(
            not optimizer.volume_penalty or not self.architecture.by_module,
            "optimizer.volume_penalty",
            "0 for convolutional, residual and layer_norm networks",
            optimizer.volume_penalty,
            "Plain layers can have it.",
        )

    def _check_penalized_rank(self) -> None:
        """No layer has more singular values than its rank."""
        optimizer = self.optimizer
        widths = [layer.features for layer in self.layers[:-1][: optimizer.volume_penalty_layer]]
        rank = min(self.task.inputs, *widths)
        require(
            (optimizer.volume_penalty_top_k or 1) <= rank,
            "optimizer.volume_penalty_top_k",
            f"at most {rank}, the rank of the metric (input dimension {self.task.inputs}, widths {shown(widths)})",
            optimizer.volume_penalty_top_k,
            "null takes the rank.",
        )

    def _check_examples(self, groups: str, chosen: list[list[int]], by: str) -> None:
        """Each example of the pairs or triples must be there."""
        task, key = self.task, f"probe.{groups}"
        count, noun = (task.classes, "classes") if by == "class" else (task.size, "rows")
        first = [0, 1] if groups == "pairs" else [0, 1, 2]
        rows = "" if len(first) <= count else "probe.corners=index "  # there are too few classes for a plane
        example = f"{rows}{key}={shown([first])}"
        require(
            all(0 <= end < count for group in chosen for end in group),
            key,
            f"{groups} of {noun} of task={task.name}, 0 to {count - 1}",
            chosen,
            f"For example {example}." if task.inputs > 2 else f"Choose probe={task.name}, or {example}.",
        )

    def _check_split(self, split: str) -> None:
        """Test examples must be kept to be measured at."""
        task = self.task
        can_keep = isinstance(task, SplitConfig)
        require(
            split == "train" or task.kept > 0,
            "probe.split",
            f"train where task={task.name} keeps no examples for testing",
            split,
            "task.test_fraction=0.2 keeps a fifth of them." if can_keep else "Another task can keep some.",
        )

    def _check_top_k(self, top_k: int) -> None:
        """No measured layer could have an effective volume, if the first has not the rank for it."""
        widths = [self.task.inputs, *(layer.features for layer in self.layers)]
        numbers, ranks = self.probe.numbered(widths), self.probe.ranks(widths)
        rank = ranks[numbers.index(min(numbers))]
        widths = widths[1 : min(numbers) + 1]
        require(
            top_k <= rank,
            "probe.top_k",
            f"at most {rank}, the rank of the metric (input dimension {self.task.inputs}, widths {shown(widths)})",
            top_k,
            f"Ask for probe.top_k={rank}.",
        )


def config_hash(config: Config | Mapping[str, Any]) -> str:
    """SHA-256 of what a run measures, as canonical JSON, 64 hexadecimal digits.

    Keys on which no number depends do not count, nor do those that came later, where they have their default.
    """
    plain = config if isinstance(config, Mapping) else asdict(config)
    measured = {key: dict(value) if isinstance(value, Mapping) else value for key, value in plain.items()}
    for section, name, measures, default in _unhashed():
        values = measured.get(section) if section else measured
        if isinstance(values, dict) and (not measures or values.get(name, default) == default):
            values.pop(name, None)
            if section and not values:
                del measured[section]
    text = json.dumps(measured, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _unhashed() -> set[tuple[str, str, bool, Any]]:
    """Section and name of the keys that the hash may leave out, whether a number depends on them, and their default."""
    return {
        (*known.typed.rpartition(".")[::2], known.about.measured, known.field.default)
        for known in known_keys()
        if not (known.about.measured and known.about.hashed_at_default)
    }
