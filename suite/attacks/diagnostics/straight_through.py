"""Gradients for models that have none: straight through what is flat and what jumps.

What a defence does to hide its gradient (rounding, casting to integers, comparing with thresholds, detaching,
saturating) keeps its value here and receives the gradient of a smooth function near to it: the backward pass
differentiable approximation (BPDA) of Athalye, Carlini and Wagner 2018. A gradient that is poisoned by a custom
backward function cannot be repaired so; a surrogate or a random search needs none.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.weak import WeakTensorKeyDictionary

TEMPERATURE = 0.1
"""Width of the sigmoid in the place of a comparison, in the unit of what is compared."""

Forward = Callable[[Tensor], Tensor]
Result = Any
"""What a torch function returns: mostly a tensor."""


def straight_through(forward: Forward, *, temperature: float = TEMPERATURE) -> Forward:
    """Return the same function, bit by bit, with useful gradients through operations that have none.

    Args:
        forward: a model in plain PyTorch operations; compiled code is out of reach.
        temperature: width of the sigmoid that stands for a comparison, in the unit of what is compared.
    """

    def through(pixels: Tensor) -> Tensor:
        with StraightThrough(temperature):
            return forward(pixels)

    return through


def before_flattening(forward: Forward) -> Forward:
    """Return the class scores that a model flattens to probabilities or to one class, where it does so.

    For attacks only: values and outcome are another function's, and what it finds must be judged by the model itself.
    A margin needs the runner-up class, which one-hot outputs do not tell even with a gradient. Where the model does not
    end in a softmax or argmax over classes, its own output is returned.
    """

    def bare(pixels: Tensor) -> Tensor:
        with StraightThrough() as mode:
            out = forward(pixels)
        scores = mode.scores
        fits = scores is not None and scores.shape[1:] == out.shape[1:] and len(scores) >= len(out)
        return scores[: len(out)] if scores is not None and fits else out

    return bare


class _Through(torch.autograd.Function):
    """The value of one tensor with the gradient of another."""

    @staticmethod
    def forward(context: Any, value: Tensor, surrogate: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[None, Tensor]:
        return None, gradient


def valued(value: Tensor, surrogate: Tensor) -> Tensor:
    """Return a tensor of exactly this value that is differentiated as the surrogate; the shapes are the same."""
    result: Tensor = _Through.apply(value.detach(), surrogate.to(value.dtype))
    return result


def _never_flat(values: Tensor) -> Tensor:
    """Return a function that is as steep at 0 as tanh, and never flat."""
    return values.sign() * values.abs().log1p()


def _quotient(values: Tensor, other: Any, **options: Any) -> Tensor:
    return torch.div(values, other)


FLAT: Mapping[str, Callable[..., Tensor]] = {
    **dict.fromkeys(("round", "floor", "ceil", "trunc", "fix", "sign", "sgn", "detach"), lambda x, *_, **__: x),
    "floor_divide": _quotient,
    "floordiv": _quotient,
    "heaviside": lambda x, *_: (x / TEMPERATURE).sigmoid(),
    "tanh": lambda x: _never_flat(x),
    "sigmoid": lambda x: _never_flat(x / 4),
}
"""Operations on real numbers that are flat, or become so, and what is differentiated in their place."""

COMPARISONS = {
    **dict.fromkeys(("gt", "ge", "greater", "greater_equal"), 1),
    **dict.fromkeys(("lt", "le", "less", "less_equal"), -1),
}
"""Comparisons, and whether they become true as the first operand grows."""

CASTS = ("to", "type", "type_as", "byte", "char", "short", "int", "long")

ON_NUMBERS: Mapping[str, Callable[..., Tensor]] = {
    "and": lambda a, b: a * b,
    "or": lambda a, b: a + b - a * b,
    "xor": lambda a, b: a + b - 2 * a * b,
    "invert": lambda a: 1 - a,
    "where": lambda mask, a, b: mask * a + (1 - mask) * b,
    "masked_fill": lambda a, mask, b: mask * b + (1 - mask) * a,
    "rshift": lambda a, b: a / 2**b,
    "lshift": lambda a, b: a * 2**b,
}
"""Operations on integers and masks, as functions of real numbers; what is not named stays what it is."""

SAME_AS = {"logical_and": "and", "bitwise_and": "and", "logical_or": "or", "bitwise_or": "or", "logical_xor": "xor"}
SAME_AS |= {"bitwise_xor": "xor", "logical_not": "invert", "bitwise_not": "invert", "bitwise_right_shift": "rshift"}
SAME_AS |= {"bitwise_left_shift": "lshift", "floordiv": "floor_divide"}


class StraightThrough(TorchFunctionMode):
    """Give every operation inside the block that is flat or jumps the gradient of a smooth one.

    Tensors of integers and truth values have no gradient in PyTorch. Each that was computed from the pixels is
    remembered with a real tensor of the same value that has one, for as long as it lives, so that the gradient returns
    when the model turns it into real numbers again.
    """

    def __init__(self, temperature: float = TEMPERATURE) -> None:
        super().__init__()
        self.temperature = temperature
        self.real = WeakTensorKeyDictionary()
        self.chosen = WeakTensorKeyDictionary()
        self.scores: Tensor | None = None  # what the last softmax or argmax over classes was given

    def __torch_function__(
        self, function: Callable[..., Result], types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Result:
        """Run a torch function, and see to the gradient of what it returns."""
        options = dict(kwargs or {})
        name = getattr(function, "__name__", "")
        plain = name.strip("_")
        if plain in ("numpy", "array"):  # a detached tensor still has a graph here, which numpy refuses
            return function(args[0].detach(), *args[1:], **options)
        if plain in FLAT and name.endswith("_") and not name.startswith("_") and _differentiable(args[0]):
            out_of_place = getattr(Tensor, plain)
            return args[0].copy_(self.given_gradient(plain, out_of_place, (args[0].clone(), *args[1:]), options))
        return self.given_gradient(SAME_AS.get(plain, plain), function, args, options)

    def given_gradient(self, name: str, function: Callable[..., Result], args: Any, options: Any) -> Result:
        """Return the function's value, differentiated as a smooth function."""
        out = function(*args, **options)
        if name in ("softmax", "argmax") and args and isinstance(args[0], Tensor) and args[0].ndim == 2:
            self.scores = args[0]
        if not isinstance(out, Tensor) or not torch.is_grad_enabled() or not self.touched((args, options)):
            return out
        first = args[0] if args and isinstance(args[0], Tensor) else None
        if name in COMPARISONS and len(args) == 2:
            difference = COMPARISONS[name] * (self.as_real(args[0]) - self.as_real(args[1]))
            self.remember(out, (difference / self.temperature).sigmoid())
        elif name == "bucketize" and first is not None and len(args) == 2:
            self.remember(out, ((first.unsqueeze(-1) - args[1]) / self.temperature).sigmoid().sum(dim=-1))
        elif name == "argmax" and first is not None and _differentiable(first):
            self.chosen[out] = first
        elif name == "one_hot" and first in self.chosen and self.chosen[first].shape == out.shape:
            self.remember(out, self.chosen[first])
        elif name in CASTS and first is not None and not out.is_floating_point():
            self.remember(out, self.as_real(first))
        elif self.flattens(name, first, options):
            rule = _quotient if name == "div" else FLAT.get(name, lambda x, *_, **__: x)
            return self.kept(out, rule(*tree_map_only(Tensor, self.as_real, args), **options))
        elif any(tensor in self.real for tensor in tree_leaves((args, options)) if isinstance(tensor, Tensor)):
            return self.followed(out, ON_NUMBERS.get(name, function), args, options)
        return out

    def flattens(self, name: str, first: Tensor | None, options: Mapping[str, Any]) -> bool:
        """Return whether an operation is flat; a softmax only over classes, since attention's is no mask."""
        if name == "softmax":
            return first is not None and first.ndim == 2 and first.is_floating_point()
        return name in FLAT or (name == "div" and options.get("rounding_mode") is not None)

    def followed(self, out: Tensor, rule: Callable[..., Result], args: Any, options: Any) -> Tensor:
        """Return a result of integers or masks with the gradient that the same rule has on real numbers."""
        try:
            smooth = rule(*tree_map_only(Tensor, self.as_real, args), **tree_map_only(Tensor, self.as_real, options))
        except (RuntimeError, TypeError, IndexError):  # no such operation on real numbers, such as indexing with them
            return out
        return self.kept(out, smooth)

    def kept(self, out: Tensor, smooth: Result) -> Tensor:
        """Return a result with the gradient of a smooth one; integers keep theirs aside."""
        if not isinstance(smooth, Tensor) or smooth.shape != out.shape or not smooth.requires_grad:
            return out
        if out.is_floating_point():
            return valued(out, smooth)
        self.remember(out, smooth)
        return out

    def remember(self, out: Tensor, smooth: Tensor) -> None:
        """Keep a real tensor of the same value beside a tensor of integers or truth values."""
        if smooth.requires_grad and smooth.shape == out.shape:
            self.real[out] = valued(out.to(smooth.dtype), smooth)

    def as_real(self, tensor: Any) -> Any:
        """Return the real tensor kept beside this one, or itself."""
        return self.real[tensor] if isinstance(tensor, Tensor) and tensor in self.real else tensor

    def touched(self, arguments: Any) -> bool:
        """Return whether anything among the arguments depends on the pixels."""
        tensors = [item for item in tree_leaves(arguments) if isinstance(item, Tensor)]
        return any(tensor.requires_grad or tensor in self.real or tensor in self.chosen for tensor in tensors)


def _differentiable(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point() and value.requires_grad
