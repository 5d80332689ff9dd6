"""Auditing a model from Python."""

import inspect
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from rich.console import Console
from torch import nn

from suite.data import TaskData
from suite.errors import ModelError, did_you_mean
from suite.escaping import escaped_name
from suite.models.base import TorchModel
from suite.paths import default_store
from suite.registry import REGISTRY
from suite.runner.harness import AXES, Harness, Outcome, plan
from suite.runner.preparation import kind_of, prepare_task
from suite.runner.process import few_threads
from suite.runner.progress import bars
from suite.runner.settings import Settings
from suite.store import Store

if TYPE_CHECKING:
    from suite.leaderboard import Board


@dataclass(frozen=True)
class Audit:
    """The result of an audit.

    Attributes:
        rows: one row per measure, with the columns of `Store.rows`.
        outcome: which cells ran, were stored before, or failed and why.
        store: the store with the results.
        task: the name of the task on the board.
    """

    rows: pd.DataFrame
    outcome: Outcome
    store: Store
    task: str

    def __str__(self) -> str:
        """Return the leaderboard of the task as text, with the weights, samples and seed of this audit."""
        from suite.leaderboard.text import board_table

        console = Console(width=120, file=io.StringIO())
        with console.capture() as captured:
            console.print(board_table(self._board()))
        return captured.get()

    def _board(self) -> "Board":
        from suite.leaderboard import board

        n, seed = int(self.rows["cell_n"].max()), int(self.rows["seed"].iloc[0])
        return board(self.store, self.task, n=n or None, seed=seed, latest=self.outcome.keys)


def load(task: str, *, seed: int = 0) -> TaskData:
    """Return the samples of a task: ``train``, ``validation`` and ``test``, each with ids, ``pixels()`` and targets.

    Train on ``train`` and select on ``validation``; do not use ``test`` for either.

    Args:
        task: spec of the task.
        seed: seed of the split; use the same one for the audit.

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
    """Measure a model in memory on all axes, and return its results.

    The test samples are those of ``suite.load(task, seed=seed).test``; the model must not be trained on them.

    Args:
        model: a trained module for the adapter of the task's kind (for classification a map from images to logits),
            or such an adapter.
        task: spec of the task, for example ``imagefolder(path='photos', size=64)``.
        name: name of the model on the board.
        axes: names or specs of axes.
        n: maximum number of test samples; None for all.
        seed: seed of the split, of attacks and resampling.
        store: folder of results, by default SUITE_STORE or .suite. Stored results are not measured again.
        settings: device, batch size and progress; by default progress bars are shown.
        adapter: arguments of the adapter: bounds, mean, std, input_size, ...

    Raises:
        SuiteError: the task or an axis does not exist. A model that fails raises nothing; its rows state the reason.
    """
    wrapped = model if isinstance(model, TorchModel) else _wrapped(model, task, adapter)
    if wrapped.recipe is not None and wrapped.weights is None:
        raise ModelError(
            "audit does not train, but this model has a recipe and no weights. Declare it with @model instead."
        )
    if not isinstance(name, str) or not name.strip() or escaped_name(name) != name:
        raise ModelError(f"name={name!r}; expected a text without control characters or surrogates. Choose another.")
    if any(entry.name == name for entry in REGISTRY.names("model")):
        raise ModelError(f"name={name!r} is the name of a registered model; choose another.")
    results = Store(store if store is not None else default_store())
    cells = plan([task], [name], axes, n=n, seed=seed, given=(name,))
    with bars(Console(stderr=True)) as progress:
        chosen = settings or Settings(track=progress.track, on_task_loaded=progress.on_task_loaded)
        with few_threads():
            outcome = Harness(results, chosen, given={name: wrapped}).run(cells)
    rows = results.rows()
    mine = rows[rows["key"].isin(outcome.keys)].reset_index(drop=True)
    return Audit(mine, outcome, results, str(mine["task"].iloc[-1]))


def _wrapped(model: nn.Module, task: str, arguments: Mapping[str, Any]) -> TorchModel:
    adapter = kind_of(task).models.adapter
    known = [name for kind in adapter.__mro__ for name in inspect.signature(kind).parameters]
    known += inspect.signature(audit).parameters
    if unknown := [name for name in arguments if name not in known]:
        raise ModelError(
            f"Neither audit nor {adapter.__name__} has an argument {unknown[0]!r}.{did_you_mean(unknown[0], known)}"
        )
    try:
        return adapter(model, **arguments)
    except TypeError as error:
        raise ModelError(
            f"{adapter.__name__} cannot wrap the module: {error}. Pass its arguments to audit, or pass a "
            f"{adapter.__name__} instead of a module."
        ) from error
