"""A config is either checked and typed, or refused in one line that names the key."""

import copy
import math
import re
import runpy
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from nngeom_cli.config.architecture import ACTIVATIONS, LARGEST_DEGREE
from nngeom_cli.config.loader import load_config
from nngeom_cli.config.optimizer import AdamConfig, SgdConfig
from nngeom_cli.config.probe import GridConfig, PathConfig
from nngeom_cli.config.run import config_hash
from nngeom_cli.config.schedule import checkpoint_epochs
from nngeom_cli.config.sections import known_keys
from nngeom_cli.errors import ConfigError
from nngeom_cli.geometry import get_activation

SGD = {"name": "sgd", "lr": 0.02, "momentum": 0.9, "weight_decay": 1e-4, "epochs": 2000, "batch_size": None}
ADAM = {
    "name": "adam",
    "lr": 0.005,
    "betas": [0.9, 0.999],
    "eps": 1e-8,
    "weight_decay": 0.1,
    "epochs": 30,
    "batch_size": 12,
}
GRID = {"kind": "grid", "layers": [1], "resolution": 40, "window": [-1.5, 1.5], "checkpoints": "log 10"}
PATH = {
    "kind": "path",
    "layers": [1],
    "pairs": [[3, 8]],
    "endpoints": "class",
    "steps": 64,
    "top_k": 6,
    "checkpoints": [0, 10],
}
PLANE = {
    "kind": "plane",
    "layers": [1],
    "triples": [[0, 6, 8]],
    "corners": "class",
    "resolution": 40,
    "reach": 1.2,
    "top_k": 6,
    "checkpoints": [0, 10],
}
DATA = {
    "kind": "data",
    "layers": [1],
    "split": "train",
    "points": 100,
    "top_k": None,
    "rank_tolerance": 0.01,
    "checkpoints": [0, 10],
}
FIGURES = {
    "draw": True,
    "curvature_convention": "geometric",
    "band": 0.15,
    "replicate": None,
    "epochs": None,
    "resolution": 200,
    "format": ["png", "pdf"],
    "width": 7.0,
    "checkpoints": True,
}
NUMBERS = {"seed": 0, "replicates": 8, "device": "auto", "dtype": "float64"}
XOR = {
    "task": {"name": "xor"},
    "architecture": {"hidden": [8], "activation": "sigmoid"},
    "optimizer": SGD,
    "probe": GRID,
    "figures": FIGURES,
    **NUMBERS,
}
DIGITS = {
    "task": {"name": "digits"},
    "architecture": {"hidden": [30], "activation": "sigmoid"},
    "optimizer": ADAM,
    "probe": PATH,
    "figures": FIGURES,
    **NUMBERS,
}


def changed(mapping, **changes):
    """A copy of `mapping` with `section__key=value` set; the value `...` deletes the key."""
    mapping = copy.deepcopy(mapping)
    for name, value in changes.items():
        *sections, key = name.split("__")
        section = mapping
        for part in sections:
            section = section[part]
        if value is ...:
            del section[key]
        else:
            section[key] = copy.deepcopy(value)
    return mapping


def refusal(mapping, **changes):
    with pytest.raises(ConfigError) as caught:
        load_config(changed(mapping, **changes))
    message = str(caught.value)
    assert message.isprintable()
    return message


def test_each_kind_gets_its_own_schema():
    xor, digits = load_config(XOR), load_config(DIGITS)
    assert type(xor.optimizer) is SgdConfig
    assert type(xor.probe) is GridConfig
    assert type(digits.optimizer) is AdamConfig
    assert type(digits.probe) is PathConfig


def test_values_are_converted_to_the_type_of_their_field():
    config = load_config(changed(XOR, optimizer__lr=1, probe__window=[-1, 1]))
    assert type(config.optimizer.lr) is float
    assert [type(edge) for edge in config.probe.window] == [float, float]


@pytest.mark.parametrize("mapping", [XOR, DIGITS], ids=["xor", "digits"])
def test_a_saved_config_loads_as_the_same_config(mapping):
    config = load_config(mapping)
    assert load_config(asdict(config)) == config
    assert load_config(OmegaConf.create(mapping)) == config


def test_loading_leaves_the_mapping_as_it_was():
    before = copy.deepcopy(XOR)
    load_config(XOR)
    assert before == XOR


def test_a_composed_config_may_refer_to_itself():
    composed = OmegaConf.create(changed(XOR, probe__checkpoints=["${optimizer.epochs}"]))
    assert load_config(composed).probe.checkpoints == [2000]


def test_all_examples_are_null_once_they_are_loaded():
    for word in ("all", None):
        assert load_config(changed(XOR, probe=DATA, probe__points=word)).probe.points is None
    test = changed(DIGITS, probe=DATA, probe__split="test", task__test_fraction=0.2)
    assert load_config(test).probe.split == "test"


def test_a_saved_config_reads_no_environment_variable(monkeypatch):
    monkeypatch.setenv("SECRET", "tanh")
    message = refusal(XOR, architecture__activation="${oc.env:SECRET}")
    assert "`architecture.activation`" in message
    assert "tanh" not in message


def test_a_short_schedule_is_written_out():
    assert load_config(XOR).probe.checkpoints == {"spacing": "log", "count": 10}
    written_out = changed(XOR, probe__checkpoints={"spacing": "linear", "count": 4})
    assert load_config(written_out) == load_config(changed(XOR, probe__checkpoints="linear 4"))


# change -> the sentence, or its beginning
WRONG_XOR = [
    (
        {"task__name": "xnor"},
        "`task.name` must be xor, sinusoid, digits, moons, circles, spirals, csv or npz. Got xnor. Did you mean `xor`?",
    ),
    ({"task__points": 400}, "`task.points` must be left out with task.name=xor. Got 400. Only task.name=sinusoid"),
    ({"optimizer__lr": -1}, "`optimizer.lr` must be a positive number. Got -1.0."),
    ({"optimizer__lr": 0}, "`optimizer.lr` must be a positive number. Got 0.0."),
    ({"optimizer__lr": math.nan}, "`optimizer.lr` must be a positive number. Got nan."),
    ({"optimizer__lr": math.inf}, "`optimizer.lr` must be a positive number. Got inf."),
    ({"optimizer__lr": "fast"}, "`optimizer.lr` must be a number. Got fast."),
    ({"optimizer__lr": None}, "`optimizer.lr` must be a number. Got null."),
    ({"optimizer__lr": True}, "`optimizer.lr` must be a number. Got true."),
    ({"optimizer__lr": "???"}, "`optimizer.lr` must be given."),
    ({"optimizer__lr": ...}, "`optimizer.lr` must be given."),
    ({"optimizer__lrr": 1}, "`optimizer.lrr` must be a key of the config. Got 1. Did you mean `optimizer.lr=1`?"),
    ({"optimizer__betas": [0.9, 0.99]}, "`optimizer.betas` must be left out with optimizer.name=sgd."),
    ({"optimizer__momentum": 1}, "`optimizer.momentum` must be in [0, 1). Got 1.0."),
    ({"optimizer__weight_decay": -1e-4}, "`optimizer.weight_decay` must be zero or a positive number. Got -0.0001."),
    ({"optimizer__epochs": "abc"}, "`optimizer.epochs` must be an integer. Got abc."),
    ({"optimizer__epochs": 1e3}, "`optimizer.epochs` must be an integer. Got 1000.0."),
    ({"optimizer__epochs": 0}, "`optimizer.epochs` must be between 1 and 10000000000. Got 0."),
    ({"optimizer__epochs": 10**18}, "`optimizer.epochs` must be between 1 and 10000000000. Got 1000000000000000000."),
    (
        {"optimizer__epochs": 10**21},
        "`optimizer.epochs` must be a number of at most 64 bits. Got 1000000000000000000000",
    ),
    ({"optimizer__batch_size": 0}, "`optimizer.batch_size` must be at least 1, or null. Got 0."),
    ({"optimizer__batch_size": 5}, "`optimizer.batch_size` must be at most 4, the number of examples of task=xor."),
    ({"optimizer__name": "sdg"}, "`optimizer.name` must be sgd, adam or adamw. Got sdg. Did you mean `sgd`?"),
    ({"optimiser": {"lr": 1}}, "`optimiser` must be a key of the config. Got {lr: 1}. Did you mean `optimizer`?"),
    ({"optimizer": ...}, "`optimizer` must be a section."),
    ({"optimizer": 3}, "`optimizer` must be a section. Got 3."),
    ({"architecture__hidden": []}, "`architecture.hidden` must be a list of at least one width. Got []."),
    ({"architecture__hidden": [8, 0]}, "`architecture.hidden` must be a list of widths of at least 1. Got [8,0]."),
    ({"architecture__hidden": 8}, "`architecture.hidden` must be a list of integers. Got 8."),
    ({"architecture__hidden": {"a": 8}}, "`architecture.hidden` must be a list of integers. Got {a: 8}."),
    ({"architecture__hidden": [[8]]}, "`architecture.hidden` must be a list of integers. Got [[8]]."),
    ({"architecture__hidden": [8, None]}, "`architecture.hidden` must be a list of integers. Got [8,null]."),
    ({"architecture__activation": "sigmoit"}, "`architecture.activation` must be one of identity, relu, "),
    ({"architecture__activation": "monomial0"}, "`architecture.activation` must be one of identity, relu, "),
    ({"architecture__activation": "monomial151"}, "`architecture.activation` must be one of identity, relu, "),
    ({"probe__kind": "cube"}, "`probe.kind` must be grid, path, geodesic, plane or data. Got cube."),
    ({"probe": PLANE, "probe__top_k": 2}, "`probe.triples` must be triples of classes of task=xor, 0 to 1. Got [[0,6"),
    ({"architecture__parametrization": "nkt"}, "`architecture.parametrization` must be standard or ntk. Got nkt. Did"),
    ({"architecture__output_scale": 0}, "`architecture.output_scale` must be a positive number, or null. Got 0.0."),
    (
        {"architecture__output_scale": 2, "probe__layers": [2]},
        "`probe.layers` must be hidden layers where architecture.output_scale is given. Got [2]. ",
    ),
    ({"optimizer__volume_penalty": math.inf}, "`optimizer.volume_penalty` must be a finite number. Got inf."),
    (
        {"optimizer__volume_penalty_where": "edge"},
        "`optimizer.volume_penalty_where` must be everywhere or boundary. Got",
    ),
    ({"optimizer__volume_penalty_width": 0}, "`optimizer.volume_penalty_width` must be a positive number. Got 0.0."),
    (
        {"optimizer__volume_penalty_layer": 2},
        "`optimizer.volume_penalty_layer` must be a hidden layer, 1 to 1, or null.",
    ),
    (
        {"optimizer__volume_penalty_top_k": 3},
        "`optimizer.volume_penalty_top_k` must be at most 2, the rank of the metric",
    ),
    (
        {"architecture__output_scale": 2, "optimizer__volume_penalty": 0.1},
        "`optimizer.volume_penalty` must be 0 where architecture.output_scale is given, which divides the loss.",
    ),
    (
        {"architecture__output_scale": 2, "probe": DATA | {"robustness": True}},
        "`probe.robustness` must be false where architecture.output_scale is given. Got true.",
    ),
    ({"probe__top_k": 2}, "`probe.top_k` must be left out with probe.kind=grid."),
    ({"probe__resolution": 1}, "`probe.resolution` must be at least 2. Got 1."),
    ({"probe__window": [1.5, -1.5]}, "`probe.window` must be two finite numbers, the lower one first."),
    ({"probe__window": [0, 1, 2]}, "`probe.window` must be two finite numbers, the lower one first."),
    ({"probe__layers": []}, "`probe.layers` must be a list of at least one layer."),
    ({"probe__layers": [3]}, "`probe.layers` must be all, or layers from 1, the first hidden one, to 2, the output."),
    ({"probe__layers": [0]}, "`probe.layers` must be all, or layers from 1, the first hidden one, to 2, the output."),
    ({"probe__layers": "every"}, "`probe.layers` must be all, or a list of layers. Got every. The first two: "),
    ({"probe__layers": [1, 1]}, "`probe.layers` must be without repeats. Got [1,1]."),
    ({"probe__checkpoints": [0, 2001]}, "`probe.checkpoints` must be at most 2000, the last epoch. Got [0,2001]."),
    ({"probe__checkpoints": [-1]}, "`probe.checkpoints` must be a list of epochs, 0 or later. Got [-1]."),
    ({"probe__checkpoints": [1.5]}, "`probe.checkpoints` must be a list of epochs, 0 or later. Got [1.5]."),
    ({"probe__checkpoints": 10}, "`probe.checkpoints` must be a list of epochs, or a spacing and a count. Got 10."),
    ({"probe__checkpoints": {"spacing": "log"}}, "`probe.checkpoints` must be a list of epochs, or a spacing and"),
    ({"probe__checkpoints": "lag 10"}, "`probe.checkpoints.spacing` must be log or linear. Got lag."),
    ({"probe__checkpoints": "log 1"}, "`probe.checkpoints.count` must be an integer from 2 to 100000. Got 1."),
    (
        {"probe__checkpoints": "linear 1000000000"},
        "`probe.checkpoints.count` must be an integer from 2 to 100000. Got 1",
    ),
    ({"probe__checkpoints": "log " + "9" * 5000}, "`probe.checkpoints` must be a list of epochs, or a spacing and a "),
    ({"probe__checkpoints": list(range(100_001))}, "`probe.checkpoints` must be a list of at most 100000 epochs. Got "),
    ({"probe": PATH, "probe__top_k": 2}, "`probe.pairs` must be pairs of classes of task=xor, 0 to 1. Got [[3,8]]."),
    ({"probe": PATH, "probe__pairs": [[0, 1]]}, "`probe.top_k` must be at most 2, the rank of the metric"),
    (
        {"probe": DATA, "probe__split": "test"},
        "`probe.split` must be train where task=xor keeps no examples for testing. Got test.",
    ),
    ({"probe": DATA, "probe__split": "tset"}, "`probe.split` must be train or test. Got tset. Did you mean `test`?"),
    ({"probe": DATA, "probe__points": 0}, "`probe.points` must be at least 1, or all. Got 0. all takes every example"),
    ({"probe": DATA, "probe__points": "some"}, "`probe.points` must be an integer, or all. Got some. Every example: "),
    ({"probe": DATA, "probe__top_k": 3}, "`probe.top_k` must be at most 2, the rank of the metric"),
    ({"probe": DATA, "probe__rank_tolerance": 1}, "`probe.rank_tolerance` must be greater than 0 and less than 1. Got"),
    ({"architecture__activation": "a\nb\x1b"}, "`architecture.activation` must be one of identity, relu, sigmoid,"),
    ({"a\nb": 1}, "`a\\nb` must be a key of the config. Got 1. "),
    ({"seed": "x" * 1000}, f"`seed` must be an integer. Got {'x' * 100}.... Whole numbers have no point"),
    ({"seed": -1}, "`seed` must be between 0 and 4294967295. Got -1."),
    ({"seed": 10**400}, "`seed` must be a number of at most 64 bits. Got 1000"),
    ({"optimizer__lr": 10**400}, "`optimizer.lr` must be a number of at most 64 bits. Got 1000"),
    (
        {"architecture__hidden": [2**63]},
        "`architecture.hidden` must be a number of at most 64 bits. Got [9223372036854",
    ),
    (
        {"seed": 4294967295, "replicates": 2},
        "`seed` must be at most 4294967295 for the last of the replicates, too. Got",
    ),
    ({"replicates": 0}, "`replicates` must be at least 1. Got 0."),
    ({"device": "gpu"}, "`device` must be auto, cpu, cuda or mps. Got gpu."),
    ({"device": "mps"}, "`dtype` must be float32 for device=mps, which has no float64. Got float64."),
    ({"figures__curvature_convention": "true"}, "`figures.curvature_convention` must be geometric or paper. Got true."),
    ({"figures__band": 0}, "`figures.band` must be a positive number. Got 0."),
    ({"figures__draw": "maybe"}, "`figures.draw` must be true or false. Got maybe."),
    ({"figures__colour": 1}, "`figures.colour` must be a key of the config. Got 1."),
    ({"dtype": "float16"}, "`dtype` must be float64 or float32. Got float16."),
]
WRONG_DIGITS = [
    ({"optimizer__momentum": 0.9}, "`optimizer.momentum` must be left out with optimizer.name=adam. Got 0.9."),
    ({"optimizer__betas": [0.9]}, "`optimizer.betas` must be two numbers in [0, 1). Got [0.9]."),
    ({"optimizer__eps": 0}, "`optimizer.eps` must be a positive number. Got 0.0."),
    ({"optimizer__batch_size": 1798}, "`optimizer.batch_size` must be at most 1797"),
    (
        {"probe": GRID},
        "`probe.kind` must be path, geodesic, plane or data for task=digits, whose inputs have 64 dimensions.",
    ),
    ({"probe__pairs": [[3, 10]]}, "`probe.pairs` must be pairs of classes of task=digits, 0 to 9. Got [[3,10]]."),
    ({"probe__pairs": [[-1, 3]]}, "`probe.pairs` must be pairs of classes of task=digits, 0 to 9. Got [[-1,3]]."),
    ({"probe__pairs": [[3, 3]]}, "`probe.pairs` must be a list of pairs [a,b] with a different from b."),
    ({"probe__pairs": [3, 8]}, "`probe.pairs` must be a list of pairs of integers. Got [3,8]."),
    ({"probe__pairs": []}, "`probe.pairs` must be a list of pairs [a,b] with a different from b. Got []."),
    (
        {"probe__endpoints": "index", "probe__pairs": [[0, 1797]]},
        "`probe.pairs` must be pairs of rows of task=digits, 0 to 1796. Got [[0,1797]].",
    ),
    ({"probe__endpoints": "row"}, "`probe.endpoints` must be class or index. Got row. class takes the first"),
    ({"probe__endpoints": "indx"}, "`probe.endpoints` must be class or index. Got indx. Did you mean `index`?"),
    (
        {"probe": PLANE, "probe__corners": "index", "probe__triples": [[0, 1, 0]]},
        "`probe.triples` must be a list of triples [a,b,c] without repeats where they are of rows. Got [[0,1,0]].",
    ),
    (
        {"task__digits": [3]},
        "`task.digits` must be a list of two or more digits, 0 to 9, without repeats, or null. Got [3].",
    ),
    ({"task__digits": [3, 3]}, "`task.digits` must be a list of two or more digits"),
    ({"task__digits": [3, 10]}, "`task.digits` must be a list of two or more digits"),
    (
        {"task__digits": 3},
        "`task.digits` must be a list of integers, or null. Got 3. Threes and eights: task.digits=[3,8].",
    ),
    ({"task__digits": [3, 8]}, "`probe.pairs` must be pairs of classes of task=digits, 0 to 1."),
    (
        {"probe": PLANE, "probe__triples": [[0, 1]]},
        "`probe.triples` must be a list of triples [a,b,c]. Got [[0,1]].",
    ),
    ({"probe": PLANE, "probe__triples": [0, 1, 2]}, "`probe.triples` must be a list of triples of integers. Got [0,1,"),
    ({"probe": PLANE, "probe__triples": [[0, 1, 10]]}, "`probe.triples` must be triples of classes of task=digits, 0"),
    ({"probe": PLANE, "probe__corners": "row"}, "`probe.corners` must be class or index. Got row."),
    ({"probe": PLANE, "probe__reach": 0.9}, "`probe.reach` must be at least 1. Got 0.9."),
    ({"probe": PLANE, "probe__resolution": 1}, "`probe.resolution` must be at least 2. Got 1."),
    ({"probe": PLANE, "probe__top_k": 31}, "`probe.top_k` must be at most 30, the rank of the metric"),
    ({"probe__steps": 0}, "`probe.steps` must be at least 1. Got 0."),
    ({"task__side": 7}, "`task.side` must be between 8 and 128. Got 7. Images as large as MNIST's: task.side=28."),
    ({"probe__top_k": 0}, "`probe.top_k` must be at least 1, or null. Got 0."),
    (
        {"probe__top_k": 31},
        "`probe.top_k` must be at most 30, the rank of the metric (input dimension 64, widths [30]).",
    ),
    ({"architecture__hidden": [4]}, "`probe.top_k` must be at most 4, the rank of the metric"),
]


@pytest.mark.parametrize(("changes", "sentence"), WRONG_XOR, ids=lambda value: str(value)[:60])
def test_a_wrong_xor_config_is_refused(changes, sentence):
    assert refusal(XOR, **changes).startswith(sentence)


def test_a_plane_through_fewer_than_three_classes_is_suggested_through_rows():
    suggestion = "or probe.corners=index probe.triples=[[0,1,2]]."
    assert refusal(XOR, probe=PLANE, probe__top_k=2).endswith(suggestion)
    assert load_config(changed(XOR, probe=PLANE | {"corners": "index", "triples": [[0, 1, 2]]}, probe__top_k=2))


@pytest.mark.parametrize(("changes", "sentence"), WRONG_DIGITS, ids=str)
def test_a_wrong_digits_config_is_refused(changes, sentence):
    assert refusal(DIGITS, **changes).startswith(sentence)


@pytest.mark.parametrize(
    ("mapping", "changes"),
    [
        (XOR, {"optimizer__batch_size": 4}),
        (XOR, {"probe__checkpoints": [2000]}),
        (XOR, {"probe__checkpoints": []}),
        (XOR, {"probe": PATH, "probe__pairs": [[0, 1]], "probe__top_k": 2}),
        (XOR, {"probe": PATH, "probe__pairs": [[0, 3]], "probe__endpoints": "index", "probe__top_k": 2}),
        (XOR, {"device": "mps", "dtype": "float32"}),
        (XOR, {"architecture__hidden": [8, 4], "probe__layers": [2, 1]}),
        (XOR, {"architecture__hidden": [8, 1, 8], "probe__layers": "all"}),
        (DIGITS, {"architecture__hidden": [30, 4], "probe__layers": "all"}),
        (DIGITS, {"probe__endpoints": "index", "probe__pairs": [[0, 1796]]}),
        (DIGITS, {"probe__top_k": 30}),
        (DIGITS, {"probe__top_k": None, "architecture__hidden": [4]}),
        (DIGITS, {"task__side": 28, "probe__top_k": 30}),
        (DIGITS, {"probe": PLANE, "probe__corners": "index", "probe__triples": [[0, 1796, 5]]}),
        (XOR, {"probe": PLANE, "probe__corners": "index", "probe__triples": [[0, 1, 2]], "probe__top_k": 2}),
        (DIGITS, {"architecture__hidden": [30, 2]}),
        (DIGITS, {"optimizer__batch_size": 1797}),
        (DIGITS, {"optimizer__name": "adamw"}),
    ],
    ids=str,
)
def test_a_config_on_the_edge_of_what_is_allowed_is_taken(mapping, changes):
    load_config(changed(mapping, **changes))


def test_the_rank_counts_the_narrowest_layer_up_to_the_probed_one():
    message = refusal(DIGITS, architecture__hidden=[30, 4, 20], probe__layers=[3])
    assert message.startswith("`probe.top_k` must be at most 4, ")


def test_all_layers_are_written_out_up_to_the_output():
    everything = load_config(changed(XOR, architecture__hidden=[8, 8], probe__layers="all"))
    assert everything.probe.layers == [1, 2, 3]
    assert everything == load_config(changed(XOR, architecture__hidden=[8, 8], probe__layers=[1, 2, 3]))


def test_sinusoid_takes_no_batch_larger_than_its_points():
    task = {"name": "sinusoid", "points": 50, "data_seed": 0}
    message = refusal(XOR, task=task, optimizer__batch_size=51)
    assert message.startswith("`optimizer.batch_size` must be at most 50, the number of examples of task=sinusoid.")


def test_activation_names_are_those_of_the_geometry():
    with pytest.raises(ValueError, match="must be one of") as caught:
        get_activation("nope")
    listed = str(caught.value).partition("must be one of ")[2].partition(", monomial")[0].split(", ")
    assert sorted(listed) == sorted(ACTIVATIONS)
    get_activation(f"monomial{LARGEST_DEGREE}")
    with pytest.raises(ValueError, match=f"1 <= q <= {LARGEST_DEGREE}"):
        get_activation(f"monomial{LARGEST_DEGREE + 1}")


@pytest.mark.parametrize("name", [*ACTIVATIONS, "monomial1", "monomial3", f"monomial{LARGEST_DEGREE}"])
def test_each_activation_of_the_config_exists(name):
    assert load_config(changed(XOR, architecture__activation=name)).architecture.activation == name
    assert get_activation(name).name == name


def test_the_config_needs_neither_torch_nor_hydra():
    code = "import sys, nngeom_cli.config.loader; print({'torch', 'hydra', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("spec", "epochs", "expected"),
    [
        ([], 50, [0, 50]),
        ([7, 3, 7], 50, [0, 3, 7, 50]),
        ([0, 50], 50, [0, 50]),
        ({"spacing": "linear", "count": 6}, 50, [0, 10, 20, 30, 40, 50]),
        ({"spacing": "linear", "count": 2}, 50, [0, 50]),
        ({"spacing": "log", "count": 2}, 50, [0, 50]),
        ({"spacing": "log", "count": 3}, 50, [0, 1, 50]),
        ({"spacing": "log", "count": 5}, 1000, [0, 10, 46, 215, 1000]),
        ({"spacing": "log", "count": 10}, 1, [0, 1]),
        ({"spacing": "linear", "count": 100}, 3, [0, 1, 2, 3]),
    ],
    ids=str,
)
def test_checkpoint_epochs(spec, epochs, expected):
    assert checkpoint_epochs(spec, epochs) == expected


@given(st.sampled_from(["log", "linear"]), st.integers(2, 200), st.integers(1, 10**6))
def test_a_schedule_is_sorted_unique_and_holds_both_ends(spacing, count, epochs):
    schedule = checkpoint_epochs({"spacing": spacing, "count": count}, epochs)
    assert schedule == sorted(set(schedule))
    assert schedule[0] == 0
    assert schedule[-1] == epochs
    assert len(schedule) <= count
    assert all(type(epoch) is int for epoch in schedule)


def test_a_config_that_was_saved_before_figures_had_a_section_has_the_defaults():
    saved = {key: value for key, value in XOR.items() if key != "figures"}
    assert load_config(saved) == load_config(XOR)
    assert load_config({**saved, "figures": {}}) == load_config(XOR)
    assert load_config({**saved, "figures": {"band": 0.3}}).figures.curvature_convention == "geometric"
    conf = OmegaConf.load(Path(__file__).parents[2] / "conf" / "config.yaml")
    assert OmegaConf.to_container(conf.figures) == FIGURES


def test_the_hash_knows_the_values_and_not_their_order_or_spelling():
    config = load_config(XOR)
    respelt = changed(
        dict(reversed(XOR.items())), optimizer__lr=2e-2, probe__checkpoints={"count": 10, "spacing": "log"}
    )
    assert config_hash(load_config(respelt)) == config_hash(config)
    assert config_hash(replace(config, seed=1)) != config_hash(config)
    assert config_hash(load_config(changed(XOR, figures__band=0.3))) == config_hash(config)  # measured all the same
    assert config_hash(load_config(changed(XOR, optimizer__volume_penalty=0))) == config_hash(config)  # it came later
    assert config_hash(load_config(changed(XOR, optimizer__volume_penalty=0.1))) != config_hash(config)
    assert config_hash(config) == "5a1876243c98cd0357f0e2f91940d5e736369302335b3fd500b4f1bc6937dcd3"  # as ever


@pytest.mark.parametrize("unmeasured", [{}, {"figures": {}}, {"figures": FIGURES}, {"checkpoint_seconds": 1}], ids=str)
def test_the_hash_of_a_part_of_a_config_leaves_out_what_is_not_measured(unmeasured):
    assert config_hash(unmeasured) == config_hash({})
    assert config_hash({"seed": 1, **unmeasured}) == config_hash({"seed": 1}) != config_hash({})


@settings(max_examples=500)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just("${seed}"),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
        max_leaves=6,
    ),
    st.sampled_from(
        [
            f"{section}__{key}"
            for section in ("task", "architecture", "optimizer", "probe", "figures")
            for key in XOR[section]
        ]
    ),
)
def test_any_value_is_taken_or_refused_in_one_line(value, key):
    mapping = changed(XOR, **{key: value})
    try:
        load_config(mapping)
    except ConfigError:
        assert refusal(mapping).startswith(f"`{key.partition('__')[0]}")


@pytest.mark.parametrize(("typed", "meaning"), sorted({(known.typed, known.about.meaning) for known in known_keys()}))
def test_each_key_says_what_it_means_in_one_line(typed, meaning):
    assert re.fullmatch(r"\S+ .*[^\s.]", meaning), typed


def test_each_key_of_the_files_of_configs_is_declared_and_the_other_way_round():
    folder = Path(__file__).parents[2] / "conf"
    there = set(OmegaConf.load(folder / "config.yaml")) - {"defaults", "hydra", "figures"}
    there |= {f"figures.{name}" for name in OmegaConf.load(folder / "config.yaml").figures}
    for section in ("task", "architecture", "optimizer", "probe"):
        for path in (folder / section).glob("*.yaml"):
            there |= {f"{section}.{name}" for name in OmegaConf.load(path)} - {f"{section}.defaults"}
    assert there == {known.typed for known in known_keys()}


def test_the_page_of_keys_is_what_their_declarations_make():
    docs = Path(__file__).parents[2] / "docs"
    assert (docs / "config.md").read_text(encoding="utf-8") == runpy.run_path(str(docs / "keys.py"))["page"]()
