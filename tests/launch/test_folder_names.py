"""Folders of a sweep's jobs are named by what varies: short, safe, each once."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nngeom_cli.launch.folder_names import folder_names
from nngeom_cli.store.sweep import is_inside, load_sweep


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["architecture.hidden=[4],[8,8]", "seed=0"], ["0-hidden=4", "1-hidden=8-8"]),
        (["seed=0", "optimizer.lr=0.02,1e-3"], ["0-lr=0.02", "1-lr=0.001"]),
        (["optimizer=sgd,adam"], ["0-optimizer=sgd", "1-optimizer=adam"]),
        (["seed=7"], ["0-xor-seed7"]),
        (["seed=0,1", "hydra.sweep.subdir=my-${seed}"], ["my-0", "my-1"]),
    ],
    ids=str,
)
def test_the_folder_of_a_job_is_named_by_what_varies(nngeom, runner, words, names):
    code, out, err = nngeom("run", "-m", *words)
    assert (code, err) == (0, [])
    assert [directory.name for _, directory, _ in runner.runs] == names
    sweep = load_sweep(out[-1])
    assert [job.directory for job in sweep.jobs] == names
    assert not any(
        "subdir" in word for job in sweep.jobs for word in (*job.overrides, job.command) if "my-" not in word
    )


def test_keys_with_the_same_end_are_told_apart():
    batch = [[f"a.lr={one}", f"b.lr={two}", "experiment/lr=c"] for one in (1, 2) for two in (3, 4)]
    assert folder_names(batch)[:2] == ["0-a-lr=1,b-lr=3", "1-a-lr=1,b-lr=4"]


@given(st.lists(st.lists(st.text(), min_size=2, max_size=2), min_size=1, max_size=5))
def test_any_values_give_short_safe_names_each_once(values):
    names = folder_names([[f"task.path={one}", f"+x.path={two}"] for one, two in values])
    assert len(set(names)) == len(names) in (0, len(values))
    assert all(re.fullmatch(r"\d+-[A-Za-z0-9_.+,=-]{1,80}", name) and is_inside(name) for name in names)
    assert all(len(name) <= 80 for name in names)
