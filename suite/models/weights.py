"""Loading weights without executing code from the file."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from suite.errors import WeightsError
from suite.models.outputs import form_of
from suite.models.state_digests import state_digest as state_digest  # a part of what this module offers
from suite.models.weight_files import checked_file, read_state, split_key
from suite.models.weight_names import Comparison, compare, describe_difference, holders, stored_values

HOLDERS = 6
"""Mappings of a file that are listed in an error."""


def file_digest(path: str | Path) -> str:
    """Return the SHA-256 of a file; after ``file#key`` the key is part of it.

    Raises:
        WeightsError: there is no such file.
    """
    file, key = split_key(path)
    try:
        with checked_file(file).open("rb") as opened:
            content = hashlib.file_digest(opened, "sha256")
    except OSError as error:
        raise WeightsError(f"Weights {str(path)!r} cannot be read: {error}. Give the path of a stored file.") from error
    content.update(b"" if key is None else f"#{key}".encode())
    return content.hexdigest()


def load_weights(module: nn.Module, path: str | Path) -> None:
    """Load weights from a file into a module, on the module's own device.

    The weights may lie in a checkpoint, beside other values and under a prefix such as ``module.``: the part is taken
    that has all of the module's names, with the same shapes. If several parts have, one is named as ``file.pt#ema``.

    Args:
        module: receives the weights; it stays as it is if they do not fit.
        path: a file that safetensors wrote, or a PyTorch checkpoint of plain values.

    Raises:
        WeightsError: the file is missing, contains code, or does not fit; or a weight is NaN.
    """
    target = module.module if isinstance(module, nn.DataParallel) else module
    chosen = _chosen(target, path)
    if names := [name for name, value in chosen.found.items() if _has_nan(value)]:
        raise WeightsError(
            f"{path} holds NaN in {', '.join(names[:4])} ({len(names)} of {len(chosen.found)} names); training "
            "diverged, or the file is damaged. Take an earlier checkpoint."
        )
    state = target.state_dict()
    state.update(chosen.found)
    try:
        target.load_state_dict(state)
    except Exception as error:  # modules may check more than names and shapes
        raise WeightsError(f"{path} was refused by {type(target).__name__}: {error}") from error


def stored_names(path: str | Path) -> list[str]:
    """Return the names of all values of a file, with the keys of the mappings around them.

    Raises:
        WeightsError: the file cannot be read.
    """
    return list(stored_values(read_state(path)))


def to_bytes(module: nn.Module) -> bytes:
    """Return a module's weights in the safetensors format.

    Raises:
        WeightsError: its state holds more than tensors.
    """
    state = module.state_dict()
    if others := [f"{name} ({type(value).__name__})" for name, value in state.items() if not isinstance(value, Tensor)]:
        raise WeightsError(
            f"The state of {type(module).__name__} holds {', '.join(others[:4])}, which cannot be stored as weights; "
            "expected tensors. Keep it in buffers, or train the model yourself and audit it in memory."
        )
    return save(
        {name: value.detach().cpu().clone(memory_format=torch.contiguous_format) for name, value in state.items()}
    )


def _chosen(module: nn.Module, path: str | Path) -> Comparison:
    """Return the part of a file that fits a module."""
    (file, key), name = split_key(path), type(module).__name__
    held = read_state(file)
    stored = stored_values(held)
    counts = sorted(holders(stored).items(), key=lambda item: -item[1])
    inside = ", ".join(
        f"{holder or 'the top level'} ({count} tensor{'' if count == 1 else 's'})" for holder, count in counts[:HOLDERS]
    )
    if not inside:
        raise WeightsError(
            f"{file} holds no mapping of names to tensors; it holds {form_of(held)}. Save module.state_dict(): numbers "
            "in lists and NumPy arrays are not read."
        )
    compared = compare(module, stored, key)
    if key is not None and not compared[0].found:
        raise WeightsError(f"{file} holds no weights of {name} under {key!r}. It has: {inside}.")
    fitting = [one for one in compared if one.covers]
    if len(fitting) > 1 and not _are_equal(fitting):
        keys = ", ".join(repr(f"{file}#{one.key}") for one in fitting)
        raise WeightsError(f"{file} holds several states that fit {name}. Say which: weights={keys}.")
    best = compared[0]
    if not best.covers or best.surplus:
        hint = " Is the number of classes the same?" if _differs_in_first_sizes(module, best) else ""
        raise WeightsError(
            f"{file} does not fit {name}. {describe_difference(module, best)} Build the architecture the weights were "
            f"saved from.{hint} The file has: {inside}."
        )
    return best


def _differs_in_first_sizes(module: nn.Module, best: Comparison) -> bool:
    """Return whether only the first sizes of some tensors differ, as those of the last layer of other classes."""
    own = module.state_dict()
    pairs = [(own[name], best.found[name]) for name in best.unequal]
    shapes = [tuple(value.shape if isinstance(value, Tensor) else () for value in pair) for pair in pairs]
    is_resized = all(mine[:1] != other[:1] and mine[1:] == other[1:] for mine, other in shapes)
    return is_resized and bool(shapes) and not best.missing and not best.surplus


def _are_equal(parts: Sequence[Comparison]) -> bool:
    first = {name: value for name, value in parts[0].found.items() if isinstance(value, Tensor)}
    return all(torch.equal(part.found[name], first[name]) for part in parts[1:] for name in first if name in part.found)


def _has_nan(value: Any) -> bool:
    if not isinstance(value, Tensor) or not value.is_floating_point() or value.layout is not torch.strided:
        return False
    return bool((value.float() if value.itemsize == 1 else value).isnan().any())
