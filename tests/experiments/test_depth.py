"""The comparison of layers: statistics of paths by network and layer, what training adds, and beyond which controls."""

import numpy as np
import pytest
from made_runs import made_run, path, texts

from nngeom_cli.experiments.depth import draw, layers_of, statistics


def trained(directory, pairs=3, residual=False):
    run = made_run(directory, path(pairs=pairs))
    run.config = {"architecture": {"hidden": [30], "activation": "sigmoid", "residual": residual}}
    return run


def excess(geometry, epoch, pair, replicate, marked):
    """Mean log effective volume where a step is marked, minus the path's mean."""
    values = geometry.log_effective_volume_element.values[epoch, 0, pair, replicate]
    return values[marked].mean() - values.mean()


def changed(geometry, pair, replicate):
    predicted = geometry.predicted_class.transpose("epoch", "pair", "replicate", "step").values[-1, pair, replicate]
    return np.r_[False, predicted[1:] != predicted[:-1]]


def test_rows_are_means_over_the_paths_of_a_network(tmp_path):
    run = trained(tmp_path)
    table, geometry = layers_of([run]), run.geometry
    assert table.columns[:4].tolist() == ["network", "activation", "layer", "layer_name"]
    assert len(table) == 2 * 2
    middle = np.arange(65) == 32
    for line in table.itertuples():
        epoch, replicate = [0, 30].index(line.epoch), line.seed - 3
        at_change = [excess(geometry, epoch, pair, replicate, changed(geometry, pair, replicate)) for pair in range(3)]
        at_middle = [excess(geometry, epoch, pair, replicate, middle) for pair in range(3)]
        assert line.change_excess == pytest.approx(np.mean(at_change))
        assert line.change_excess_middle == pytest.approx(np.mean(at_middle))


def test_gains_are_paired_differences_from_the_untrained_network_and_from_its_controls(tmp_path):
    table = layers_of([trained(tmp_path), trained(tmp_path, residual=True)])
    assert set(table.network) == {"fully connected", "fully connected, residual"}
    found = statistics(table, np.random.default_rng(0))
    before, after = (table[(table.network == "fully connected") & (table.epoch == epoch)] for epoch in (0, 30))
    of = "fully connected, layer 1, epoch 30"

    def mean(name):
        return found[(found.statistic == f"mean {name}") & (found.of == of)].estimate.item()

    gain = after.change_excess.mean() - before.change_excess.mean()
    at_middle = after.change_excess_middle.mean() - before.change_excess_middle.mean()
    assert mean("change_excess_gain") == pytest.approx(gain)
    assert mean("change_excess_gain_minus_middle") == pytest.approx(gain - at_middle)
    assert mean("volume_mean") == pytest.approx(after.volume_mean.mean())


def test_a_network_that_diverged_is_left_out_and_counted(tmp_path):
    run = trained(tmp_path)
    whole = statistics(layers_of([run]), np.random.default_rng(0))
    run.info["replicates"][1] |= {"loss": None, "accuracy": None}
    table = layers_of([run])
    assert table[table.seed == 4].change_excess.isna().all()
    found = statistics(table, np.random.default_rng(0))
    assert found[found.statistic == "mean change_excess"].n.tolist() == [1, 1]
    assert whole[whole.statistic == "mean change_excess"].n.tolist() == [2, 2]
    words = texts(draw(table, found).figure)
    assert "2 sigmoid networks, of which 1 diverged and is left out" in words
