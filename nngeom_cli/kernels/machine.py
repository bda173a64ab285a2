"""Support vector machines with any kernel, trained by scikit-learn."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nngeom_cli.geometry.points import Numbers, as_numbers
from nngeom_cli.kernels.kernel import (
    Factor,
    GaussianKernel,
    Kernel,
    MagnifiedKernel,
    gram,
    require_points,
    require_positive,
)

__all__ = ["SupportVectorMachine"]

_TOLERANCE = 1e-6  # of scikit-learn's optimality conditions


@dataclass(frozen=True)
class SupportVectorMachine:
    """A trained support vector machine for two classes.

    f(x) = sum_i a_i K(x_i, x) + b; the second class is predicted where f > 0. Make one with `trained`.

    Args:
        kernel: K.
        inputs: of the training set, `(points, d)`.
        labels: of the training set, `(points,)`.
        penalty: C of the training.
        classes: the two labels, ascending, `(2,)`.
        support: rows of the support vectors, `(vectors,)`.
        coefficients: a, `(vectors,)`.
        intercept: b.

    Example:
        >>> corners = torch.tensor([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]]).double()
        >>> machine = SupportVectorMachine.trained(GaussianKernel(1.0), corners, [0, 1, 1, 0], penalty=10.0)
        >>> machine.predict(corners)
        tensor([0, 1, 1, 0])
    """

    kernel: Kernel
    inputs: Tensor
    labels: Tensor
    penalty: float
    classes: Tensor
    support: Tensor
    coefficients: Tensor
    intercept: float

    @classmethod
    def trained(cls, kernel: Kernel, inputs: Numbers, labels: Numbers, *, penalty: float = 1.0) -> SupportVectorMachine:
        """The machine that scikit-learn's `SVC` finds for a kernel and a training set.

        Args:
            kernel: K, a function of points that broadcast, `(*batch, d)`.
            inputs: `(points, d)`.
            labels: `(points,)`, of two classes.
            penalty: C, the weight of the points on the wrong side of the margin.

        Returns:
            The trained machine.

        Raises:
            ValueError: shapes that do not fit together, inputs that are not finite, other than two classes, or a
                `penalty` that is not positive.

        Example:
            >>> line = torch.tensor([[-1.0], [1.0]]).double()
            >>> SupportVectorMachine.trained(GaussianKernel(1.0), line, [0, 1]).decision(torch.zeros(1).double())
            tensor(0., dtype=torch.float64)
        """
        from sklearn.svm import SVC  # takes a second to load

        x, y = as_numbers("inputs", inputs).detach().double(), torch.as_tensor(labels)
        if x.ndim != 2 or y.shape != x.shape[:1]:
            raise ValueError(
                "`inputs` and `labels` must have shapes (points, d) and (points,). "
                f"Got {tuple(x.shape)} and {tuple(y.shape)}."
            )
        if not x.isfinite().all():
            raise ValueError(f"`inputs` must be finite. Got {int((~x.isfinite()).sum())} numbers that are not.")
        classes = y.unique()
        if len(classes) != 2:
            raise ValueError(f"`labels` must be of two classes. Got {len(classes)}. Train a machine for each pair.")
        require_positive("penalty", penalty)
        with torch.no_grad():
            products = gram(kernel, x, x)
        machine = SVC(C=penalty, kernel="precomputed", tol=_TOLERANCE).fit(products.numpy(), y.numpy())
        support = torch.as_tensor(machine.support_, dtype=torch.long)
        coefficients = torch.as_tensor(machine.dual_coef_[0], dtype=x.dtype)
        return cls(kernel, x, y, penalty, classes, support, coefficients, float(machine.intercept_[0]))

    @property
    def support_vectors(self) -> Tensor:
        """Training inputs on which f depends, `(vectors, d)`."""
        return self.inputs[self.support]

    def decision(self, x: Tensor) -> Tensor:
        """Decision function f at points.

        Args:
            x: points, `(*batch, d)`.

        Returns:
            `(*batch,)`, differentiable.

        Raises:
            ValueError: the last axis of `x` is not that of the training inputs.
            TypeError: `x` is not float64.

        Example:
            >>> line = torch.tensor([[-1.0], [1.0]]).double()
            >>> machine = SupportVectorMachine.trained(GaussianKernel(1.0), line, [0, 1], penalty=9.0)
            >>> machine.decision(line).round(decimals=3)
            tensor([-1.,  1.], dtype=torch.float64)
        """
        if x.dtype != self.inputs.dtype:
            raise TypeError(f"`x` must be {self.inputs.dtype}. Got {x.dtype}. Convert with `.double()`.")
        require_points(x, self.inputs.shape[1])
        flat = x.reshape(-1, x.shape[-1])
        return (gram(self.kernel, flat, self.support_vectors) @ self.coefficients + self.intercept).reshape(
            x.shape[:-1]
        )

    def predict(self, x: Tensor) -> Tensor:
        """Labels that the machine predicts.

        Args:
            x: points, `(*batch, d)`.

        Returns:
            `(*batch,)`.

        Raises:
            ValueError: the last axis of `x` is not that of the training inputs.
            TypeError: `x` is not float64.

        Example:
            >>> line = torch.tensor([[-1.0], [1.0]]).double()
            >>> SupportVectorMachine.trained(GaussianKernel(1.0), line, [3, 8]).predict(line)
            tensor([3, 8])
        """
        with torch.no_grad():
            return self.classes[(self.decision(x) > 0).long()]

    def magnified(self, factor: Factor) -> SupportVectorMachine:
        """The machine trained again, on the same data with the same penalty, with K'(x, y) = c(x) K(x, y) c(y).

        Args:
            factor: c, mostly made from this machine.

        Returns:
            The second machine.

        Raises:
            TypeError: this machine's kernel is not a `GaussianKernel`.

        Example:
            >>> from nngeom_cli.kernels import SupportVectorFactor
            >>> line = torch.tensor([[-1.0], [0.0], [2.0]]).double()
            >>> first = SupportVectorMachine.trained(GaussianKernel(1.0), line, [0, 1, 1], penalty=9.0)
            >>> first.magnified(SupportVectorFactor.amari_wu_1999(first)).predict(line)
            tensor([0, 1, 1])
        """
        if not isinstance(self.kernel, GaussianKernel):
            raise TypeError(f"`kernel` must be a GaussianKernel to be magnified. Got {type(self.kernel).__name__}.")
        kernel = MagnifiedKernel(self.kernel, factor)
        return SupportVectorMachine.trained(kernel, self.inputs, self.labels, penalty=self.penalty)
