"""Tensors that carry their first and second derivatives through the operations of a callable."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.func import jvp, vmap
from torch.utils._pytree import tree_flatten, tree_unflatten

from nngeom_cli.geometry.convolutions import convolved
from nngeom_cli.geometry.jets import packed_pairs

__all__ = ["NUMBER_BY_NUMBER", "JetTensor", "applied"]

_SMOOTH = "sigmoid tanh softplus silu mish gelu expm1 elu celu selu log_sigmoid softsign tanhshrink special_expit"
_SMOOTH += " special_expm1 sinc special_sinc exp sin cos erf erfc square pow sqrt rsqrt reciprocal log log1p"
_PIECES = "abs absolute relu relu6 leaky_relu hardtanh hardswish hardsigmoid clamp"
_MOVES = "__getitem__ view view_as reshape flatten unflatten unsqueeze squeeze transpose permute movedim select narrow"
_MOVES += " expand expand_as swapaxes swapdims t ravel clone contiguous flip roll repeat tile dropout"
_MEANS = "sum mean avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d"
NUMBER_BY_NUMBER = frozenset(f"{_SMOOTH} {_PIECES}".split())  # f' and f'' of each number serve all directions
_LINEAR = frozenset(f"neg negative {_MOVES} {_MEANS}".split())  # in the first argument, if it is the only tensor
_SUMS, _JOINED = frozenset({"add", "sub", "subtract"}), frozenset({"cat", "concat", "concatenate", "stack"})
_SCALED = frozenset({"div", "divide", "true_divide"})
_PRODUCTS = frozenset({"mul", "multiply", "matmul", "mm", "bmm", "mv", "dot"})
_COPIED = "changed in place on a copy"
_ASKED = frozenset({"__get__", "__len__", "dim", "size", "numel", "is_floating_point", "is_complex"})
_LAYERS = {"linear": 0, "conv1d": 1, "conv2d": 2, "conv3d": 3}  # axes after that of the bias
_NEW = (
    NUMBER_BY_NUMBER | _SUMS | _JOINED | _SCALED | _PRODUCTS | _LAYERS.keys() | {"neg", "sum", "mean", "clone", _COPIED}
)
_PLAIN = (int, float, complex, str, type(None), torch.dtype, torch.device, torch.layout)

Function = Callable[..., Any]


@dataclass
class _Memory:
    """What a tensor and its views share."""

    changes: int = 0  # in place
    fixed: bool = False  # whether tensors elsewhere may share it too


class JetTensor(Tensor):
    """A tensor y that follows from a point, with its derivatives with respect to the point.

    Any function of torch gives a JetTensor for one: y and its derivatives together where it is linear, by its own
    first and second derivative where it takes number by number, by the product rule, or else by forward mode, twice. A
    function of torch for which none of these holds raises; so does the use of a view after its tensor was changed in
    place, or the other way round.

    Args:
        parts: y, y_a for all a, and y_ab for a <= b, if wanted: (1 + d + d(d+1)/2, *shape) or (1 + d, *shape).
        d: the number of coordinates of the point.
    """

    parts: Tensor
    d: int
    memory: _Memory
    changes: int  # of the memory that are known to this tensor

    @staticmethod
    def __new__(cls, parts: Tensor, d: int) -> JetTensor:
        made: JetTensor = Tensor._make_wrapper_subclass(cls, parts.shape[1:], dtype=parts.dtype, device=parts.device)
        made.parts, made.d, made.memory, made.changes = parts, d, _Memory(), 0
        return made

    def __init__(self, parts: Tensor, d: int) -> None: ...

    @classmethod
    def __torch_function__(
        cls,
        func: Function,
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        return applied(func, getattr(func, "__name__", "").partition(".")[0], args, dict(kwargs or {}))

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Function, types: Iterable[type], args: Any = (), kwargs: Any = None
    ) -> Any:
        raise NotImplementedError(f"{func} would lose derivatives")

    @property
    def second(self) -> bool:
        """Whether second derivatives are carried."""
        return len(self.parts) > 1 + self.d

    def check(self) -> None:
        """Raises if the tensor was changed through a view, or a view through its tensor."""
        if self.changes < self.memory.changes:
            raise NotImplementedError("a change in place would be lost")

    def split_parts(self) -> tuple[Tensor, Tensor, Tensor]:
        """y, (*shape); y_a, (d, *shape); and y_ab, (d(d+1)/2, *shape), or nothing, (0, *shape)."""
        return self.parts[0], self.parts[1 : 1 + self.d], self.parts[1 + self.d :]

    def pairs(self) -> tuple[Tensor, Tensor]:
        """a and b of each y_ab."""
        return packed_pairs(self.d, self.parts.device)


def applied(function: Function, name: str, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
    """What a function called `name` gives for arguments of which some are JetTensors."""
    if name in _ASKED and args and isinstance(args[0], JetTensor):
        answer = function(args[0].parts[0], *args[1:], **named)
        if not isinstance(answer, Tensor):
            return answer
    leaves, tree = tree_flatten((args, named))
    places = [place for place, leaf in enumerate(leaves) if isinstance(leaf, JetTensor)]
    if not places:
        return function(*args, **named)
    if named.get("out") is not None or name == "__set__":
        raise NotImplementedError(f"{name} into a tensor would lose derivatives")
    if name == "__setitem__" or (name.endswith("_") and not name.endswith("__")):
        return _changed(function, name, args, named)

    def of_numbers(*values: Tensor) -> Any:
        filled = dict(zip(places, values, strict=True))
        arguments, keywords = tree_unflatten([filled.get(place, leaf) for place, leaf in enumerate(leaves)], tree)
        return function(*arguments, **keywords)

    jets = [leaves[place] for place in places]
    for each in jets:
        each.check()
    result = _by_rule(function, of_numbers, name, args, named, [leaf for leaf in leaves if isinstance(leaf, Tensor)])
    if result is NotImplemented:
        result = _twice(of_numbers, jets)
    if name not in _NEW:
        _share([*jets, *(each for each in tree_flatten(result)[0] if isinstance(each, JetTensor))], len(jets))
    return result


def _share(tensors: Sequence[JetTensor], given: int) -> None:
    """Notes that results of a function may be views of what was `given` to it, the first ones."""
    for each in tensors:
        if given == 1:
            each.memory, each.changes = tensors[0].memory, tensors[0].changes
        else:
            each.memory.fixed = True


def _changed(function: Function, name: str, args: tuple[Any, ...], named: dict[str, Any]) -> JetTensor:
    """A function that changes its first argument in place."""
    target = args[0]
    if not isinstance(target, JetTensor) or target.memory.fixed:
        raise NotImplementedError(f"{name} changes a tensor that others may share")
    memory = target.memory
    known = name[:-1] if name[:-1] in _NEW else ""

    def copied(values: Tensor, *rest: Any, **more: Any) -> Tensor:
        values = values.clone()
        function(values, *rest, **more)
        return values

    pure = getattr(Tensor, known) if known and hasattr(Tensor, known) else copied
    new = applied(pure, known or _COPIED, args, named)
    old = target.parts
    if not isinstance(new, JetTensor) or (new.parts.shape, new.parts.dtype) != (old.shape, old.dtype):
        raise NotImplementedError(f"{name} changes the shape or dtype")
    memory.changes += 1
    target.parts, target.changes = new.parts, memory.changes
    return target


def _by_rule(
    function: Function,
    of_numbers: Function,
    name: str,
    args: tuple[Any, ...],
    named: dict[str, Any],
    tensors: Sequence[Tensor],
) -> Any:
    """The result where there is a simple rule; else NotImplemented."""
    if len({(each.parts if isinstance(each, JetTensor) else each).dtype for each in tensors}) > 1:
        return NotImplemented
    first, jets = args[0] if args else None, [each for each in tensors if isinstance(each, JetTensor)]
    if isinstance(first, JetTensor) and len(tensors) == 1:
        if name in NUMBER_BY_NUMBER and not first.parts.is_complex():
            return _number_by_number(of_numbers, first)
        if name in _LINEAR or (name in _SCALED and not named):
            return JetTensor(vmap(of_numbers)(first.parts), first.d)
    if name in _LAYERS and isinstance(first, JetTensor) and len(jets) == 1:
        return _layer(function, name, args, named)
    if name in _JOINED and len(jets) == len(tensors):
        return JetTensor(vmap(of_numbers)(*(each.parts for each in jets)), jets[0].d)
    if named or len(args) != 2:
        return NotImplemented
    if name in _SUMS:
        return _sum(function, name, *args)
    if name in _SCALED and isinstance(args[1], JetTensor):
        return NotImplemented
    if name in _PRODUCTS | _SCALED:
        return _product(function, *args)
    return NotImplemented


def _number_by_number(function: Function, jet: JetTensor) -> JetTensor | None:
    """y_ab = f'' x_a x_b + f' x_ab; None where the function gives none."""
    value, firsts, seconds = jet.split_parts()
    ones = torch.ones_like(value)
    if function(value) is None:
        return None
    if not jet.second:
        y, slope = _slope(function, value, ones)
        return JetTensor(torch.cat([y[None], slope * firsts]), jet.d)
    (y, slope), (_, bend) = _slope(lambda z: _slope(function, z, ones), value, ones)
    rows, columns = jet.pairs()
    bent = torch.addcmul(slope * seconds, (bend * firsts)[rows], firsts[columns])
    return JetTensor(torch.cat([y[None], slope * firsts, bent]), jet.d)


def _slope(function: Function, value: Tensor, along: Tensor) -> tuple[Any, Any]:
    """A function's result and its derivative along a direction."""
    y, slope, *_ = jvp(function, (value,), (along,))
    return y, slope


def _layer(function: Function, name: str, args: tuple[Any, ...], named: dict[str, Any]) -> JetTensor:
    """A layer with constant weights: linear, but for its bias."""
    given = (
        dict(zip(("input", "weight", "bias", "stride", "padding", "dilation", "groups"), args, strict=False)) | named
    )
    x, weight, bias = given.pop("input"), given.pop("weight"), given.pop("bias", None)
    parts = convolved(x.parts, weight, **given) if name == "conv2d" else None
    if parts is None:
        parts = vmap(lambda values: function(values, weight, None, **given))(x.parts)
    if bias is not None:
        parts = torch.cat([parts[:1] + bias.reshape(-1, *(1,) * _LAYERS[name]), parts[1:]])
    return JetTensor(parts, x.d)


def _sum(function: Function, name: str, one: Any, other: Any) -> Any:
    """A sum or a difference of two, or of one and a constant."""
    if isinstance(one, JetTensor) and isinstance(other, JetTensor):
        same = one.parts.ndim == other.parts.ndim
        return JetTensor((function if same else vmap(function))(one.parts, other.parts), one.d)
    if isinstance(one, JetTensor):
        jet, value = one, function(one.parts[0], other)
    elif name == "add":
        jet, value = other, function(one, other.parts[0])
    else:
        return NotImplemented
    if (value.shape, value.dtype) != (jet.parts.shape[1:], jet.parts.dtype):
        return NotImplemented
    return JetTensor(torch.cat([value[None], jet.parts[1:]]), jet.d)


def _product(function: Function, one: Any, other: Any) -> JetTensor:
    """Linear in each of two arguments, of which the second may be a divisor that is constant."""
    left: Function = vmap(function, (0, None))
    right: Function = vmap(function, (None, 0))
    if not isinstance(other, JetTensor):
        return JetTensor(left(one.parts, other) if isinstance(other, Tensor) else function(one.parts, other), one.d)
    if not isinstance(one, JetTensor):
        return JetTensor(right(one, other.parts) if isinstance(one, Tensor) else function(one, other.parts), other.d)
    u, u_firsts, u_seconds = one.split_parts()
    v, v_firsts, v_seconds = other.split_parts()
    pieces = [function(u, v)[None], left(u_firsts, v) + right(u, v_firsts)]
    if one.second:
        (rows, columns), both = one.pairs(), vmap(function)
        mixed = both(u_firsts[rows], v_firsts[columns]) + both(u_firsts[columns], v_firsts[rows])
        pieces.append(left(u_seconds, v) + mixed + right(u, v_seconds))
    return JetTensor(torch.cat(pieces), one.d)


def _twice(function: Function, jets: Sequence[JetTensor]) -> Any:
    """Any function: by forward mode, twice."""
    values, firsts, seconds = zip(*(each.split_parts() for each in jets), strict=True)
    found, tree = tree_flatten(function(*values))
    if not all(isinstance(each, (Tensor, *_PLAIN)) for each in found):
        raise NotImplementedError("the derivatives would be lost")
    smooth = [k for k, each in enumerate(found) if isinstance(each, Tensor) and not _discrete(each)]
    if not smooth:
        return tree_unflatten(found, tree)

    def slopes(values: tuple[Tensor, ...], along: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        def outputs(*values: Tensor) -> tuple[Tensor, ...]:
            results = tree_flatten(function(*values))[0]
            return tuple(results[k] for k in smooth)

        slope: tuple[Tensor, ...] = jvp(outputs, values, along)[1]
        return slope

    def bends(one: tuple[Tensor, ...], other: tuple[Tensor, ...], both: tuple[Tensor, ...]) -> Any:
        return jvp(slopes, (values, one), (other, both))

    pieces = [[found[k][None]] for k in smooth]
    if jets[0].second:
        rows, columns = jets[0].pairs()
        one, other = (tuple(each[index] for each in firsts) for index in (rows, columns))
        first, second = vmap(bends)(one, other, seconds)
        for piece, slope, bend in zip(pieces, first, second, strict=True):
            piece += [slope[(rows == columns).nonzero().flatten()], bend]
    else:
        for piece, slope in zip(pieces, vmap(lambda *along: slopes(values, along))(*firsts), strict=True):
            piece.append(slope)
    for k, piece in zip(smooth, pieces, strict=True):
        found[k] = JetTensor(torch.cat(piece), jets[0].d)
    return tree_unflatten(found, tree)


def _discrete(values: Tensor) -> bool:
    return not (values.is_floating_point() or values.is_complex())
