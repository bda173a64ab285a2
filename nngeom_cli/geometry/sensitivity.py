"""How R depends on the derivatives at a point: its gradient, and a bound on what errors of single rows do to it."""

import torch
from torch import Tensor

from nngeom_cli.geometry.frame import Frame

__all__ = ["row_error", "scalar_gradient"]


def row_error(frame: Frame) -> Tensor:
    """First-order bound on the error of R if each row of J and H is off by eps, in units of eps, (replicates, points).

    A_ab changes by at most |H_i| gain_a gain_b, from H; |J_i| sum_c gain_c |Q_c . Hw_ab|, from the projection;
    sum_c |A_ac| gain_b mix_c + |A_bc| gain_a mix_c, from the frame.
    """
    assert frame.hessian is not None
    normal, tangential = frame.normal
    rows, columns = frame.pairs
    gain, scale = frame.gain, frame.scale
    absolute = normal.abs()
    weight = (1 + (rows != columns).to(normal)).unsqueeze(1) / (frame.width[:, rows] * frame.width[:, columns])
    row_hessian = (frame.hessian.abs() * weight.unsqueeze(1)).sum(dim=2, keepdim=True)  # |H_i|
    from_hessian = (absolute * row_hessian).sum(dim=1) * scale  # (replicates, d(d+1)/2, points)
    from_plane = (absolute * frame.rows).sum(dim=1) * scale
    length = (normal * normal).sum(dim=1).sqrt() * scale
    turned = (length[:, frame.square] * frame.mix.unsqueeze(1)).sum(dim=2)  # sum_c |A_ac| mix_c
    bent = gain[:, rows] * gain[:, columns]
    tilted = ((gain * frame.length).unsqueeze(2) * tangential.abs()).sum(dim=1) * scale
    sheared = turned[:, rows] * gain[:, columns] + turned[:, columns] * gain[:, rows]

    def moved(ab: int, cd: int) -> Tensor:  # sum_i |A_ab,i| |change of A_cd,i|
        form_moved: Tensor = from_hessian[:, ab] * bent[:, cd] + from_plane[:, ab] * tilted[:, cd]
        return form_moved + length[:, ab] * sheared[:, cd]

    total = torch.zeros_like(length[:, 0])
    for a in range(frame.d):
        for b in range(a + 1, frame.d):
            aa, bb, ab = frame.pair_index[a][a], frame.pair_index[b][b], frame.pair_index[a][b]
            total = total + 2 * (moved(aa, bb) + moved(bb, aa) + 2 * moved(ab, ab))
    return total


def scalar_gradient(frame: Frame) -> tuple[Tensor, Tensor, Tensor]:
    """Derivatives of R / h^2 with respect to the entries of J and of the packed H, and h.

    With changes X = dJ T^-1 and Y = T^-T dH T^-1 in the frame, and C_ab = 2 (delta_ab tr A - A_ab),

        dR = sum_ab C_ab . Y_ab - sum_abc (C_ab . X_c) (Q_c . Hw_ab) - 4 sum_ac (Q_a . X_c) Ric_ac,

    where Ric_ac = sum_b C_ab . A_cb / 2.

    Returns:
        (replicates, n, d, points), (replicates, n, d(d+1)/2, points), and h, a power of two near the largest entry of
        H in the frame's units, (replicates, points), which keeps products in the range of the dtype.
    """
    assert frame.hessian is not None
    d, index = frame.d, frame.pair_index
    largest = frame.hessian.abs().amax(dim=(1, 2)).clamp_min(torch.finfo(frame.hessian.dtype).tiny ** 0.5)
    size = torch.exp2(torch.floor(torch.log2(largest))).unsqueeze(1)  # h
    normal, tangential = frame.normal
    scale = frame.scale / size  # (replicates, d(d+1)/2, points)
    form = (normal * scale.unsqueeze(1)).unbind(dim=2)  # A, each (replicates, n, points)
    along = tangential * scale.unsqueeze(1) * frame.length.unsqueeze(2)  # Q_c . Hw_ab
    trace = _sum([form[index[a][a]] for a in range(d)])
    pulls = [-2 * part for part in form]  # C
    for a in range(d):
        pulls[index[a][a]] += 2 * trace
    vectors = [vector.squeeze(2) / frame.length[:, a : a + 1] for a, vector in enumerate(frame.vectors)]  # Q
    turned = []  # derivative with respect to X_c
    for c in range(d):
        total = torch.zeros_like(trace)
        for a in range(d):
            for b in range(a, d):
                weight = along[:, c, index[a][b]] * (1 if a == b else 2)
                total.addcmul_(pulls[index[a][b]], weight.unsqueeze(1), value=-1)
            ricci = _sum([(pulls[index[a][b]] * form[index[c][b]]).sum(dim=1, keepdim=True) for b in range(d)]) / 2
            total.addcmul_(vectors[a], ricci, value=-4)
        turned.append(total)
    inverse = (frame.inverse / frame.size.unsqueeze(2)).unsqueeze(1)  # of the triangle of J in its own units
    jacobian = [_sum([turned[c] * inverse[:, :, a, c] for c in range(a, d)]) for a in range(d)]
    hessian = []
    for a in range(d):
        half = [_sum([pulls[index[c][e]] * inverse[:, :, a, c] for c in range(a, d)]) / size for e in range(d)]
        for b in range(a, d):
            entry = _sum([half[e] * inverse[:, :, b, e] for e in range(b, d)])
            hessian.append(entry if a == b else 2 * entry)
    return torch.stack(jacobian, dim=2), torch.stack(hessian, dim=2), size.squeeze(1)


def _sum(parts: list[Tensor]) -> Tensor:
    return sum(parts[1:], start=parts[0])
