"""Hydra's composition of many configs: the same as of each alone, with each file read once."""

from contextlib import nullcontext

import hydra
import pytest
from hydra._internal import config_loader_impl
from hydra.core.plugins import Plugins
from omegaconf import OmegaConf

from nngeom_cli.groups import conf_directory
from nngeom_cli.launch import application as launching
from nngeom_cli.launch import harmless
from nngeom_cli.system import progress

CONFIGS = [
    ["seed=3"],
    ["seed=4", "task=digits"],
    ["task=digits", "seed=4", "optimizer.lr=0.5"],
    ["optimizer.lr=0.5", "optimizer=adam", "seed=4", "seed=5"],
    ["experiment=figure2", "architecture.hidden=[4,4]"],
    ["probe=plane", "task=digits", "probe.triples=[[0,1,2]]"],
    ["+later=1", "++seed=2", "~figures"],
    ["optimizer={lr: 0.25}", "seed=${replicates}"],
    ["hydra.sweep.dir=elsewhere", "hydra.sweep.subdir=${hydra.job.num}"],
    ["task=nowhere"],
    ["optimizer.nothing=1"],
    ["+task=xor"],
]


def composed(overrides):
    """Both parts of a config with its flags and types, or the error."""
    try:
        config = hydra.compose("config", overrides, return_hydra_config=True)
    except Exception as error:
        return type(error), str(error)
    return repr(config), OmegaConf.to_yaml(config), OmegaConf.is_struct(config), OmegaConf.get_type(config, "hydra")


@pytest.fixture(scope="module")
def own_launchers():
    """Hydra's own launchers are away, as while nngeom composes."""
    Plugins.instance()
    with launching._own_launchers():
        yield


@pytest.fixture(scope="module")
def alone(own_launchers):
    """Each of the configs, composed by plain Hydra."""
    with pytest.MonkeyPatch.context() as patch, hydra.initialize_config_dir(str(conf_directory()), version_base="1.3"):
        patch.setattr(harmless, "files_read_once", nullcontext)
        with harmless.harmless_configs():
            return [composed(overrides) for overrides in CONFIGS]


def test_configs_composed_together_are_those_composed_alone(alone):
    with hydra.initialize_config_dir(str(conf_directory()), version_base="1.3"), harmless.harmless_configs():
        together = [composed(overrides) for overrides in [*CONFIGS, *reversed(CONFIGS)]]
    assert together == [*alone, *reversed(alone)]
    assert sum(isinstance(config[0], type) for config in alone) == 3  # errors are the same, too


def test_a_long_sweep_reads_as_many_files_of_configs_as_a_short_one(nngeom, monkeypatch):
    read = []
    load = OmegaConf.load

    def counted(file):
        read.append(file)
        return load(file)

    monkeypatch.setattr(OmegaConf, "load", counted)
    counts = []
    for seeds in ("1", "1,2,3"):
        read.clear()
        assert nngeom("run", "-m", "task=xor,moons", f"seed={seeds}")[0] == 0
        counts.append(len(read))
    assert counts[0] == counts[1] > 0


def test_the_files_of_a_config_are_chosen_once_for_a_command(nngeom, monkeypatch):
    """Hydra composes a run twice: first to learn whether it is a sweep."""
    counted = []
    choose = config_loader_impl.create_defaults_list
    monkeypatch.setattr(
        config_loader_impl, "create_defaults_list", lambda *rest, **how: counted.append(how) or choose(*rest, **how)
    )
    assert nngeom("run")[0] == 0
    assert len(counted) == 1


def test_a_group_that_a_users_config_leaves_open_has_to_be_chosen(nngeom, tmp_path):
    (tmp_path / "own" / "experiment").mkdir(parents=True)
    (tmp_path / "own" / "open").mkdir()
    (tmp_path / "own" / "open" / "one.yaml").write_text("# @package _global_\nseed: 7\n")
    experiment = "# @package _global_\ndefaults:\n  - /open: ???\n"
    (tmp_path / "own" / "experiment" / "mine.yaml").write_text(experiment)
    words = ["run", "--config-dir", tmp_path / "own", "experiment=mine"]
    assert nngeom(*words)[0] == 2
    assert nngeom(*words, "-m", "replicates=1,2", "open=one")[0] == 0


def test_checking_a_long_sweep_tells_how_far_it_is(nngeom, monkeypatch):
    for seconds in ("FIRST", "EVERY"):
        monkeypatch.setattr(progress, seconds, 0.0)
    _, _, errors = nngeom("run", "-m", "seed=1,2,3")
    assert any("2 of 3 configs" in line for line in errors)
