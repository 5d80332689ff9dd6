"""Cells in several processes of one machine: a store takes records from any number of them.

The cells of one model on one task stay together, so that it is trained once.
"""

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.managers import SyncManager
from pathlib import Path
from queue import Empty, Queue
from typing import Any

from suite.runner.harness import Harness, Outcome
from suite.runner.process import limit_memory, use_threads
from suite.runner.settings import Settings, silent
from suite.store import Store
from suite.types import Cell

PATIENCE = 0.2
"""Seconds between two looks at what the processes say."""


@dataclass(frozen=True)
class _Post:
    """Sends what a harness says to the process that shows it."""

    queue: Queue[tuple[str, tuple[Any, ...]]]

    def on_cell_done(self, *said: Any) -> None:
        self.queue.put(("tell", said))

    def on_task_loaded(self, *said: Any) -> None:
        self.queue.put(("inform", said))


def run_in_processes(store: Store, settings: Settings, cells: Sequence[Cell], jobs: int) -> Outcome:
    """Measure cells in as many processes as asked for, at most one for each model on a task.

    Rows are those of `Harness.run`. While it runs, one bar counts the cells; other bars are not shown.

    Args:
        store: receives the records of all processes.
        settings: as for a harness.
        cells: the work.
        jobs: processes; 1 to stay in this one.

    Raises:
        SuiteError: as `Harness.run`, from any process; the others end with the cell they are at.
    """
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        groups.setdefault((cell.task, cell.model), []).append(cell)
    workers = min(jobs, len(groups))
    if workers < 2:
        return Harness(store, settings).run(cells)
    outcome = Outcome()
    with _manager() as manager, _pool(workers) as pool:
        post = _Post(manager.Queue())
        quiet = replace(settings, track=silent, on_cell_done=post.on_cell_done, on_task_loaded=post.on_task_loaded)
        asked = [pool.submit(_measure, store.root, quiet, group, workers) for group in groups.values()]
        for _ in settings.track(_ends(post, settings, asked, len(cells)), "cells", len(cells)):
            pass
        for done in asked:
            outcome.add(done.result())
    return outcome


def _measure(root: Path, settings: Settings, cells: Sequence[Cell], workers: int) -> Outcome:
    use_threads()
    limit_memory(share=workers)
    return Harness(Store(root), settings).run(cells)


def _ends(post: _Post, settings: Settings, asked: Sequence[Future[Outcome]], total: int) -> Iterator[None]:
    """Pass on what is said, and yield once for each cell."""
    heard: set[str] = set()
    counted, left = 0, set(asked)
    while left or not post.queue.empty():
        failed = next((done for done in asked if done.done() and done.exception()), None)
        if failed is not None:
            for future in left:
                future.cancel()
            failed.result()
        for name, said in _said(post):
            if name == "inform" and said[0] not in heard:  # every process reads a task for itself
                heard.add(said[0])
                settings.on_task_loaded(*said)
            elif name == "tell":
                settings.on_cell_done(*said)
                counted += 1
                yield
        left = set(wait(left, timeout=PATIENCE).not_done)
    yield from (None for _ in range(total - counted))  # what was stored before is not told of


def _said(post: _Post) -> Iterator[tuple[str, tuple[Any, ...]]]:
    while True:
        try:
            yield post.queue.get_nowait()
        except Empty:
            return


@contextmanager
def _manager() -> Iterator[SyncManager]:
    with multiprocessing.get_context("spawn").Manager() as manager:
        yield manager


@contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
