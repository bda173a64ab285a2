"""tracker=tensorboard, read back by TensorBoard's own reader."""

import numpy as np
import pytest
from small_runs import PROBED, config, drawn

from nngeom_cli.errors import ConfigError
from nngeom_cli.runs import run as runner
from nngeom_cli.runs.resume import resume
from nngeom_cli.store.run import Run, load_run
from nngeom_cli.trackers.tensorboard import TensorBoard

accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
TAGS = ("_hparams_/session_start_info", "config", "status")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    directory = tmp_path_factory.mktemp("tensorboard") / "run"
    directory.mkdir()
    changes = {"probe__checkpoints": PROBED, "tracker": "tensorboard", "figures__draw": True}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "drawing", lambda: drawn)
        runner.run(config(**changes), directory, command="nngeom run task=xor")
        yield load_run(directory)


def read(run):
    everything = accumulator.EventAccumulator(str(run.directory / "tracker"), dict.fromkeys(("scalars", "images"), 0))
    return everything.Reload()


def test_it_has_the_history_and_the_statistics_by_epoch(run):
    events = read(run)
    for name in ("loss", "accuracy"):
        for seed, rows in run.history.groupby("replicate"):
            found = events.Scalars(f"{name}/seed-{seed}")
            assert [event.step for event in found] == rows.epoch.tolist()
            values = [event.value for event in found]
            np.testing.assert_array_equal(np.float32(values), rows[name].astype(np.float32))  # its precision
    assert [event.step for event in events.Scalars("volume_mean/mean")] == PROBED
    volume = run.geometry.log_volume_element.sel(x=slice(-1, 1), y=slice(-1, 1)).mean().item()  # near the data
    each = [event.value for event in events.Scalars("volume_mean/mean")]
    assert np.mean(each) == pytest.approx(volume, rel=1e-6)


def test_it_has_the_config_and_the_status(run):
    from tensorboard.plugins.hparams import metadata

    events = read(run)
    assert set(events.Tags()["tensors"]) == set(TAGS)
    text = events.Tensors("config")[0].tensor_proto.string_val[0].decode()
    assert "    optimizer.lr=0.02\n" in text
    assert "nngeom run task=xor" in text
    content = events.SummaryMetadata(TAGS[0]).plugin_data.content
    settings = metadata.parse_session_start_info_plugin_data(content).hparams
    assert settings["optimizer.lr"].number_value == 0.02
    assert settings["architecture.hidden"].string_value == "[4]"
    assert events.Tensors("status")[0].tensor_proto.string_val == [b"complete"]


def test_it_has_the_figures(run):
    events = read(run)
    names = {path.stem for path in (run.directory / "figures").glob("*.png")}
    assert set(events.Tags()["images"]) == {f"figures/{name}" for name in names} != set()
    for name in names:
        (image,) = events.Images(f"figures/{name}")
        path = run.directory / "figures" / f"{name}.png"
        assert (image.step, image.encoded_image_string) == (20, path.read_bytes())
        assert (image.width, image.height) == (30, 20)


def test_a_run_that_is_trained_longer_has_no_row_twice_and_no_old_statistic(run):
    before = read(run)
    resume(run.directory, ["optimizer.epochs=30"])
    longer = load_run(run.directory)
    assert sum(path.stat().st_size > 0 for path in (run.directory / "tracker").iterdir()) == 1
    steps = [event.step for event in read(longer).Scalars("loss/seed-3")]
    assert steps == sorted(set(longer.history.epoch))
    assert len(read(longer).Images("figures/first")) == 1
    reader = before.Reload()  # a viewer that has read the old file
    assert [event.step for event in reader.Scalars("loss/seed-3")] == steps
    assert len(reader.Images("figures/first")) == 1


def test_a_link_in_its_place_is_not_followed(tmp_path):
    elsewhere, directory = tmp_path / "elsewhere", tmp_path / "run"
    elsewhere.mkdir()
    directory.mkdir()
    (directory / "tracker").symlink_to(elsewhere)
    with pytest.raises(ConfigError, match="link"):
        TensorBoard().start(Run(directory, {"config": {}}))
    assert not list(elsewhere.iterdir())
