"""A metric with two conventions has two columns, and every model is on the board."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from suite.leaderboard import Board, board
from suite.leaderboard.metrics import CLEAN, CONVENTIONS, RESULT_PARAMS
from suite.store import Store
from suite.types import Measure, Record, not_applicable
from tests.reports import synthetic as s

TASK = "codes"
POINTS = {"codes": "points, at no cost"}
LIKELIHOODS = ({"likelihood": "bernoulli", "binarised": True}, {"likelihood": "gaussian", "binarised": True})


def record(model: str, spec: str, *measures: Measure) -> Record:
    return Record(s.provenance(model, spec, task=TASK, kind="autoencoding"), s.run_info(), "ok", measures)


def length(value: float, metric: str = "code_length", **more: Any) -> Measure:
    return s.about(metric, value, unit="bit per dimension", higher_is_better=False, **more)


def boarded(folder: Path, *records: Record) -> Board:
    store = Store(folder)
    for one in records:
        store.put(one)
    return board(store, TASK)


def numbers(made: Board, metric: str) -> dict[str, dict[str, float]]:
    """Return the numbers of each column of a metric, by model."""
    return {
        column.title: column.entries["value"].dropna().to_dict() for column in made.columns if column.metric == metric
    }


@pytest.mark.parametrize("order", [("vae", "plain"), ("plain", "vae")])
def test_codes_without_density_have_their_own_column(tmp_path: Path, order: tuple[str, ...]) -> None:
    rows = {"vae": length(0.4), "plain": length(0.1, params=POINTS)}
    made = boarded(tmp_path, *(record(model, "clean", rows[model]) for model in order))
    assert set(made.frame["model"]) == {"vae", "plain"}
    assert numbers(made, "code_length") == {
        "code length": {"vae": 0.4},
        "code length (points, at no cost)": {"plain": 0.1},
    }
    assert made.rank_by == "code_length"
    lines = made.frame.set_index("model")
    assert (lines.loc["vae", "code_length"], lines.loc["plain", "code_length (points, at no cost)"]) == (0.4, 0.1)
    assert np.isnan(lines.loc["plain", "code_length"])


@pytest.mark.parametrize("metric", [metric for metric in CONVENTIONS if metric in CLEAN])
def test_every_convention_of_a_metric_has_a_column(tmp_path: Path, metric: str) -> None:
    ways: tuple[dict[str, Any], ...] = ({}, {"state": "carried"}, {"state": "carried", "binarised": True})
    cells = [record(f"m{at}", "clean", length(0.1 * at, metric, params=way)) for at, way in enumerate(ways, 1)]
    shown = numbers(boarded(tmp_path, *cells), metric)
    assert [list(column) for column in shown.values()] == [["m1"], ["m2"], ["m3"]]
    assert [value for column in shown.values() for value in column.values()] == pytest.approx([0.1, 0.2, 0.3])
    suffixes = [title.removeprefix(CLEAN[metric]) for title in shown]
    assert suffixes == ["", " (carried)", " (True, carried)"]


def test_a_model_measured_by_two_conventions_has_both_numbers(tmp_path: Path) -> None:
    both = [length(90.0 + at, "importance_weighted_nll", params=way) for at, way in enumerate(LIKELIHOODS)]
    shown = numbers(boarded(tmp_path, record("vae", "clean", *both)), "importance_weighted_nll")
    assert shown == {"NLL (nats) (bernoulli)": {"vae": 90.0}, "NLL (nats) (gaussian)": {"vae": 91.0}}


def test_result_params_do_not_name_a_convention(tmp_path: Path) -> None:
    params = [{"state": "carried", **dict.fromkeys(RESULT_PARAMS - {"proxy"}, at)} for at in range(2)]
    cells = [
        record(f"m{at}", "clean", length(2.0 + at, "ngram_memorization", params=way)) for at, way in enumerate(params)
    ]
    assert numbers(boarded(tmp_path, *cells), "ngram_memorization") == {"8-grams memorized": {"m0": 2.0, "m1": 3.0}}


def test_a_model_without_a_number_is_in_every_column_with_its_reason(tmp_path: Path) -> None:
    none = not_applicable("code_length", "the codes have no density")
    cells = (record("plain", "clean", length(0.1, params=POINTS)), record("vae", "clean", length(0.4)))
    made = boarded(tmp_path, *cells, record("none", "clean", none))
    first, second = (column.entries for column in made.columns)
    assert (set(first.index), set(second.index)) == ({"vae", "none"}, {"plain", "none"})
    for entries in (first, second):
        assert np.isnan(entries.loc["none", "value"])
        assert entries.loc["none", "reason"] == "the codes have no density"


def test_codes_without_density_have_their_own_robust_column(tmp_path: Path) -> None:
    about = {"attack": "pgd", "norm": "linf", "eps": 0.1, "reference": True}
    spec = "robustness(attack=pgd(eps=[0.1]))"
    rows = {"vae": length(0.6, "robust_code_length", params=about)}
    rows["plain"] = length(0.3, "robust_code_length", params=about | POINTS)
    made = boarded(tmp_path, *(record(model, spec, row) for model, row in rows.items()))
    assert numbers(made, "robust_code_length") == {
        "pgd linf 0.1": {"vae": 0.6},
        "pgd linf 0.1 (codes: points, at no cost)": {"plain": 0.3},
    }


def test_calibration_metrics_are_separated_by_convention(tmp_path: Path) -> None:
    rows = [length(1.0 + at, "elbo_gap", params=way) for at, way in enumerate(LIKELIHOODS)]
    cells = [record(f"m{at}", "calibration", row) for at, row in enumerate(rows)]
    assert numbers(boarded(tmp_path, *cells), "elbo_gap") == {
        "ELBO gap (bernoulli)": {"m0": 1.0},
        "ELBO gap (gaussian)": {"m1": 2.0},
    }


@pytest.mark.parametrize("order", [("carried", "reset"), ("reset", "carried")])
def test_titles_do_not_depend_on_the_order_of_storage(tmp_path: Path, order: tuple[str, ...]) -> None:
    rows = [record(state, "clean", length(2.0, "ngram_memorization", params={"state": state})) for state in order]
    shown = numbers(boarded(tmp_path, *rows), "ngram_memorization")
    assert shown == {"8-grams memorized (carried)": {"carried": 2.0}, "8-grams memorized (reset)": {"reset": 2.0}}
