"""The panels of one quantity of one layer, before they are drawn: fields, their common scale, words in their place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from matplotlib.colors import Normalize

from nngeom_cli.analysis.boundary import decision_boundary
from nngeom_cli.analysis.degeneracy import (
    bottleneck_words,
    flat_words,
    is_prediction,
    largest_rank,
    layer_words,
    volume_rank,
)
from nngeom_cli.analysis.sampling import MOST_FLIPS, sign_flips, undersampled_words
from nngeom_cli.config.quantity import Quantity
from nngeom_cli.figures.heatmap import Field
from nngeom_cli.figures.looks import LOOKS, Look
from nngeom_cli.figures.scales import TINY
from nngeom_cli.figures.style import CLASS_COLOURS, Array

__all__ = ["Block", "blocks_of", "field_of"]


@dataclass(frozen=True)
class Block:
    """All panels of one quantity of one layer: on one colour scale, beside one colour bar.

    Attributes:
        sources: what each field is of: what was measured for display where there is such, else for the statistics.
        notes: what stands above each panel besides its heading, its mean that was subtracted; or none.
        contours: lines on which the field is 0, of each panel.
        words: what stands in a panel in place of colours; empty where there are colours.
        warning: that the field changes faster than the grid; empty where it does not.
        layer: its name; empty where the quantity belongs to no layer, or there is only one.
        number: that of the layer; 0 where the quantity belongs to none.
    """

    quantity: Quantity
    fields: list[Field]
    sources: list[xr.Dataset]
    norm: Normalize | None
    notes: list[str]
    contours: list[list[Array]]
    words: list[str]
    warning: str
    layer: str
    number: int

    @property
    def look(self) -> Look:
        """Its colours, scale and ticks."""
        return LOOKS[self.quantity.look]

    @property
    def drawn(self) -> list[Field]:
        """The fields that are drawn in colour."""
        return [field for field, words in zip(self.fields, self.words, strict=True) if not words]

    @property
    def title(self) -> str:
        """The quantity, and how many of its points are not drawn in colour."""
        missing = sum(int(field.missing.sum()) for field in self.drawn)
        unreliable = sum(int(field.unreliable.sum()) for field in self.drawn)
        total = sum(field.values.size for field in self.fields)
        counts = [f"{count} {name}" for count, name in ((missing, "grey"), (unreliable, "hatched")) if count]
        words = f"{self.quantity.title}, {self.layer}" if self.layer else self.quantity.title
        return words + (f"   ({', '.join(counts)}, of {total} points)" if counts else "")


def blocks_of(
    quantity: Quantity,
    panels: Sequence[xr.Dataset],
    finer: Sequence[xr.Dataset | None] | None = None,
    others: Sequence[xr.Dataset] = (),
) -> list[Block]:
    """The panels of a quantity on one scale; a block for each layer if it has layers.

    Args:
        quantity: what is drawn.
        panels: datasets with dimensions `y` and `x`, and `layer` where the quantity has one.
        finer: the same for display, or None, for each of them.
        others: panels of another figure with the same scale.
    """
    if quantity.name not in panels[0]:
        return []
    finer = [None] * len(panels) if finer is None else finer
    if "layer" not in panels[0][quantity.name].dims:
        return [_block(quantity, panels, finer, others, "")]
    about, layers = panels[0].attrs, panels[0].layer.values.tolist()
    names = [layer_words(about, layer) for layer in layers] if len(layers) > 1 else [""]
    return [
        _block(
            quantity,
            [data.sel(layer=layer) for data in panels],
            [None if data is None else data.sel(layer=layer) for data in finer],
            [data.sel(layer=layer) for data in others],
            name,
        )
        for layer, name in zip(layers, names, strict=True)
    ]


def _block(
    quantity: Quantity,
    panels: Sequence[xr.Dataset],
    finer: Sequence[xr.Dataset | None],
    others: Sequence[xr.Dataset],
    layer: str,
) -> Block:
    """The panels of a quantity, all of one layer."""
    sources = [
        data if fine is None or quantity.name not in fine else fine for data, fine in zip(panels, finer, strict=True)
    ]
    fields = [field_of(quantity, data) for data in sources]
    scaled = [field_of(quantity, data) for data in (*panels, *others)]
    look = LOOKS[quantity.look]
    norm = look.norm(_all(scaled)) or look.norm(_all(fields))
    judged = [_pooled(fields)] * len(fields) if norm is None else fields  # without colours, one sentence for all panels
    zero = [quantity.name == "ricci_scalar" and bool((data.ricci_scalar == 0).all()) for data in sources]
    zero = [all(zero)] * len(zero) if norm is None else zero
    words = [
        _words_in_place(quantity, field, data, norm, flat)
        for field, data, flat in zip(judged, panels, zero, strict=True)
    ]
    drawn = [data for data, text in zip(sources, words, strict=True) if not text]
    warning = ""
    contours: list[list[Array]] = [[] for _ in sources]
    if quantity.name == "ricci_scalar" and drawn:
        shares = {id(data): sign_flips(data.ricci_scalar, data.ricci_scalar_error) for data in drawn}
        worst = max(drawn, key=lambda data: shares[id(data)])
        warning = undersampled_words(shares[id(worst)], worst.sizes["x"])
        if look.contour:
            contours = [
                [] if shares.get(id(data), 1.0) > MOST_FLIPS else decision_boundary(_signed(data), data.x, data.y)
                for data in sources
            ]
    notes = [f"mean {field.mean:.2f}".replace("-", "−") for field in fields] if look.centred and not all(words) else []
    number = int(panels[0].layer) if panels[0].layer.ndim == 0 else 0
    about = panels[0].attrs
    if quantity.name == "log_volume_element" and is_prediction(about, number) and largest_rank(about, number) < 2:
        centred = LOOKS[quantity.look].centred
        quantity = replace(quantity, label=f"log V, nonzero part\n({'above its mean' if centred else 'natural log'})")
    return Block(quantity, fields, sources, norm, notes, contours, words, warning, layer, number)


def field_of(quantity: Quantity, data: xr.Dataset) -> Field:
    """A quantity as it is drawn, minus its mean where its look is centred."""
    look, error = LOOKS[quantity.look], quantity.error
    values = data[quantity.name].transpose("y", "x").values
    if quantity.look == "classes":
        values = values % len(CLASS_COLOURS)
    values = look.drawn(quantity.factor * values.astype(np.float64))
    errors = quantity.factor * data[error].transpose("y", "x").values if error is not None and error in data else None
    if not look.centred:
        return Field(values, errors)
    finite = values[np.isfinite(values)]
    mean = float(finite.mean()) if finite.size else float("nan")
    return Field(values - (mean if finite.size else 0.0), errors, mean)


def _all(fields: Sequence[Field]) -> Array:
    """All values of several fields that are drawn in colour."""
    return np.concatenate([field.shown.ravel() for field in fields])


def _signed(data: xr.Dataset) -> Array:
    """R where it has a reliable digit."""
    return Field(data.ricci_scalar.values, data.ricci_scalar_error.values).shown


def _pooled(fields: Sequence[Field]) -> Field:
    """The values and errors of several fields of one quantity, as one field."""
    errors = [field.errors.ravel() for field in fields if field.errors is not None]
    return Field(np.concatenate([field.values.ravel() for field in fields]), np.concatenate(errors) if errors else None)


def _words_in_place(quantity: Quantity, field: Field, data: xr.Dataset, norm: Normalize | None, zero: bool) -> str:
    """What a panel says if its values are all 0 or all missing for a known reason; empty otherwise."""
    if zero:
        return flat_words(data.attrs, int(data.layer))
    if "layer" in data[quantity.name].coords and field.missing.all():
        layer = int(data.layer)
        return bottleneck_words(data.attrs, layer, volume_rank(data.attrs, quantity.name, layer))
    if norm is None and (np.abs(field.shown) <= TINY).any():
        return f"R = 0 at every point where it {'has a reliable digit' if field.unreliable.any() else 'is defined'}"
    return ""
