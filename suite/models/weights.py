"""Loading weights without executing code from the file."""

import hashlib
import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from suite.errors import WeightsError, did_you_mean

WRAPPERS = ("state_dict", "model_state_dict", "model", "state_dict_ema")
"""Keys under which training scripts commonly put the weights inside a checkpoint."""


def file_digest(path: str | Path) -> str:
    """Return the SHA-256 of a file.

    Raises:
        WeightsError: there is no such file.
    """
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(f"Weights {str(path)!r} cannot be read: {error}. Give the path of a stored file.") from error


def state_digest(module: nn.Module) -> str:
    """Return the SHA-256 of a module's parameters and buffers, names included."""
    content = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        value = tensor.detach().cpu().contiguous()
        content.update(f"{name}{value.dtype}{tuple(value.shape)}".encode())
        content.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return content.hexdigest()


def load_weights(module: nn.Module, path: str | Path) -> None:
    """Load weights from a file into a module, on the module's own device.

    Args:
        module: receives the weights; the names must be the same as in the file.
        path: a ``.safetensors`` file, or a PyTorch checkpoint of plain tensors.

    Raises:
        WeightsError: the file is missing, contains code, or does not fit.
    """
    state = read_state(path)
    _check_shapes(module, state, path)
    missing, extra = module.load_state_dict(dict(state), strict=False)
    if missing or extra:
        hint = did_you_mean(missing[0], extra) if missing and extra else ""
        raise WeightsError(
            f"{path} does not fit {type(module).__name__}: missing {missing[:4]} ({len(missing)}), "
            f"unexpected {extra[:4]} ({len(extra)}).{hint} Build the architecture the weights were saved from."
        )


def read_state(path: str | Path) -> Mapping[str, Tensor]:
    """Return the tensors of a file by name, without executing code.

    Raises:
        WeightsError: the file is missing, damaged, or a pickle of more than tensors.
    """
    file = Path(path)
    if not file.is_file():
        raise WeightsError(f"There are no weights at {str(path)!r}; expected a .safetensors or .pt file.")
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # about the pickle protocol; errors are raised below
            stored = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).split("\n")[0][:160]
        raise WeightsError(
            f"{path} contains more than tensors and was not loaded, because loading it could run code ({reason}). "
            "If you trust it, load it yourself and save module.state_dict() with safetensors.torch.save_file."
        ) from None
    except Exception as error:  # damaged files raise many types of errors
        raise WeightsError(f"{path} cannot be read as weights: {type(error).__name__}: {error}") from error
    return _unwrapped(stored, path)


def to_bytes(module: nn.Module) -> bytes:
    """Return a module's weights in the safetensors format."""
    return save({name: value.detach().cpu().contiguous() for name, value in module.state_dict().items()})


def _unwrapped(stored: object, path: str | Path) -> Mapping[str, Tensor]:
    if isinstance(stored, Mapping):
        for key in WRAPPERS:
            if isinstance(stored.get(key), Mapping):
                stored = stored[key]
                break
    if not isinstance(stored, Mapping) or not all(isinstance(value, Tensor) for value in stored.values()):
        raise WeightsError(
            f"{path} contains a {type(stored).__name__} that is not a mapping of names to tensors. "
            "Save module.state_dict()."
        )
    return stored


def _check_shapes(module: nn.Module, state: Mapping[str, Tensor], path: str | Path) -> None:
    own = module.state_dict()
    wrong = [name for name in own if name in state and own[name].shape != state[name].shape]
    if wrong:
        name = wrong[0]
        raise WeightsError(
            f"{path} does not fit {type(module).__name__}: {name} is {tuple(state[name].shape)} in the file and "
            f"{tuple(own[name].shape)} in the module ({len(wrong)} mismatches). Is the number of classes the same?"
        )
