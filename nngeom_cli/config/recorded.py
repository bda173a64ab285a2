"""The config of a run that a `Recorder` writes: what it measured, where and when. Training was the user's own."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from nngeom_cli.config.architecture import ACTIVATIONS
from nngeom_cli.config.declaration import Range, Section, at_least, between, key
from nngeom_cli.config.general import FiguresConfig, NumbersConfig
from nngeom_cli.config.loader import load_config, typed_section, typed_sections
from nngeom_cli.config.optimizer import MOST_EPOCHS
from nngeom_cli.config.probe import (
    PREDICTION,
    DataConfig,
    GeodesicConfig,
    GridConfig,
    PathConfig,
    ProbeConfig,
    ProbeSection,
)
from nngeom_cli.config.run import Config
from nngeom_cli.config.sections import SECTIONS
from nngeom_cli.errors import ConfigError, one_of, require, say
from nngeom_cli.plugins import GROUPS, installed

__all__ = ["RECORDED", "RecordedConfig", "load_recorded", "load_saved", "read_saved", "require_plugins"]

OF_PAIRS = (PathConfig, GeodesicConfig)
RECORDED = "recorded"  # the section that only a recorded run has


@dataclass(frozen=True)
class RecordedModel(Section, section=RECORDED):
    """The user's model and data."""

    model: str = key("class of the model")
    layers: list[str] = key("names of the submodules that are measured, in the order of their numbers")
    shape: list[int] = key("of one input", Range(lambda shape: min(shape, default=0) >= 1, "a list of lengths"))
    outputs: int = key("outputs of the model", at_least(1))
    examples: int = key("number of inputs", at_least(1))
    classes: int = key("one more than the largest label", at_least(1))
    data: str = key("hash of inputs and labels")
    threshold: float = key("a single output above it means class 1", default=0.5)


@dataclass(frozen=True)
class RecordedTask(Section, section="task"):
    """What figures call the data."""

    name: str = key("name of the data")


@dataclass(frozen=True)
class RecordedTraining(Section, section="optimizer"):
    """How long the user trains."""

    epochs: int = key("the last epoch", between(1, MOST_EPOCHS), suggestion="For example epochs=30.")


@dataclass(frozen=True, kw_only=True)
class RecordedConfig(NumbersConfig):
    """A recorded run, checked."""

    recorded: RecordedModel
    task: RecordedTask
    optimizer: RecordedTraining
    probe: ProbeConfig
    figures: FiguresConfig

    def __post_init__(self) -> None:
        super().__post_init__()
        about, probe = self.recorded, self.probe
        numbers: list[int | str] = list(range(1, len(about.layers) + 1))
        known = [numbers, [*numbers, PREDICTION]]
        require(probe.layers in known, "probe.layers", f"{numbers}, the layers by number", probe.layers, "Run again.")
        logit = "the name of a submodule where the model's output is one number and no logit"
        predicts = about.outputs > 1 or about.threshold == 0
        require(PREDICTION not in probe.layers or predicts, "layer", logit, PREDICTION, "A logit has threshold=0.")
        if isinstance(probe.checkpoints, list):
            last = self.optimizer.epochs
            within = max(probe.checkpoints, default=0) <= last
            require(within, "checkpoints", f"at most {last}, the last epoch", probe.checkpoints, "Raise `epochs`.")
        if isinstance(probe, GridConfig):
            plane = about.shape == [2]
            others = "path, geodesic, plane or data for inputs of any shape but (2,)"
            require(plane, "probe", others, probe.kind, 'Try probe="path".')
            return
        if isinstance(probe, DataConfig):
            require(probe.split == "train", "probe.split", "train", probe.split, "Give the inputs to measure at.")
            return
        groups, by = ("pairs", probe.endpoints) if isinstance(probe, OF_PAIRS) else ("triples", probe.corners)
        chosen = probe.pairs if isinstance(probe, OF_PAIRS) else probe.triples
        count, noun = (about.classes, "classes") if by == "class" else (about.examples, "rows")
        there = all(0 <= end < count for group in chosen for end in group)
        require(there, f"probe.{groups}", f"{groups} of {noun}, 0 to {count - 1}", chosen, "Name others.")


def load_recorded(mapping: Mapping[str, Any]) -> RecordedConfig:
    """Checks the config of a recorded run and gives it types.

    Raises:
        ConfigError: in one line, what is wrong first.
    """
    values = dict(mapping)
    schemas: dict[str, type[Section]] = {
        schema.section: schema for schema in (RecordedModel, RecordedTask, RecordedTraining, FiguresConfig)
    }
    probe = values.get("probe")
    kind = probe.get("kind") if isinstance(probe, Mapping) else None
    require(kind in ProbeSection.schemas, "probe.kind", one_of(ProbeSection.schemas), kind, "Choose one.")
    schemas["probe"] = ProbeSection.schemas[str(kind)]
    sections: dict[str, Any] = {}
    for name, schema in schemas.items():
        content = values.pop(name, None)
        require(isinstance(content, Mapping), name, "a section", content, "A Recorder writes it.")
        assert isinstance(content, Mapping)
        sections[name] = schema(**typed_section(schema, content))
    return RecordedConfig(**typed_section(NumbersConfig, values), **sections)


def load_saved(mapping: Mapping[str, Any]) -> Config | RecordedConfig:
    """Checks the config of any saved run.

    Raises:
        ConfigError: in one line, what is wrong first.
    """
    return load_recorded(mapping) if RECORDED in mapping else load_config(mapping)


def read_saved(info: Mapping[str, Any]) -> dict[str, Any]:
    """The config of a saved run, checked, to be read and drawn.

    A run can be read without the packages that added its task or activation: a sentence says which are missing, and
    what they would check is left unchecked.

    Args:
        info: of run.json.

    Raises:
        ConfigError: in one line, what is wrong first.
    """
    config = dict(info["config"])
    missing = _missing(info)
    if not missing or RECORDED in config:
        return asdict(load_saved(config))
    say(f"{_in_words(missing)} not installed: the run can be read and drawn, not trained or measured.")
    kinds = {kind for kind, _, _ in missing}
    if "activation" in kinds and isinstance(config.get("architecture"), Mapping):
        config["architecture"] = {**config["architecture"], "activation": ACTIVATIONS[0]}
    typed_sections(config, {section: root for section, root in SECTIONS.items() if section not in kinds})
    return dict(info["config"])


def require_plugins(info: Mapping[str, Any]) -> None:
    """Raises `ConfigError` if a package is not installed that added something to a saved run.

    Args:
        info: of run.json.
    """
    missing = _missing(info)
    if missing:
        raise ConfigError(
            "A run must have its packages installed to be trained or measured. Got one where "
            f"{_in_words(missing)} not. Install it."
        )


def _missing(info: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Kind, name and package of each plugin of a run that is not installed."""
    named = [(*words.partition(" ")[::2], package) for words, package in info.get("plugins", {}).items()]
    return [(kind, name, package) for kind, name, package in named if kind in GROUPS and installed(kind, name) is None]


def _in_words(missing: list[tuple[str, str, str]]) -> str:
    """`task checkerboard of the package nngeom-checkerboard 1.0 is`."""
    each = [f"{kind} {name} of the package {package}" for kind, name, package in missing]
    return f"{', '.join(each[:-1])} and {each[-1]} are" if len(each) > 1 else f"{each[0]} is"
