"""Ties in one column of a board: paired tests on the samples that the models share."""

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pandas as pd

from suite.errors import StoreError
from suite.leaderboard.columns import Column
from suite.metrics.stats import holm_matrix, paired_p_values, rank_ranges, tie_groups
from suite.store import Store


@dataclass(frozen=True)
class Ties:
    """The results of the paired tests of one column.

    Attributes:
        letters: model to letters; models that share one do not differ significantly.
        ranks: model to its best and worst possible rank.
        left_out: model to the reason why it was not compared.
        samples: number of samples that the models were compared on.
        discordance: median over the pairs of the share of samples that exactly one of the two gets right.
    """

    letters: dict[str, str]
    ranks: dict[str, tuple[int, int]]
    left_out: dict[str, str]
    samples: int = 0
    discordance: float = 0.0


def ties(store: Store, column: Column, alpha: float) -> Ties:
    """Return the ties of a column, by exact McNemar tests adjusted by Holm over all pairs of its valid models.

    Suspect numbers are left out: what their attack missed could change the result.
    """
    entries = column.entries
    valid = entries[(entries["status"] == "ok") & entries["value"].notna()]
    if column.outcome is None or len(valid) < 2:
        return Ties({}, {}, {})
    outcomes: dict[str, pd.Series] = {}
    left_out = {}
    for model, record in valid["record"].items():
        try:
            outcomes[str(model)] = _outcomes(store, str(record), column.outcome)
        except StoreError as error:
            left_out[str(model)] = f"not compared: {error}"
    shared = _shared(outcomes)
    left_out |= dict.fromkeys(outcomes.keys() - shared.keys(), "not compared: measured on other samples")
    return _tested(shared, valid["value"], left_out, alpha, column.higher_is_better is not False)


def stored_samples(store: Store, record: str, *columns: str) -> pd.DataFrame:
    """Return per-sample columns of a record.

    Raises:
        StoreError: they cannot be read, or were not stored.
    """
    try:
        samples = store.samples(record)
    except (OSError, ValueError) as error:
        raise StoreError(f"per-sample values cannot be read ({type(error).__name__})") from error
    if not set(columns) <= set(samples.columns):
        raise StoreError("per-sample values were not stored")
    return samples[list(columns)] if columns else samples


def _tested(
    shared: dict[str, pd.Series], values: pd.Series, left_out: dict[str, str], alpha: float, higher: bool
) -> Ties:
    if len(shared) < 2:
        return Ties({}, {}, left_out | dict.fromkeys(shared, "not compared: no other model has its samples"))
    models = list(shared)
    outcomes = np.stack([shared[model].to_numpy() for model in models])
    p = holm_matrix(paired_p_values(outcomes))
    scores = values[models].to_numpy(dtype=float)
    letters = tie_groups(scores, p, alpha=alpha, higher_is_better=higher)
    ranks = rank_ranges(scores, p, alpha=alpha, higher_is_better=higher)
    by_letter, by_rank = dict(zip(models, letters, strict=True)), dict(zip(models, ranks, strict=True))
    return Ties(by_letter, by_rank, left_out, outcomes.shape[1], _discordance(outcomes))


def _discordance(outcomes: np.ndarray) -> float:
    right = outcomes.astype(np.float64)
    both = right @ right.T
    one = right.sum(axis=1)
    shares = (one[:, None] + one[None] - 2 * both) / outcomes.shape[1]
    return float(np.median(shares[np.triu_indices(len(shares), 1)]))


def _outcomes(store: Store, record: str, outcome: str | float) -> pd.Series:
    """Return whether each sample of a record is correct, by sample id, in the order of the ids."""
    samples = stored_samples(store, record)
    name = outcome if isinstance(outcome, str) else _robust_column(samples, outcome)
    if name not in samples or "id" not in samples:
        raise StoreError("per-sample values were not stored")
    series = samples.set_index("id")[name]
    if not series.index.is_unique:
        raise StoreError("sample ids are not unique")
    # A sample without an outcome counts against the model.
    return series.eq(True).fillna(False).astype(bool).sort_index()


def _robust_column(samples: pd.DataFrame, size: float) -> str:
    """Return the column of outcomes under an attack of a size, such as ``robust@0.05``; empty if there is none."""
    names = [str(name) for name in samples.columns if str(name).startswith("robust@")]
    sizes = pd.to_numeric(pd.Series(names, dtype=object).str.removeprefix("robust@"), errors="coerce")
    return next((name for name, at in zip(names, sizes, strict=True) if math.isclose(at, size, rel_tol=1e-6)), "")


def _shared(outcomes: dict[str, pd.Series]) -> dict[str, pd.Series]:
    """Return the outcomes of the largest set of models that were evaluated on exactly the same samples."""
    ids = {model: tuple(series.index) for model, series in outcomes.items()}
    most = Counter(ids.values()).most_common(1)
    return {model: series for model, series in outcomes.items() if ids[model] == most[0][0]}
