"""The least memory that a run needs at one time: a run that cannot fit is refused before it starts."""

from __future__ import annotations

from nngeom_cli.config.convolutional import ConvolutionalConfig
from nngeom_cli.config.optimizer import SgdConfig
from nngeom_cli.config.probe import DataConfig, GeodesicConfig, GridConfig, PathConfig
from nngeom_cli.config.run import Config
from nngeom_cli.config.task import DigitsConfig
from nngeom_cli.system.memory import require_room

__all__ = ["FEWEST_POINTS", "least_memory", "main_arrays", "require_memory", "vectors_kept"]

FEWEST_POINTS = 64  # that are differentiated at once
MOST_ELEMENTS = 1 << 23  # of derivatives at so few points; beyond it replicates are taken in turns
MEASURED = {"grid": (4, 2), "plane": (5, 3)}  # numbers per point and replicate: in each layer, and once


def main_arrays(config: Config) -> dict[str, tuple[int, str]]:
    """Bytes of the arrays that are in memory together, and what each is, by the key that makes it large.

    A run takes more: chunks, copies and figures come on top.

    Args:
        config: of a run; a user's data file has been read already, and does not count.

    Example:
        >>> from nngeom_cli.launch.application import composed
        >>> from nngeom_cli.config.loader import load_config
        >>> arrays = main_arrays(load_config(composed(["task=sinusoid", "task.points=1000", "probe.resolution=40"])))
        >>> arrays["task.points"], arrays["probe.resolution"]
        ((1048000, 'the data and the units at them'), (1228800, 'what is measured'))
    """
    number = 8 if config.dtype == "float64" else 4
    task, probe, copies = config.task, config.probe, config.replicates
    sizes, module = config.layers, config.architecture.by_module
    widths = [task.inputs, *(layer.features for layer in sizes)]
    parameters = copies * sum(layer.parameters for layer in sizes)
    vectors = vectors_kept(config)
    batch = min(config.optimizer.batch_size or task.size, task.size)
    layers, numbers, ranks = len(probe.layers), probe.numbered(widths), probe.ranks(widths)
    along = min(task.inputs, widths[1])  # directions of derivatives, along the rows of the first weights
    first = ranks[numbers.index(min(numbers))]  # of the first measured layer
    if isinstance(probe, PathConfig):
        points, on_path = probe.steps + 1, len(probe.pairs)
        measured = on_path * points * copies * (layers * (min(probe.leading(first) + 1, task.inputs) + 3) + 1)
        derivatives, size = along, "probe.steps"
    elif isinstance(probe, GeodesicConfig):
        points, of_pair = probe.segments + 1, layers * (task.inputs + 1) + 1
        measured = len(probe.pairs) * copies * (points * of_pair + layers * 10 + 1)
        sought = probe.sought(task.inputs)
        derivatives, size = sought * (sought + 3) // 2, "probe.segments"
    elif isinstance(probe, DataConfig):
        points = probe.count(task.size if probe.split == "train" else task.kept)
        leading, curved = probe.leading(first), probe.curved(task.inputs, ranks)
        of_layer = min(leading + 1, task.inputs) + 3 + 3 * curved
        measured = points * copies * (layers * of_layer + 3 + 3 * probe.robustness)
        derivatives, size = along, "probe.points"
    else:
        planes = 1 if isinstance(probe, GridConfig) else len(probe.triples)
        of_layer, once = MEASURED[probe.kind]
        points = probe.resolution**2
        measured = planes * points * copies * (layers * of_layer + once)
        derivatives, size = 2 + 3, "probe.resolution"
    widest = max(widths[1 : max(numbers) + 1])
    if module:  # one after another, along as few directions as suffice
        copies_at_once, derivatives = 1, min(derivatives, 2)
    else:
        copies_at_once = min(copies, max(1, MOST_ELEMENTS // (FEWEST_POINTS * widest * (1 + derivatives))))
    together = min(points, FEWEST_POINTS, 1 + MOST_ELEMENTS // (copies_at_once * widest * (1 + derivatives)))
    arrays = {
        size: (2 * 8 * measured, "what is measured"),  # in memory, and once more as the content of its file
        ("architecture.channels" if isinstance(config.architecture, ConvolutionalConfig) else "architecture.hidden"): (
            number * copies_at_once * widest * together * (1 + derivatives)
            + 2 * number * vectors * parameters,  # in training, and once more as a checkpoint
            "the networks and their derivatives",
        ),
    }
    if isinstance(task, DigitsConfig):
        arrays["task.side"] = (8 * task.examples * task.inputs, "the images")
    carried = 1 + task.inputs if config.optimizer.volume_penalty else 0  # derivatives of units, for the volume penalty
    at_point = sum(layer.features + layer.patches for layer in sizes[:-1])
    units = number * (1 if module else copies) * at_point * batch * (1 + carried)
    drawn = getattr(task, "points", 0)
    if drawn and config.optimizer.batch_size is None:
        arrays["task.points"] = (8 * 3 * drawn + units, "the data and the units at them")
    else:
        arrays["task.points"] = (8 * 3 * drawn, "the data")  # two coordinates and a class
        arrays["optimizer.batch_size"] = (units, "the units at a batch")
    return {key: array for key, array in arrays.items() if array[0]}


def vectors_kept(config: Config) -> int:
    """The parameters, and the optimizer's vectors of the same size."""
    return 2 if isinstance(config.optimizer, SgdConfig) else 3


def least_memory(config: Config) -> int:
    """The least number of bytes that a run needs in memory at one time."""
    return sum(size for size, _ in main_arrays(config).values())


def require_memory(config: Config) -> None:
    """Raises `ConfigError` if a run certainly needs more than this machine has."""
    arrays = main_arrays(config)
    values = {}
    for key in arrays:
        section, _, name = key.partition(".")
        values[key] = getattr(getattr(config, section), name)
    require_room(arrays, values, f"replicates={config.replicates}")
