"""The orthonormal frame of a feature map's image at each point, and the second fundamental form in it."""

from functools import cached_property
from itertools import combinations_with_replacement

import torch
from torch import Tensor

from nngeom_cli.geometry.jets import Jet, packed_pairs

__all__ = ["Frame"]

# a column whose length in the frame is less certain than this has no digit: J is rank deficient
_LEAST_ACCURACY = 1 / 8


class Frame:
    """Orthonormal frame of the tangent spaces, with all that follows from it.

    J diag(1 / size) = Q T, the columns of J brought to about unit size by powers of two, Q orthonormal, T upper
    triangular (Gram-Schmidt, twice). With S = T diag(size) the Hessian in the frame is Hw = S^-T H S^-1 and the second
    fundamental form A = (1 - Q Q^T) Hw, again projected twice.

    Rounding errors are counted by rows: row i of J and of H is right up to a few eps |J_i| and eps |H_i|, whatever the
    other rows are. Units that saturate have small rows, and rows of any size may stand beside each other without harm,
    so that the condition number of J says little. To first order such errors dJ give (Q^T dJ T^-1)_ab of at most
    mix_a gain_b eps, where mix_a = sum_i |Q_ia| |J_i| and gain_b is the largest entry in column b of |T^-1|.

    A point is rank deficient where mix_b gain_b eps reaches 1/8 (T_bb has no digit left), where a column of J is zero
    or below the normal numbers of its dtype, and, everywhere, where n < d or a layer is narrower than d.

    Args:
        jet: the derivatives; its Hessian may be missing where no curvature is asked for.
        rank_bound: largest rank that the Jacobian can have.
    """

    def __init__(self, jet: Jet, rank_bound: int) -> None:
        self.jet = jet
        self.unit = jet.unit
        _, self.n, self.d, _ = jet.jacobian.shape
        self.unbent = jet.hessian is None  # not asked for: n = d, where nothing can bend, or no full rank
        self.pairs = packed_pairs(self.d, jet.jacobian.device)
        self.pair_index = [[0] * self.d for _ in range(self.d)]  # where the pair (a, b) is packed
        for position, (a, b) in enumerate(combinations_with_replacement(range(self.d), 2)):
            self.pair_index[a][b] = self.pair_index[b][a] = position
        self.square = torch.tensor(self.pair_index, device=jet.jacobian.device)
        finfo = torch.finfo(jet.jacobian.dtype)
        self.eps = finfo.eps
        largest = jet.jacobian.abs().amax(dim=1)  # (replicates, d, points)
        usable = largest >= finfo.tiny
        self.size = torch.where(usable, torch.exp2(torch.floor(torch.log2(largest))), 1.0)
        self.columns = jet.jacobian * (1 / self.size).unsqueeze(1)  # (replicates, n, d, points)
        self.full_rank = rank_bound >= self.d
        self._usable = usable.all(dim=1)  # (replicates, points)
        self.finite = largest.isfinite().all(dim=1)  # where J has neither NaN nor infinity, (replicates, points)

    @cached_property
    def _gram_schmidt(self) -> tuple[list[Tensor], list[list[Tensor]]]:
        basis: list[Tensor] = []
        triangle: list[list[Tensor]] = []  # triangle[b][a] = T_ab, a <= b: column by column
        for b in range(self.d):
            vector = self.columns[:, :, b].clone()
            entries = [torch.zeros_like(vector[:, 0]) for _ in basis]
            for _ in range(2):
                for a, direction in enumerate(basis):
                    component = (direction * vector).sum(dim=1)
                    vector.addcmul_(direction, component.unsqueeze(1), value=-1)
                    entries[a] += component
            length = vector.square().sum(dim=1).sqrt()
            basis.append(vector / length.unsqueeze(1))
            triangle.append([*entries, length])
        return basis, triangle

    @property
    def basis(self) -> list[Tensor]:
        """The d columns of Q, each (replicates, n, points)."""
        return self._gram_schmidt[0]

    @cached_property
    def triangle(self) -> Tensor:
        """T, (replicates, d, d, points)."""
        return _stacked(self._gram_schmidt[1])

    @cached_property
    def _inverse(self) -> list[list[Tensor]]:
        inverse: list[list[Tensor]] = []  # inverse[b][a] = (T^-1)_ab, a <= b
        for b, column in enumerate(self._gram_schmidt[1]):
            entries = []
            for a in range(b):
                total = inverse[a][a] * column[a]
                for c in range(a + 1, b):
                    total = total + inverse[c][a] * column[c]
                entries.append(-total / column[b])
            inverse.append([*entries, 1 / column[b]])
        return inverse

    @property
    def to_frame(self) -> Tensor:
        """S, which takes coordinate vectors to the frame, (replicates, d, d, points)."""
        return self.triangle * (self.size / self.unit).unsqueeze(1)

    @property
    def inverse(self) -> Tensor:
        """T^-1, (replicates, d, d, points)."""
        return _stacked(self._inverse)

    @cached_property
    def _rows(self) -> Tensor:
        return self.columns.abs().sum(dim=2)  # |J_i|, (replicates, n, points)

    @cached_property
    def gain(self) -> Tensor:
        """Largest entry of each column of |T^-1|, (replicates, d, points)."""
        columns = [torch.stack([entry.abs() for entry in column]).amax(dim=0) for column in self._inverse]
        return torch.stack(columns, dim=1)

    @cached_property
    def mix(self) -> Tensor:
        """sum_i |Q_ia| |J_i|, (replicates, d, points)."""
        return torch.stack([(direction.abs() * self._rows).sum(dim=1) for direction in self.basis], dim=1)

    @cached_property
    def deficient(self) -> Tensor:
        """Where the Jacobian is rank deficient to working precision, (replicates, points)."""
        if not self.full_rank:
            return torch.ones_like(self._usable)
        return ~(self._usable & (self.eps * self.gain * self.mix < _LEAST_ACCURACY).all(dim=1))

    @cached_property
    def _hessian(self) -> Tensor:
        """H of inputs in units of 1 / size, packed as in the jet."""
        assert self.jet.hessian is not None
        rows, columns = self.pairs
        inverse = (1 / self.size).unsqueeze(1)
        return self.jet.hessian * inverse[:, :, rows] * inverse[:, :, columns]  # one by one: a product could overflow

    @cached_property
    def _forms(self) -> tuple[Tensor, Tensor]:
        index, inverse, hessian = self.pair_index, self._inverse, self._hessian
        form = torch.empty_like(hessian)
        for b in range(self.d):
            halves = []  # (H T^-1)_cb
            for c in range(b + 1):
                half = hessian[:, :, index[c][0]] * inverse[b][0].unsqueeze(1)
                for e in range(1, b + 1):
                    half.addcmul_(hessian[:, :, index[c][e]], inverse[b][e].unsqueeze(1))
                halves.append(half)
            for a in range(b + 1):
                part = torch.mul(halves[0], inverse[a][0].unsqueeze(1), out=form[:, :, index[a][b]])
                for c in range(1, a + 1):
                    part.addcmul_(halves[c], inverse[a][c].unsqueeze(1))
        tangential = []
        for sweep in range(2):
            for direction in self.basis:
                component = (direction.unsqueeze(2) * form).sum(dim=1)  # (replicates, d(d+1)/2, points)
                form.addcmul_(direction.unsqueeze(2), component.unsqueeze(1), value=-1)
                if sweep == 0:
                    tangential.append(component.abs())
        return form, torch.stack(tangential, dim=1)

    @property
    def form(self) -> Tensor:
        """A, packed as the Hessian, (replicates, n, d(d+1)/2, points)."""
        return self._forms[0]

    @cached_property
    def products(self) -> Tensor:
        """A_ab . A_cd for all packed pairs, exactly symmetric, (replicates, d(d+1)/2, d(d+1)/2, points)."""
        products = torch.einsum("rnkp,rnlp->rklp", self.form, self.form)
        return (products + products.transpose(1, 2)) / 2

    def sectional(self, a: int, b: int) -> Tensor:
        """Curvature A_aa . A_bb - A_ab . A_ab of the plane of two frame vectors, (replicates, points)."""
        index = self.pair_index
        first, second, mixed = (self.form[:, :, index[i][j]] for i, j in ((a, a), (b, b), (a, b)))
        return (first * second).addcmul_(mixed, mixed, value=-1).sum(dim=1)

    @cached_property
    def scalar_error(self) -> Tensor:
        """First-order bound of the rounding error of R by rows, in units of eps, (replicates, points).

        A_ab changes by at most |H_i| gain_a gain_b, from H; |J_i| sum_c gain_c |Q_c . Hw_ab|, from the projection;
        sum_c |A_ac| gain_b mix_c + |A_bc| gain_a mix_c, from the frame.
        """
        form, tangential = self._forms
        rows, columns = self.pairs
        absolute = form.abs()
        off_diagonal = (1 + (rows != columns).to(form)).unsqueeze(1)
        row_hessian = (off_diagonal * self._hessian.abs()).sum(dim=2, keepdim=True)  # |H_i|, (replicates, n, 1, points)
        from_hessian = (absolute * row_hessian).sum(dim=1)  # (replicates, d(d+1)/2, points)
        from_plane = (absolute * self._rows.unsqueeze(2)).sum(dim=1)
        length = form.square().sum(dim=1).sqrt()
        turned = (length[:, self.square] * self.mix.unsqueeze(1)).sum(dim=2)  # sum_c |A_ac| mix_c
        bent = self.gain[:, rows] * self.gain[:, columns]
        tilted = (self.gain.unsqueeze(2) * tangential).sum(dim=1)
        sheared = turned[:, rows] * self.gain[:, columns] + turned[:, columns] * self.gain[:, rows]

        def moved(ab: int, cd: int) -> Tensor:  # sum_i |A_ab,i| |change of A_cd,i|
            form_moved: Tensor = from_hessian[:, ab] * bent[:, cd] + from_plane[:, ab] * tilted[:, cd]
            return form_moved + length[:, ab] * sheared[:, cd]

        total = torch.zeros_like(length[:, 0])
        for a in range(self.d):
            for b in range(a + 1, self.d):
                aa, bb, ab = self.pair_index[a][a], self.pair_index[b][b], self.pair_index[a][b]
                total = total + 2 * (moved(aa, bb) + moved(bb, aa) + 2 * moved(ab, ab))
        return total


def _stacked(columns: list[list[Tensor]]) -> Tensor:
    """Upper triangular matrix, (replicates, d, d, points), from its columns down to the diagonal."""
    zero = torch.zeros_like(columns[0][0])
    full = [torch.stack([*column, *[zero] * (len(columns) - len(column))], dim=1) for column in columns]
    return torch.stack(full, dim=2)
