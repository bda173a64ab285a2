"""A config, composed or saved, becomes a `Config`: each value of its type, each key known and in its range.

Nothing here imports torch or Hydra: a saved config is checked in the same way as a composed one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from nngeom_cli.config.declaration import Section, declared
from nngeom_cli.config.general import NumbersConfig
from nngeom_cli.config.installed import kinds_of, schema_of
from nngeom_cli.config.nested import leaves
from nngeom_cli.config.probe import PREDICTION, Schedule
from nngeom_cli.config.run import Config
from nngeom_cli.config.sections import SECTIONS
from nngeom_cli.config.task import Word
from nngeom_cli.config.unknown_key import unknown_key
from nngeom_cli.errors import ConfigError, did_you_mean, one_line, one_of, require, shown

__all__ = ["load_config", "overridden", "type_in_words", "typed_section", "typed_sections"]

# Type of a key -> what follows "must be" where a value is not of it, and a suggestion.
WORDS: dict[Any, tuple[str, str]] = {
    int: ("an integer", "Whole numbers have no point and no exponent: 1000."),
    int | None: ("an integer, or null", "Whole numbers have no point and no exponent: 12."),
    float: ("a number", "For example 0.02 or 1e-4."),
    float | None: ("a number, or null", "For example 0.02 or 1e-4."),
    str: ("a name", "`nngeom run --help` lists the choices."),
    Word | None: ("a name, or null", "null takes the default."),
    bool: ("true or false", "Both are written small."),
    bool | None: ("true, false or null", "null leaves the choice to nngeom."),
    list[int]: ("a list of integers", "Lists have brackets and no spaces: [8,8]."),
    list[float]: ("a list of numbers", "Lists have brackets and no spaces: [-1.5,1.5]."),
    list[Word] | None: ("a list of names, or null", "Two names: [x,y]."),
}


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
    own = "Run the script again that wrote it; `nngeom measure` takes it with --model."
    require("recorded" not in values, "config", "that of a run of `nngeom run`", "one of a Recorder", own)
    sections = typed_sections(values, SECTIONS)
    rest = {key: value for key, value in values.items() if key not in SECTIONS}
    return Config(**typed_section(NumbersConfig, rest), **sections)


def typed_sections(values: Mapping[str, Any], roots: Mapping[str, type[Section]]) -> dict[str, Any]:
    """The sections of a plain config, each by itself checked and typed; the rest of the config is left alone."""
    for key, value in leaves(values, lists="together"):
        require("${" not in str(value), key, "a plain value", value, "A saved config holds no interpolations.")
    sections: dict[str, Any] = {}
    for section, root in roots.items():
        chooser = root.chooser
        optional = not chooser and all(field.default is not MISSING for field, _ in declared(root).values())
        content = values.get(section, {} if optional else None)
        require(isinstance(content, Mapping), section, "a section", content, f"For example {section}=xor.")
        default = declared(next(iter(root.schemas.values())))[chooser][0].default if chooser else MISSING
        kind = content.get(chooser, "???" if default is MISSING else default) if chooser else ""
        if chooser:
            known = kinds_of(root)
            suggestion = did_you_mean(str(kind), known) or "Choose one."
            require(kind in known, root.typed(chooser), one_of(known), kind, suggestion)
        if section == "probe":
            all_of = {"layers": list(range(1, sections["architecture"].depth + 2)), "points": None}
            content = {key: all_of.get(key, value) if value == "all" else value for key, value in content.items()}
            content |= {"layers": [PREDICTION]} if content.get("layers") == PREDICTION else {}
        schema = schema_of(root, kind)
        sections[section] = schema(**typed_section(schema, content, kind))
    return sections


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


def typed_section(schema: type[Section], values: Mapping[str, Any], kind: str = "") -> dict[str, Any]:
    """The values of a section, each converted to the type of its key; the key of another schema is refused."""
    keys = declared(schema)
    for name, value in values.items():
        if name not in keys:
            raise unknown_key(schema.typed(name), value, kind)
    values = {name: field.default for name, (field, _) in keys.items() if field.default is not MISSING} | dict(values)
    for name in keys:
        require(values.get(name, "???") != "???", schema.typed(name), "given", "nothing", "Its default is in conf/.")
    typed = {}
    for name, (field, about) in keys.items():
        must_be, suggestion = type_in_words(field.type)
        if not must_be and about.ranges:
            must_be, suggestion = about.ranges[0].must_be, about.suggestion
        try:
            typed[name] = _converted(values[name], field.type)
        except TypeError:
            require(False, schema.typed(name), must_be, values[name], suggestion)
        except OverflowError:
            require(False, schema.typed(name), "a number of at most 64 bits", values[name], suggestion)
    return typed


def type_in_words(kind: Any) -> tuple[str, str]:
    """What follows "must be" where a value is not of a key's type, and a suggestion; a type may bring its own."""
    return WORDS.get(kind) or (get_args(kind)[1:] if get_origin(kind) is Annotated else ("", ""))


def _converted(value: Any, kind: Any) -> Any:
    """A value as the type of a key wants it.

    Raises:
        TypeError: it is none. True is no integer, and 1.0 neither.
        OverflowError: an integer has more than 64 bits.
    """
    if kind == Schedule:
        return _schedule(value)
    if kind == Word:
        if type(value) not in (str, int, float, bool):
            raise TypeError
        return str(value)
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _converted(value, inner[0])
    if origin in (Union, UnionType):
        nested = isinstance(value, list) and any(isinstance(item, list) for item in value)
        choices = [each for each in inner if each is not NoneType]
        if type(value) is str and str in choices:
            return value
        return None if value is None else _converted(value, choices[-1 if nested else 0])
    if origin is list:
        if not isinstance(value, list | tuple):  # a default is a tuple
            raise TypeError
        return [_converted(item, inner[0]) for item in value]
    if type(value) is not kind and (kind, type(value)) != (float, int):
        raise TypeError
    if kind is int and not -(2**63) <= value < 2**63:
        raise OverflowError
    return kind(value)


def _schedule(spec: Any) -> Any:
    """`log 10` written out, {spacing: log, count: 10}; anything else as it is.

    conf/ has the short form, because a list in an experiment or on the command line can replace a name, but no mapping.
    """
    words = re.fullmatch(r"\s*(\S+)\s+([0-9]{1,18})\s*", spec) if isinstance(spec, str) else None
    return {"spacing": words[1], "count": int(words[2])} if words else spec
