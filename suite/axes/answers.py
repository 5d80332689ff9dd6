"""Outputs for samples of which some may have none: a model may raise an exception for a single sample."""

import torch
from torch import Tensor

from suite.errors import ModelError
from suite.kinds.base import Kind, optional
from suite.models.base import TorchModel


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an exception says that memory could not be allocated."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate memory" in str(error)


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


def _one_by_one(
    model: TorchModel, inputs: Tensor, targets: Tensor, kind: Kind, error: Exception
) -> tuple[Tensor, dict[int, str]]:
    outputs: dict[int, Tensor] = {}
    failed: dict[int, str] = {}
    for row in range(len(inputs)):
        try:
            outputs[row] = model(inputs[row : row + 1])
        except Exception as reason:  # a model may raise anything
            failed[row] = f"{type(reason).__name__}: {' '.join(str(reason).split())}"
    if not outputs:
        raise error
    valid = next(iter(outputs.values()))
    for row in failed:
        wrong = _wrong(valid, targets[row : row + 1], kind)
        if wrong is None:
            raise error
        outputs[row] = wrong
    return torch.cat([outputs[row] for row in range(len(inputs))]), failed


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
