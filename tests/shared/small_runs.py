"""Small runs, and whether two of them are the same to the last bit."""

import torch
from omegaconf import OmegaConf
from PIL import Image

from nngeom_cli.config.loader import load_config

PROBED = [0, 5, 10, 20]


def config(**changes):
    plain = {
        "task": {"name": "xor"},
        "architecture": {"hidden": [4], "activation": "sigmoid"},
        "optimizer": {
            "name": "sgd",
            "lr": 0.02,
            "momentum": 0.9,
            "weight_decay": 1e-4,
            "epochs": 20,
            "batch_size": None,
        },
        "probe": {
            "kind": "grid",
            "layers": [1],
            "resolution": 6,
            "window": [-1.5, 1.5],
            "checkpoints": [0, 5],
        },
        "figures": {"draw": False},
        "seed": 3,
        "replicates": 2,
        "device": "cpu",
        "dtype": "float64",
    }
    for key, value in changes.items():
        section = plain
        *path, last = key.split("__")
        for name in path:
            section = section[name]
        section[last] = value
    return load_config(plain)


def assert_same(run, whole, epochs=PROBED):
    assert run.status == whole.status == "complete"
    assert run.geometry.identical(whole.geometry)
    assert (run.directory / "history.csv").read_bytes() == (whole.directory / "history.csv").read_bytes()
    assert run.info["replicates"] == whole.info["replicates"]
    for epoch in epochs:
        for left, right in zip(run.parameters(epoch), whole.parameters(epoch), strict=True):
            assert torch.equal(left, right)


def left_by_hydra(directory, plain, folder="/"):
    """What Hydra writes before the job begins."""
    (directory / ".hydra").mkdir()
    OmegaConf.save(plain, directory / ".hydra" / "config.yaml")
    OmegaConf.save({"hydra": {"runtime": {"cwd": str(folder)}}}, directory / ".hydra" / "hydra.yaml")
    OmegaConf.save(["task=xor", "seed=3"], directory / ".hydra" / "overrides.yaml")


# What makes the sweep of an experiment small: fewer settings, and of points and checkpoints.
FEWER_SETTINGS = {
    "width": ["architecture.hidden=[4],[16],[32]"],
    "lazy": ["architecture.output_scale=1,3,30"],
    "generalization": [
        "architecture.hidden=[4],[8]",
        "architecture.activation=tanh",
        "optimizer.weight_decay=0.0,1e-2",
        "task.data_seed=0,10",
        "task.points=140",
        "probe.checkpoints=[5,10]",
    ],
    "activations": ["architecture.activation=tanh,relu,monomial2"],
    "magnify": [
        "optimizer.volume_penalty=0,-0.1",
        "optimizer.volume_penalty_where=boundary",
        "task.data_seed=0,10",
        "task.points=80",
        "task.test_fraction=0.5",
        "probe.points=12",
    ],
    "depth": [
        "architecture=digits",
        "architecture.hidden=[6,6]",
        "optimizer.epochs=2",
        "optimizer.batch_size=700",
        "probe.checkpoints=[1]",
        "probe.pairs=[[0,6],[1,7]]",
        "probe.steps=4",
    ],
    "amari_wu": ["task=moons,spirals", "task.data_seed=0,10", "task.points=300", "task.test_fraction=0.8"],
    "amari_wu_digits": ["task.digits=[3,8],[1,7]", "task.data_seed=0,10", "task.test_fraction=0.9"],
}


def drawn(run, cores):
    """Two figures, as quick as can be."""
    paths = [run.directory / "figures" / f"{name}.png" for name in ("first", "second")]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (30, 20), "red" if path.stem == "first" else "blue").save(path)
    return paths
