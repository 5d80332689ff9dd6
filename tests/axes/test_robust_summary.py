"""The measures and checks of an attack follow from stored columns and facts alone."""

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from suite.axes.base import summarise
from suite.axes.robustness import inputs
from suite.axes.robustness.axis import Robustness
from suite.axes.robustness.checks import CHECKS, as_facts, judge
from suite.data.digests import in_digest_order
from suite.errors import SpecError
from suite.kinds.base import NotApplicable
from suite.kinds.classification.kind import ACCURACY
from suite.kinds.sentiment.kind import Sentiment
from suite.metrics.stats import clopper_pearson
from suite.models.adapters.text import TorchText
from suite.runner.preparation import prepare_task
from suite.store import Store
from tests.axes.contexts import EPS, context_of, finding_of, noisy_context, robust
from tests.fixtures.bags import Bag, SpacedWords
from tests.stores import small_record

ROWS = np.arange(0, 120, 3)
PGD = "pgd(eps=[0.05, 0.1, 0.15], steps=5)"


@pytest.fixture(scope="module")
def pgd():
    return finding_of(Robustness(PGD, audit=32), context_of())


@pytest.fixture(scope="module")
def targeted():
    return finding_of(Robustness("pgd(eps=[0.1, 0.3], steps=5, goal=3)", audit=8), context_of())


@pytest.fixture(scope="module")
def stochastic():
    return finding_of(Robustness("pgd(eps=[0.1], steps=3, restarts=1)", audit=8), noisy_context(count=24))


@pytest.fixture(scope="module")
def hopeless():
    context = context_of(count=20)
    context.test.targets[:] = context.forward(context.test).argsort(axis=1)[:, -2]  # the runner-up class
    return finding_of(Robustness("pgd(eps=[0.1], steps=2)"), context)


FINDINGS = ("pgd", "targeted", "stochastic", "hopeless")


@pytest.mark.parametrize("name", FINDINGS)
def test_stored_columns_and_facts_give_the_same_measures(tmp_path, request, name):
    finding = request.getfixturevalue(name)
    result, store = finding.result, Store(tmp_path)
    folder = store.put(
        small_record(columns=result.columns, facts=result.facts, details=result.details, arrays=result.arrays)
    )
    stored = store.record(folder.name)
    assert summarise(finding.axis, finding.kind, stored.columns, stored.facts) == finding.measures
    assert as_facts(judge(stored.table)) == stored.facts["checks"]


@pytest.mark.parametrize("name", FINDINGS)
def test_every_measure_is_declared(request, name):
    finding = request.getfixturevalue(name)
    entries = finding.axis.entries(finding.kind)
    assert entries[0] == ACCURACY.under_attack()
    assert {measure.metric for measure in finding.measures} <= {entry.name for entry in entries}


def test_measures_of_a_subset_are_those_of_its_samples(pgd):
    measures = pgd.summarised(rows=ROWS)
    for eps, measure in zip(EPS, (one for one in measures if one.metric == "robust_accuracy"), strict=True):
        correct, control = pgd.quality(eps)[ROWS], pgd.quality(eps, "random")[ROWS]
        assert measure.value == correct.mean() and measure.n == len(ROWS)
        assert (measure.lo, measure.hi) == clopper_pearson(int(correct.sum()), len(ROWS))
        assert measure.control == control.mean()
    controls = [one for one in measures if one.metric == "control_accuracy"]
    assert [one.value for one in controls] == [pgd.quality(eps, "random")[ROWS].mean() for eps in EPS]


def test_targeted_success_counts_the_samples_of_other_classes(targeted):
    others = context_of().test.targets != 3
    for size in (0.1, 0.3):
        reached = targeted.column("reached", norm="linf", eps=size)
        control = targeted.column("reached", norm="linf", eps=size, control="random")
        assert np.array_equal(np.isnan(reached), ~others) and np.array_equal(np.isnan(control), ~others)
        for rows in (np.arange(120), ROWS):
            (measure,) = (
                one
                for one in targeted.summarised(rows=rows)
                if one.metric == "targeted_success" and one.params["eps"] == size
            )
            assert measure.value == reached[rows][others[rows]].mean() and measure.n == others[rows].sum()
            assert measure.control == control[rows][others[rows]].mean() and measure.params["goal"] == "3"
    assert targeted.column("reached", norm="linf", eps=0.3)[others].mean() > 0.5


def test_another_level_changes_the_intervals_only(pgd):
    usual, wide = pgd.measures, pgd.summarised(level=0.99)
    for one, other in zip(usual, wide, strict=True):
        assert (one.value, one.control, one.checks) == (other.value, other.control, other.checks)
        assert other.lo < one.lo < one.hi < other.hi and other.level == 0.99
    lower = pgd.summarised(side="lower")
    assert all(one.hi is None and one.lo < other.value for one, other in zip(lower, usual, strict=True))


def changed(finding, change, *, name="damage", **condition):
    """Return the checks after a change to a column under a condition."""
    (place,) = (
        place
        for place, column in enumerate(finding.result.columns)
        if column.name == name and dict(column.params) == condition and column.population == POPULATIONS[name]
    )
    columns = list(finding.result.columns)
    columns[place] = replace(columns[place], values=change(columns[place].values))
    table = replace(finding.table, columns=tuple(columns))
    return {check: evidence.status for check, evidence in judge(table).items()}


POPULATIONS = {"damage": "audit", "quality": "test"}


def zeros(values):
    return np.zeros_like(values)


def ones(values):
    return np.ones_like(values)


# The column to change, how, and the check that then fails.
CHANGES = {
    "eps0_equals_clean": ({"attack": "size 0"}, ones),
    "falls_with_eps": ({"size": EPS[-1]}, zeros),
    "chance_at_large_eps": ({"attack": "unlimited"}, zeros),
    "more_steps_never_help": ({"attack": "twice the steps"}, zeros),
    "more_steps_find_no_more": ({"size": EPS[1]}, zeros),
}


@pytest.mark.parametrize("check", CHANGES)
def test_a_check_follows_from_its_column(pgd, check):
    condition, change = CHANGES[check]
    assert pgd.facts["checks"][check][0] == "pass"
    assert changed(pgd, change, **condition)[check] == "fail"


@pytest.mark.parametrize(
    ("check", "attack"),
    [
        ("single_step_finds_no_more", "fgsm"),
        ("queries_find_no_more", "square"),
        ("transfer_finds_no_more", "transfer"),
    ],
)
def test_a_comparison_with_another_attack_follows_from_its_column(check, attack):
    finding = finding_of(Robustness("pgd(eps=[0.001], steps=2)", audit=32), context_of(count=60))
    damage = finding.column("damage", "audit", attack=attack)
    assert not np.isnan(damage).any() and finding.facts["checks"][check][0] == "pass"
    assert changed(finding, ones, attack=attack)[check] == "fail"


def test_the_comparison_with_random_perturbations_follows_from_the_outcomes(pgd):
    assert pgd.facts["checks"]["random_does_less"][0] == "pass"
    condition = {"control": "random", "norm": "linf", "eps": EPS[0]}
    assert changed(pgd, zeros, name="quality", **condition)["random_does_less"] == "fail"


def test_probes_follow_from_facts(pgd):
    probes = pgd.facts["probes"] | {"gradient_nonzero": ["fail", "the gradient is zero"]}
    failed = judge(pgd.table.with_facts({"probes": probes}))
    assert (failed["gradient_nonzero"].status, failed["gradient_nonzero"].sentence) == ("fail", "the gradient is zero")
    handled = judge(pgd.table.with_facts({"probes": probes, "workarounds": {"gradient_nonzero": "handled"}}))
    assert (handled["gradient_nonzero"].status, handled["gradient_nonzero"].sentence) == ("pass", "handled")


def test_a_changed_outcome_changes_the_measures(pgd):
    columns = [
        replace(column, values=~column.values) if column.name == "quality" and column.population == "test" else column
        for column in pgd.result.columns
    ]
    changed_measures = summarise(pgd.axis, pgd.kind, columns, pgd.facts)
    for one, other in zip(robust(pgd), changed_measures, strict=False):
        assert other.value == pytest.approx(1 - one.value) and other.control == pytest.approx(1 - one.control)


def test_facts_are_json_and_describe_the_attack(pgd, targeted):
    assert json.loads(json.dumps(pgd.facts)) == pgd.facts
    attack = pgd.facts["attack"]
    assert attack["name"] == "pgd" and attack["sizes"] == list(EPS) and attack["reference"] == EPS[1]
    assert (attack["norm"], attack["size_name"], attack["unit"], attack["space"]) == ("linf", "eps", "", "input")
    assert (attack["draws"], attack["goal"], targeted.facts["attack"]["goal"]) == (1, None, "3")
    assert set(CHECKS) <= set(pgd.facts["checks"])


def test_binary_outcomes_are_stored_once(pgd, stochastic):
    assert not pgd.table.conditions("tally")
    assert pgd.quality().dtype == bool and stochastic.quality().dtype == np.float64


def test_a_kind_that_cannot_be_attacked_is_skipped():
    context = context_of(count=4)
    finding = finding_of(
        Robustness("pgd"), replace(context, kind=replace(context.kind, attacks=NotApplicable("there is no attack")))
    )
    (measure,) = finding.measures
    assert (measure.metric, measure.status, measure.reason) == ("robust_accuracy", "skipped", "there is no attack")


@pytest.fixture(scope="module")
def typos():
    torch.manual_seed(0)
    tokenizer, data = SpacedWords(["good", "bad", "film"]), prepare_task("tests/fixtures/reviews.py:opinions", 0).data
    context = replace(
        context_of(count=1),
        kind=Sentiment().kind(),
        data=data,
        test=data.test,
        model=TorchText(Bag(len(tokenizer.vocabulary), 2), tokenizer, length=4),
    )
    return finding_of(Robustness("typos(edits=[1, 2])", audit=4), context)


@pytest.mark.parametrize("part", [slice(None), slice(0, None, 2)])
def test_measures_of_texts_follow_from_columns(typos, part):
    count = len(typos.quality())
    rows = np.arange(count)[part]
    clean = typos.quality()[rows]
    for measure in typos.summarised(rows=rows):
        size, metric = measure.params["edits"], measure.metric
        wrong, random = (~typos.quality(size, control)[rows] for control in ("", "random"))
        if metric == "success_rate":
            assert measure.n == clean.sum() > 0
            assert (measure.value, measure.control) == (wrong[clean].mean(), random[clean].mean())
        elif metric in ("characters_changed", "unknown_words_added"):
            values = typos.column(metric, norm="characters", edits=size)[rows]
            assert np.array_equal(np.isnan(values), ~(typos.column("found_size")[rows] <= size))
            assert measure.n == (wrong & clean).sum() > 0
            assert measure.value == pytest.approx(np.nanmean(values))
        elif metric == "queries":
            passes = typos.facts["passes"]
            assert (measure.value, measure.n) == (passes["search"] / passes["attacked"], typos.quality().sum())
    assert len(typos.measures) == 2 * 2 + 1 + 2 * 3


# Stored inputs


def test_a_limited_number_of_inputs_is_stored_and_all_have_a_checksum(monkeypatch):
    monkeypatch.setattr(inputs, "PER_SIZE", 3)
    context = context_of()
    finding = finding_of(Robustness(PGD, audit=0), context)
    sizes, ids = finding.column("found_size"), np.array(context.test.ids)
    found = ~np.isnan(sizes)
    assert (finding.column("sha256") != "").tolist() == found.tolist()
    order = in_digest_order(context.test.ids)
    chosen = {eps: [row for row in order if sizes[row] == eps][:3] for eps in EPS}
    assert sorted(finding.arrays["found_id"]) == sorted(ids[row] for rows in chosen.values() for row in rows)
    assert finding.facts["inputs"] == {"stored": 9, "found": int(found.sum()), "limit": 3}
    row_of = {name: row for row, name in enumerate(context.test.ids)}
    for name, values in zip(finding.arrays["found_id"], finding.arrays["found"], strict=True):
        assert finding.column("sha256")[row_of[name]] == hashlib.sha256(values.tobytes()).hexdigest()


def test_fewer_inputs_are_stored_if_all_together_are_too_large(monkeypatch):
    monkeypatch.setattr(inputs, "MOST_BYTES", 10 * 64 * 4)  # ten digits of 8x8 pixels in float32
    finding = finding_of(Robustness(PGD, audit=0), context_of())
    assert finding.arrays["found"].nbytes <= 10 * 64 * 4
    counts = finding.facts["inputs"]
    assert counts["stored"] == len(finding.arrays["found"]) == 3 * counts["limit"] == 9 < counts["found"]


def test_a_goal_beyond_the_classes_is_refused():
    with pytest.raises(SpecError, match=r"goal=10; expected the index of a class, from 0 to 9"):
        finding_of(Robustness("pgd(eps=[0.1], goal=10)", audit=8), context_of())
