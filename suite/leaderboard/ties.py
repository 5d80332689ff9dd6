"""Ties in one column of a board: paired tests on the samples that the models share."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from suite.errors import StoreError
from suite.leaderboard.columns import Column
from suite.leaderboard.samples import sample_values
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
    if not column.metric.outcome or len(valid) < 2:
        return Ties({}, {}, {})
    outcomes: dict[str, pd.Series] = {}
    left_out = {}
    for model, entry in valid.iterrows():
        try:
            outcomes[str(model)] = _outcomes(store, str(entry["record"]), column.metric.outcome, entry["params"])
        except StoreError as error:
            left_out[str(model)] = f"not compared: {error}"
    shared = _shared(outcomes)
    left_out |= dict.fromkeys(outcomes.keys() - shared.keys(), "not compared: measured on other samples")
    return _tested(shared, valid["value"], left_out, alpha, column.higher_is_better is not False)


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


def _outcomes(store: Store, record: str, name: str, params: Mapping[str, Any]) -> pd.Series:
    """Return whether each sample of a record is correct, by sample id."""
    # A sample without an outcome counts against the model.
    return sample_values(store, record, name, params).eq(True).fillna(False).astype(bool)


def _shared(outcomes: dict[str, pd.Series]) -> dict[str, pd.Series]:
    """Return the outcomes of the largest set of models that were evaluated on exactly the same samples."""
    ids = {model: tuple(series.index) for model, series in outcomes.items()}
    most = Counter(ids.values()).most_common(1)
    return {model: series for model, series in outcomes.items() if ids[model] == most[0][0]}
