"""Runs with closed-form geometry, in the shape of those that are read back from disk."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import xarray as xr

from nngeom_cli.store.run_directory import RunDirectory

AXIS = np.linspace(-1.5, 1.5, 25)
DIMS = ("epoch", "layer", "replicate", "y", "x")


@dataclass
class MadeRun:
    """Looks like a run that was read back."""

    directory: Path
    geometry: xr.Dataset
    history: pd.DataFrame
    info: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    thinned: int = 0
    display: xr.Dataset | None = None

    def drawable(self, most: int, keep=()) -> "MadeRun":
        assert len(self.geometry.epoch) <= most + len(keep)
        return self

    def each_checkpoint(self):
        return (self.geometry.sel(epoch=epoch) for epoch in self.geometry.epoch.values)

    @property
    def first_and_last(self) -> xr.Dataset:
        return self.geometry.isel(epoch=[0, -1])

    @property
    def replicates(self) -> list[dict[str, Any]]:
        return self.info["replicates"]


def made_run(directory, geometry, solved=(False, True)):
    seeds, epochs = geometry.replicate.values, geometry.epoch.values
    rows = [(e, s, 1 / (1 + e), 0.5 + 0.1 * (s % 5) * (e > 0)) for e in epochs for s in seeds]
    info = {
        "command": "nngeom run task=made",
        "config_hash": "c0ffee",
        "versions": {"nngeom": "1.2.3"},
        "replicates": [
            {
                "replicate": int(s),
                "loss": 0.1,
                "accuracy": 0.9,
                "test_accuracy": 0.5 + int(s) / 99,
                "solved": bool(done),
            }
            for s, done in zip(seeds, solved, strict=False)
        ],
    }
    columns = ["epoch", "replicate", "loss", "accuracy"]
    return MadeRun(directory, geometry, pd.DataFrame(rows, columns=columns), info)


def plane(epochs=(0, 10, 200), layers=(1,), replicates=2, hidden=8):
    """Margin with a circle as boundary, whose radius grows with epoch and seed; fields in closed form."""
    shape = {"epoch": list(epochs), "layer": list(layers), "replicate": 3 + np.arange(replicates), "y": AXIS, "x": AXIS}
    epoch, layer, seed, y, x = (
        xr.DataArray(np.asarray(values, dtype=float), dims=name, coords={name: values})
        for name, values in shape.items()
    )
    radius = 0.5 + 0.2 * np.log10(1 + epoch) + 0.02 * (seed - 3)
    r = np.hypot(x, y)
    volume = (-((r - radius) ** 2) * (1 + epoch / 50) + layer).transpose(*DIMS)
    curvature = ((x + 0.3) * 10 ** (2 * y) * layer * xr.ones_like(radius)).transpose(*DIMS)
    points = np.array([[-1.0, -1], [-1, 1], [1, -1], [1, 1]])
    return xr.Dataset(
        {
            "margin": (radius - r).transpose("epoch", "replicate", "y", "x"),
            "log_volume_element": volume,
            "ricci_scalar": curvature,
            "ricci_scalar_error": 1e-12 * abs(curvature),
            "input": (("point", "feature"), points),
            "label": ("point", np.array([0, 1, 1, 0])),
        },
        attrs={
            "kind": "grid",
            "task": "made",
            "activation": "sigmoid",
            "widths": np.array([2, hidden, hidden, 1]),
            "box": [-1.0, 1.0, -1.0, 1.0],
        },
    )


def path(pairs=1, replicates=2, epochs=(0, 30), image=True, steps=64, speed=False, curvature=False):
    """Curves with a peak where the prediction changes, at step 20 + 5 * (seed - 3) of each pair.

    The speed, where it is asked for, is 1 at epoch 0 and 2 afterwards, and 1 more for each pair; so is the curvature.
    """
    seeds, step = 3 + np.arange(replicates), np.arange(steps + 1)
    change = 20 + 5 * (np.arange(replicates) % 8)
    first, second = np.arange(pairs) % 10, (np.arange(pairs) + 7) % 10
    late = step >= change[:, None]  # (replicate, step)
    predicted = np.where(late, second[:, None, None], first[:, None, None])
    trained = -20 - 0.004 * (step - change[:, None]) ** 2 - 0.1 * seeds[:, None]
    untrained = -19 + 0.2 * np.sin(step / 9 + seeds[:, None])
    curves = np.stack([trained if epoch else untrained for epoch in epochs])
    attrs = {
        "kind": "path",
        "task": "made",
        "activation": "sigmoid",
        "widths": [64, 30, 10],
        "steps": steps,
        "top_k": 6,
    }
    ends = np.random.default_rng(0).integers(0, 17, (pairs, 2, 64 if image else 2)).astype(float)
    speeds = (np.where(np.array(epochs) > 0, 2.0, 1.0)[:, None] + np.arange(pairs))[:, None, :, None, None]
    dims, shape = ("epoch", "layer", "pair", "replicate", "step"), (len(epochs), 1, pairs, replicates, steps + 1)
    return xr.Dataset(
        ({"speed": (dims, np.broadcast_to(speeds, shape).copy())} if speed else {})
        | ({"path_curvature": (dims, np.broadcast_to(speeds, shape).copy())} if curvature else {})
        | {
            "log_effective_volume_element": (
                ("epoch", "layer", "pair", "replicate", "step"),
                np.broadcast_to(curves[:, None, None], (len(epochs), 1, pairs, replicates, steps + 1)).copy(),
            ),
            "predicted_class": (
                ("epoch", "pair", "replicate", "step"),
                np.broadcast_to(predicted, (len(epochs), *predicted.shape)).copy(),
            ),
            "endpoint": (("pair", "end", "feature"), ends),
            "endpoint_class": (("pair", "end"), np.stack([first, second], axis=1)),
            "endpoint_index": (("pair", "end"), 100 + np.arange(2 * pairs).reshape(pairs, 2)),
        },
        coords={"epoch": list(epochs), "layer": [1], "replicate": seeds, "step": step},
        attrs=attrs | ({"image_shape": [8, 8]} if image else {}),
    )


def image_planes(epochs=(0, 30), layers=(1,), replicates=2, image=True, hidden=30):
    """Two planes with three predicted regions: thirds of the plane about the centroid, turned by 0.1 for each seed."""
    grid = plane(epochs, layers, replicates, hidden)
    angle = np.arctan2(*np.meshgrid(AXIS, AXIS)[::-1]) + 0.1 * np.arange(replicates)[:, None, None]
    outputs = np.cos(angle[:, None] - 2 * np.pi / 3 * np.arange(3)[:, None, None])  # (replicate, class, y, x)
    best, second = np.moveaxis(np.sort(outputs, axis=1)[:, ::-1], 1, 0)[:2]
    fields = {"margin": best - second, "predicted_class": outputs.argmax(axis=1), "entropy": second - best}
    shape = (len(epochs), 2, replicates, len(AXIS), len(AXIS))
    arrays = {
        name: (("epoch", "plane", "replicate", "y", "x"), np.broadcast_to(values, shape).copy())
        for name, values in fields.items()
    }
    names = ("log_volume_element", "ricci_scalar", "ricci_scalar_error")
    arrays |= {name: grid[name].expand_dims(plane=2, axis=2).copy() for name in names}
    arrays["log_effective_volume_element"] = 3 * arrays["log_volume_element"]
    corners = 0.8 * np.stack([np.cos(2 * np.pi / 3 * np.arange(3)), np.sin(2 * np.pi / 3 * np.arange(3))], axis=1)
    ends = np.random.default_rng(0).integers(0, 17, (2, 3, 64 if image else 5)).astype(float)
    arrays |= {
        "corner": (("plane", "end", "feature"), ends),
        "corner_place": (("plane", "end", "axis"), np.stack([corners, -corners])),
        "corner_class": (("plane", "end"), np.array([[0, 1, 2], [2, 1, 0]])),
        "corner_index": (("plane", "end"), np.arange(6).reshape(2, 3)),
    }
    attrs = grid.attrs | {"kind": "plane", "top_k": 6, "widths": [64 if image else 5, hidden, hidden, 3]}
    return xr.Dataset(arrays, grid.coords, attrs | ({"image_shape": [8, 8]} if image else {}))


def examples(epochs=(0, 30), layers=(1,), replicates=2, classes=3, points=30, image=True, curved=False, robust=False):
    """Examples of `classes` classes in turn, the volume of which falls with the margin once networks are trained.

    The margin differs a little from seed to seed; each network errs at every seventh example, another one each.
    """
    shape = {"epoch": list(epochs), "layer": list(layers), "replicate": 3 + np.arange(replicates)}
    epoch, layer, seed, point = (
        xr.DataArray(np.asarray(values, dtype=float), dims=name)
        for name, values in {**shape, "point": np.arange(points)}.items()
    )
    margin = 1 + point % 5 + np.sin(point * (1 + 0.1 * (seed - 3))) + 0.01 * epoch
    labels = xr.DataArray(np.arange(points) % classes, dims="point")
    wrong = (point + seed) % 7 == 0
    volume = -20 - (0.05 * epoch * margin + np.cos(3 * point) + 0.1 * seed) * layer
    order = ("epoch", "layer", "replicate", "point")
    arrays = {
        "log_effective_volume_element": volume.transpose(*order),
        "local_rank": (2 + (point + layer) % 4 + 0 * volume).transpose(*order),
        "participation_ratio": (1.5 + 0.1 * point + 0 * volume).transpose(*order),
        "margin": margin.transpose("epoch", "replicate", "point"),
        "entropy": (1 / margin**2).transpose("epoch", "replicate", "point"),
        "predicted_class": (("epoch", "replicate", "point"), 0),
        "example": ("point", 3 * np.arange(points)),
        "true_class": labels,
        "input": (("point", "feature"), np.random.default_rng(0).integers(0, 17, (points, 64)).astype(float)),
    }
    predicted = (labels + wrong.astype(int)) % classes
    arrays["predicted_class"] = (
        ("epoch", "replicate", "point"),
        np.broadcast_to(predicted.transpose("replicate", "point").values, (len(epochs), replicates, points)).astype(
            int
        ),
    )
    if curved:
        arrays["ricci_scalar"] = np.exp(-arrays["log_effective_volume_element"] / 10)
        arrays["ricci_scalar_error"] = 1e-9 * arrays["ricci_scalar"]
    if robust:
        distance = margin / (2 + np.sin(2 * point)) + 0 * epoch
        arrays["adversarial_distance"] = distance.transpose("epoch", "replicate", "point")
        arrays["first_order_distance"] = (distance + 0.1 * np.cos(5 * point)).transpose("epoch", "replicate", "point")
        arrays["distance_along_gradient"] = (1.1 * distance).transpose("epoch", "replicate", "point")
        order = (*order, "k")
        arrays["spectrum"] = np.exp(volume / 3 - xr.DataArray(np.arange(7.0), dims="k")).transpose(*order)
    attrs = {"kind": "data", "task": "made", "activation": "sigmoid", "widths": [64, 30, 10], "top_k": 6}
    attrs |= {"rank_tolerance": 0.01, "split": "train", "examples": 3 * points}
    attrs |= {"image_shape": [8, 8]} if image else {}
    return xr.Dataset(arrays, shape, attrs)


def texts(figure):
    return " ".join(text.get_text() for text in figure.findobj(matplotlib.text.Text)).replace("\n", " ")


GRID = plane(epochs=(0, 200), replicates=3).assign_attrs(box=[-1, 1, -1, 1])


def config(**changes):
    plain = {"task": {"name": "xor"}, "optimizer": {"name": "sgd", "lr": 0.02, "epochs": 200}, "seed": 3}
    optimizer = plain["optimizer"] | {key: changes.pop(key) for key in ("lr", "epochs") if key in changes}
    return plain | {"replicates": 3, "device": "cpu", "optimizer": optimizer} | changes


def write_run(
    directory, geometry=GRID, losses=(0.1, 0.2, 0.6), status="complete", error=None, finished=None, **changes
):
    seeds = geometry.replicate.values
    rows = [
        {"replicate": int(seed), "loss": loss, "accuracy": 1 - (loss or 0.5), "solved": loss is not None and loss < 0.5}
        for seed, loss in zip(seeds, losses, strict=True)
    ]
    epochs = geometry.epoch.values.tolist()
    settings = config(seed=int(seeds[0]), **{"epochs": epochs[-1], "probe": {"checkpoints": epochs}} | changes)
    info = {"id": directory.name.encode().hex(), "config": settings, "replicates": rows, "error": error}
    info |= {"finished": finished}
    directory.mkdir(parents=True)
    store = RunDirectory(directory, info)
    for epoch in epochs:
        store.write_geometry(epoch, geometry.sel(epoch=epoch))
    store.history.add(pd.DataFrame({"epoch": [0, 7], "replicate": 3, "loss": [0.5, 0.4], "accuracy": 0.5}))
    store.write_history()
    store.write_manifest()
    store.update(status=status)
    return directory


def geodesics(pairs=2, replicates=2, epochs=(0, 30), segments=8):
    """Paths in the plane that bend by 0.1 (epoch + 1) / 31 of their length, of which a third is of the first class."""
    rng = np.random.default_rng(0)
    dims = ("epoch", "layer", "pair", "replicate", "step", "feature")
    shape = (len(epochs), 1, pairs, replicates)
    ends = rng.normal(size=(pairs, 2, 2))
    along = ends[:, 1] - ends[:, 0]
    fractions = np.linspace(0, 1, segments + 1)[:, None]
    across = np.stack([-along[:, 1], along[:, 0]], axis=1)
    bends = 0.1 * (np.array(epochs) + 1)[:, None, None, None] / 31 * np.sin(np.pi * fractions)
    lines = ends[:, None, 0] + fractions * along[:, None]
    points = (lines + bends * across[:, None])[:, None, :, None] * np.ones((*shape, 1, 1))
    lengths = np.exp(rng.normal(size=shape))
    late = np.broadcast_to(np.arange(segments + 1) >= segments / 3, (*shape, segments + 1))
    arrays = {name: (dims[:4], lengths * factor) for name, factor in LENGTHS.items()}
    arrays |= {name: (dims[:4], np.full(shape, value)) for name, value in SHARES.items()}
    arrays |= {"converged": (dims[:4], np.ones(shape, dtype=np.int64)), "geodesic_point": (dims, points)}
    arrays |= {"geodesic_class": (dims[:5], late.astype(np.int64))}
    arrays |= {"straight_place": (("epoch", "pair", "replicate"), np.full((len(epochs), pairs, replicates), 0.4))}
    arrays |= {"straight_class": (("epoch", "pair", "replicate", "step"), late[:, 0].astype(np.int64))}
    arrays |= {"distance": ("pair", np.linalg.norm(along, axis=1)), "within_distance": ("pair", np.ones(pairs))}
    arrays |= {"within_index": ("pair", np.arange(pairs)), "endpoint": (("pair", "end", "feature"), ends)}
    arrays |= {name: (("pair", "end"), np.tile([0, 1], (pairs, 1))) for name in ("endpoint_class", "endpoint_index")}
    about = {name: {"long_name": name, "units": ""} for name in SHARES}
    made = xr.Dataset(
        arrays,
        {"epoch": list(epochs), "layer": [1], "replicate": 3 + np.arange(replicates)},
        {"kind": "geodesic", "task": "made", "activation": "sigmoid", "widths": [2, 8, 2]}
        | {"segments": segments, "directions": 2},
    )
    return made.assign({name: made[name].assign_attrs(attrs) for name, attrs in about.items()})


LENGTHS = {"geodesic_length": 1.0, "straight_length": 1.2, "chord": 0.9, "geodesic_error": 1e-4}
LENGTHS |= {"within_geodesic_length": 0.5, "within_straight_length": 0.55}
SHARES = {"geodesic_share": 0.3, "straight_share": 0.45, "crossing_apart": 0.2}
