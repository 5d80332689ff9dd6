"""Straight-through gradients for models that have none.

Operations by which a defense hides its gradient (rounding, casting to integers, comparing with thresholds, detaching,
saturating) keep their values and receive the gradient of a nearby smooth function: the backward pass differentiable
approximation (BPDA) of Athalye, Carlini and Wagner 2018. This cannot repair a gradient that a custom backward function
corrupts; a surrogate model or a random search needs no gradient.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.weak import WeakTensorKeyDictionary

TEMPERATURE = 0.1
"""Width of the sigmoid that replaces a comparison, in units of the compared values."""

Forward = Callable[[Tensor], Tensor]
"""Maps pixels (n, ...) in [0, 1] to logits (n, classes)."""

Result = Any
"""The return value of a torch function, usually a tensor."""


def straight_through(forward: Forward, *, temperature: float = TEMPERATURE) -> Forward:
    """Return a function with exactly the same values and with gradients through operations that have none.

    Args:
        forward: a model made of plain PyTorch operations; operations inside compiled code are not replaced.
        temperature: width of the sigmoid that replaces a comparison, in units of the compared values.
    """

    def wrapped(pixels: Tensor) -> Tensor:
        with StraightThrough(temperature):
            return forward(pixels)

    return wrapped


def before_flattening(forward: Forward) -> Forward:
    """Return a function that outputs the scores before a model's last softmax or argmax over classes.

    It serves to search for adversarial examples only: its values are not the model's, so the model itself must evaluate
    them. A margin needs the runner-up class, which a one-hot output does not reveal even with a gradient. If the model
    does not end in a softmax or argmax, its own output is returned.
    """

    def scores(pixels: Tensor) -> Tensor:
        mode = StraightThrough()
        with mode:
            out = forward(pixels)
        return _last_scores(mode.scores, out)

    return scores


def _last_scores(scores: Sequence[Tensor], out: Tensor) -> Tensor:
    """Return the last scores of every call of a model that was called for parts of a batch; `out` if they do not fit.

    Args:
        scores: the inputs of each softmax or argmax, in order; each call has equally many.
        out: the output for the whole batch, (n, classes).
    """
    if not scores or scores[-1].shape[1:] != out.shape[1:] or not len(scores[-1]):
        return out
    calls = -(-len(out) // len(scores[-1]))
    if len(scores) % calls:
        return out
    each = len(scores) // calls
    last = torch.cat(list(scores[each - 1 :: each]))
    return last[: len(out)] if len(last) >= len(out) else out


class _StraightThrough(torch.autograd.Function):
    """The value of one tensor with the gradient of another."""

    @staticmethod
    def forward(context: Any, value: Tensor, surrogate: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[None, Tensor]:
        return None, gradient


def with_gradient_of(value: Tensor, surrogate: Tensor) -> Tensor:
    """Return a tensor with exactly this value and the gradient of the surrogate, which has the same shape."""
    result: Tensor = _StraightThrough.apply(value.detach(), surrogate.to(value.dtype))
    return result


def _unsaturated(values: Tensor) -> Tensor:
    """Return a function with the slope of tanh at 0 that does not saturate."""
    return values.sign() * values.abs().log1p()


def _quotient(values: Tensor, other: Any, **options: Any) -> Tensor:
    return torch.div(values, other)


FLAT: Mapping[str, Callable[..., Tensor]] = {
    **dict.fromkeys(("round", "floor", "ceil", "trunc", "fix", "sign", "sgn", "detach"), lambda x, *_, **__: x),
    "floor_divide": _quotient,
    "floordiv": _quotient,
    "heaviside": lambda x, *_: (x / TEMPERATURE).sigmoid(),
    "tanh": _unsaturated,
    "sigmoid": lambda x: _unsaturated(x / 4),
}
"""Operations on real numbers that are flat or saturate, and the functions that are differentiated in their place."""

COMPARISONS = {
    **dict.fromkeys(("gt", "ge", "greater", "greater_equal"), 1),
    **dict.fromkeys(("lt", "le", "less", "less_equal"), -1),
}
"""Comparisons, and 1 if they become true as the first operand grows, -1 if they become false."""

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
"""Operations on integers and masks as functions of real numbers; other operations stay as they are."""

SAME_AS = {"logical_and": "and", "bitwise_and": "and", "logical_or": "or", "bitwise_or": "or", "logical_xor": "xor"}
SAME_AS |= {"bitwise_xor": "xor", "logical_not": "invert", "bitwise_not": "invert", "bitwise_right_shift": "rshift"}
SAME_AS |= {"bitwise_left_shift": "lshift", "floordiv": "floor_divide"}


class StraightThrough(TorchFunctionMode):
    """A context in which flat and discontinuous operations receive the gradient of a smooth function.

    Integer and boolean tensors have no gradient in PyTorch. For each one that was computed from the pixels, a
    floating-point tensor of the same value that has a gradient is kept for as long as it lives, so that the gradient is
    available again when the model converts it back.
    """

    def __init__(self, temperature: float = TEMPERATURE) -> None:
        super().__init__()
        self.temperature = temperature
        self.real = WeakTensorKeyDictionary()
        self.chosen = WeakTensorKeyDictionary()
        self.scores: list[Tensor] = []  # inputs of each softmax or argmax over classes

    def __torch_function__(
        self, function: Callable[..., Result], types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Result:
        """Run a torch function and replace the gradient of its result where needed."""
        options = dict(kwargs or {})
        name = getattr(function, "__name__", "")
        plain = name.strip("_")
        if plain in ("numpy", "array"):  # a detached tensor still has a graph here, which numpy rejects
            return function(args[0].detach(), *args[1:], **options)
        if plain in FLAT and name.endswith("_") and not name.startswith("_") and _differentiable(args[0]):
            out_of_place = getattr(Tensor, plain)
            return args[0].copy_(self.with_smooth_gradient(plain, out_of_place, (args[0].clone(), *args[1:]), options))
        return self.with_smooth_gradient(SAME_AS.get(plain, plain), function, args, options)

    def with_smooth_gradient(self, name: str, function: Callable[..., Result], args: Any, options: Any) -> Result:
        """Return the function's value with the gradient of a smooth function."""
        out = function(*args, **options)
        if name in ("softmax", "argmax") and args and isinstance(args[0], Tensor) and args[0].ndim == 2:
            self.scores.append(args[0])
        if not isinstance(out, Tensor) or not torch.is_grad_enabled() or not self.depends_on_pixels((args, options)):
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
        elif self.is_flat(name, first, options):
            rule = _quotient if name == "div" else FLAT.get(name, lambda x, *_, **__: x)
            return self.attach(out, rule(*tree_map_only(Tensor, self.as_real, args), **options))
        elif any(tensor in self.real for tensor in tree_leaves((args, options)) if isinstance(tensor, Tensor)):
            return self.follow(out, ON_NUMBERS.get(name, function), args, options)
        return out

    def is_flat(self, name: str, first: Tensor | None, options: Mapping[str, Any]) -> bool:
        """Return whether an operation is flat; a softmax only if it is over classes, not inside attention."""
        if name == "softmax":
            return first is not None and first.ndim == 2 and first.is_floating_point()
        return name in FLAT or (name == "div" and options.get("rounding_mode") is not None)

    def follow(self, out: Tensor, rule: Callable[..., Result], args: Any, options: Any) -> Tensor:
        """Return a result of integers or masks with the gradient of the same operation on real numbers."""
        try:
            smooth = rule(*tree_map_only(Tensor, self.as_real, args), **tree_map_only(Tensor, self.as_real, options))
        except (RuntimeError, TypeError, IndexError):  # not defined on real numbers, such as indexing
            return out
        return self.attach(out, smooth)

    def attach(self, out: Tensor, smooth: Result) -> Tensor:
        """Return a result with the gradient of a smooth one; that of integers is stored separately."""
        if not isinstance(smooth, Tensor) or smooth.shape != out.shape or not smooth.requires_grad:
            return out
        if out.is_floating_point():
            return with_gradient_of(out, smooth)
        self.remember(out, smooth)
        return out

    def remember(self, out: Tensor, smooth: Tensor) -> None:
        """Store a real tensor of the same value for an integer or boolean tensor."""
        if smooth.requires_grad and smooth.shape == out.shape:
            self.real[out] = with_gradient_of(out.to(smooth.dtype), smooth)

    def as_real(self, tensor: Any) -> Any:
        """Return the real tensor stored for this one, or the tensor itself."""
        return self.real[tensor] if isinstance(tensor, Tensor) and tensor in self.real else tensor

    def depends_on_pixels(self, arguments: Any) -> bool:
        """Return whether any tensor among the arguments depends on the pixels."""
        tensors = [item for item in tree_leaves(arguments) if isinstance(item, Tensor)]
        return any(tensor.requires_grad or tensor in self.real or tensor in self.chosen for tensor in tensors)


def _differentiable(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point() and value.requires_grad
