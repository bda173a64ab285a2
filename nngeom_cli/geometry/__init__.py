"""The geometry library: torch in, torch out. Knows no config, disk, plot or log."""

from nngeom_cli.geometry.activations import Activation, get_activation
from nngeom_cli.geometry.curvature import (
    condition_number,
    log_volume_element,
    measure,
    pullback_metric,
    ricci_scalar,
    ricci_scalar_error,
)
from nngeom_cli.geometry.feature_maps import MLPFeatureMap, TorchFeatureMap
from nngeom_cli.geometry.spectrum import log_effective_volume_element, metric_spectrum

__all__ = [
    "Activation",
    "MLPFeatureMap",
    "TorchFeatureMap",
    "condition_number",
    "get_activation",
    "log_effective_volume_element",
    "log_volume_element",
    "measure",
    "metric_spectrum",
    "pullback_metric",
    "ricci_scalar",
    "ricci_scalar_error",
]
