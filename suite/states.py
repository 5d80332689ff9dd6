"""States of training nodes on disk: JSON values with arrays in a file of their own."""

import contextlib
import io
import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from suite.errors import StoreError

ARRAY = "array"
"""The key of a reference to an array; a state has no mapping with this key alone."""


def files(state: Mapping[str, Any]) -> dict[str, bytes]:
    """Return a state as files: nested dictionaries and lists of JSON values and numpy arrays."""
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    values = _without_arrays(state, arrays)
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **arrays)
    return {"state.json": json.dumps(values).encode(), "arrays.npz": content.getvalue()}


def read(folder: Path) -> dict[str, Any]:
    """Return the state in a folder.

    Raises:
        StoreError: it is damaged.
    """
    try:
        with np.load(folder / "arrays.npz", allow_pickle=False) as arrays:
            state = _with_arrays(json.loads((folder / "state.json").read_text("utf-8")), arrays)
    except (OSError, ValueError, KeyError) as error:
        raise StoreError(f"{folder} is damaged: {error}. Delete it; it is made again when it is needed.") from error
    return dict(state)


def remembered(folder: Path, make: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
    """Return the state in a folder; if there is none, make it and keep it there.

    A state that cannot be kept or read is made again.
    """
    if folder.is_dir():
        with contextlib.suppress(StoreError):
            return read(folder)
    state = make()
    with contextlib.suppress(OSError):
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=folder.parent))
        for name, content in files(state).items():
            (scratch / name).write_bytes(content)
        scratch.rename(folder)  # readers see all of it or nothing
    return dict(state)


def _without_arrays(value: Any, arrays: dict[str, np.ndarray[Any, Any]]) -> Any:
    """Move the arrays of a value into `arrays`, and return it with references to them."""
    if isinstance(value, np.ndarray):
        name = f"a{len(arrays)}"
        arrays[name] = value
        return {ARRAY: name}
    if isinstance(value, Mapping):
        return {name: _without_arrays(item, arrays) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_arrays(item, arrays) for item in value]
    return value


def _with_arrays(value: Any, arrays: Mapping[str, Any]) -> Any:
    if isinstance(value, dict):
        if value.keys() == {ARRAY}:
            return arrays[value[ARRAY]]
        return {name: _with_arrays(item, arrays) for name, item in value.items()}
    return [_with_arrays(item, arrays) for item in value] if isinstance(value, list) else value
