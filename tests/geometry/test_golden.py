"""Every field of the golden files, through the public names."""

import math

import pytest
import torch
from reference import FILES, NETWORKS, TOLERANCE, doubles

from nngeom_cli.geometry import (
    MLPFeatureMap,
    log_effective_volume_element,
    log_volume_element,
    measure,
    metric_spectrum,
    pullback_metric,
    ricci_scalar,
    ricci_tensor,
)


def entry_of(name, index):
    entry = FILES[name]["mlp"][index]
    weights, biases = [doubles(w) for w in entry["weights"]], [doubles(b) for b in entry["biases"]]
    feature_map = MLPFeatureMap(weights, biases, entry["activation"], layer=entry["layer"])
    return feature_map, doubles(entry["points"]), entry["expected"]


@pytest.mark.parametrize(("name", "index"), NETWORKS)
def test_metric_volume_and_curvature_meet_the_golden_files(name, index):
    feature_map, points, expected = entry_of(name, index)
    tolerance = TOLERANCE[name]
    metric = doubles([point["metric"] for point in expected])
    scale = metric.diagonal(dim1=-2, dim2=-1).sqrt()
    error = (pullback_metric(feature_map, points) - metric).abs() / (scale.unsqueeze(-1) * scale.unsqueeze(-2))
    assert error.max() < tolerance
    ricci = doubles([point["ricci_tensor"] for point in expected])
    error = (ricci_tensor(feature_map, points) - ricci).abs().amax(dim=(-2, -1))
    assert (error <= tolerance * ricci.abs().amax(dim=(-2, -1))).all()
    for field, compute in (("log_volume_element", log_volume_element), ("ricci_scalar", ricci_scalar)):
        truth = doubles([point[field] for point in expected])
        torch.testing.assert_close(compute(feature_map, points), truth, rtol=tolerance, atol=0)


def test_rounding_error_estimate_is_honest_on_the_golden_files():
    ratios = []
    for name, index in NETWORKS:
        feature_map, points, expected = entry_of(name, index)
        truth = doubles([point["ricci_scalar"] for point in expected])
        measured = measure(feature_map, points, ("ricci_scalar", "ricci_scalar_error"))
        error = (measured["ricci_scalar"] - truth).abs()
        estimate = measured["ricci_scalar_error"]
        assert (estimate >= error / 10).all(), (name, index)
        floor = torch.finfo(torch.float64).eps * truth.abs() / 2  # an error of zero is luck
        ratios += [(e / t).item() for e, t in zip(estimate, torch.maximum(error, floor), strict=True) if t > 0]
    assert len(ratios) > 100
    assert torch.tensor(ratios).median() <= 1000


@pytest.mark.parametrize("index", range(len(FILES["golden.json"]["effective"])))
def test_leading_spectrum_and_effective_volume_meet_the_golden_file(index):
    entry = FILES["golden.json"]["effective"][index]
    feature_map = MLPFeatureMap([doubles(entry["weights"])], [doubles(entry["biases"])], entry["activation"])
    points, top_k = doubles(entry["points"]), entry["top_k"]
    spectrum = doubles([point["eigenvalues"][:top_k] for point in entry["expected"]])
    volume = doubles([point["log_effective_volume_element"] for point in entry["expected"]])
    torch.testing.assert_close(metric_spectrum(feature_map, points, top_k), spectrum, rtol=1e-10, atol=0)
    measured = log_effective_volume_element(feature_map, points, top_k)
    torch.testing.assert_close(measured, volume, rtol=1e-10, atol=0)
    assert math.isclose(measured[0], metric_spectrum(feature_map, points[0], top_k).log().sum() / 2, rel_tol=1e-12)
