"""The words that follow a command: folders of runs, flags, and keys of the section figures."""

from __future__ import annotations

import contextlib
import errno
import shlex
from collections.abc import Sequence
from pathlib import Path

from nngeom_cli.errors import ConfigError, shown

__all__ = ["figures_keys", "frozen_run", "is_there", "key_of_flag", "known_flags", "measured_keys", "run_folders"]

MOST_FOLDERS = 10_000  # that are searched for a suggestion
DEPTH = 4  # folders between outputs and its runs, at most
MEASURED = ("probe.", "figures.")  # sections of which a run that is measured again may have other values
NEWEST = 3  # runs that a suggestion names


def is_there(path: Path) -> bool:
    """Whether there is a file or folder of that name. There is none of a name that is too long."""
    try:
        return path.exists()
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        return False


def run_folders(command: str, words: Sequence[str]) -> list[Path]:
    """The folders of runs and sweeps that a command is given.

    Raises:
        ConfigError: there is none, or one is neither a run nor a sweep.
    """
    names = [
        "run.json",
        "sweep.json",
        *([".hydra/config.yaml"] if command in ("resume", "watch") else []),
    ]  # a run that has not started is started by resume, and waited for by watch
    for word in words or [""]:
        if not word or not any((Path(word) / name).is_file() for name in names):  # Path("") would be the current folder
            got = _no_run(Path(word)) if word else "nothing. See outputs/runs."
            raise ConfigError(f"`nngeom {command}` must be followed by run directories. Got {got}")
    return [Path(word) for word in words]


def _no_run(path: Path) -> str:
    """What is at a path that is no run, and where runs are."""
    if not path.exists():
        return f"{path}, which does not exist. See outputs/runs."
    if not path.is_dir():
        return f"{path}, a file. `nngeom run` prints the directory of its run."
    runs = _runs_below(path)
    if not runs:
        return f"{path} without run.json. `nngeom run` prints where a run is."
    newest = sorted(runs, key=lambda run: (run / "run.json").stat().st_mtime)[-NEWEST:]
    names = " ".join(shlex.quote(str(run)) for run in reversed(newest))
    return f"{path}, a folder of {len(runs)} of them. The newest: {names}"


def _runs_below(path: Path) -> list[Path]:
    """Runs in a folder, down to DEPTH levels; each once, whatever links lead to it or in a circle."""
    level, runs = [path], []
    seen: set[tuple[int, int]] = set()
    for _ in range(DEPTH):
        below = []
        for folder in level:
            with contextlib.suppress(OSError):  # unreadable, such as a folder of /proc
                for child in folder.iterdir():
                    state = child.stat() if child.is_dir() else None
                    if state and (state.st_dev, state.st_ino) not in seen and len(seen) < MOST_FOLDERS:
                        seen.add((state.st_dev, state.st_ino))
                        below.append(child)
        runs += [folder for folder in below if (folder / "run.json").is_file()]
        level = below
    return runs


def frozen_run(runs: Sequence[str], words: Sequence[str]) -> Path:
    """The run named by `--from`.

    Args:
        runs: the word after each `--from`.
        words: all other words.

    Raises:
        ConfigError: it names no run or several, or a group is chosen beside it.
    """
    from nngeom_cli.config.sections import SECTIONS

    named = runs[0]
    if len(runs) > 1:
        raise ConfigError(f"`--from` must be given once. Got {' and '.join(map(shown, runs))}. Name one run.")
    if not named or not (Path(named) / "run.json").is_file():
        got = _no_run(Path(named)) if named else "nothing. See outputs/runs."
        raise ConfigError(f"`--from` must be followed by a run directory. Got {got}")
    for key in (word.partition("=")[0] for word in words if "=" in word):
        if key in (*SECTIONS, "experiment"):
            suggestion = f"Set single keys: {key}.NAME=VALUE."
            raise ConfigError(
                f"`{key}` must be left out with --from. Got a group, of which the run has one. {suggestion}"
            )
    return Path(named)


def figures_keys(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The words that set keys of the section figures, and the other words, which name folders.

    Raises:
        ConfigError: a word sets a key of another section.
    """
    from nngeom_cli.config.unknown_key import key_meant
    from nngeom_cli.synonyms import typed

    settings = [word for word in words if "=" in word and not word.startswith("-") and not is_there(Path(word))]
    for word in settings:
        key, _, value = word.partition("=")
        if not key.startswith("figures.") and "/" not in key:
            meant = key_meant(key) or ""
            suggestion = f"`nngeom run --from RUN {word}` runs it again, changed."
            if meant.startswith("figures."):
                suggestion = f"Did you mean `{typed(meant, value)}`?"
            raise ConfigError(
                f"`{key}` must be a key of figures, as what is saved stays. Got {shown(value)}. {suggestion}"
            )
    settings = [word for word in settings if word.startswith("figures.")]
    return settings, [word for word in words if word not in settings]


def measured_keys(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The words that say how a run is measured again, and the other words, which name folders.

    Raises:
        ConfigError: a word sets what training has decided.
    """
    settings = [word for word in words if "=" in word and not is_there(Path(word))]
    for word in settings:
        key, _, value = word.partition("=")
        if not key.startswith(MEASURED) and key not in ("probe", "device", "hydra.run.dir"):
            suggestion = "Keys of probe and figures, device and hydra.run.dir can be set."
            if key and not key.startswith(("+", "~", "hydra")):
                suggestion = f"`nngeom run --from RUN {shlex.quote(word)}` trains again, changed."
            raise ConfigError(f"`{key}` must be left out: the networks are trained. Got {shown(value)}. {suggestion}")
    return settings, [word for word in words if word not in settings]


def known_flags(words: Sequence[str]) -> list[str]:
    """The words of `nngeom run` with positional words gathered in one place, as Hydra's parser wants them.

    Raises:
        ConfigError: a flag is unknown, or not meant for users.
    """
    import contextlib
    import io

    from nngeom_cli.launch.hydra_patches import COMMAND_PARSER, PARSED_COMMAND

    with contextlib.redirect_stderr(io.StringIO()) as complaint:
        try:
            known, others = COMMAND_PARSER.now()().parse_known_args(list(words))
            if known.overrides and not any(
                other.startswith("-") for other in others
            ):  # argparse takes positional words only in one place
                words = list(words)
                positional = [*known.overrides, *others]
                for word in reversed(positional):
                    del words[len(words) - 1 - words[::-1].index(word)]  # the last one: a word may come twice
                words += positional
            parsed = PARSED_COMMAND.now()(words)
        except SystemExit as end:
            if not end.code:
                raise
            reason = complaint.getvalue().strip().rpartition("error: ")[2]
            meant = key_of_flag(words, reason)
            suggestion = f"Did you mean `{meant}`?" if meant else "See `nngeom run --help`."
            raise ConfigError(f"`nngeom run` must be given flags that it has. Got {reason}. {suggestion}") from None
    if parsed.experimental_rerun is not None:
        meant = key_of_flag(words)
        suggestion = f"Did you mean `{meant}`?" if meant else "Name the config."
        raise ConfigError(f"`--experimental-rerun` must be left out. Got a pickle, which can run code. {suggestion}")
    if parsed.multirun and (shown := "--cfg" if parsed.cfg else "--info" if parsed.info else ""):
        raise ConfigError(f"`{shown}` must be left out with -m. Got both. It shows the config of one run.")
    for flag, value in (("--config-path", parsed.config_path), ("--config-name", parsed.config_name)):
        if value is not None:
            raise ConfigError(
                f"`{flag}` must be left out. Got {value}. A file DIR/experiment/NAME.yaml is taken with "
                "--config-dir DIR experiment=NAME."
            )
    return list(words)


def key_of_flag(words: Sequence[str], reason: str = "") -> str | None:
    """What to type instead of the first unknown flag: `optimizer.epochs=100` for `--epochs 100`.

    Args:
        words: as typed.
        reason: Hydra's message, which names the unknown flags; empty: all flags count as unknown.
    """
    from nngeom_cli.config.unknown_key import key_meant
    from nngeom_cli.synonyms import typed

    for place, word in enumerate(words):
        flag, equals, value = word.partition("=")
        meant = key_meant(flag.strip("-").replace("-", "_")) if flag.startswith("-") else None
        if meant and (word in reason.split() or not reason):
            following = "".join(words[place + 1 : place + 2])
            if not equals and "=" not in following and not following.startswith("-"):
                value = following
            return typed(meant, value or "VALUE", flag.strip("-"))
    return None
