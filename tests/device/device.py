"""Build and load the pretend accelerator of `pretend.cpp`, a device called ``pretend``.

Load it only in a process of its own, and before any backward pass: PyTorch counts the devices at the first one.
"""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import torch

SOURCE = Path(__file__).with_name("pretend.cpp")
COMPILER = "g++"
NAME = "pretend"
CACHE = Path(tempfile.gettempdir()) / "trust-suite-pretend-device"


def missing_compiler() -> str:
    """Return why the device cannot be built here, or an empty text."""
    return "" if shutil.which(COMPILER) else f"no {COMPILER} to build the pretend device with"


def build(cache: Path = CACHE) -> Path:
    """Compile the device unless it was compiled before; return the shared library."""
    from torch.utils import cpp_extension

    content = SOURCE.read_bytes() + Path(__file__).read_bytes() + torch.__version__.encode()
    library = cache / f"pretend-{hashlib.sha256(content).hexdigest()[:16]}.so"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not library.exists():
            includes = [option for path in cpp_extension.include_paths() for option in ("-isystem", path)]
            abi = f"-D_GLIBCXX_USE_CXX11_ABI={int(torch.compiled_with_cxx11_abi())}"
            libraries = [*(f"-L{path}" for path in cpp_extension.library_paths()), "-lc10", "-ltorch_cpu"]
            made = library.with_suffix(".part")
            command = [COMPILER, "-std=c++20", "-O1", "-w", "-shared", "-fPIC", abi, *includes, str(SOURCE), *libraries]
            subprocess.run([*command, "-o", str(made)], check=True)
            made.rename(library)
    return library


class Module:
    """What PyTorch expects of ``torch.pretend``."""

    @staticmethod
    def is_available() -> bool:
        """Return whether there is a device."""
        return True

    @staticmethod
    def is_initialized() -> bool:
        """Return whether the device is in use."""
        return True

    @staticmethod
    def _is_in_bad_fork() -> bool:
        return False

    @staticmethod
    def device_count() -> int:
        """Return the number of devices."""
        return 1

    @staticmethod
    def current_device() -> int:
        """Return the index of the current device."""
        return 0

    @staticmethod
    def set_device(device: object) -> None:
        """Do nothing: there is one device."""

    @staticmethod
    @contextmanager
    def device(device: object) -> Iterator[None]:
        """Do nothing: there is one device."""
        yield

    @staticmethod
    def synchronize(device: object = None) -> None:
        """Do nothing: operators finish before they return."""

    @staticmethod
    def manual_seed_all(seed: int) -> None:
        """Seed the generator of the device."""
        torch.ops.pretend.manual_seed(seed % 2**63)

    manual_seed = manual_seed_all

    @staticmethod
    def get_rng_state(device: object = 0) -> torch.Tensor:
        """Return the state of the device's generator, a CPU tensor."""
        return torch.ops.pretend.state()

    @staticmethod
    def set_rng_state(state: torch.Tensor, device: object = 0) -> None:
        """Restore a state of the device's generator."""
        torch.ops.pretend.set_state(state)

    @staticmethod
    def get_amp_supported_dtype() -> list[torch.dtype]:
        """Return the types of mixed precision."""
        return [torch.float16, torch.bfloat16]


def load() -> None:
    """Make the device known to this process as ``pretend``."""
    torch.ops.load_library(str(build()))
    torch.utils.rename_privateuse1_backend(NAME)
    torch._register_device_module(NAME, Module)
    torch.utils.generate_methods_for_privateuse1_backend(for_storage=True)


def finish(result: Any) -> NoReturn:
    """Print a result as JSON and end the process at once.

    At a regular end of the process, the threads of the backward pass can outlive the device, which aborts it.
    """
    print(json.dumps(result), flush=True)
    os._exit(0)


@dataclass
class Waits:
    """How often the host had to wait for the device.

    Attributes:
        by_name: number of waits by operator; copies are ``copy to host`` and ``copy to device``.
    """

    by_name: dict[str, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """The number of waits."""
        return sum(self.by_name.values())


@contextmanager
def counted_waits() -> Iterator[Waits]:
    """Count the operators within the block that make the host wait for the device."""
    waits = Waits()
    torch.ops.pretend.counts()
    try:
        yield waits
    finally:
        for line in torch.ops.pretend.counts().splitlines():
            name, _, number = line.rpartition(" ")
            waits.by_name[name] = int(number)
