"""The memory that is free: the machine's, or what a container or a cluster's job leaves of it."""

import psutil
import pytest

from nngeom_cli.system import memory


@pytest.fixture
def groups(tmp_path, monkeypatch):
    """A folder in the place of /sys/fs/cgroup, in which this process belongs to job/step."""
    monkeypatch.setattr(memory, "GROUPS", tmp_path)
    monkeypatch.setattr(memory, "MEMBERSHIP", tmp_path / "membership")
    (tmp_path / "membership").write_text("0::/job/step\n")
    (tmp_path / "job" / "step").mkdir(parents=True)
    return tmp_path


@pytest.mark.parametrize("where", ["job/step", "job", "."])
def test_the_limit_of_any_group_above_counts(groups, where):
    (groups / "job" / "step" / "memory.max").write_text("max\n")
    (groups / where / "memory.max").write_text("123456\n")
    assert memory.available_memory() == 123456


def test_a_limit_above_what_is_free_does_not_count(groups):
    (groups / "memory.max").write_text(f"{2**60}\n")
    assert 0 < memory.available_memory() <= psutil.virtual_memory().total


@pytest.mark.parametrize("membership", [None, "", "1:memory:/job\n"])
def test_systems_without_such_groups_have_what_is_free(groups, membership):
    (groups / "membership").unlink()
    if membership is not None:
        (groups / "membership").write_text(membership)
    (groups / "memory.max").write_text("123456\n")
    assert memory.available_memory() > 123456


def test_old_groups_and_the_limit_of_the_shell_count(groups, monkeypatch):
    """Version 1 has a folder of its own for memory; `ulimit -v` is the address space."""
    (groups / "memory" / "old").mkdir(parents=True)
    (groups / "memory" / "old" / "memory.limit_in_bytes").write_text("5000\n")
    (groups / "membership").write_text("4:memory:/old/step\n3:cpuset:/\n0::/job/step\n")
    assert memory.machine_memory() == memory.available_memory() == 5000
    (groups / "job" / "memory.max").write_text("4000\n")
    assert memory.machine_memory() == 4000
    monkeypatch.setattr(memory.resource, "getrlimit", lambda _: (3000, 10**9))
    assert memory.machine_memory() == 3000


def test_what_a_process_can_have_is_more_than_what_is_free(groups):
    assert memory.available_memory() < psutil.virtual_memory().total <= memory.machine_memory()
