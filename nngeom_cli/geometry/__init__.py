"""The geometry library: torch in, torch out, without configs, files, plots or logs."""

from nngeom_cli.geometry.activations import Activation, check_activation, get_activation
from nngeom_cli.geometry.curvature import (
    PAPER_CURVATURE_FACTOR,
    condition_number,
    log_volume_element,
    path_curvature,
    pullback_metric,
    ricci_scalar,
    ricci_scalar_error,
)
from nngeom_cli.geometry.feature_maps import MLPFeatureMap
from nngeom_cli.geometry.geodesics import Geodesic, distance, geodesic
from nngeom_cli.geometry.infinite_width import InfiniteWidth
from nngeom_cli.geometry.layers import layer_spectra, measure_layers
from nngeom_cli.geometry.mean_field import FixedPoint, fixed_point
from nngeom_cli.geometry.measure import measure
from nngeom_cli.geometry.module_feature_map import ModuleFeatureMap
from nngeom_cli.geometry.prediction_feature_map import PredictionFeatureMap
from nngeom_cli.geometry.spectrum import (
    log_effective_volume_element,
    log_spectral_gap,
    metric_spectrum,
    principal_directions,
)
from nngeom_cli.geometry.tensors import (
    PrincipalRicci,
    principal_ricci_curvatures,
    ricci_tensor,
    riemann_tensor,
    second_fundamental_form,
    sectional_curvature,
)
from nngeom_cli.geometry.torch_feature_map import TorchFeatureMap

__all__ = [
    "PAPER_CURVATURE_FACTOR",
    "Activation",
    "FixedPoint",
    "Geodesic",
    "InfiniteWidth",
    "MLPFeatureMap",
    "ModuleFeatureMap",
    "PredictionFeatureMap",
    "PrincipalRicci",
    "TorchFeatureMap",
    "check_activation",
    "condition_number",
    "distance",
    "fixed_point",
    "geodesic",
    "get_activation",
    "layer_spectra",
    "log_effective_volume_element",
    "log_spectral_gap",
    "log_volume_element",
    "measure",
    "measure_layers",
    "metric_spectrum",
    "path_curvature",
    "principal_directions",
    "principal_ricci_curvatures",
    "pullback_metric",
    "ricci_scalar",
    "ricci_scalar_error",
    "ricci_tensor",
    "riemann_tensor",
    "second_fundamental_form",
    "sectional_curvature",
]
