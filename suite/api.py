"""Auditing a model from Python, in a few lines."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from torch import nn

from suite.data import TaskData
from suite.errors import ModelError
from suite.models.base import TorchModel
from suite.paths import default_store
from suite.registry import REGISTRY
from suite.runner.harness import AXES, Harness, Outcome, plan
from suite.runner.preparation import kind_of, prepare_task
from suite.runner.process import few_threads
from suite.runner.progress import bars
from suite.runner.settings import Settings
from suite.store import Store


@dataclass(frozen=True)
class Audit:
    """The result of an audit.

    Attributes:
        rows: one line per measure, as `Store.rows`.
        outcome: which cells ran, which were stored before, which failed and why.
        store: where everything is kept.
        task: the task's name on the board.
    """

    rows: pd.DataFrame
    outcome: Outcome
    store: Store
    task: str

    def __str__(self) -> str:
        """Return the task's leaderboard as text."""
        from suite.leaderboard import board
        from suite.leaderboard.text import board_table

        console = Console(width=120, file=io.StringIO())
        with console.capture() as captured:
            console.print(board_table(board(self.store, self.task)))
        return captured.get()


def load(task: str, *, seed: int = 0) -> TaskData:
    """Return a task's samples: ``train``, ``validation`` and ``test``, each with ids, ``pixels()`` and targets.

    Train on ``train`` and choose on ``validation``: a model that has seen ``test`` cannot be audited on the task.

    Args:
        task: spec of the task.
        seed: of the split; the same as the audit's.

    Raises:
        SuiteError: the task does not exist, or has no usable samples.
    """
    return prepare_task(task, seed).data


def audit(
    model: nn.Module | TorchModel,
    *,
    task: str,
    name: str = "mine",
    axes: Sequence[str] = AXES,
    n: int | None = None,
    seed: int = 0,
    store: str | Path | None = None,
    settings: Settings | None = None,
    **adapter: Any,
) -> Audit:
    """Measure a model that exists in memory on all axes and return the board it stands on.

    The test samples are those of ``suite.load(task, seed=seed).test``; the model must not have been trained on them.

    Args:
        model: a trained module as the adapter of the task's kind takes it (for classification one that maps images to
            logits), or that adapter round one.
        task: spec of the task, for example ``imagefolder(path='photos', size=64)``.
        name: what the board calls it.
        axes: names or specs of axes.
        n: how many test samples at most; None for all.
        seed: of the split, of attacks and resampling.
        store: folder of results; SUITE_STORE or .suite by default. What is stored is not measured again.
        settings: device, batch size, progress; by default bars are shown while it runs.
        adapter: arguments of that adapter: bounds, mean, std, input_size, ...

    Raises:
        SuiteError: the task or an axis does not exist. A model that fails does not raise; its rows say why.
    """
    wrapped = model if isinstance(model, TorchModel) else _wrapped(model, task, adapter)
    if wrapped.recipe is not None and wrapped.weights is None:
        raise ModelError(
            "audit measures a model as it is; this one asks to be trained. Declare it with @model instead."
        )
    if any(entry.name == name for entry in REGISTRY.names("model")):
        raise ModelError(f"name={name!r} is a model of the suite, whose row would be taken for yours; choose another.")
    kept = Store(store if store is not None else default_store())
    cells = plan([task], [name], axes, n=n, seed=seed, given=(name,))
    with bars(Console(stderr=True)) as shown:
        chosen = settings or Settings(track=shown.track, on_task_loaded=shown.on_task_loaded)
        with few_threads():
            outcome = Harness(kept, chosen, given={name: wrapped}).run(cells)
    rows = kept.rows()
    mine = rows[rows["key"].isin(outcome.keys)].reset_index(drop=True)
    return Audit(mine, outcome, kept, str(mine["task"].iloc[-1]))


def _wrapped(model: nn.Module, task: str, arguments: Mapping[str, Any]) -> TorchModel:
    adapter = kind_of(task).adapter
    try:
        return adapter(model, **arguments)
    except TypeError as error:
        raise ModelError(
            f"{adapter.__name__} cannot be put round the module: {error}. Give what it needs to audit as well, or hand "
            f"over a {adapter.__name__} of your own."
        ) from error
