"""The orthonormal frame of a feature map's image at each point: J = Q T, and the second fundamental form in it."""

from functools import cached_property

import torch
from torch import Tensor

from nngeom_cli.geometry.feature_maps import Jet

__all__ = ["Frame"]


class Frame:
    """Orthonormal frame of the tangent spaces, with all that follows from it.

    J diag(1 / size) = Q T, the columns of J brought to about unit size by powers of two, Q orthonormal, T upper
    triangular (Gram-Schmidt, twice). The second fundamental form in the frame is A = (1 - Q Q^T) S^-T H S^-1 with
    S = T diag(size), again projected twice.

    A point is rank deficient where the condition number of T with unit columns (Frobenius norms) reaches
    1 / (max(n, d) eps), where a column of J is zero or below the normal numbers of its dtype, and where n < d or a
    layer is narrower than d.

    Args:
        jet: the derivatives; its Hessian may be missing where no curvature is asked for.
        rank_bound: largest rank that the Jacobian can have.
    """

    def __init__(self, jet: Jet, rank_bound: int) -> None:
        self.hessian = jet.hessian
        _, self.n, self.d, _ = jet.jacobian.shape  # (replicates, n, d, points)
        self.full_rank = rank_bound >= self.d
        finfo = torch.finfo(jet.jacobian.dtype)
        self.eps = finfo.eps
        largest = jet.jacobian.abs().amax(dim=1)  # (replicates, d, points)
        usable = largest >= finfo.tiny
        self.size = torch.where(usable, torch.exp2(torch.floor(torch.log2(largest))), 1.0)
        self.unit = jet.unit
        self.columns = jet.jacobian * (1 / self.size).unsqueeze(1)
        self.usable = usable.all(dim=1)  # (replicates, points)
        self.finite = largest.isfinite().all(dim=1)

    @cached_property
    def _gram_schmidt(self) -> tuple[list[Tensor], list[list[Tensor]]]:
        basis: list[Tensor] = []
        triangle: list[list[Tensor]] = []  # triangle[b][a] = T_ab, a <= b: column by column
        for b in range(self.d):
            vector = self.columns[:, :, b]
            entries = [torch.zeros_like(vector[:, 0]) for _ in basis]
            for _ in range(2):
                for a, direction in enumerate(basis):
                    component = (direction * vector).sum(dim=1)
                    vector = vector - direction * component.unsqueeze(1)
                    entries[a] = entries[a] + component
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
        columns = self._gram_schmidt[1]
        zero = torch.zeros_like(columns[0][0])
        return torch.stack(
            [torch.stack([*column, *[zero] * (self.d - len(column))], dim=1) for column in columns], dim=2
        )

    @cached_property
    def inverse(self) -> list[list[Tensor]]:
        """T^-1, inverse[b][a] its entry in row a and column b, a <= b."""
        inverse: list[list[Tensor]] = []
        for b, column in enumerate(self._gram_schmidt[1]):
            entries = []
            for a in range(b):
                total = inverse[a][a] * column[a]
                for c in range(a + 1, b):
                    total = total + inverse[c][a] * column[c]
                entries.append(-total / column[b])
            inverse.append([*entries, 1 / column[b]])
        return inverse

    @cached_property
    def amplification(self) -> Tensor:
        """Condition number of J with its columns scaled to unit length, Frobenius norms, (replicates, points)."""
        lengths = self.triangle.square().sum(dim=1)  # (replicates, d, points): |J_b|^2
        rows = torch.stack(
            [
                sum((self.inverse[b][a].square() for b in range(a + 1, self.d)), self.inverse[a][a].square())
                for a in range(self.d)
            ],
            dim=1,
        )  # |row a of T^-1|^2
        return (self.d * (rows * lengths).sum(dim=1)).sqrt()

    @cached_property
    def deficient(self) -> Tensor:
        """Where the Jacobian is rank deficient to working precision, (replicates, points)."""
        if not self.full_rank:
            return torch.ones_like(self.usable)
        return ~self.usable | ~(self.amplification < 1 / (max(self.n, self.d) * self.eps))

    @cached_property
    def _curvature(self) -> tuple[list[list[Tensor]], Tensor]:
        if self.hessian is None:
            raise ValueError("the jet holds no Hessian")
        # S^-1 = diag(1 / size) T^-1, one factor at a time on H: a product of two could leave the range of the dtype
        inverse = [[entry / self.size[:, a] for a, entry in enumerate(column)] for column in self.inverse]
        packed = iter(self.hessian.unbind(dim=2))
        hessian = [[next(packed) for _ in range(a, self.d)] for a in range(self.d)]  # hessian[a][b - a] = H_ab

        def half(c: int, b: int) -> Tensor:  # (H S^-1)_cb
            terms = (hessian[min(c, e)][abs(c - e)] * inverse[b][e].unsqueeze(1) for e in range(b + 1))
            return sum(terms, torch.zeros((), dtype=self.size.dtype, device=self.size.device))

        form: list[list[Tensor]] = [[] for _ in range(self.d)]
        tangential = torch.zeros_like(self.size[:, 0])
        for b in range(self.d):
            halves = [half(c, b) for c in range(b + 1)]
            for a in range(b + 1):
                part = halves[0] * inverse[a][0].unsqueeze(1)
                for c in range(1, a + 1):
                    part = torch.addcmul(part, halves[c], inverse[a][c].unsqueeze(1))
                for sweep in range(2):
                    for direction in self.basis:
                        component = (direction * part).sum(dim=1)
                        part = part.addcmul_(direction, component.unsqueeze(1), value=-1)
                        if sweep == 0:
                            tangential = tangential + (1 if a == b else 2) * component.square()
                form[a].append(part)
        return form, tangential

    def form(self, a: int, b: int) -> Tensor:
        """A_ab, the second fundamental form's component in the frame, (replicates, n, points)."""
        return self._curvature[0][min(a, b)][abs(a - b)]

    @cached_property
    def form_square(self) -> Tensor:
        """|A|^2, (replicates, points)."""
        total = torch.zeros_like(self._curvature[1])
        for a in range(self.d):
            for b in range(a, self.d):
                total = total + (1 if a == b else 2) * self.form(a, b).square().sum(dim=1)
        return total

    @property
    def hessian_square(self) -> Tensor:
        """|Hw|^2 of the Hessian in the frame, tangential part included, (replicates, points)."""
        return self.form_square + self._curvature[1]
