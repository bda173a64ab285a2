"""Every public name of the geometry says what it takes, gives and refuses, with an example that runs as a doctest."""

import inspect

import pytest

from nngeom_cli import geometry, kernels

FUNCTIONS = [name for name in geometry.__all__ if inspect.isfunction(getattr(geometry, name))]
CLASSES = [name for name in geometry.__all__ if inspect.isclass(getattr(geometry, name))]
METHODS = [(name, "restricted_to") for name in geometry.__all__ if name.endswith("FeatureMap")]
METHODS += [("MLPFeatureMap", "from_module"), ("ModuleFeatureMap", "outputs")]
METHODS += [("PredictionFeatureMap", "log_probabilities")]
METHODS += [("InfiniteWidth", name) for name in ("kernel", "metric", "omega", "log_volume_element", "ricci_scalar")]


def documented(thing, sections):
    text = inspect.getdoc(thing)
    for section in sections:
        assert f"\n{section}:\n" in text, section
    assert ">>> " in text
    assert text.splitlines()[0].endswith((".", "]."))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_public_function_is_documented(name):
    documented(getattr(geometry, name), ("Args", "Returns", "Raises", "Example"))


@pytest.mark.parametrize(("name", "method"), METHODS)
def test_every_method_that_users_call_is_documented(name, method):
    documented(getattr(getattr(geometry, name), method), ("Args", "Returns", "Raises", "Example"))


@pytest.mark.parametrize("name", CLASSES)
def test_every_public_class_is_documented(name):
    documented(getattr(geometry, name), ("Args", "Example"))


@pytest.mark.parametrize("name", kernels.__all__)
def test_every_public_name_of_the_kernels_is_documented(name):
    thing = getattr(kernels, name)
    documented(thing, ("Args", "Example") if inspect.isclass(thing) else ("Args", "Returns", "Raises", "Example"))
