"""Files of weights: what they are is read from their content, and none is read in a way that could run code."""

import json
import os
import pickle
import re
import stat
import warnings
import zipfile
from pathlib import Path
from typing import Any, NoReturn

import torch
from safetensors.torch import load, load_file
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from suite.errors import WeightsError
from suite.escaping import escaped
from suite.file_kinds import HEAD, disguise

PICKLE, TORCH_MAGIC = b"\x80", b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"
"""First byte of pickles, and the number that begins those of torch.save before it wrote ZIP archives."""

LONGEST_HEADER = 100_000_000
"""Bytes of the header of a safetensors file, whose first eight bytes are its length; more are not allowed."""

SIGNATURES = (
    (0, b"\x89HDF\r\n", "an HDF5 file, as Keras writes it"),
    (0, b"\x93NUMPY", "a NumPy array"),
    (0, b"GGUF", "a GGUF file"),
    (0, b"x^", "a file compressed by zlib, as joblib writes it"),
    (0, b"x\x9c", "a file compressed by zlib, as joblib writes it"),
    (0, b"x\xda", "a file compressed by zlib, as joblib writes it"),
    (4, b"TFL3", "a model of TensorFlow Lite"),
    (257, b"ustar", "a tar archive, as PyTorch wrote it before 2017"),
)
"""Files of other libraries: where their first bytes are, these bytes, and what the file is."""

ONNX = re.compile(rb"\x08.\x12.{1,40}?(?:pytorch|onnx|tf2onnx|skl|keras|[Tt]ensor)", re.DOTALL)

ARCHIVES = (
    (r"^(/[^/]+)?/archive_format$", "a program of torch.export", "torch.export.load"),
    (r"^/[^/]+/(constants\.pkl$|code/)", "a TorchScript archive", "torch.jit.load"),
)
"""ZIP archives with programs: names in them, what they are, and what reads them."""

OTHER_ARCHIVES = {r"\.npy$": "an NPZ archive of NumPy", r"\.weights\.h5$": "a model of Keras"}

INERT = ("numpy", "_codecs", "argparse", "pathlib", "datetime")
"""Packages whose values, such as a stored accuracy, lie beside weights. They are left out without being built."""

SAVE = "save module.state_dict() with safetensors.torch.save_file"


class Inert:
    """Stands for a value beside the weights that is not built."""

    def __new__(cls, *parts: Any) -> "Inert":
        """Return an object that keeps nothing."""
        return object.__new__(cls)

    def __setstate__(self, state: Any) -> None:
        """Keep nothing."""


def split_key(weights: str | Path) -> tuple[Path, str | None]:
    """Return the file of ``file.pt#key`` and the key in it; None without one.

    Raises:
        WeightsError: this is no path.
    """
    if not isinstance(weights, str | os.PathLike):
        raise WeightsError(
            f"weights= got an object of type {type(weights).__name__}; expected the path of a file. Load weights that "
            "are in memory with module.load_state_dict, and leave weights= out."
        )
    path, mark, key = str(weights).rpartition("#")
    return (Path(path), key) if mark and os.sep not in key and not Path(weights).exists() else (Path(weights), None)


def checked_file(path: Path) -> Path:
    """Return the path of a regular file; others, such as devices, are never opened.

    Raises:
        WeightsError: there is no such file, or it is a folder or a device.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        raise WeightsError(
            f"There are no weights at {str(path)!r} ({error}). Give the path of a stored .safetensors or .pt file."
        ) from error
    if stat.S_ISDIR(mode):
        files = sorted(file.name for file in path.iterdir() if file.suffix.lower() in (".safetensors", ".pt", ".pth"))
        hint = f"Name a file in it, such as {files[0]}." if files else "It has no .safetensors or .pt file."
        raise WeightsError(f"{path} is a folder; expected a file of weights. {hint}")
    if not stat.S_ISREG(mode):
        raise WeightsError(f"{path} is a pipe, socket or device and was not opened; expected a file of weights.")
    return path


def read_state(path: str | Path) -> Any:
    """Return what a file holds: tensors by name, or a checkpoint around them.

    Nothing from the file is run. Values of `INERT` packages become placeholders.

    Raises:
        WeightsError: the file is missing or damaged, is of another kind, or could only be read by running code.
    """
    file = checked_file(split_key(path)[0])
    try:
        with file.open("rb") as opened:
            head = opened.read(HEAD)
        if _is_safetensors(head):
            return load_file(file) if escaped(str(file)) == str(file) else load(file.read_bytes())
        if head.startswith(b"PK\x03\x04"):
            return _from_archive(file)
        if head.startswith(PICKLE) and TORCH_MAGIC in head[:32]:
            return _from_torch(file)
    except WeightsError:
        raise
    except Exception as error:  # damaged files raise many types of errors
        reason = f"{type(error).__name__}: {str(error).splitlines()[0][:160] if str(error) else 'no reason'}"
        raise WeightsError(
            f"{file} cannot be read as weights, it is damaged or cut short ({reason}). Save or download it again."
        ) from error
    refuse_other_file(file, head)


def check_safetensors(path: Path) -> None:
    """Check that a file begins like one that safetensors wrote.

    Raises:
        WeightsError: it is another file, such as a Git LFS pointer.
    """
    with checked_file(path).open("rb") as opened:
        head = opened.read(HEAD)
    if not _is_safetensors(head):
        refuse_other_file(path, head)


def _is_safetensors(head: bytes) -> bool:
    return head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= LONGEST_HEADER


def refuse_other_file(file: Path, head: bytes) -> NoReturn:
    """Raise WeightsError saying what a file is that neither safetensors nor torch.save wrote."""
    if head.startswith(PICKLE):
        raise WeightsError(
            f"{file} is a Python pickle that torch.save did not write, perhaps of scikit-learn. It was not loaded, "
            f"because loading it could run code. If you trust it, load it yourself; then {SAVE}, or pass a "
            "torch.nn.Module that calls it to suite.audit."
        )
    if head.lstrip()[:1] == b"{" and (shards := _shards(file)):
        raise WeightsError(
            f"{file} is the index of {len(shards)} files ({', '.join(shards[:3])}) and holds no weights itself. Read "
            "these with safetensors.torch.load_file, and save all tensors in one file with save_file."
        )
    kind = next((kind for at, start, kind in SIGNATURES if head[at:].startswith(start)), None)
    if kind is None:
        kind = "a model of ONNX" if ONNX.match(head) else disguise(head)
    if kind is None:
        kind = f"of an unknown kind (first bytes {head[:8].hex(' ')})"
    raise WeightsError(
        f"{file} holds no weights of PyTorch; it is {kind}. Expected a file that safetensors or torch.save wrote: "
        f"{SAVE}."
    )


def _from_archive(file: Path) -> Any:
    with zipfile.ZipFile(file) as archive:
        names = [f"/{name}" for name in archive.namelist()]
        has_checksums = any(entry.CRC for entry in archive.infolist())
        damaged = archive.testzip() if has_checksums else None  # torch.load does not compare them
    if damaged is not None:
        raise WeightsError(
            f"{file} is damaged: the bytes of {damaged} do not match their checksum. Save or download it again."
        )
    for pattern, kind, reader in ARCHIVES:
        if any(re.search(pattern, name) for name in names):
            raise WeightsError(
                f"{file} is {kind}, whose loading could run code, and was not loaded. If you trust it, load it with "
                f"{reader} and pass the module to suite.audit, or {SAVE}."
            )
    if any(re.search(r"^/[^/]+/data\.pkl$", name) for name in names):
        return _from_torch(file)
    kinds = (kind for pattern, kind in OTHER_ARCHIVES.items() if any(re.search(pattern, name) for name in names))
    kind = next(kinds, "a ZIP archive")
    raise WeightsError(f"{file} holds no weights of PyTorch; it is {kind} with {names[0][1:]!r}. {SAVE.capitalize()}.")


def _from_torch(file: Path) -> Any:
    asked = get_unsafe_globals_in_checkpoint(file) if zipfile.is_zipfile(file) else []
    stand_ins: list[Any] = [(Inert, name) for name in asked if name.split(".")[0] in INERT]
    unknown = sorted(set(asked) - {name for _, name in stand_ins})
    try:
        with safe_globals(stand_ins), warnings.catch_warnings(), file.open("rb") as opened:
            warnings.simplefilter("ignore", UserWarning)  # about the pickle protocol; errors are raised below
            return torch.load(opened, map_location="cpu", weights_only=True)  # of a path it would obey the suffix
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL (\S+)", str(error))  # files from before the ZIP archives name one at a time
        reason = ", ".join(unknown[:4]) or (named[1] if named else "its content is not known")
        raise WeightsError(
            f"{file} contains more than tensors and was not loaded, because loading it could run code ({reason}). "
            f"If you trust it, load it yourself and {SAVE}."
        ) from None


def _shards(file: Path) -> list[str]:
    """Return the files that an index names, or nothing if this is no index."""
    try:
        listed = json.loads(file.read_bytes())["weight_map"]
        return sorted({str(name) for name in listed.values()})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return []
