"""Measuring cells in several processes of one machine.

The cells of one model on one task stay in one process, so that the model is trained once.
"""

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from queue import Queue
from typing import Any, TypeAlias

from suite.runner.harness import Harness, Outcome
from suite.runner.process import limit_memory, use_threads
from suite.runner.settings import Settings, silent
from suite.store import Store
from suite.terminal import prepare
from suite.types import Cell

POLL_SECONDS = 0.2
"""Seconds between two readings of the messages of the processes."""

Messages: TypeAlias = "Queue[tuple[str, tuple[Any, ...]]]"
"""Names of callbacks of `Settings`, with their arguments."""


def run_in_processes(store: Store, settings: Settings, cells: Sequence[Cell], jobs: int) -> Outcome:
    """Measure cells in several processes, at most one for each model on a task.

    Models start in the order of the cells: with the longest training runs first, all processes finish at about the same
    time. Rows are those of `Harness.run`. One progress bar counts the cells; other bars are not shown.

    Args:
        store: receives the records of all processes.
        settings: settings of the harness.
        cells: the cells to measure.
        jobs: number of processes; 1 for the current process.

    Raises:
        SuiteError: as `Harness.run`, from any process; the others stop after their current cell.
    """
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        groups.setdefault((cell.task, cell.model), []).append(cell)
    workers = min(jobs, len(groups))
    if workers < 2:
        return Harness(store, settings).run(cells)
    outcome = Outcome()
    with multiprocessing.get_context("spawn").Manager() as manager, _pool(workers) as pool:
        messages: Messages = manager.Queue()
        quiet = replace(
            settings,
            track=silent,
            on_cell_done=partial(_send, messages, "on_cell_done"),
            on_task_loaded=partial(_send, messages, "on_task_loaded"),
        )
        futures = [pool.submit(_measure, store.root, quiet, group, workers) for group in groups.values()]
        for _ in settings.track(_finished_cells(messages, settings, futures, len(cells)), "cells", len(cells)):
            pass
        for future in futures:
            outcome.add(future.result())
    return outcome


def _send(messages: Messages, name: str, *arguments: Any) -> None:
    """Send the arguments of a callback to the main process."""
    messages.put((name, arguments))


def _measure(root: Path, settings: Settings, cells: Sequence[Cell], workers: int) -> Outcome:
    prepare()
    use_threads()
    limit_memory(share=workers)
    return Harness(Store(root), settings).run(cells)


def _finished_cells(
    messages: Messages, settings: Settings, futures: Sequence[Future[Outcome]], total: int
) -> Iterator[None]:
    """Forward the messages of the processes to the callbacks, and yield once per cell."""
    loaded: set[str] = set()
    count, running = 0, set(futures)
    while running or not messages.empty():
        failed = next((future for future in futures if future.done() and future.exception()), None)
        if failed is not None:
            for future in running:
                future.cancel()
            failed.result()
        while not messages.empty():  # this process is the only reader
            name, arguments = messages.get()
            if name == "on_cell_done":
                settings.on_cell_done(*arguments)
                count += 1
                yield
            elif arguments[0] not in loaded:  # every process loads the task, but one message is enough
                loaded.add(arguments[0])
                settings.on_task_loaded(*arguments)
        running = set(wait(running, timeout=POLL_SECONDS).not_done)
    yield from (None for _ in range(total - count))  # cells that were stored before


@contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
