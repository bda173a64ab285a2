"""The notebook of the site: its cells run in order and show what its text says."""

import re
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest

PAGE = Path(__file__).parent.parent.parent / "docs" / "notebooks" / "first-run.md"
CELLS = re.findall(r"^```\{code-cell\} python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def test_the_notebook_trains_loads_plots_and_measures(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mpl.use("Agg")
    names = {}
    for cell in CELLS:
        exec(compile(cell, str(PAGE), "exec"), names)
    pictures = [plt.figure(number).axes for number in plt.get_fignums()]
    plt.close("all")
    assert names["first"].status == names["run"].status == "complete"
    assert "data:image/png;base64," in names["first"]._repr_html_()
    assert [row["solved"] for row in names["run"].info["replicates"]] == [True, True]
    assert len(pictures) == 2
    assert all(axes[-1].get_ylabel().startswith("R ") for axes in pictures)  # the colour bars
    assert names["on_plane"].isfinite().all()
    assert names["on_plane"].shape == (15**2,)
    assert names["at_inputs"].shape == (2, 4)
    assert names["at_inputs"].isfinite().all()
    R = names["measured"]["ricci_scalar"]
    assert R[0].item() == pytest.approx(8, rel=1e-12)
    assert (R.diff() < 0).all()
