"""Other programs' names for our commands, keys and values, for suggestions.

Words are compared in lower case, without `-`, `_` and spaces.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable

from nngeom_cli.quoting import pasted

__all__ = ["LISTS", "SEEDS", "command_named", "key_named", "plain", "typed", "value_named"]

COMMANDS = {
    "help": "nngeom --help",
    "usage": "nngeom --help",
    "version": "nngeom --version",
    "v": "nngeom --version",
    "ls": "nngeom list",
    "runs": "nngeom list",
    "show": "nngeom list",
    "status": "nngeom list",
    "prune": "nngeom clean RUN",
    "rm": "nngeom clean RUN",
    "results": "nngeom summarize outputs",
    "table": "nngeom summarize outputs",
    "summary": "nngeom summarize outputs",
    "train": "nngeom run",
    "start": "nngeom run",
    "fit": "nngeom run",
    "experiment": "nngeom run experiment=NAME",
    "sweep": "nngeom run -m",
    "multirun": "nngeom run -m",
    "rerun": "nngeom run --from RUN",
    "config": "nngeom run --cfg job",
    "plot": "nngeom figures RUN",
    "draw": "nngeom figures RUN",
    "redraw": "nngeom figures RUN",
    "continue": "nngeom resume RUN",
    "restart": "nngeom resume RUN",
    "html": "nngeom report RUN",
    "page": "nngeom report RUN",
    "view": "nngeom report RUN",
    "serve": "nngeom watch RUN",
    "live": "nngeom watch RUN",
    "dashboard": "nngeom watch RUN",
    "movie": "nngeom animate RUN",
    "video": "nngeom animate RUN",
    "film": "nngeom animate RUN",
    "gif": "nngeom animate RUN",
    "paper": "nngeom reproduce",
    "replicate": "nngeom reproduce",
}

# A word for a key -> the key; or the whole that is to be typed, if it has a `=` or begins with `-`.
KEYS = {
    "learningrate": "optimizer.lr",
    "stepsize": "optimizer.lr",
    "eta": "optimizer.lr",
    "nepochs": "optimizer.epochs",
    "numepochs": "optimizer.epochs",
    "maxepochs": "optimizer.epochs",
    "iterations": "optimizer.epochs",
    "iters": "optimizer.epochs",
    "maxiter": "optimizer.epochs",
    "maxsteps": "optimizer.epochs",
    "numsteps": "optimizer.epochs",
    "batch": "optimizer.batch_size",
    "bs": "optimizer.batch_size",
    "minibatch": "optimizer.batch_size",
    "fullbatch": "optimizer.batch_size=null",
    "wd": "optimizer.weight_decay",
    "decay": "optimizer.weight_decay",
    "l2": "optimizer.weight_decay",
    "opt": "optimizer",
    "optim": "optimizer",
    "solver": "optimizer",
    "width": "architecture.hidden",
    "widths": "architecture.hidden",
    "hiddendim": "architecture.hidden",
    "hiddensize": "architecture.hidden",
    "hiddensizes": "architecture.hidden",
    "hiddenunits": "architecture.hidden",
    "hiddenlayers": "architecture.hidden",
    "units": "architecture.hidden",
    "depth": "architecture.hidden",
    "numlayers": "architecture.hidden",
    "nlayers": "architecture.hidden",
    "neurons": "architecture.hidden",
    "nonlinearity": "architecture.activation",
    "activationfunction": "architecture.activation",
    "act": "architecture.activation",
    "phi": "architecture.activation",
    "model": "architecture",
    "network": "architecture",
    "arch": "architecture",
    "data": "task",
    "dataset": "task",
    "problem": "task",
    "csv": "task.path",
    "file": "task.path",
    "datapath": "task.path",
    "target": "task.label",
    "labels": "task.label",
    "features": "task.columns",
    "samples": "task.points",
    "nsamples": "task.points",
    "testsize": "task.test_fraction",
    "grid": "probe.resolution",
    "gridsize": "probe.resolution",
    "xlim": "probe.window",
    "measure": "probe.checkpoints",
    "layer": "probe.layers",
    "topk": "probe.top_k",
    "k": "probe.top_k",
    "nseeds": "replicates",
    "numseeds": "replicates",
    "seeds": "replicates",
    "networks": "replicates",
    "repeats": "replicates",
    "ensemble": "replicates",
    "randomseed": "seed",
    "randomstate": "seed",
    "precision": "dtype",
    "double": "dtype=float64",
    "gpu": "device=cuda",
    "cuda": "device=cuda",
    "cpu": "device=cpu",
    "convention": "figures.curvature_convention",
    "noplots": "figures.draw=false",
    "nofigures": "figures.draw=false",
    "plot": "figures.draw",
    "output": "hydra.run.dir",
    "outputdir": "hydra.run.dir",
    "outdir": "hydra.run.dir",
    "out": "hydra.run.dir",
    "o": "hydra.run.dir",
    "rundir": "hydra.run.dir",
    "savedir": "hydra.run.dir",
    "logdir": "hydra.run.dir",
    "directory": "hydra.run.dir",
    "launcher": "hydra/launcher",
    "njobs": "hydra/launcher=joblib",
    "jobs": "hydra/launcher=joblib",
    "exp": "experiment",
    "config": "experiment",
    "preset": "experiment",
    "dryrun": "--dry-run",
    "printconfig": "--cfg job",
    "sweep": "-m",
    "objective": "hydra/sweeper=optuna",
}

# A key -> a word for a value -> the value.
VALUES: dict[str, dict[str, str]] = {
    "task": {
        "sine": "sinusoid",
        "sin": "sinusoid",
        "twomoons": "moons",
        "rings": "circles",
        "twospirals": "spirals",
        "swissroll": "spirals",
        "parity": "xor",
        "table": "csv",
        "numpy": "npz",
        "npy": "npz",
    },
    "architecture.activation": {
        "swish": "silu",
        "logistic": "sigmoid",
        "logsigmoid": "softplus",
        "linear": "identity",
        "none": "identity",
        "leakyrelu": "softplus",
        "prelu": "softplus",
        "relu": "softplus",
        "relu6": "softplus",
        "elu": "softplus",
        "selu": "gelu",
        "celu": "softplus",
        "mish": "silu",
        "hardtanh": "tanh",
        "softsign": "tanh",
        "arctan": "tanh",
        "sine": "sin",
        "quadratic": "monomial2",
        "square": "monomial2",
        "cubic": "monomial3",
        "cube": "monomial3",
    },
    "optimizer": {
        "rmsprop": "adam",
        "adagrad": "adam",
        "adadelta": "adam",
        "nadam": "adam",
        "radam": "adam",
        "adamax": "adam",
        "lion": "adamw",
        "momentum": "sgd",
        "nesterov": "sgd",
        "gd": "sgd",
        "gradientdescent": "sgd",
        "lbfgs": "adam",
    },
    "probe": {
        "line": "path",
        "interpolation": "path",
        "shortest": "geodesic",
        "distance": "geodesic",
        "image": "plane",
        "heatmap": "xor",
        "grid": "xor",
    }
    | dict.fromkeys(("dataset", "examples", "points", "images", "samples"), "data"),
    "device": {"gpu": "cuda", "metal": "mps", "apple": "mps", "nvidia": "cuda"},
    "dtype": {"double": "float64", "float": "float32", "single": "float32", "64": "float64", "32": "float32"},
    "experiment": {"fig1": "figure1", "fig2": "figure2", "fig3": "figure3", "widths": "width", "ntk": "lazy"},
    "hydra/launcher": {"local": "basic", "parallel": "joblib", "slurm": "submitit_slurm", "submitit": "submitit_local"},
    "architecture.parametrization": {"sp": "standard", "pytorch": "standard", "mup": "ntk"},
}
LISTS = ("architecture.hidden", "probe.layers", "probe.checkpoints", "task.columns", "task.class_names")
SEEDS = ("seeds", "nseeds", "numseeds")
DEPTHS, DEEPEST = ("depth", "numlayers", "nlayers"), 12  # words for how many hidden layers there are


def plain(word: str) -> str:
    """A word as the tables have it.

    Example:
        >>> plain("--Learning_Rate")
        'learningrate'
    """
    return word.lower().replace("-", "").replace("_", "").replace(" ", "")


def command_named(word: str) -> str | None:
    """The command that does what a word asks for."""
    return COMMANDS.get(plain(word))


def value_named(word: str, choices: Iterable[str]) -> str | None:
    """The one of `choices` that others call `word`.

    Example:
        >>> value_named("Swish", ["relu", "silu"])
        'silu'
    """
    found = {words[plain(word)] for words in VALUES.values() if plain(word) in words}
    return next((choice for choice in choices if choice in found), None)


def key_named(word: str) -> str | None:
    """The key that others call `word`, or the whole that is to be typed for it.

    Example:
        >>> key_named("model.learning-rate"), key_named("gpu"), key_named("nothing")
        ('optimizer.lr', 'device=cuda', None)
    """
    return KEYS.get(plain(word.rpartition(".")[2]))


def typed(key: str, value: str, word: str = "") -> str:
    """What is to be typed to set a key, ready for a shell.

    Args:
        key: as `key_named` gives it.
        value: that a user had for it.
        word: what the user called the key.

    Example:
        >>> print(typed("optimizer.lr", "0.1"), typed("optimizer", "RMSprop"), typed("replicates", "0,1", "seeds"))
        optimizer.lr=0.1 optimizer=adam -m seed=0,1
        >>> print(typed("architecture.hidden", "16"), typed("architecture.hidden", "3", "depth"))
        'architecture.hidden=[16]' 'architecture.hidden=[8,8,8]'
    """
    if "=" in key or key.startswith("-"):
        return key
    bare = value.strip("[]() ")
    if plain(word) in SEEDS:
        return f"-m seed={bare}" if "," in bare else f"seed=0 replicates={bare}"
    if plain(word.rpartition(".")[2]) in DEPTHS and bare.isdecimal() and 0 < int(bare) <= DEEPEST:
        bare = ",".join(["8"] * int(bare))
    if key in LISTS:
        return shlex.quote(f"{key}=[{bare}]")
    if re.fullmatch(r"\[[\w.,+-]*\]", value, re.ASCII):
        return shlex.quote(f"{key}={value}")
    return pasted(key, VALUES.get(key, {}).get(plain(value), value))
