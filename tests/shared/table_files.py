"""A user's own table as a task: read, refused, packed."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nngeom_cli.config.loader import load_config
from nngeom_cli.errors import ConfigError
from nngeom_cli.tables.table_file import located
from nngeom_cli.tasks.make import make_task

X = np.array([[0.5, -1.0], [2.0, 3.5], [1e3, 1e-3], [-4.0, 0.0]])
WORDS = ["dog", "cat", "dog", "cat"]
PROBE = {"kind": "grid", "layers": [1], "resolution": 5, "window": None, "checkpoints": []}


def config(path, *, kind="csv", **task):
    keys = {"columns": None, "label": None, "class_names": None, "standardize": False, "rows": None, "sha256": None}
    sgd = {"name": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 0, "epochs": 1, "batch_size": None}
    return load_config(
        {
            "task": {"name": kind, "path": str(path), **keys, **task},
            "architecture": {"hidden": [4], "activation": "tanh"},
            "optimizer": sgd,
            "probe": PROBE,
            "seed": 0,
            "replicates": 1,
            "device": "cpu",
            "dtype": "float64",
        }
    )


def task_of(path, **keys):
    return make_task(located(config(path, **keys), Path.cwd()).task)


def refusal(path, **keys):
    with pytest.raises(ConfigError) as caught:
        located(config(path, **keys), Path.cwd())
    assert str(caught.value).isprintable()
    return str(caught.value)


def written(path, shift=0.0):
    pd.DataFrame({"x": X[:, 0] + shift, "y": X[:, 1], "animal": WORDS}).to_csv(path, index=False)
    return path


TABLE = "x,y,animal\n1.5,2,dog\n3,4.25,cat\n5,6,dog\n7,8,cat\n"


def zipped(**files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return buffer.getvalue()


def pinned(path, **keys):
    return located(config(path, **keys), path.parent).task


def refused(tmp_path, content, **keys):
    path = tmp_path / "points.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return refusal(path, **keys).replace(str(path), "FILE")
