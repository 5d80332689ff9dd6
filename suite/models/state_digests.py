"""The identity of what a module holds: tensors of every layout, packed weights and extra state."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

PLAIN = (type(None), bool, int, float, complex, str, bytes, torch.dtype, torch.device, np.generic)
"""Types whose text says all."""


def state_digest(module: nn.Module) -> str:
    """Return the SHA-256 of a module's state, names included: parameters, buffers, packed weights and extra state."""
    content = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        for piece in _pieces(value, name):
            content.update(piece)
    return content.hexdigest()


def _pieces(value: Any, name: str, seen: tuple[int, ...] = ()) -> Iterator[bytes]:
    """Yield bytes that say what a value of a state is, and where; the same ones in every process."""
    if isinstance(value, Tensor):
        yield from _tensor_pieces(value.detach(), name)
    elif isinstance(value, np.ndarray) and value.dtype.kind != "O":
        yield f"{name}{value.dtype}{value.shape}".encode() + value.tobytes()
    elif isinstance(value, PLAIN) or id(value) in seen:
        yield f"{name}{value!r}".encode() if isinstance(value, PLAIN) else b"again"
    else:
        yield f"{name}{type(value).__qualname__}".encode()
        for key, part in _parts(value):
            yield from _pieces(part, f"{name}.{key}", (*seen, id(value)))


def _tensor_pieces(tensor: Tensor, name: str) -> Iterator[bytes]:
    value = (tensor if tensor.layout is torch.strided else tensor.to_dense()).cpu().contiguous()
    yield f"{name}{value.dtype}{tuple(value.shape)}".encode()
    if value.is_quantized:
        scheme = value.qscheme()
        yield repr(scheme).encode()
        per_channel = scheme in (torch.per_channel_affine, torch.per_channel_affine_float_qparams)
        parts = (
            (value.q_per_channel_scales(), value.q_per_channel_zero_points())
            if per_channel
            else (torch.tensor([value.q_scale(), value.q_zero_point()], dtype=torch.float64),)
        )
        for part in parts:
            yield from _tensor_pieces(part, "")
        value = value.int_repr()
    yield value.reshape(-1).view(torch.uint8).numpy().tobytes()


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the parts of a value that is no tensor: entries of containers, or the state that it would be pickled by."""
    if isinstance(value, Mapping):
        yield from ((repr(key), part) for key, part in value.items())
    elif isinstance(value, set | frozenset):
        yield from (("", part) for part in sorted(value, key=repr))
    elif isinstance(value, tuple | list):
        yield from ((str(place), part) for place, part in enumerate(value))
    else:
        try:
            yield "state", value.__getstate__()
        except Exception:  # an object of another language may have no state to read; its outputs are digested too
            return
