"""The quantities measured at a point, each a function of the frame there; all return (replicates, points, ...)."""

import math
from collections.abc import Callable
from itertools import combinations

import torch
from torch import Tensor

from nngeom_cli.geometry.frame import Frame
from nngeom_cli.geometry.sensitivity import row_error, scalar_gradient

__all__ = ["FIRST_ORDER", "QUANTITIES", "frame_riemann"]

_ERROR_FACTOR = 4.0  # times the first-order bound: almost always above the true error (tests/geometry/test_golden.py)
_SMALL_SUM = 64.0  # the rounding of smaller sums W v + b is covered by the factor (tests/geometry/test_rounding.py)


def pullback_metric(frame: Frame) -> Tensor:
    columns = frame.columns * (frame.size / frame.unit).unsqueeze(1)
    return torch.einsum("rnap,rnbp->rpab", columns, columns)


def log_volume_element(frame: Frame) -> Tensor:
    if not frame.full_rank:
        return torch.full_like(frame.columns[:, 0, 0], -torch.inf)
    # logs one by one, since the product of length, size and unit could leave the range of the dtype
    logs = frame.squared_length.log().sum(dim=1) / 2 + (frame.exponent - frame.unit.log2()).sum(dim=1) * math.log(2)
    return frame.where_full_rank(logs, -torch.inf)


def condition_number(frame: Frame) -> Tensor:
    if not frame.full_rank:
        return torch.full_like(frame.columns[:, 0, 0], torch.inf)
    logs = frame.exponent - frame.unit.log2()
    triangle = frame.triangle * torch.exp2(logs - logs.amax(dim=1, keepdim=True)).unsqueeze(1)
    if frame.d == 2:
        a, b, c = triangle[:, 0, 0], triangle[:, 0, 1], triangle[:, 1, 1]
        # (s1 + s2)^2 = (a + c)^2 + b^2 and (s1 - s2)^2 = (a - c)^2 + b^2 for singular values s1, s2: nothing cancels
        ratio = (torch.hypot(a + c, b) + torch.hypot(a - c, b)).square() / (4 * a * c)
    else:
        sound = torch.where(frame.deficient.unsqueeze(1).unsqueeze(1), 1.0, triangle)
        values = torch.linalg.svdvals(sound.movedim(-1, 1))
        ratio = values[..., 0] / values[..., -1]
    return frame.where_full_rank(ratio.square(), torch.inf)


def ricci_scalar(frame: Frame) -> Tensor:
    def compute() -> Tensor:
        first, *rest = [frame.sectional(a, b) for a, b in combinations(range(frame.d), 2)]
        return 2 * sum(rest, start=first)

    return _curvature(frame, (), compute)


def ricci_scalar_error(frame: Frame) -> Tensor:
    def compute() -> Tensor:
        rows = _ERROR_FACTOR * frame.eps * row_error(frame)
        if frame.rounding is None:
            return rows
        small = frame.rounding.largest_sum() <= _SMALL_SUM
        if small.all():
            return rows
        *gradient, size = scalar_gradient(frame)  # of R / size^2
        return torch.where(
            small, rows, rows + _ERROR_FACTOR * frame.eps * frame.rounding.effect(*gradient) * size * size
        )

    return _curvature(frame, (), compute)


def path_curvature(frame: Frame) -> Tensor:
    if frame.d != 1:
        raise ValueError(
            f"`feature_map` must have one input, the place on a path, to have a `path_curvature`. Got {frame.d}. "
            "Take its values along a path, or `restricted_to(start, [end - start])`."
        )

    def compute() -> Tensor:
        (vector,), square = frame.vectors, frame.squared_length  # (replicates, n, 1, points), (replicates, 1, points)
        normal = frame.normal[0]
        along = (vector * normal).sum(dim=1) / square
        again = normal - vector * along.unsqueeze(1)  # the path may be nearly straight
        largest = again.abs().amax(dim=1)
        relative = again / torch.where(largest > 0, largest, 1.0).unsqueeze(1)  # squares of `again` could overflow
        return (largest * relative.square().sum(dim=1).sqrt() / square).squeeze(1)

    return _where_full_rank(frame, (), None if frame.unbent else compute)


def second_fundamental_form(frame: Frame) -> Tensor:
    def compute() -> Tensor:
        form = frame.form[:, :, frame.square]  # (replicates, n, d, d, points)
        return torch.einsum("rcap,rncep,rebp->rpnab", frame.to_frame, form, frame.to_frame)

    return _where_full_rank(frame, (frame.n, frame.d, frame.d), None if frame.unbent else compute)


def frame_riemann(frame: Frame) -> Tensor:
    """A_ac . A_bd - A_ad . A_bc, the Riemann tensor in the frame, (replicates, d, d, d, d, points)."""
    products, square = frame.products, frame.square
    straight = products[:, square[:, None, :, None], square[None, :, None, :]]
    return straight - products[:, square[:, None, None, :], square[None, :, :, None]]


def riemann_tensor(frame: Frame) -> Tensor:
    def compute() -> Tensor:
        tensor = frame_riemann(frame)
        for _ in range(4):  # each pass takes the first index to coordinates and puts it last
            tensor = torch.einsum("rzap,rz...p->r...ap", frame.to_frame, tensor)
        return tensor.movedim(-1, 1)

    return _curvature(frame, (frame.d,) * 4, compute)


def _frame_ricci(frame: Frame) -> Tensor:
    products, square = frame.products, frame.square
    trace = products[:, square.diagonal()[:, None, None], square[None]]  # A_cc . A_ab
    return (trace - products[:, square[:, :, None], square[:, None, :]]).sum(dim=1)  # (replicates, d, d, points)


def ricci_tensor(frame: Frame) -> Tensor:
    def compute() -> Tensor:
        return torch.einsum("rcap,rcep,rebp->rpab", frame.to_frame, _frame_ricci(frame), frame.to_frame)

    return _curvature(frame, (frame.d,) * 2, compute)


def _principal(frame: Frame) -> tuple[Tensor, Tensor]:
    """Eigenvalues, descending, and eigenvectors in the frame, as rows."""
    if frame.unbent or frame.d == 1:
        ricci = torch.zeros_like(frame.triangle)
    else:
        ricci = torch.where(frame.deficient[:, None, None], 0.0, _frame_ricci(frame)).nan_to_num(posinf=0, neginf=0)
    values, vectors = torch.linalg.eigh(ricci.movedim(-1, 1))
    return values.flip(-1), vectors.flip(-1).mT


def principal_ricci_curvatures(frame: Frame) -> Tensor:
    return _curvature(frame, (frame.d,), lambda: _principal(frame)[0])


def principal_ricci_directions(frame: Frame) -> Tensor:
    if not frame.full_rank:
        return frame.columns.new_full((*frame.deficient.shape, frame.d, frame.d), torch.nan)
    scaled = torch.einsum("rabp,rpkb->rpka", frame.inverse, _principal(frame)[1])
    directions = scaled * (frame.unit / frame.size).movedim(-1, 1).unsqueeze(2)
    return frame.where_full_rank(directions, torch.nan)


def _curvature(frame: Frame, shape: tuple[int, ...], compute: Callable[[], Tensor]) -> Tensor:
    """What `compute` gives; 0 if the dimensions allow no intrinsic curvature, NaN where J is rank deficient."""
    return _where_full_rank(frame, shape, None if frame.unbent or frame.d == 1 else compute)


def _where_full_rank(frame: Frame, shape: tuple[int, ...], compute: Callable[[], Tensor] | None) -> Tensor:
    values = compute() if compute else frame.columns.new_zeros(*frame.deficient.shape, *shape)
    return frame.where_full_rank(values, torch.nan)


QUANTITIES: dict[str, Callable[[Frame], Tensor]] = {
    function.__name__: function
    for function in (
        pullback_metric,
        log_volume_element,
        condition_number,
        path_curvature,
        ricci_scalar,
        ricci_scalar_error,
        second_fundamental_form,
        riemann_tensor,
        ricci_tensor,
        principal_ricci_curvatures,
        principal_ricci_directions,
    )
}
FIRST_ORDER = frozenset({"pullback_metric", "log_volume_element", "condition_number"})
