"""The subspace of input space in which a path between two points can become shorter."""

from __future__ import annotations

import torch
from torch import Tensor

from nngeom_cli.geometry.jets import FeatureMap
from nngeom_cli.geometry.spectrum import metric_spectrum, principal_directions

__all__ = ["path_subspace"]

PLACES = 5  # of the straight path, at which the metric is looked at, the ends included
NEGLIGIBLE = 1e-3  # part of the largest stretch


def path_subspace(feature_map: FeatureMap, start: Tensor, end: Tensor, count: int) -> Tensor:
    """Orthonormal directions: from start to end, and those across that the map stretches most on the straight path.

    With J = U S V^T at five places of the path, they are the leading right singular vectors of all rows of S V^T, less
    their part along the path. A path bends where J^T of an acceleration points, so it stays in the span of such rows.

    Args:
        feature_map: a map without replicates.
        start: `(d,)`.
        end: `(d,)`, another point.
        count: at most so many directions; fewer where the others are stretched less than 1e-3 of the most.

    Returns:
        `(count, d)`, the first along end - start.
    """
    along: Tensor = (end - start) / (end - start).norm()
    fractions = torch.linspace(0, 1, PLACES, dtype=start.dtype, device=start.device)[:, None]
    points = torch.lerp(start, end, fractions)
    leading = min(count, feature_map.dimensions(points).rank_bound)
    stretches = metric_spectrum(feature_map, points, leading).sqrt()
    rows = (stretches[..., None] * principal_directions(feature_map, points, leading)).flatten(0, 1)
    across = rows - (rows @ along)[:, None] * along
    if not across.isfinite().all():
        return along[None]
    _, sizes, vectors = torch.linalg.svd(across, full_matrices=False)
    kept = vectors[: count - 1][sizes[: count - 1] > NEGLIGIBLE * rows.norm()]
    kept = kept - (kept @ along)[:, None] * along
    return torch.cat([along[None], torch.linalg.qr(kept.T).Q.T])
