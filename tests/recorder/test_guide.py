"""The examples of docs/guide.md, with fewer points and epochs: a convolutional network and a transformer block."""

import re
from pathlib import Path

import pytest

from nngeom_cli import load_run

PAGE = Path(__file__).parents[2] / "docs" / "guide.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
CONVOLUTIONAL, TRANSFORMER = (block for block in BLOCKS if "Recorder(" in block)


def shorter(code, numbers):
    """The example with other numbers, each of which it must have."""
    for before, after in numbers.items():
        assert code.count(before) == 1, before
        code = code.replace(before, after)
    return code


@pytest.mark.filterwarnings("ignore:The feature map uses:UserWarning", "ignore:There is a performance drop:UserWarning")
def test_the_examples_record_a_convolutional_network_and_a_transformer(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    fewer = {'"resolution": 10': '"resolution": 3', "epochs=20": "epochs=2", "range(21)": "range(3)"}
    fewer |= {"load_digits(return_X_y=True)": "(part[:300] for part in load_digits(return_X_y=True))"}
    code, names = shorter(CONVOLUTIONAL, fewer), {}
    exec(compile(code, str(PAGE), "exec"), names)
    run = load_run("outputs/runs/cnn")
    assert run.status == "complete"
    assert run.geometry.attrs["layer_names"] == "features.3\nclassifier.1"
    assert run.geometry.attrs["image_shape"].tolist() == [1, 8, 8]
    assert "plane-0-1-2-layer-2.png" in capsys.readouterr().out
    exec(compile(code, str(PAGE), "exec"), {})  # as if it was started again: it trains to the same parameters
    fewer = {'"steps": 16': '"steps": 2', "epochs=4": "epochs=1", "range(5)": "range(2)"}
    exec(compile(shorter(TRANSFORMER, fewer), str(PAGE), "exec"), names)
    run = load_run("outputs/runs/transformer")
    assert run.status == "complete"
    assert run.geometry.endpoint_class.values.tolist() == [[3, 8]]
    assert (Path("outputs/runs/transformer/figures") / "path-layer-1.png").exists()
