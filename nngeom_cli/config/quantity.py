"""The quantities that are measured: what each is called in a file and in a figure."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["AT_EXAMPLES", "DISTANCES", "EFFECTIVE_VOLUME", "ON_GRIDS", "ON_PLANES", "Quantity"]


@dataclass(frozen=True)
class Quantity:
    """A measured quantity; what is measured by a function of that name in geometry/quantities.py is in `ON_GRIDS`.

    Attributes:
        name: of its variable in a file.
        long_name: what it is, for a file; `units` and `convention` likewise.
        title: what stands above its heatmaps; `label`: at its colour bar, with unit or convention.
        look: how it is drawn, one of `LOOKS` in figures/looks.py; empty where it is not.
        error: name of its absolute rounding error, if that is measured.
        factor: what it is drawn times.
    """

    name: str
    long_name: str
    units: str = ""
    convention: str = ""
    title: str = ""
    label: str = ""
    look: str = ""
    error: str | None = None
    factor: float = 1.0

    @property
    def attributes(self) -> dict[str, str]:
        """Of the variable in a file."""
        about = {"long_name": self.long_name, "units": self.units}
        return about | ({"convention": self.convention} if self.convention else {})


ON_GRIDS = (
    Quantity(
        "log_volume_element",
        "log volume element log sqrt(det g)",
        "nats",
        title="log volume element",
        label="log V = log √(det g)\n(natural log)",
        look="volume",
    ),
    Quantity(
        "ricci_scalar",
        "Ricci scalar R",
        convention="the unit 2-sphere has R = +2",
        title="Ricci scalar",
        label="R (unit 2-sphere: R = +2)",
        look="curvature",
        error="ricci_scalar_error",
    ),
    Quantity("ricci_scalar_error", "estimated rounding error of R", convention="absolute"),
    Quantity("condition_number", "condition number of the metric"),
)
EFFECTIVE_VOLUME = Quantity(
    "log_effective_volume_element",
    "log effective volume element of the leading top_k eigenvalues",
    "nats",
    title="log effective volume element of the full map",
    label="log V_eff  (natural log)",
    look="volume",
)
ON_PLANES = (
    Quantity("margin", "margin"),
    Quantity("predicted_class", "predicted class", title="predicted class", look="classes"),
    Quantity(
        "entropy",
        "entropy of the predicted distribution over the classes",
        "nats",
        title="entropy of the prediction",
        label="nats",
        look="entropy",
    ),
    EFFECTIVE_VOLUME,
    *ON_GRIDS,
)
AT_EXAMPLES = (
    Quantity("spectrum", "leading eigenvalues of the metric"),
    Quantity("local_rank", "local rank: singular values of J above rank_tolerance times the largest"),
    Quantity("participation_ratio", "participation ratio (sum l)^2 / sum l^2 of all eigenvalues l of the metric"),
    *(quantity for quantity in ON_PLANES if quantity.name in ("margin", "predicted_class", "entropy")),
)
DISTANCES = (  # of an example from the decision boundary, in the order in which they are found
    Quantity("first_order_distance", "size of the margin over that of its gradient", "input units"),
    Quantity("distance_along_gradient", "distance to the boundary against the gradient of the margin", "input units"),
    Quantity("adversarial_distance", "smallest change that an attack found to change the prediction", "input units"),
)
