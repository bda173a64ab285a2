"""Hydra's errors about a config, said as our own."""

from __future__ import annotations

import re

from hydra.errors import MissingConfigException, OverrideParseException, SearchPathException

from nngeom_cli.errors import ConfigError, did_you_mean, one_of
from nngeom_cli.keys import unknown_key

__all__ = ["explained"]

EXTRAS = {"joblib": "joblib", "submitit": "slurm", "ray": "ray"}  # launcher -> the extra that brings it


def explained(error: Exception) -> ConfigError:
    """Hydra's or OmegaConf's error about a config, in one line: key, constraint, value, a way out."""
    text = str(error)
    if isinstance(error, SearchPathException):
        return ConfigError(f"`--config-dir` must be a folder of configs. {text}. Check the path.")
    if match := re.search(r"Unknown plugin class : 'hydra_plugins\.hydra_([a-z]+)_", text):
        return ConfigError(
            f"`hydra/launcher` must be one that is installed. Got one of {match[1]}. "
            f"Install it: pip install 'nngeom[{EXTRAS.get(match[1], match[1])}]'."
        )
    if isinstance(error, MissingConfigException) and error.options:
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        way_out = did_you_mean(name, error.options) or "`nngeom run --help` lists the groups."
        return ConfigError(f"`{group}` must be {one_of(sorted(error.options))}. Got {name}. {way_out}")
    if isinstance(error, OverrideParseException):
        if "=" not in error.override:
            return ConfigError(f"`{error.override}` must be KEY=VALUE. Got no `=`. For example seed=1 or task=xor.")
        key, _, value = error.override.partition("=")
        return ConfigError(f"`{key}` must be a value that Hydra can read. Got {value}. Close brackets, quote = and ,.")
    if match := re.match(r"Could not override '(.+?)'\.[^+]*\+(?P<typed>[^\n]*)", text, re.DOTALL):
        return unknown_key(match[1], match["typed"].partition("=")[2])
    if match := re.match(r"Could not append to config\. An item is already at '(.+?)'\.\n.*?: '(.*?)'", text):
        return ConfigError(f"`{match[1]}` must be set without +. Got +{match[2]}. Write {match[2]}.")
    if match := re.match(r"(?:Ambiguous value for argument|Sweep parameters) '(.+?)=(.*?)'", text):
        return ConfigError(
            f"`{match[1]}` must be one value. Got {match[2]}. Run all of them with -m, or write a list: [1,2]."
        )
    lines = [*text.splitlines(), *str(error.__cause__ or "").splitlines()]
    useful = [
        line.strip().rstrip(".") for line in lines if not re.match(r"\s*(full_key|object_type|See https|$)", line)
    ]
    what = "; ".join(useful[:3]) or type(error).__name__
    return ConfigError(f"The config must be one that Hydra can compose. Got: {what}. See `nngeom run --help`.")
