"""Decoding files ahead of their use, in threads, within a limit of memory.

Threads suffice: Pillow decodes and scales without holding Python's global lock.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

THREADS = min(4, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
"""Files that are decoded at the same time."""

IN_FLIGHT = 4 * THREADS
"""Files that are decoded, or wait to be, before their turn."""

MEBIBYTES = 256
"""Memory for decoded images by default, and for the arrays of a task before they go to a temporary file."""


def limit_from(variable: str) -> int:
    """Return the bytes that an environment variable gives in MiB, by default `MEBIBYTES`.

    Raises:
        ValueError: it is not a number.
    """
    return int(float(os.environ.get(variable) or MEBIBYTES) * 2**20)


class Budget:
    """Bytes that all splits of the process share; `limit` is asked at every use."""

    def __init__(self, limit: Callable[[], int]) -> None:
        self.limit, self.used = limit, 0
        self._lock = threading.Lock()

    def take(self, size: int) -> bool:
        """Take some bytes, and return whether there were enough.

        What is kept stays: were the least recently used images replaced, a scan of more than fits would find none.
        """
        with self._lock:
            if self.used + size > self.limit():
                return False
            self.used += size
            return True

    def give(self, size: int) -> None:
        """Give bytes back."""
        with self._lock:
            self.used -= size


DECODED = Budget(lambda: limit_from("SUITE_DECODED_MB"))
"""Memory of decoded images, shared by all axes and tasks of the process: SUITE_DECODED_MB."""


def in_order(function: Callable[[T], R], items: Iterable[T], *, threads: bool = True) -> Iterator[R]:
    """Yield a function's results in the order of the items; with threads, at most `IN_FLIGHT` run ahead."""
    if not threads:
        yield from map(function, items)
        return
    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(THREADS) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) >= IN_FLIGHT:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def one_ahead(function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """Yield a function's results in order, while another thread computes the next one."""
    with ThreadPoolExecutor(1) as pool:
        following: Future[R] | None = None
        for item in items:
            current, following = following, pool.submit(function, item)
            if current is not None:
                yield current.result()
        if following is not None:
            yield following.result()
