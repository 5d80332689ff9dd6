"""What a run sets once for its whole process: threads, and a limit to its memory."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from suite.errors import SuiteError

KEPT_FREE = 0.05
"""Share of the available memory that is left to the rest of the machine."""


def use_threads() -> None:
    """Set the number of CPU threads from SUITE_THREADS, else one.

    A small network is no faster with more, and beside another busy process it is many times slower.

    Raises:
        SuiteError: SUITE_THREADS is not a positive number.
    """
    wanted = os.environ.get("SUITE_THREADS", "1")
    if not wanted.isdecimal() or int(wanted) < 1:
        raise SuiteError(f"SUITE_THREADS={wanted!r}; expected a positive number of threads.")
    torch.set_num_threads(int(wanted))


@contextmanager
def few_threads() -> Iterator[None]:
    """Use the suite's number of threads while the block runs, and the caller's own afterwards."""
    before = torch.get_num_threads()
    use_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


def limit_memory(more: int | None = None, *, share: int = 1) -> None:
    """Let this process allocate so many bytes more than it has now, by default what the machine has left.

    Beyond that an allocation fails, and the model that asked for it becomes a failed row. Without a limit Linux hands
    out memory it does not have and then kills the whole run. Does nothing on other systems. What is left is divided by
    `share`, the number of processes that start together.
    """
    status, meminfo = Path("/proc/self/status"), Path("/proc/meminfo")
    if not status.exists() or not meminfo.exists():
        return
    left = more if more is not None else int(_available(meminfo) * (1 - KEPT_FREE) / share)
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = _kibibytes(status, "VmData") * 1024 + left
    resource.setrlimit(resource.RLIMIT_DATA, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


def peak_megabytes(device: torch.device) -> float:
    """Return the most memory that was in use so far: of the device for a GPU, else of the process."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 2**20, 1)
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


def _available(meminfo: Path) -> int:
    """Return what the machine, or the container that this runs in, has left, in bytes."""
    free = _kibibytes(meminfo, "MemAvailable") * 1024
    limit, used = (Path("/sys/fs/cgroup") / name for name in ("memory.max", "memory.current"))
    if limit.exists() and used.exists() and limit.read_text().strip().isdecimal():
        return max(0, min(free, int(limit.read_text()) - int(used.read_text())))
    return free


def _kibibytes(file: Path, name: str) -> int:
    return next(int(line.split()[1]) for line in file.read_text().splitlines() if line.startswith(f"{name}:"))
