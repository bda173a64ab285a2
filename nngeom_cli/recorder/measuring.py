"""Measures a user's own checkpoints: files of state_dicts, with the module and the examples of a user's Python file.

That file is run, and only because a person has typed its name: nothing in a folder of checkpoints or a run names code.
"""

from __future__ import annotations

import contextlib
import datetime
import re
import runpy
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from nngeom_cli.config.loader import overridden
from nngeom_cli.config.recorded import RecordedConfig, load_saved
from nngeom_cli.errors import ConfigError, one_line, require
from nngeom_cli.recorder.recorder import Recorder
from nngeom_cli.store.layout import CHECKPOINTS, INFO
from nngeom_cli.store.run import load_run
from nngeom_cli.store.run_info import refuse_cleaned
from nngeom_cli.system.surroundings import replaced

__all__ = ["measure_states"]

SAFETENSORS = ".safetensors"
KINDS = (".pt", ".pth", SAFETENSORS)  # of files that hold a state_dict
TYPED = {  # arguments of the recorder, and how the command spells them
    "directory": "hydra.run.dir",
    "layer": "--layer",
    "model": "--model",
    "threshold": "--threshold",
    "checkpoints": "probe.checkpoints",
    "inputs": "--data",
    "labels": "--data",
}
Make = Callable[[], Any]


def measure_states(
    folder: Path, model: str, data: str, layers: Sequence[str], words: Sequence[str], threshold: float | None = None
) -> Recorder:
    """Measures each state_dict in a folder, in the order of the epochs in their names.

    Args:
        folder: of the files, or a recorded run.
        model: FILE.py:FUNCTION; the function returns the module.
        data: likewise; it returns inputs and labels, as `Recorder` takes them.
        layers: names of submodules.
        words: probe=NAME, probe.KEY=VALUE, hydra.run.dir=FOLDER.
        threshold: as of `Recorder`; None: that of the recording, else 0.5.

    Returns:
        The recorder of the new run, with its directory and its figures.

    Raises:
        ConfigError: something does not fit; nothing was written.
        DamageError: hydra.run.dir is a damaged recording.
    """
    if (folder / INFO).is_file():
        refuse_cleaned(folder, load_run(folder).info)
    files = _by_epoch(folder / CHECKPOINTS if (folder / INFO).is_file() else folder)
    make_model, make_data = (_function(flag, typed) for flag, typed in (("--model", model), ("--data", data)))
    states = {epoch: _states(path) for epoch, path in files.items()}
    models = [_called("--model", make_model) for _ in states[0]]
    found = _called("--data", make_data)
    pair = isinstance(found, tuple | list) and len(found) == 2
    require(pair, "--data", "a function that returns inputs and labels", type(found).__name__, "Return both.")
    for epoch, path in files.items():
        _load(models, states[epoch], path)
    chosen = {key: value for key, _, value in (word.partition("=") for word in words) if "probe." not in key}
    keys = overridden({}, [word for word in words if word.startswith("probe.")]).get("probe", {})
    probe = {"kind": chosen["probe"], **keys} if "probe" in chosen else keys or None
    now = datetime.datetime.now().strftime("%Y%m%d-%H%M%S-%f")
    with _as_typed():
        record = Recorder(
            chosen.get("hydra.run.dir", f"outputs/runs/{folder.resolve().name}/{now}"),
            models,
            *found,
            layer=layers,
            epochs=max(files),
            probe=probe,
            checkpoints=None if "checkpoints" in keys else list(files),
            threshold=_threshold(folder) if threshold is None else threshold,
            name=folder.resolve().name,
        )
    if missing := [epoch for epoch in record.due if epoch not in files]:
        saved = f"among the epochs that were saved, {', '.join(map(str, files))}"
        require(False, "probe.checkpoints", saved, missing, "Leave it out to measure at all of them.")
    record.origin = {"path": str(folder.resolve()), "config_hash": ""}
    with _as_typed(), record:
        for epoch in record.due:
            _load(models, states[epoch], files[epoch])
            record(epoch)
    return record


@contextlib.contextmanager
def _as_typed() -> Iterator[None]:
    """Makes errors name what was typed, where the recorder names its arguments."""
    try:
        yield
    except (TypeError, ValueError) as error:
        sentence = str(error) if isinstance(error, ConfigError) else one_line(error)
        for argument, typed in TYPED.items():
            what = f"{argument} of {typed}" if typed == "--data" else typed
            sentence = sentence.replace(f"`{argument}`", f"`{what}`")
        raise ConfigError(sentence) from error


def _threshold(folder: Path) -> float:
    """What a recording took for class 1; the default where the folder is none."""
    config = load_saved(load_run(folder).config) if (folder / INFO).is_file() else None
    return config.recorded.threshold if isinstance(config, RecordedConfig) else 0.5


def _by_epoch(folder: Path) -> dict[int, Path]:
    """The files of a folder by the last number in their names, in order."""
    found: dict[int, Path] = {}
    for path in sorted(path for path in folder.iterdir() if path.suffix in KINDS):
        numbers = re.findall(r"[0-9]{1,18}", path.stem)
        require(bool(numbers), "nngeom measure", "given files with an epoch in their names", path.name, "Say epoch-10.")
        epoch = int(numbers[-1])
        require(epoch not in found, "nngeom measure", "given one file an epoch", path.name, "Move the others away.")
        found[epoch] = path
    files = f"given a folder of {', '.join(KINDS[:-1])} or {KINDS[-1]} files, that of epoch 0 and others"
    names = ", ".join(path.name for path in found.values()) or f"{folder} without any"
    require(0 in found and len(found) > 1, "nngeom measure", files, names, "Save the model before you train it, too.")
    return {epoch: found[epoch] for epoch in sorted(found)}


def _function(flag: str, typed: str) -> Make:
    """The function that FILE.py:FUNCTION names. The file is run, and finds the modules beside it."""
    file, _, name = typed.rpartition(":")
    path = Path(file)
    named = path.suffix == ".py" and path.is_file() and name.isidentifier()
    require(named, flag, "FILE.py:FUNCTION, a file that is there", typed, "For example net.py:make_model.")
    folder = [str(path.resolve().parent), *sys.path]

    def make() -> Any:
        with replaced(sys, "path", folder):
            return functions[name]()

    with replaced(sys, "path", folder):
        functions = _called(flag, lambda: runpy.run_path(file, run_name=path.stem))
    require(callable(functions.get(name)), flag, f"the name of a function in {file}", name, "Check the name.")
    return make


def _called(flag: str, make: Make) -> Any:
    try:
        return make()
    except (Exception, SystemExit) as error:  # of any kind: it is the user's own code
        raise ConfigError(
            f"`{flag}` must name code that runs without arguments. Got {type(error).__name__}: {one_line(error)}. "
            "Run it in Python to see where."
        ) from error


def _states(path: Path) -> list[Mapping[str, Any]]:
    """The state_dict in a file, or several; read without running code."""
    try:
        saved = _tensors(path) if path.suffix == SAFETENSORS else torch.load(path, "cpu", weights_only=True)
    except ImportError:
        require(False, str(path), "a file that torch reads", path.suffix, "To read it, pip install safetensors.")
        raise
    except Exception as error:  # of any kind: anyone may have written the file
        raise ConfigError(
            f"`{path}` must hold a state_dict. Got {type(error).__name__}: {one_line(error)[:200]}. "
            "Save it with torch.save(model.state_dict(), path)."
        ) from error
    states = saved if isinstance(saved, list) else [saved]
    plain = bool(states) and all(isinstance(state, Mapping) for state in states)
    require(plain, str(path), "a state_dict, or a list of them", type(saved).__name__, "Save model.state_dict().")
    return states


def _tensors(path: Path) -> Mapping[str, Any]:
    from safetensors.torch import load_file

    states: Mapping[str, Any] = load_file(path)
    return states


def _load(models: Sequence[torch.nn.Module], states: Sequence[Mapping[str, Any]], path: Path) -> None:
    require(len(states) == len(models), str(path), f"of {len(models)} models", len(states), "Measure them apart.")
    for model, state in zip(models, states, strict=True):
        require(isinstance(model, torch.nn.Module), "--model", "a function that returns a module", model, "Return it.")
        try:
            model.load_state_dict(dict(state))
        except (RuntimeError, TypeError, AttributeError) as error:
            what = one_line(error)[:200]
            raise ConfigError(f"`{path}` must be a state_dict of the model. Got: {what}. Check both.") from error
