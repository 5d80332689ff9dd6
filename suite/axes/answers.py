"""Outputs for samples of which some may have none: a model may raise an exception for a single sample."""

from contextlib import suppress

import torch
from torch import Tensor

from suite.errors import ModelError, described
from suite.kinds.base import Kind, optional
from suite.models.base import TorchModel


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an exception says that memory could not be allocated."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate memory" in described(error)


def answers(model: TorchModel, inputs: Tensor, targets: Tensor, kind: Kind) -> tuple[Tensor, dict[int, str]]:
    """Return the outputs for a batch, and why samples have none, by row.

    If the model raises an exception, its samples are tried one by one. One without an output gets one that is wrong,
    so that it counts against the model.

    Raises:
        Exception: that of the model, if memory ran out, an output is invalid, no sample of the batch has an output, or
            no output is known to be wrong.
    """
    try:
        return model(inputs), {}
    except Exception as error:  # a model may raise anything
        if isinstance(error, ModelError) or is_out_of_memory(error):
            raise
        return _one_by_one(model, inputs, targets, kind, error)


def first_answer(model: TorchModel, inputs: Tensor) -> Tensor:
    """Return the output for a few inputs, or for one that has an output, to look at its form.

    Raises:
        Exception: that of the model, if none has an output.
    """
    try:
        return model(inputs)
    except ModelError:
        raise
    except Exception as error:  # a model may raise anything
        if is_out_of_memory(error):
            raise
        for row in torch.split(inputs, 1):
            with suppress(Exception):
                return model(row)
        _require_batches(model, inputs, error)
        raise


def _one_by_one(
    model: TorchModel, inputs: Tensor, targets: Tensor, kind: Kind, error: Exception
) -> tuple[Tensor, dict[int, str]]:
    outputs: dict[int, Tensor] = {}
    failed: dict[int, str] = {}
    for row in range(len(inputs)):
        try:
            outputs[row] = model(inputs[row : row + 1])
        except Exception as reason:  # a model may raise anything
            failed[row] = described(reason)
    if not outputs:
        _require_batches(model, inputs, error)
        raise error
    valid = next(iter(outputs.values()))
    for row in failed:
        wrong = _wrong(valid, targets[row : row + 1], kind)
        if wrong is None:
            raise error
        outputs[row] = wrong
    return torch.cat([outputs[row] for row in range(len(inputs))]), failed


def _require_batches(model: TorchModel, inputs: Tensor, error: Exception) -> None:
    """Raise ModelError if the model fails for batches and works for single samples, as some exported ones do."""
    width = model.width
    try:
        model.width = 1
        model(inputs[:1])
    except Exception:  # whatever it raises, the batch is not to blame
        return
    finally:
        model.width = width
    raise ModelError(
        f"The model fails on batches of {width} and works on single samples; measure it with a batch size of 1 "
        f"(--batch-size 1, or settings=Settings(batch_size=1)). On a batch it raises {described(error)}"
    ) from error


def _wrong(valid: Tensor, target: Tensor, kind: Kind) -> Tensor | None:
    """Return an output that is wrong for a target: a weak preference for one class; None if no class is wrong enough.

    Args:
        valid: an output (1, classes, ...) of another sample.
        target: (1, ...).
        kind: says what is wrong.
    """
    attacks = optional(kind.attacks)
    for index in range(0 if attacks is None else sum(valid.shape[1:2])):
        output = torch.zeros_like(valid)
        output[:, index] = 1
        if attacks is not None and float(attacks.damage(output, target)) >= 1:
            return output
    return None
