"""Hydra's errors about a config, in our own form."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path, PurePath

from hydra.errors import MissingConfigException, OverrideParseException, SearchPathException

from nngeom_cli.config.sections import takes_integers
from nngeom_cli.config.unknown_key import key_meant, unknown_key
from nngeom_cli.errors import ConfigError, did_you_mean, nearest, one_of
from nngeom_cli.groups import GROUPS, group_of, theory_keys
from nngeom_cli.quoting import pasted, quoted
from nngeom_cli.synonyms import LISTS, SEEDS, plain, typed

__all__ = ["explained"]

EXTRAS = {"joblib": "joblib", "submitit": "slurm", "ray": "ray"}  # launcher -> the extra that brings it
TEXTS = ("task.path", "task.label", "directory", "hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir")
OF_THEORY = {"dimension": "d", "dim": "d", "inputs": "d", "sigma": "weight_std", "zeta": "bias_std"}
SWEPT = "Ambiguous value for argument|Sweep parameters|Sweeping over Hydra's configuration is not supported :"
NAME = r"[+~]{0,2}[A-Za-z_][\w./@:$-]*"  # of a key
KINDS = {".csv": "csv", ".tsv": "csv", ".txt": "csv", ".npz": "npz", ".npy": "npz"}  # how a data file is named
DATASETS = ("mnist", "fashionmnist", "kmnist", "emnist", "cifar", "cifar10", "cifar100", "svhn", "imagenet", "iris",
            "wine", "breastcancer", "blobs", "checkerboard", "usps")  # fmt: skip


def explained(error: Exception, words: Sequence[str] = (), config_name: str = "") -> ConfigError:
    """Hydra's or OmegaConf's error about a config, in one line: key, constraint, value, suggestion.

    Args:
        error: as it was raised.
        words: that were typed.
        config_name: of the primary config.
    """
    text = str(error)
    if isinstance(error, SearchPathException):
        return ConfigError(f"`--config-dir` must be a folder of configs. {text}. Check the path.")
    if match := re.search(r"Unknown plugin class : 'hydra_plugins\.hydra_([a-z]+)_", text):
        return ConfigError(
            f"`hydra/launcher` must be one that is installed. Got one of {match[1]}. "
            f"Install it: pip install 'nngeom[{EXTRAS.get(match[1], match[1])}]'."
        )
    if isinstance(error, MissingConfigException) and error.options:
        return _unknown_option(str(error.missing_cfg_file), sorted(error.options))
    if isinstance(error, OverrideParseException):
        return _unreadable(str(error.override), words)
    if match := re.match(r"Could not override '(.+?)'\.[^+]*\+(?P<typed>[^\n]*)", text, re.DOTALL):
        value = match["typed"].partition("=")[2]
        if match[1] in SEEDS:  # of a sweep Hydra tells the first
            value = next((word.partition("=")[2] for word in words if word.startswith(f"{match[1]}=")), value)
        return unknown_key(match[1], value) if config_name != "theory" else _unknown_to_theory(match[1], value)
    if match := re.match(r"Could not append to config\. An item is already at '(.+?)'\.\n.*?: '(.*?)'", text):
        return ConfigError(f"`{match[1]}` must be set without +. Got +{match[2]}. Write {match[2]}.")
    if match := re.match(rf"(?:{SWEPT}) '(.+?)=(.*?)'", text):
        return _several(match[1], match[2], config_name)
    if (match := re.match(r"Error merging override ([\w.]+)=(.*)", text)) and match[1] in TEXTS:
        return ConfigError(f"`{match[1]}` must be text. Got {match[2]}. {_as_text(f'{match[1]}={match[2]}')}")
    if text.startswith("Config group override must be"):
        word = next((word for word in words if word.partition("=")[0] in GROUPS or not word[:1].isalpha()), "")
        key, _, value = word.partition("=")
        if key not in GROUPS:
            return unknown_key(key, value)
        return ConfigError(f"`{key}` must be a name. Got {value}. `nngeom run --help` lists the groups.")
    for key, _, value in (word.partition("=") for word in words):
        if key in GROUPS and value.startswith(("[", "{")):  # Hydra fails in many ways at these
            suggestion = f"Did you mean `{typed('architecture.hidden', value)}`?" if key == "architecture" else ""
            return ConfigError(
                f"`{key}` must be a name. Got {value}. {suggestion or '`nngeom run --help` lists them.'}"
            )
    lines = [*text.splitlines(), *str(error.__cause__ or "").splitlines()]
    useful = [
        line.strip().rstrip(".") for line in lines if not re.match(r"\s*(full_key|object_type|See https|$)", line)
    ]
    what = "; ".join(useful[:3]) or type(error).__name__
    if type(error).__module__.partition(".")[0] not in ("hydra", "omegaconf", "yaml"):  # it may be a fault of ours
        what = f"{type(error).__name__}: {what}"
        return ConfigError(f"Hydra must come to an end with the config. Got: {what}. HYDRA_FULL_ERROR=1 shows where.")
    return ConfigError(f"The config must be one that Hydra can compose. Got: {what}. See `nngeom run --help`.")


def _unknown_option(file: str, options: list[str]) -> ConfigError:
    """The error for an option that a group has not."""
    group = next((group for group in GROUPS if file.startswith(f"{group}/")), file.rpartition("/")[0])
    name = file.removeprefix(f"{group}/")
    suggestion = did_you_mean(name, options) or "`nngeom run --help` lists the groups."
    kind = KINDS.get(PurePath(name).suffix)
    if group == "task" and kind:
        suggestion = f"Did you mean `task={kind} {pasted('task.path', name)}`?"
    elif group == "task" and plain(name) in DATASETS:
        suggestion = "digits has small images; task=npz task.path=FILE takes arrays of your own, task=csv a table."
    return ConfigError(f"`{group}` must be {one_of(options)}. Got {name}. {suggestion}")


def _unreadable(word: str, words: Sequence[str]) -> ConfigError:
    """The error for a word that Hydra's grammar has no place for."""
    key, equals, value = word.partition("=")
    if not equals:
        return _no_assignment(word, words)
    if not re.fullmatch(NAME, key, re.ASCII):
        return unknown_key(key, value)
    if key in TEXTS:
        return ConfigError(
            f"`{key}` must be quoted for Hydra, inside the shell's quotes. Got {value}. {_as_text(word)}"
        )
    suggestion = "Close brackets, quote = and ,."
    if re.search(r"\s[\w./]+=", value):
        suggestion = "Each KEY=VALUE is a word of its own."
    elif re.fullmatch(r"\[[^][{}'\"]*\]", value):
        suggestion = f"Type: {shlex.quote(f'{key}=[' + ','.join(map(quoted, value[1:-1].split(','))) + ']')}"
    elif re.fullmatch(r"[({][\d., ]*[)}]", value):
        suggestion = f"A list has brackets: {shlex.quote(f'{key}=[{value[1:-1]}]')}"
    return ConfigError(f"`{key}` must be a value that Hydra can read. Got {value}. {suggestion}")


def _no_assignment(word: str, words: Sequence[str]) -> ConfigError:
    """The error for a word without `=`, which may have been torn from the words before it."""
    torn = words[: words.index(word)] if word in words else []
    key, _, value = (torn[-1] if torn else "").partition("=")
    if key in (*TEXTS, "probe.checkpoints"):
        value = " ".join([value, *takewhile(lambda each: "=" not in each and each[0] != "-", words[len(torn) :])])
        whole = shlex.quote(f"{key}={value}") if key not in TEXTS else pasted(key, value)
        return ConfigError(f"`{key}` must be one word of the shell's. Got {value}. Type: {whole}")
    group, meant, kind = group_of(word), key_meant(word), KINDS.get(PurePath(word).suffix)
    if group:
        suggestion = f"Did you mean `{group}={word}`?"
    elif kind:
        suggestion = f"Did you mean `task={kind} {pasted('task.path', word)}`?"
    elif meant:
        suggestion = f"Write {meant if '=' in meant else f'{meant}=VALUE'}, without blanks."
    elif (Path(word) / "run.json").is_file():
        suggestion = f"Did you mean `nngeom run --from {shlex.quote(word)}`?"
    else:
        suggestion = "For example seed=1 or task=xor."
    return ConfigError(f"`{word}` must be KEY=VALUE. Got no `=`. {suggestion}")


def _unknown_to_theory(key: str, value: str) -> ConfigError:
    """The error for a key that `nngeom theory` does not have."""
    near = OF_THEORY.get(key) or nearest(key, theory_keys())
    suggestion = f"Did you mean `{typed(near, value)}`?" if near else "`nngeom theory --help` shows all."
    return ConfigError(f"`{key}` must be a key of theory. Got {value}. {suggestion}")


def _several(key: str, value: str, config_name: str) -> ConfigError:
    """The error for values of a sweep in a command that is none."""
    theory = config_name == "theory"
    if not theory and key_meant(key) not in (key, None):
        return unknown_key(key, value)
    if key in TEXTS:
        suggestion = _as_text(f"{key}={value}")
    elif theory:
        listed = shlex.quote(f"{key}=[{value}]")
        suggestion = f"A list has brackets: {listed}" if key in ("activation", "widths") else "Draw one after another."
    elif key in LISTS:
        suggestion = f"A list has brackets: {typed(key, value)}"
    elif takes_integers(key):
        suggestion = "Run all of them with -m."
        if re.fullmatch(r"[1-9][0-9]{0,2}(,[0-9]{3})+", value):  # marks between thousands
            suggestion = f"Run all of them with -m; or type {key}={value.replace(',', '')}."
    elif re.fullmatch(r"-?[0-9]+,[0-9]+", value):
        suggestion = f"Run all of them with -m; or, with a decimal point, type {key}={value.replace(',', '.')}."
    else:
        suggestion = "Run all of them with -m, or write a list: [1,2]."
    return ConfigError(f"`{key}` must be one value. Got {value}. {suggestion}")


def _as_text(word: str) -> str:
    key, _, value = word.partition("=")
    return f"Type: {pasted(key, value)}"
