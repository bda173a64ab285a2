"""Saved runs with closed-form geometry and a config that could have been run, for pages; and what a page holds."""

import base64
import copy
import functools
import gzip
import json
import re
from dataclasses import asdict

import numpy as np
from made_runs import write_run
from omegaconf import OmegaConf

from nngeom_cli.config.loader import load_config
from nngeom_cli.launch.application import composed
from nngeom_cli.store.sweep import Job, Sweep

WORDS = {
    "grid": ("task=xor",),
    "path": ("task=digits",),
    "plane": ("task=digits", "probe=plane"),
    "data": ("task=digits", "probe=data"),
}


@functools.cache
def usual(kind):
    return OmegaConf.to_container(composed(WORDS[kind]))


def saved(directory, geometry, *, task=None, figures=None, **changes):
    """Writes a run of that geometry; `changes` go to `write_run`: losses, status, ..."""
    epochs, seeds = geometry.epoch.values.tolist(), geometry.replicate.values
    plain = copy.deepcopy(usual(geometry.attrs["kind"]))
    plain["task"] = task or plain["task"]
    plain["figures"] |= figures or {}
    plain["probe"]["checkpoints"] = epochs
    plain["optimizer"]["epochs"] = max(1, epochs[-1])
    plain |= {"seed": int(seeds[0]), "replicates": len(seeds)}
    losses = changes.pop("losses", [0.1] * len(seeds))
    config = asdict(load_config(plain))
    config.pop("seed")  # that of the first replicate
    return write_run(directory, geometry, losses, **config | changes)


def saved_sweep(directory, runs, unstarted=()):
    """Writes a sweep of runs, by the names of their directories: a geometry, and changes to `saved`."""
    jobs = []
    for name, (geometry, changes) in runs.items():
        saved(directory / name, geometry, **changes)
        jobs.append(
            Job(name, [], f"nngeom run {name}", json.loads((directory / name / "run.json").read_text())["config"])
        )
    jobs += [Job(name, [], "nngeom run", jobs[0].config) for name in unstarted]
    Sweep(directory, "basic", jobs).write()
    return directory


def held(page):
    """The data of a page, and its arrays as a function of their places, read as a browser reads them."""
    text = page if isinstance(page, str) else page.read_text(encoding="utf-8")
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    data = json.loads(found[1] if found else text)
    shuffled = np.frombuffer(gzip.decompress(base64.b64decode(data["numbers"])), np.uint8)
    numbers = np.ascontiguousarray(shuffled.reshape(4, -1).T).view("<f4").ravel()

    def array(place):
        return numbers[place["offset"] :][: int(np.prod(place["shape"]))].reshape(place["shape"])

    return data, array
