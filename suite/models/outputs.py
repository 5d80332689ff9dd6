"""What a module returns: where its numbers are found, and which outputs are refused."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from suite.errors import ModelError

NAMES = ("logits", "out")
"""Names under which libraries return the logits beside other values."""

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
"""The types of numbers that the axes compute with."""

ONE_SCORE = "One score cannot be compared with another: for a logit z of the second class, return two logits, 0 and z."
"""What to do about the single score of a network for two classes."""


@dataclass(frozen=True)
class Form:
    """The output that a kind expects.

    Attributes:
        expected: the names of its dimensions, such as ``(images, classes)``.
        inputs: what the model gets.
        integers: what to do where the numbers are whole numbers.
        source: what returned the output.
    """

    expected: str
    inputs: str = "images"
    integers: str = (
        "These are class numbers or decisions instead of scores: return what is there before argmax or a threshold, "
        "or convert integer scores with .float()."
    )
    source: str = "The model"


def numbers_of(output: Any, inputs: Tensor, form: Form) -> Tensor:
    """Return the floating-point tensor of an output, on the device of the inputs.

    Understood are a tensor; a mapping or an object with the tensor under a name of `NAMES`; and a tuple or list that
    begins with it, if no other tensor of the same shape follows. Nothing is read from the device.

    Args:
        output: what the module returned.
        inputs: what it was called with, (n, ...).
        form: what is expected.

    Raises:
        ModelError: there is no such tensor.
    """
    found = _part_of(output)
    if not isinstance(found, Tensor):
        raise refusal(output, inputs, form, _advice(output))
    if (reason := _unusable(found, form)) is not None:
        raise refusal(found, inputs, form, reason)
    return found.to(inputs.device)


def class_logits(output: Any, inputs: Tensor, form: Form) -> Tensor:
    """Return logits (n, classes); trailing dimensions of size 1, as of a fully convolutional network, are left out.

    Raises:
        ModelError: as `numbers_of`, or the output has another shape.
    """
    logits = numbers_of(output, inputs, form)
    if logits.ndim > 2 and logits.shape[2:].numel() == 1:
        logits = logits.flatten(1)
    if logits.shape == (len(inputs),) or logits.shape == (len(inputs), 1):
        raise refusal(logits, inputs, form, ONE_SCORE)
    if logits.ndim != 2 or len(logits) != len(inputs):
        raise refusal(logits, inputs, form, f"Keep the dimension of the {form.inputs}, and no further one.")
    return logits


def refusal(output: Any, inputs: Tensor, form: Form, advice: str = "") -> ModelError:
    """Return the error about an output of another form, with what to do about it."""
    kind = f" of {_type_name(output)}" if isinstance(output, Tensor) and output.dtype not in FLOATS else ""
    got = f"{form.source} returned {form_of(output)}{kind} for {len(inputs)} {form.inputs}; expected {form.expected}."
    return ModelError(f"{got} {advice}".strip())


def form_of(output: Any) -> Any:
    """Return the shape of a tensor, or the type and the contents of another value, for error messages."""
    if isinstance(output, Tensor):
        return tuple(output.shape) if not output.is_nested else "a nested tensor"
    name = type(output).__name__
    if isinstance(output, Mapping | tuple | list) and not output:
        return f"an empty {name}"
    if isinstance(output, Mapping):
        return f"{name} with the keys {', '.join(map(repr, list(output)[:6]))}"
    if isinstance(output, tuple | list):
        return f"{name} of {', '.join(_part_form(part) for part in output[:4])}"
    return name if output is not None else "None"


def _part_form(part: Any) -> str:
    return str(form_of(part)) if isinstance(part, Tensor | Mapping) or part is None else type(part).__name__


def _part_of(output: Any) -> Any:
    if isinstance(output, Tensor):
        return output
    if isinstance(output, Mapping):
        return next((output[name] for name in NAMES if name in output), output)
    if named := [getattr(output, name) for name in NAMES if isinstance(getattr(output, name, None), Tensor)]:
        return named[0]
    if isinstance(output, tuple | list) and output and isinstance(output[0], Tensor):
        first, *others = output
        if not any(isinstance(other, Tensor) and other.shape == first.shape for other in others):
            return first
    return output


def _advice(output: Any) -> str:
    if output is None:
        return "Does forward end with return?"
    if isinstance(output, tuple | list) and sum(isinstance(part, Tensor) for part in output) > 1:
        return "Which of the tensors holds the logits is not known; return it alone, or in a dict under 'logits'."
    if isinstance(output, Mapping):
        return "Return the tensor alone, or under the key 'logits' or 'out'."
    return "Return one torch.Tensor, without .numpy(), .tolist() or .item(), so that gradients can flow."


def _unusable(found: Tensor, form: Form) -> str | None:
    if found.is_meta:
        return "A tensor on the meta device holds no numbers: load the module's weights on a real device."
    if found.is_nested or found.layout is not torch.strided:
        return "Return a dense tensor, for example with .to_dense() or .to_padded_tensor(0)."
    if found.dtype in FLOATS:
        return None
    if found.is_quantized:
        return "Call .dequantize() on it."
    if found.is_complex():
        return "Complex numbers have no order: return real ones, such as .real or .abs()."
    return form.integers if not found.is_floating_point() else "Convert it with .float()."


def _type_name(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
