"""Kernels that are magnified near a decision boundary, as Amari and Wu do by hand; on scikit-learn's machines."""

from nngeom_cli.kernels.factors import BoundaryFactor, SupportVectorFactor
from nngeom_cli.kernels.kernel import GaussianKernel, MagnifiedKernel, kernel_log_volume_element, kernel_metric
from nngeom_cli.kernels.machine import SupportVectorMachine

__all__ = [
    "BoundaryFactor",
    "GaussianKernel",
    "MagnifiedKernel",
    "SupportVectorFactor",
    "SupportVectorMachine",
    "kernel_log_volume_element",
    "kernel_metric",
]
