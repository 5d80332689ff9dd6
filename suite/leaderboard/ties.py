"""Ties of one column of a board: paired tests on the samples that the models share."""

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
    """What paired tests say about one column.

    Attributes:
        letters: model to letters; models that share one are not told apart.
        ranks: model to the best and the worst rank it may hold.
        left_out: model to the reason why it was not compared.
        samples: how many samples they were compared on.
        discordance: median over the pairs of the share of samples that only one of the two is right about.
    """

    letters: dict[str, str]
    ranks: dict[str, tuple[int, int]]
    left_out: dict[str, str]
    samples: int = 0
    discordance: float = 0.0


def ties(store: Store, column: Column, alpha: float) -> Ties:
    """Return the ties of a column, by exact McNemar tests adjusted by Holm over all pairs of its valid models.

    A suspect number is left out: what the failed check missed would decide the test.
    """
    entries = column.entries
    sound = entries[(entries["status"] == "ok") & entries["value"].notna()]
    if column.outcome is None or len(sound) < 2:
        return Ties({}, {}, {})
    outcomes: dict[str, pd.Series] = {}
    left_out = {}
    for model, record in sound["record"].items():
        try:
            outcomes[str(model)] = _outcomes(store, str(record), column.outcome)
        except StoreError as error:
            left_out[str(model)] = str(error)
    shared = _shared(outcomes)
    left_out.update({model: "not compared: measured on other samples" for model in outcomes.keys() - shared.keys()})
    return _tested(shared, sound["value"], left_out, alpha, column.higher_is_better is not False)


def _tested(
    shared: dict[str, pd.Series], values: pd.Series, left_out: dict[str, str], alpha: float, higher: bool
) -> Ties:
    if len(shared) < 2:
        return Ties({}, {}, {**left_out, **{model: "not compared: no other model has its samples" for model in shared}})
    models = list(shared)
    outcomes = np.stack([shared[model].to_numpy() for model in models])
    p = holm_matrix(paired_p_values(outcomes))
    scores = values[models].to_numpy(dtype=float)
    letters = tie_groups(scores, p, alpha=alpha, higher_is_better=higher)
    ranks = rank_ranges(scores, p, alpha=alpha, higher_is_better=higher)
    tied, ranked = dict(zip(models, letters, strict=True)), dict(zip(models, ranks, strict=True))
    return Ties(tied, ranked, left_out, outcomes.shape[1], _discordance(outcomes))


def _discordance(outcomes: np.ndarray) -> float:
    right = outcomes.astype(np.float64)
    both = right @ right.T
    one = right.sum(axis=1)
    shares = (one[:, None] + one[None] - 2 * both) / outcomes.shape[1]
    return float(np.median(shares[np.triu_indices(len(shares), 1)]))


def _outcomes(store: Store, record: str, outcome: str | float) -> pd.Series:
    """Return a record's right and wrong answers as booleans by sample id, in the order of the ids."""
    try:
        samples = store.samples(record)
    except (OSError, ValueError) as error:
        raise StoreError(f"not compared: per-sample outcomes cannot be read ({type(error).__name__})") from error
    name = outcome if isinstance(outcome, str) else _robust_column(samples, outcome)
    if name not in samples or "id" not in samples:
        raise StoreError("not compared: per-sample outcomes were not stored")
    series = samples.set_index("id")[name]
    if not series.index.is_unique:
        raise StoreError("not compared: sample ids are not unique")
    # A sample without an outcome counts against the model.
    return series.eq(True).fillna(False).astype(bool).sort_index()


def _robust_column(samples: pd.DataFrame, size: float) -> str:
    for name in samples.columns:
        prefix, _, text = str(name).partition("@")
        if prefix == "robust" and _is_number(text, size):
            return str(name)
    return ""


def _is_number(text: str, size: float) -> bool:
    try:
        return math.isclose(float(text), size, rel_tol=1e-6)
    except ValueError:
        return False


def _shared(outcomes: dict[str, pd.Series]) -> dict[str, pd.Series]:
    """Return the outcomes of the largest set of models that saw exactly the same samples."""
    prints = {model: _fingerprint(series) for model, series in outcomes.items()}
    if not prints:
        return {}
    most = Counter(prints.values()).most_common(1)[0][0]
    return {model: series for model, series in outcomes.items() if prints[model] == most}


def _fingerprint(series: pd.Series) -> tuple[int, int]:
    hashes = np.asarray(pd.util.hash_array(series.index.to_numpy(dtype=object), categorize=False), dtype=np.uint64)
    # Weighted by position, so that two changed ids cannot cancel out.
    return len(hashes), int((hashes * np.arange(1, len(hashes) + 1, dtype=np.uint64)).sum(dtype=np.uint64))
