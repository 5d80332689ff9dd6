"""Settings of the whole process: device, threads and memory limit."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from suite.errors import SuiteError

KEPT_FREE = 0.05
"""Fraction of the available memory that is left to the rest of the machine."""


def pick_device(name: str) -> torch.device:
    """Return a device by name; ``auto`` is a GPU if there is one, else the CPU.

    Raises:
        SuiteError: there is no such device on this machine.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, TypeError) as error:
        raise SuiteError(f"Device {name!r} cannot be used: {str(error).splitlines()[0]}. Try cpu or auto.") from error
    return device


def use_threads() -> None:
    """Set the number of CPU threads to SUITE_THREADS, by default 1.

    Small networks are no faster with more threads, and many times slower if other processes use the CPU.

    Raises:
        SuiteError: SUITE_THREADS is not a positive number.
    """
    threads = os.environ.get("SUITE_THREADS", "1")
    if not threads.isdecimal() or int(threads) < 1:
        raise SuiteError(f"SUITE_THREADS={threads!r}; expected a positive number of threads.")
    torch.set_num_threads(int(threads))


@contextmanager
def few_threads() -> Iterator[None]:
    """Use the number of threads of the suite within the block, and restore that of the caller."""
    before = torch.get_num_threads()
    use_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


def limit_memory(more: int | None = None, *, share: int = 1) -> None:
    """Limit the memory of this process, so that a model that needs too much becomes a failed row.

    Without a limit Linux promises more memory than it has, and then kills the whole run. On other systems this does
    nothing.

    Args:
        more: bytes that may be allocated from now on; None for the available memory less `KEPT_FREE`.
        share: number of processes that start together and share the available memory.
    """
    status, meminfo = Path("/proc/self/status"), Path("/proc/meminfo")
    if not status.exists() or not meminfo.exists():
        return
    left = more if more is not None else int(_available(meminfo) * (1 - KEPT_FREE) / share)
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = _kibibytes(status, "VmData") * 1024 + left
    resource.setrlimit(resource.RLIMIT_DATA, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


def peak_megabytes(device: torch.device) -> float:
    """Return the peak memory in MiB: that of the device for a GPU, else that of the process."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 2**20, 1)
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


def _available(meminfo: Path) -> int:
    """Return the available memory of the machine or the container in bytes."""
    free = _kibibytes(meminfo, "MemAvailable") * 1024
    limit, used = (Path("/sys/fs/cgroup") / name for name in ("memory.max", "memory.current"))
    if limit.exists() and used.exists() and limit.read_text().strip().isdecimal():
        return max(0, min(free, int(limit.read_text()) - int(used.read_text())))
    return free


def _kibibytes(file: Path, name: str) -> int:
    return next(int(line.split()[1]) for line in file.read_text().splitlines() if line.startswith(f"{name}:"))
