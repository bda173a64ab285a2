"""What nngeom says to its user is of one family, and each kind ends a command with its own exit code."""

import pickle

import pytest

from nngeom_cli import errors
from nngeom_cli.cli import entry
from nngeom_cli.errors import ConfigError, DamageError, FolderError, JobError, LostProcessError, NngeomError, RunError

KINDS = [getattr(errors, name) for name in errors.__all__ if name.endswith("Error")]
CODES = {ConfigError: 2, DamageError: 2, FolderError: 1, RunError: 1, LostProcessError: 1, JobError: 1}


def test_all_are_of_one_family():
    assert {NngeomError, *CODES} == set(KINDS)
    assert all(issubclass(kind, NngeomError) for kind in KINDS)


@pytest.mark.parametrize(("kind", "family"), [(ConfigError, ValueError), (FolderError, OSError)])
def test_what_python_has_a_word_for_is_of_that_family_too(kind, family):
    assert issubclass(kind, family)


@pytest.mark.parametrize("kind", [DamageError, FolderError, RunError, JobError])
def test_only_a_wrong_config_is_a_wrong_value(kind):
    assert not issubclass(kind, ConfigError | ValueError)


@pytest.mark.parametrize("kind", KINDS)
def test_a_message_is_one_line_that_comes_through_a_pickle(kind):
    error = pickle.loads(pickle.dumps(kind("Got a\nb.")))
    assert (type(error), str(error)) == (kind, "Got a\\nb.")


@pytest.mark.parametrize("kind", CODES)
def test_each_kind_has_its_exit_code_and_its_sentence(kind, monkeypatch, capsys):
    def fail(_):
        raise kind("`key` must be otherwise.")

    monkeypatch.setattr(entry, "_dispatch", fail)
    assert entry.main(["run"]) == CODES[kind]
    assert capsys.readouterr().err == "nngeom: `key` must be otherwise.\n"
