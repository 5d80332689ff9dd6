"""A metric with two conventions has two columns, and every model is on the board."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from suite.kinds.autoencoding.calibration import ELBO_GAP
from suite.kinds.autoencoding.losses import CODE_LENGTH
from suite.kinds.autoencoding.metrics import ELBO, NLL
from suite.kinds.language.text_metrics import NGRAM_MEMORIZATION
from suite.kinds.sentiment.metrics import AUROC
from suite.kinds.synthesis.quality import COVERAGE, FID, IMAGE_MEMORIZATION, KID
from suite.leaderboard import Board, board
from suite.metrics.catalogue import Metric
from suite.records.record import Record
from suite.store import Store
from suite.types import Measure, not_applicable
from tests.reports import synthetic as s

TASK = "codes"
POINTS = {"codes": "points, at no cost"}
LIKELIHOODS = ({"likelihood": "bernoulli", "binarised": True}, {"likelihood": "gaussian", "binarised": True})


ROBUST_LENGTH = CODE_LENGTH.under_attack()
DECLARED = {
    metric.name: metric
    for metric in (
        CODE_LENGTH, ROBUST_LENGTH, ELBO_GAP, ELBO, NLL, NGRAM_MEMORIZATION, AUROC, COVERAGE, FID, KID,
        IMAGE_MEMORIZATION,
    )
}  # fmt: skip
ATTACK = {"attack": {"norm": "linf", "size_name": "eps", "unit": ""}}


def record(model: str, spec: str, *measures: Measure) -> Record:
    declared = tuple(dict.fromkeys(DECLARED[measure.metric] for measure in measures))
    facts = ATTACK if spec.startswith("robustness") else {}
    about = s.provenance(model, spec, task=TASK, kind="autoencoding")
    return Record(about, s.run_info(), "ok", measures, catalogue=declared, facts=facts)


def length(value: float, metric: Metric = CODE_LENGTH, **more: Any) -> Measure:
    return s.about(metric.name, value, unit=metric.unit, higher_is_better=metric.higher_is_better, **more)


def boarded(folder: Path, *records: Record) -> Board:
    store = Store(folder)
    for one in records:
        store.put(one)
    return board(store, TASK)


def numbers(made: Board, metric: Metric) -> dict[str, dict[str, float]]:
    """Return the numbers of each column of a metric, by model."""
    return {
        column.title: column.entries["value"].dropna().to_dict() for column in made.columns if column.metric == metric
    }


@pytest.mark.parametrize("order", [("vae", "plain"), ("plain", "vae")])
def test_codes_without_density_have_their_own_column(tmp_path: Path, order: tuple[str, ...]) -> None:
    rows = {"vae": length(0.4), "plain": length(0.1, params=POINTS)}
    made = boarded(tmp_path, *(record(model, "clean", rows[model]) for model in order))
    assert set(made.frame["model"]) == {"vae", "plain"}
    assert numbers(made, CODE_LENGTH) == {
        "code length": {"vae": 0.4},
        "code length (points, at no cost)": {"plain": 0.1},
    }
    assert made.rank_by == "code_length"
    lines = made.frame.set_index("model")
    assert (lines.loc["vae", "code_length"], lines.loc["plain", "code_length (points, at no cost)"]) == (0.4, 0.1)
    assert np.isnan(lines.loc["plain", "code_length"])


@pytest.mark.parametrize("metric", [metric for metric in DECLARED.values() if metric not in (ROBUST_LENGTH, ELBO_GAP)])
def test_every_convention_of_a_metric_has_a_column(tmp_path: Path, metric: Metric) -> None:
    ways: tuple[dict[str, Any], ...] = ({}, {"state": "carried"}, {"state": "carried", "binarised": True})
    cells = [record(f"m{at}", "clean", length(0.1 * at, metric, params=way)) for at, way in enumerate(ways, 1)]
    shown = numbers(boarded(tmp_path, *cells), metric)
    assert [list(column) for column in shown.values()] == [["m1"], ["m2"], ["m3"]]
    assert [value for column in shown.values() for value in column.values()] == pytest.approx([0.1, 0.2, 0.3])
    suffixes = [title.removeprefix(metric.columns[0].title) for title in shown]
    assert suffixes == ["", " (carried)", " (True, carried)"]


def test_a_model_measured_by_two_conventions_has_both_numbers(tmp_path: Path) -> None:
    both = [length(90.0 + at, NLL, params=way) for at, way in enumerate(LIKELIHOODS)]
    shown = numbers(boarded(tmp_path, record("vae", "clean", *both)), NLL)
    assert shown == {"NLL (nats) (bernoulli)": {"vae": 90.0}, "NLL (nats) (gaussian)": {"vae": 91.0}}


def test_result_params_do_not_name_a_convention(tmp_path: Path) -> None:
    assert IMAGE_MEMORIZATION.descriptive
    params = [{"state": "carried", **dict.fromkeys(IMAGE_MEMORIZATION.descriptive, at)} for at in range(2)]
    cells = [
        record(f"m{at}", "clean", length(2.0 + at, IMAGE_MEMORIZATION, params=way)) for at, way in enumerate(params)
    ]
    assert numbers(boarded(tmp_path, *cells), IMAGE_MEMORIZATION) == {"images memorized": {"m0": 2.0, "m1": 3.0}}


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
    rows = {"vae": length(0.6, ROBUST_LENGTH, params=about)}
    rows["plain"] = length(0.3, ROBUST_LENGTH, params=about | POINTS)
    made = boarded(tmp_path, *(record(model, spec, row) for model, row in rows.items()))
    assert numbers(made, ROBUST_LENGTH) == {
        "pgd linf 0.1": {"vae": 0.6},
        "pgd linf 0.1 (points, at no cost)": {"plain": 0.3},
    }


def test_calibration_metrics_are_separated_by_convention(tmp_path: Path) -> None:
    rows = [length(1.0 + at, ELBO_GAP, params=way) for at, way in enumerate(LIKELIHOODS)]
    cells = [record(f"m{at}", "calibration", row) for at, row in enumerate(rows)]
    assert numbers(boarded(tmp_path, *cells), ELBO_GAP) == {
        "ELBO gap (bernoulli)": {"m0": 1.0},
        "ELBO gap (gaussian)": {"m1": 2.0},
    }


@pytest.mark.parametrize("order", [("carried", "reset"), ("reset", "carried")])
def test_titles_do_not_depend_on_the_order_of_storage(tmp_path: Path, order: tuple[str, ...]) -> None:
    rows = [record(state, "clean", length(2.0, NGRAM_MEMORIZATION, params={"state": state})) for state in order]
    shown = numbers(boarded(tmp_path, *rows), NGRAM_MEMORIZATION)
    assert shown == {"8-grams memorized (carried)": {"carried": 2.0}, "8-grams memorized (reset)": {"reset": 2.0}}
