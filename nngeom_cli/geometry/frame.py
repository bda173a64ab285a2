"""The orthogonal frame of the image of a feature map at each point, and the second fundamental form in it."""

from functools import cached_property
from itertools import combinations_with_replacement

import torch
from torch import Tensor

from nngeom_cli.geometry.jets import Jet, packed_pairs

__all__ = ["Frame"]

# from this relative error on, the length of a column in the frame has no correct digit: J is rank deficient
_LEAST_ACCURACY = 1 / 8
_MODERATE = 2.0**16  # products of derivatives between 1 / this and this stay in any dtype's range


class Frame:
    """Orthogonal frame of the tangent spaces, and what follows from it.

    J diag(1 / size) = V U, V with orthogonal columns of lengths l, U upper triangular with ones on its diagonal
    (Gram-Schmidt, twice); Q = V / l is orthonormal and T = diag(l) U. The `size` of a column is 1, unless some entry of
    J in the chunk is so large or small that products could leave the range of the dtype; then it is a power of two near
    the column's largest entry. The second fundamental form in the frame V is N = (1 - Q Q^T) U^-T H U^-1, and
    A_ab = N_ab / (l_a l_b) in the frame Q. One projection is enough: it leaves an error along Q of the order of eps,
    which enters products A . A squared.

    Rounding errors are counted by row: row i of J and of H is accurate to a few eps |J_i| and eps |H_i|, whatever the
    other rows are. Saturated units have small rows, and rows of different sizes do not harm each other, so the
    condition number of J says little. With each input in units of its column's length, an error dJ gives,
    to first order, (Q^T dJ T^-1)_ab of at most mix_a gain_b eps, where mix_a = sum_i |Q_ia| |J_i| <= d and gain_b is
    the largest entry in column b of |T^-1|.

    A point is rank deficient where mix_b gain_b eps reaches 1/8 (T_bb has no correct digit left) or where a column of J
    is zero or subnormal. Every point is rank deficient if n < d or a layer is narrower than d.

    On so few numbers an operation costs mostly its call, so scalars at a point are kept as (replicates, 1, 1, points),
    which broadcasts against all arrays without a view, and masks are made only where they mask something.

    Args:
        jet: the derivatives; its Hessian may be missing if no curvature is asked for.
        rank_bound: largest rank that the Jacobian can have.
    """

    def __init__(self, jet: Jet, rank_bound: int) -> None:
        self.unit, self.rounding = jet.unit, jet.rounding
        _, self.n, self.d, _ = jet.jacobian.shape
        self.unbent = jet.hessian is None  # no curvature asked for, none possible (n = d), or no full rank
        self.full_rank = rank_bound >= self.d
        finfo = torch.finfo(jet.jacobian.dtype)
        self.eps = finfo.eps
        self.columns, self.hessian = jet.jacobian, jet.hessian  # for inputs in units of 1 / size
        largest = jet.jacobian.abs().amax(dim=1)  # (replicates, d, points)
        self._largest = largest
        self.moderate = bool(((largest > 1 / _MODERATE) & (largest < _MODERATE)).all())
        if self.moderate:
            self.exponent = torch.zeros_like(jet.unit)  # (replicates, d, 1)
        else:
            usable = largest >= finfo.tiny
            self._usable = usable.all(dim=1)  # (replicates, points)
            self.exponent = torch.where(usable, torch.floor(torch.log2(largest)), 0.0)  # (replicates, d, points)
            inverse = torch.exp2(-self.exponent).unsqueeze(1)
            self.columns = self.columns * inverse  # (replicates, n, d, points)
            if self.hessian is not None:
                rows, columns = self.pairs
                # one after the other: the product of the two could overflow
                self.hessian = self.hessian * inverse[:, :, rows] * inverse[:, :, columns]

    @property
    def finite(self) -> Tensor:
        """Where J has neither NaN nor infinity, (replicates, points)."""
        return self._largest.isfinite().all(dim=1)

    @cached_property
    def pairs(self) -> tuple[Tensor, Tensor]:
        """Rows and columns of the packed pairs."""
        return packed_pairs(self.d, self.columns.device)

    @cached_property
    def pair_index(self) -> list[list[int]]:
        """Position of the pair (a, b) in the packed order."""
        index = [[0] * self.d for _ in range(self.d)]
        for position, (a, b) in enumerate(combinations_with_replacement(range(self.d), 2)):
            index[a][b] = index[b][a] = position
        return index

    @property
    def size(self) -> Tensor:
        """Unit of each column, (replicates, d, points) or (replicates, d, 1)."""
        return torch.exp2(self.exponent)

    @cached_property
    def square(self) -> Tensor:
        """`pair_index` as a tensor, (d, d)."""
        return torch.tensor(self.pair_index, device=self.columns.device)

    @cached_property
    def _gram_schmidt(self) -> tuple[list[Tensor], list[Tensor], list[list[Tensor]]]:
        vectors: list[Tensor] = []  # the columns of V, each (replicates, n, 1, points)
        squares: list[Tensor] = []  # l^2
        triangle: list[list[Tensor]] = []  # triangle[b][a] = U_ab, a < b
        for b in range(self.d):
            vector = self.columns[:, :, b : b + 1]
            entries: list[Tensor] = []
            for sweep in range(2):
                for a, (direction, square) in enumerate(zip(vectors, squares, strict=True)):
                    component = (direction * vector).sum(dim=1, keepdim=True) / square
                    vector = torch.addcmul(vector, direction, component, value=-1)
                    if sweep == 0:
                        entries.append(component)
                    else:
                        entries[a] = entries[a] + component
            vectors.append(vector)
            squares.append((vector * vector).sum(dim=1, keepdim=True))
            triangle.append(entries)
        return vectors, squares, triangle

    @property
    def vectors(self) -> list[Tensor]:
        """The columns of V, each (replicates, n, 1, points)."""
        return self._gram_schmidt[0]

    @cached_property
    def squared_length(self) -> Tensor:
        """l^2, (replicates, d, points)."""
        return torch.cat(self._gram_schmidt[1], dim=2).squeeze(1)

    @cached_property
    def length(self) -> Tensor:
        """l, (replicates, d, points)."""
        return self.squared_length.sqrt()

    @cached_property
    def triangle(self) -> Tensor:
        """T, (replicates, d, d, points)."""
        return self.length.unsqueeze(2) * self._unit_matrix(self._gram_schmidt[2])

    @cached_property
    def _unit_inverse(self) -> list[list[Tensor]]:
        columns = self._gram_schmidt[2]
        inverse: list[list[Tensor]] = []  # inverse[b][a] = (U^-1)_ab, a < b
        for b in range(self.d):
            entries = []
            for a in range(b):
                total = columns[b][a]
                for c in range(a + 1, b):
                    total = total + inverse[c][a] * columns[b][c]
                entries.append(-total)
            inverse.append(entries)
        return inverse

    @cached_property
    def inverse(self) -> Tensor:
        """T^-1, (replicates, d, d, points)."""
        return self._unit_matrix(self._unit_inverse) / self.length.unsqueeze(1)

    def _unit_matrix(self, above: list[list[Tensor]]) -> Tensor:
        """Upper triangular matrix with ones on its diagonal from its columns above it, (replicates, d, d, points)."""
        zero = torch.zeros_like(self._gram_schmidt[1][0])
        columns = [torch.cat([*up, zero + 1, *[zero] * (self.d - len(up) - 1)], dim=1) for up in above]
        return torch.cat(columns, dim=2)

    @property
    def to_frame(self) -> Tensor:
        """T diag(size / unit), which takes coordinate vectors to the frame, (replicates, d, d, points)."""
        return self.triangle * (self.size / self.unit).unsqueeze(1)

    @cached_property
    def _widths(self) -> list[Tensor]:
        """Length of each column of J."""
        _, squares, triangle = self._gram_schmidt
        widths = []
        for square, above in zip(squares, triangle, strict=True):
            total = square
            for entry, other in zip(above, squares, strict=False):
                total = torch.addcmul(total, entry * entry, other)
            widths.append(total.sqrt())
        return widths

    @cached_property
    def gain(self) -> Tensor:
        """Largest entry of each column of |T^-1|, (replicates, d, points)."""
        largest = []
        for b, above in enumerate(self._unit_inverse):
            entry = self._widths[b]
            for a in range(b):
                entry = torch.maximum(entry, above[a].abs() * self._widths[a])
            largest.append(entry)
        return torch.cat(largest, dim=2).squeeze(1) / self.length

    @cached_property
    def width(self) -> Tensor:
        """Length of each column of J, (replicates, d, points)."""
        return torch.cat(self._widths, dim=2).squeeze(1)

    @cached_property
    def rows(self) -> Tensor:
        """|J_i|, (replicates, n, 1, points)."""
        return (self.columns.abs() / self.width.unsqueeze(1)).sum(dim=2, keepdim=True)

    @cached_property
    def mix(self) -> Tensor:
        """sum_i |Q_ia| |J_i|, (replicates, d, points)."""
        vectors = self.vectors
        return torch.cat([(vector.abs() * self.rows).sum(dim=1) for vector in vectors], dim=1) / self.length

    @cached_property
    def sound(self) -> bool:
        """Whether the Jacobian has full rank to working precision at every point."""
        return self.moderate and self.full_rank and bool((self.gain < _LEAST_ACCURACY / self.eps / self.d).all())

    @cached_property
    def deficient(self) -> Tensor:
        """Where the Jacobian is rank deficient to working precision, (replicates, points)."""
        if self.sound:
            return self.gain.new_zeros(1, 1, dtype=torch.bool).expand_as(self.gain[:, 0])
        if not self.full_rank:
            return torch.ones_like(self.columns[:, 0, 0], dtype=torch.bool)
        usable = self.gain.new_tensor(True, dtype=torch.bool) if self.moderate else self._usable
        return ~(usable & (self.eps * self.gain * self.mix < _LEAST_ACCURACY).all(dim=1))

    def where_full_rank(self, values: Tensor, otherwise: float) -> Tensor:
        """Values (replicates, points, ...), replaced where the Jacobian is rank deficient."""
        if self.sound:
            return values
        return torch.where(self.deficient.reshape(values.shape[:2] + (1,) * (values.ndim - 2)), otherwise, values)

    @cached_property
    def normal(self) -> tuple[Tensor, Tensor]:
        """N, packed as the Hessian, and V_c . U^-T H U^-1 / l_c^2, (replicates, d, d(d+1)/2, points)."""
        hessian, index, inverse = self.hessian, self.pair_index, self._unit_inverse
        assert hessian is not None
        packed = [hessian[:, :, k : k + 1] for k in range(hessian.shape[2])]
        parts: list[Tensor] = packed.copy()
        for b in range(self.d):
            halves = []  # (H U^-1)_cb
            for c in range(b + 1):
                half = packed[index[c][b]]
                for e in range(b):
                    half = torch.addcmul(half, packed[index[c][e]], inverse[b][e])
                halves.append(half)
            for a in range(b + 1):
                part = halves[a]
                for c in range(a):
                    part = torch.addcmul(part, halves[c], inverse[a][c])
                parts[index[a][b]] = part
        normal = torch.cat(parts, dim=2)
        tangential = []
        for vector, square in zip(*self._gram_schmidt[:2], strict=True):
            component = (vector * normal).sum(dim=1, keepdim=True) / square
            normal.addcmul_(vector, component, value=-1)
            tangential.append(component)
        return normal, torch.cat(tangential, dim=1)

    @cached_property
    def scale(self) -> Tensor:
        """1 / (l_a l_b), packed, (replicates, d(d+1)/2, points)."""
        rows, columns = self.pairs
        return 1 / (self.length[:, rows] * self.length[:, columns])

    @property
    def form(self) -> Tensor:
        """A, packed as the Hessian, (replicates, n, d(d+1)/2, points)."""
        return self.normal[0] * self.scale.unsqueeze(1)

    @cached_property
    def products(self) -> Tensor:
        """A_ab . A_cd for all packed pairs, exactly symmetric, (replicates, d(d+1)/2, d(d+1)/2, points)."""
        form = self.form
        count = form.shape[2]
        upper = [(form[:, :, k : k + 1] * form[:, :, k:]).sum(dim=1) for k in range(count)]
        rows = [[upper[min(k, m)][:, abs(k - m)] for m in range(count)] for k in range(count)]
        return torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)

    def sectional(self, a: int, b: int) -> Tensor:
        """Curvature A_aa . A_bb - A_ab . A_ab of the plane of two frame vectors, (replicates, points)."""
        index, normal = self.pair_index, self.normal[0]
        first, second, mixed = (normal[:, :, index[i][j]] for i, j in ((a, a), (b, b), (a, b)))
        product = (first * second).addcmul_(mixed, mixed, value=-1).sum(dim=1)
        return product / self.squared_length[:, a] / self.squared_length[:, b]
