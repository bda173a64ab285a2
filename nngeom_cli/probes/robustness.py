"""How far examples are from the decision boundary of a network: to first order, along the gradient, by an attack.

The gap of a network at a point is how far its prediction is ahead there: the output of the class that it predicts at
the example minus the largest other one, or the margin with the sign of that class. It is 0 on the boundary.
Distances are Euclidean, in units of input space.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from nngeom_cli.geometry.jets import FeatureMap
from nngeom_cli.tasks.losses import Loss

__all__ = ["boundary_distances"]

ALONG_GRADIENT, TO_EXAMPLE = 64, 16  # steps in which the first crossing is looked for
NEAREST = 3  # points with another prediction, towards which a crossing is looked for
LINEAR_STEPS, OVERSHOOT = 30, 0.02  # of DeepFool
MOST_TURNS = 40  # of the direction of an attack
COARSE, FINE = 20, 44  # halvings of an interval, while an attack turns and where it starts
LEAST_GAIN = 1e-6  # relative: an attack that comes nearer by less ends

Crossing = tuple[Tensor, Tensor]  # points at which a line has crossed the boundary (points, d), and how far


class Gap:
    """The gap of one network between the class that it predicts at each of some examples and the runner-up.

    Args:
        outputs: the network's outputs as a feature map without replicates, perhaps divided by the root of their number.
        loss: what outputs mean.
        x: examples, `(points, d)`.
    """

    def __init__(self, outputs: FeatureMap, loss: Loss, x: Tensor) -> None:
        self.map, self.loss = outputs, loss
        self.own = self.predicted(x)

    def predicted(self, y: Tensor) -> Tensor:
        """Predicted classes at points, `(points,)`."""
        return self.loss.predict(self._outputs(y).mT[None])[0]

    def _outputs(self, y: Tensor) -> Tensor:
        values = self.map(y)
        return values * math.sqrt(values.shape[1]) if self.map.normalized else values

    def _ahead(self, outputs: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
        """The gap, and the class that is second, each `(points,)`."""
        if outputs.shape[1] == 1:
            return self.loss.margin(outputs.mT[None])[0] * (2 * own - 1), own
        others = outputs.scatter(1, own[:, None], -torch.inf)
        second = others.max(dim=1)
        return outputs.gather(1, own[:, None])[:, 0] - second.values, second.indices

    def __call__(self, y: Tensor, rows: Tensor) -> Tensor:
        """The gap at points `y` (points, d) for the classes of the examples `rows`, `(points,)`."""
        return self._ahead(self._outputs(y), self.own[rows])[0]

    def slope(self, y: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The gap and its gradient, `(points, d)`."""
        own = self.own[rows]
        gap, second = self._ahead(self._outputs(y), own)
        jacobian = self._jacobian(y)
        if jacobian.shape[1] == 1:
            return gap, jacobian[:, 0] * (2 * own - 1)[:, None]
        place = torch.arange(len(y), device=y.device)
        return gap, jacobian[place, own] - jacobian[place, second]

    def nearest(self, y: Tensor, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The gap, and how far ahead of the class that is nearest, by a linear step, with its gradient."""
        own, outputs, jacobian = self.own[rows], self._outputs(y), self._jacobian(y)
        gap, place = self._ahead(outputs, own)[0], torch.arange(len(y), device=y.device)
        if jacobian.shape[1] == 1:
            return gap, gap, jacobian[:, 0] * (2 * own - 1)[:, None]
        ahead, slopes = outputs[place, own, None] - outputs, jacobian[place, own, None] - jacobian
        steps = (ahead / slopes.norm(dim=2)).scatter(1, own[:, None], torch.inf).nan_to_num(torch.inf)
        near = steps.argmin(dim=1)
        return gap, ahead[place, near], slopes[place, near]

    def _jacobian(self, y: Tensor) -> Tensor:
        """That of the outputs, `(points, outputs, d)`."""
        jet = self.map.jet(y, second=False)
        jacobian = (jet.jacobian / jet.unit)[0].movedim(-1, 0)
        return jacobian * math.sqrt(jacobian.shape[1]) if self.map.normalized and jacobian.shape[1] > 1 else jacobian


def boundary_distances(outputs: FeatureMap, loss: Loss, x: Tensor) -> dict[str, Tensor]:
    """Distances of examples from the decision boundary of one network.

    `first_order_distance`: gap / |gradient of the gap|; infinite where the gradient is 0.
    `distance_along_gradient`: to the first change of prediction on the line against the gradient, looked for in 64
    steps up to the diagonal of the box of the examples.
    `adversarial_distance`: the length of the smallest change of the example that an attack found to change the
    prediction. It starts from the crossing along the gradient, from that of DeepFool (Moosavi-Dezfooli, Fawzi and
    Frossard, 2016), and from those on the way to the three nearest examples with another prediction. From each it
    turns, as long as that brings the crossing nearer, towards the nearest point of the boundary's tangent plane
    (as Croce and Hein, 2020). It is never less than the distance to the boundary; a nearer part of it may be missed.

    Args:
        outputs: the network's outputs as a feature map without replicates.
        loss: what outputs mean.
        x: examples, `(points, d)`.

    Returns:
        Each distance, `(points,)`; NaN where no other prediction was found, or outputs are not finite.

    Example:
        >>> from nngeom_cli.geometry import TorchFeatureMap
        >>> from nngeom_cli.tasks.losses import Logistic
        >>> line = TorchFeatureMap(lambda p: p[:1] - p[1:])  # the diagonal of the plane
        >>> found = boundary_distances(line, Logistic(), torch.tensor([[3.0, 1.0], [0.0, 1.0]]))
        >>> {name: [round(value, 4) for value in values.tolist()] for name, values in found.items()}
        {'first_order_distance': [1.4142, 0.7071], 'distance_along_gradient': [1.4142, 0.7071], \
'adversarial_distance': [1.4142, 0.7071]}
    """
    with torch.no_grad():
        gap, rows = Gap(outputs, loss, x), torch.arange(len(x), device=x.device)
        ahead, gradient = gap.slope(x, rows)
        steepness = gradient.norm(dim=1)
        first_order = torch.where(ahead == 0, ahead, ahead / steepness)
        reach = (x.amax(dim=0) - x.amin(dim=0)).norm()
        ends = x - reach * gradient / steepness[:, None]
        along = first_crossing(gap, x, ends, rows, ALONG_GRADIENT)
        nearest = Nearest(gap, x)
        nearest.slide(torch.cat([along, deepfool(gap, x, rows), towards(gap, x, x)]))
        nearest.slide(towards(gap, x, nearest.points[nearest.points.isfinite().all(dim=1)]))
        smallest = nearest.exactly()
        on_it = ahead == 0
        return {
            "first_order_distance": first_order,
            "distance_along_gradient": torch.where(on_it, 0.0, (along - x).norm(dim=1)),
            "adversarial_distance": torch.where(on_it, 0.0, torch.where(ahead.isnan(), torch.nan, smallest)),
        }


def first_crossing(gap: Gap, x: Tensor, ends: Tensor, rows: Tensor, steps: int) -> Tensor:
    """Where lines from examples first change the prediction, as found in so many steps, `(points, d)`; NaN: nowhere."""
    crossed, before = torch.full_like(x[:, 0], torch.nan), torch.zeros_like(x[:, 0])
    for step in range(1, steps + 1):
        part = step / steps
        here = crossed.isnan() & (gap(x + part * (ends - x), rows) <= 0)
        crossed = torch.where(here, part, crossed)
        before = torch.where(here, part - 1 / steps, before)
    _, high = halved(lambda part: gap(x + part[:, None] * (ends - x), rows), before, crossed, FINE)
    return x + high[:, None] * (ends - x)


def halved(value: Callable[[Tensor], Tensor], low: Tensor, high: Tensor, times: int) -> tuple[Tensor, Tensor]:
    """Intervals at whose ends a value is positive and not positive, halved so many times; NaN stays."""
    for _ in range(times):
        middle = (low + high) / 2
        over = value(middle) > 0
        low, high = torch.where(over, middle, low), torch.where(over, high, middle)
    return low, high


def deepfool(gap: Gap, x: Tensor, rows: Tensor) -> Tensor:
    """The first crossing towards the end of linear steps to the boundary, `(points, d)`; NaN where they do not end.

    Each step goes to the class that is nearest to first order, which need not be the runner-up.
    """
    y = x.clone()
    for _ in range(LINEAR_STEPS):
        value, ahead, gradient = gap.nearest(y, rows)
        still = value > 0
        if not still.any():
            break
        step = (ahead / gradient.square().sum(dim=1))[:, None] * gradient
        y = torch.where(still[:, None], y - (1 + OVERSHOOT) * step, y)
    ends = torch.where((gap(y, rows) <= 0)[:, None], y, torch.nan)
    return first_crossing(gap, x, ends, rows, TO_EXAMPLE)


def towards(gap: Gap, x: Tensor, others: Tensor) -> Tensor:
    """The first crossings on the way to the nearest of other points that have another prediction.

    Returns:
        `(nearest * points, d)`, all examples once for each; NaN where there is none.
    """
    if not len(others):
        return others
    apart = torch.where(gap.own[:, None] == gap.predicted(others), torch.inf, torch.cdist(x, others))
    near = apart.topk(min(NEAREST, len(others)), dim=1, largest=False)
    ends = torch.where(near.values.isinf().mT[:, :, None], torch.nan, others[near.indices.mT]).flatten(0, 1)
    rows = torch.arange(len(x), device=x.device).repeat(near.values.shape[1])
    return first_crossing(gap, x[rows], ends, rows, TO_EXAMPLE)


class Nearest:
    """The nearest crossings that were found so far.

    Args:
        gap: of a network.
        x: examples, `(points, d)`.

    Attributes:
        points: the crossings, `(points, d)`; NaN where there is none.
        distances: from the examples, `(points,)`; infinite there.
    """

    def __init__(self, gap: Gap, x: Tensor) -> None:
        self.gap, self.x = gap, x
        self.points, self.distances = torch.full_like(x, torch.nan), torch.full_like(x[:, 0], torch.inf)

    def slide(self, starts: Tensor) -> None:
        """Slides crossings along the boundary as long as they come nearer to their examples.

        Args:
            starts: `(starts * points, d)`, all examples once for each start; NaN where there is none.
        """
        count = len(self.x)
        examples = torch.arange(len(starts), device=starts.device) % count
        y, best = starts.clone(), (starts - self.x[examples]).norm(dim=1)
        turn = torch.ones_like(best)
        rows = (best > 0).nonzero()[:, 0]  # NaN is not
        for _ in range(MOST_TURNS):
            if not len(rows):
                break
            gained, here, radius = self._turned(y[rows], best[rows], turn[rows], examples[rows])
            y[rows], best[rows] = here, radius
            turn[rows] = torch.where(gained, (2 * turn[rows]).clamp(max=1.0), turn[rows] / 4)
            rows = rows[turn[rows] > LEAST_GAIN]
        found = torch.where(best.isnan(), torch.inf, best)
        for distances, points in zip(found.view(-1, count), y.view(-1, *self.x.shape), strict=True):
            nearer = distances < self.distances
            self.points = torch.where(nearer[:, None], points, self.points)
            self.distances = torch.where(nearer, distances, self.distances)

    def exactly(self) -> Tensor:
        """The distances, halved to rounding along the lines to the crossings, `(points,)`; NaN where there is none."""
        away, rows = self.points - self.x, torch.arange(len(self.x), device=self.x.device)

        def along(part: Tensor) -> Tensor:
            return self.gap(self.x + part[:, None] * away, rows)

        _, part = halved(along, torch.zeros_like(self.distances), torch.ones_like(self.distances), FINE)
        lengths: Tensor = part * away.norm(dim=1)
        return lengths

    def _turned(self, y: Tensor, radius: Tensor, turn: Tensor, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Whether crossings come nearer when their lines turn towards the tangent plane; crossings and distances."""
        x, gap = self.x[rows], self.gap
        value, gradient = gap.slope(y, rows)
        away = y - x
        part = ((away * gradient).sum(dim=1) - value) / gradient.square().sum(dim=1)
        aim = away + turn[:, None] * (part[:, None] * gradient - away)
        aim = aim / aim.norm(dim=1, keepdim=True)

        def along(length: Tensor) -> Tensor:
            return gap(x + length[:, None] * aim, rows)

        crosses = torch.where(along(radius) <= 0, radius, torch.nan)
        _, high = halved(along, torch.zeros_like(radius), crosses, COARSE)
        gained = high < radius * (1 - LEAST_GAIN)
        return gained, torch.where(gained[:, None], x + high[:, None] * aim, y), torch.where(gained, high, radius)
