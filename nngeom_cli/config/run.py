"""The config of one run: loading, the checks between its sections, the checkpoint schedule, the hash.

Nothing here imports torch or Hydra: a saved config is checked in the same way as a composed one.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from nngeom_cli.config.field_types import TYPES
from nngeom_cli.config.general import ArchitectureConfig, FiguresConfig, NumbersConfig, OptimizerConfig
from nngeom_cli.config.probe import PathConfig, PlaneConfig, ProbeConfig
from nngeom_cli.config.task import FileConfig, SplitConfig, TaskConfig
from nngeom_cli.config.unknown_key import SECTIONS, unknown_key
from nngeom_cli.errors import ConfigError, did_you_mean, one_line, one_of, require, shown

__all__ = ["Config", "config_hash", "load_config", "overridden"]

UNMEASURED = ("checkpoint_seconds", "figures")  # keys on which no number depends
LATER = (("task", "header"),)  # keys that came later: where they are null, the hash is that of a run from before


@dataclass(frozen=True)
class Config(NumbersConfig):
    """One run, checked."""

    task: TaskConfig
    architecture: ArchitectureConfig
    optimizer: OptimizerConfig
    probe: ProbeConfig
    figures: FiguresConfig

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_schedule()
        if isinstance(self.task, FileConfig) and None in (self.task.columns, self.task.class_names, self.task.rows):
            return  # `datafile.located` looks into the file and makes a config that is checked to the end
        task, batch_size, size = self.task, self.optimizer.batch_size, self.task.size
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
            self._check_top_k(self.probe.layers, self.probe.top_k)
        elif isinstance(self.probe, PlaneConfig):
            self._check_examples("triples", self.probe.triples, self.probe.corners)
            self._check_top_k(self.probe.layers, self.probe.top_k)
        else:
            require(
                task.inputs == 2,
                "probe.kind",
                f"path or plane for task={task.name}, whose inputs have {task.inputs} dimensions",
                self.probe.kind,
                f"Choose probe={'path' if isinstance(task, FileConfig) else task.name}.",
            )

    def _check_schedule(self) -> None:
        probe, output = self.probe, len(self.architecture.hidden) + 1
        require(
            all(1 <= layer <= output for layer in probe.layers),
            "probe.layers",
            f"all, or layers from 1, the first hidden one, to {output}, the output",
            probe.layers,
            "The first hidden layer: probe.layers=[1].",
        )
        require(
            self.architecture.output_scale is None or output not in probe.layers,
            "probe.layers",
            "hidden layers where architecture.output_scale is given",
            probe.layers,
            f"The output is layer {output}.",
        )
        if isinstance(probe.checkpoints, list):
            require(
                max(probe.checkpoints, default=0) <= self.optimizer.epochs,
                "probe.checkpoints",
                f"at most {self.optimizer.epochs}, the last epoch",
                probe.checkpoints,
                "Train longer with optimizer.epochs, or name earlier epochs.",
            )

    def _check_examples(self, groups: str, chosen: list[list[int]], by: str) -> None:
        """Each example of the pairs or triples must be there."""
        task, key = self.task, f"probe.{groups}"
        count, noun = (task.classes, "classes") if by == "class" else (task.size, "rows")
        example = f"{key}={'[[0,1]]' if groups == 'pairs' else '[[0,1,2]]'}"
        require(
            all(0 <= end < count for group in chosen for end in group),
            key,
            f"{groups} of {noun} of task={task.name}, 0 to {count - 1}",
            chosen,
            f"For example {example}." if task.inputs > 2 else f"Choose probe={task.name}, or {example}.",
        )

    def _check_top_k(self, layers: list[int], top_k: int) -> None:
        """No measured layer could have an effective volume, if the first has not the rank for it."""
        widths = [*self.architecture.hidden, self.task.outputs][: min(layers)]
        rank = min(self.task.inputs, *widths)
        require(
            top_k <= rank,
            "probe.top_k",
            f"at most {rank}, the rank of the metric (input dimension {self.task.inputs}, widths {shown(widths)})",
            top_k,
            f"Ask for probe.top_k={rank}.",
        )


def load_config(mapping: DictConfig | Mapping[str, Any]) -> Config:
    """Check a composed config, or one read back from a run, and give it types.

    Args:
        mapping: the sections task, architecture, optimizer, probe, figures, and seed, replicates, device, dtype. A
            `DictConfig` is resolved first; in a plain mapping an interpolation is refused, so that a saved config reads
            nothing. A key whose schema has a default may be absent: runs were saved before it existed.

    Returns:
        The config, with nothing left that can be found wrong without torch.

    Raises:
        ConfigError: in one line, what is wrong first.
    """
    values: dict[str, Any] = _resolved(mapping) if isinstance(mapping, DictConfig) else dict(mapping)
    _refuse_interpolations(values, "")
    sections: dict[str, Any] = {}
    for section, (chooser, schemas) in SECTIONS.items():
        optional = not chooser and all(field.default is not MISSING for field in fields(schemas[""]))
        content = values.pop(section, {} if optional else None)
        require(isinstance(content, Mapping), section, "a section", content, f"For example {section}=xor.")
        name = content.get(chooser, "???") if chooser else ""
        if chooser:
            key = f"{section}.{chooser}"
            choices = [str(choice) for choice in schemas]
            require(name in choices, key, one_of(choices), name, did_you_mean(str(name), choices) or "Choose one.")
        if section == "probe" and content.get("layers") == "all":
            content = {**content, "layers": list(range(1, len(sections["architecture"].hidden) + 2))}
        typed = _typed(schemas[name], content, section, name)
        if section == "probe":
            typed["checkpoints"] = _schedule(typed["checkpoints"])
        sections[section] = schemas[name](**typed)
    return Config(**_typed(NumbersConfig, values, "", ""), **sections)


def overridden(config: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """A plain config with `key=value` overrides, whose interpolations are not resolved.

    Raises:
        ConfigError: an override is not KEY=VALUE.

    Example:
        >>> overridden({"optimizer": {"epochs": 10}}, ["optimizer.epochs=20"])
        {'optimizer': {'epochs': 20}}
    """
    for override in overrides:
        key, equals, _ = override.partition("=")
        require(bool(key and equals), override, "KEY=VALUE", "no `=`", "For example optimizer.epochs=4000.")
    try:
        merged = OmegaConf.merge(OmegaConf.create(dict(config)), OmegaConf.from_dotlist(list(overrides)))
        plain = OmegaConf.to_container(merged, resolve=False)
    except (OmegaConfBaseException, YAMLError, ValueError, AttributeError) as error:
        what = shown(" ".join(overrides))
        raise ConfigError(f"`{what}` must be KEY=VALUE. Got: {one_line(error)}. Close brackets and quotes.") from error
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def _resolved(config: DictConfig) -> dict[str, Any]:
    try:
        values = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        sentence = str(error).splitlines()[0].rstrip(".")
        raise ConfigError(
            f"`{error.full_key}` must be resolvable. Got an interpolation: {sentence}. Mend it."
        ) from error
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def _refuse_interpolations(value: Any, key: str) -> None:
    if isinstance(value, Mapping):
        for name, item in value.items():
            _refuse_interpolations(item, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list):
        for item in value:
            _refuse_interpolations(item, key)
    else:
        require("${" not in str(value), key, "a plain value", value, "A saved config holds no interpolations.")


def _typed(schema: type, values: Mapping[str, Any], section: str, name: str) -> dict[str, Any]:
    """The values of a section, each converted to the type of its field; the key of another schema is refused."""
    prefix = f"{section}." if section else ""
    annotations = {field.name: str(field.type) for field in fields(schema)}
    for key, value in values.items():
        if key not in annotations:
            raise unknown_key(f"{prefix}{key}", value, name)
    values = {field.name: field.default for field in fields(schema) if field.default is not MISSING} | dict(values)
    for key in annotations:
        require(values.get(key, "???") != "???", prefix + key, "given", "nothing", "Its default is in conf/.")
    typed = {}
    for key, annotation in annotations.items():
        convert, constraint, way_out = TYPES[annotation]
        try:
            typed[key] = convert(values[key])
        except TypeError:
            require(False, prefix + key, constraint, values[key], way_out)
        except OverflowError:
            require(False, prefix + key, "a number of at most 64 bits", values[key], way_out)
    return typed


def _schedule(spec: Any) -> Any:
    """`log 10` written out, {spacing: log, count: 10}; anything else as it is.

    conf/ has the short form, because a list in an experiment or on the command line can replace a name, but no mapping.
    """
    words = re.fullmatch(r"\s*(\S+)\s+([0-9]{1,18})\s*", spec) if isinstance(spec, str) else None
    return {"spacing": words[1], "count": int(words[2])} if words else spec


def config_hash(config: Config | Mapping[str, Any]) -> str:
    """SHA-256 of what a run measures, as canonical JSON, 64 hexadecimal digits; `UNMEASURED` does not count."""
    plain = config if isinstance(config, Mapping) else asdict(config)
    measured = {key: value for key, value in plain.items() if key not in UNMEASURED}
    for section, key in LATER:
        values = measured.get(section)
        if isinstance(values, Mapping) and values.get(key, "") is None:
            measured[section] = {name: value for name, value in values.items() if name != key}
    text = json.dumps(measured, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
