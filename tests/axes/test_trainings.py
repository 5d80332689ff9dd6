"""Attacks that are trained: numbers over several seeds of the training, and what one seed leaves unknown."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import t

from suite.attacks.images.patch import Patch
from suite.axes.base import summarise
from suite.axes.robustness.axis import Robustness
from suite.axes.robustness.cohorts import AttackRounds
from suite.axes.robustness.trainings import over_seeds
from suite.errors import SpecError
from suite.kinds.sentiment.kind import Sentiment
from suite.leaderboard.samples import sample_values
from suite.metrics.stats import clopper_pearson
from suite.models.adapters.text import TorchText
from suite.runner.preparation import prepare_task
from suite.store import Store
from suite.types import Measure
from tests.axes.contexts import context_of, finding_of, robust
from tests.benchmarks.coverage.cells import simulate
from tests.benchmarks.coverage.trainings import CELLS
from tests.fixtures.bags import Bag, SpacedWords
from tests.stores import small_record

AREAS = (0.1, 0.2)
PATCH = f"patch(area={list(AREAS)}, steps=8, restarts=1)"


@pytest.fixture(scope="module")
def one():
    return finding_of(Robustness(PATCH, audit=8), context_of())


@pytest.fixture(scope="module")
def three():
    return finding_of(Robustness(PATCH, audit=8, seeds=3), context_of())


def of_seed(finding, number, area):
    """Return the outcomes under the patch of one training."""
    where = {"training": number} if number else {}
    return finding.column("quality", norm="patch", area=area, **where)


# Columns


def test_the_first_training_is_that_of_a_single_seed(one, three):
    for area in AREAS:
        assert np.array_equal(one.quality(area), three.quality(area))
        assert np.array_equal(one.quality(area, "random"), three.quality(area, "random"))
    assert np.array_equal(one.arrays["patch"], three.arrays["patch"])


def test_further_trainings_have_other_patches():
    context = context_of()
    rounds = AttackRounds(Patch(area=(0.2,), steps=8, restarts=1), seeds=3)
    state, passes = rounds.prepared(context)
    patches = [rounds.fitted(context, state, number).patches()[0.2] for number in range(3)]
    assert not any(torch.equal(patches[a], patches[b]) for a, b in ((0, 1), (0, 2), (1, 2)))
    single, other = AttackRounds(Patch(area=(0.2,), steps=8, restarts=1)), context_of()
    of_one, passes_of_one = single.prepared(other)
    assert torch.equal(single.fitted(other, of_one).patches()[0.2], patches[0])
    assert passes["search"] == 3 * passes_of_one["search"] > 0


def test_the_stored_mean_is_the_mean_outcome_of_each_sample(three):
    for area in AREAS:
        outcomes = np.stack([of_seed(three, number, area) for number in range(3)]).astype(float)
        assert np.array_equal(three.column("quality", norm="patch", area=area, seeds=3), outcomes.mean(axis=0))
        assert (outcomes.std(axis=0) > 0).any()
    small, large = ([of_seed(three, number, area) for number in range(3)] for area in AREAS)
    assert all((after <= before).all() for before, after in zip(small, large, strict=True))  # the worst up to a size


# Measures


def test_a_number_is_the_mean_over_samples_and_seeds(three):
    for area, row in zip(AREAS, robust(three), strict=True):
        mean = three.column("quality", norm="patch", area=area, seeds=3)
        values = [of_seed(three, number, area).mean() for number in range(3)]
        assert row.value == pytest.approx(mean.mean()) and row.n == len(mean) == 120
        assert row.params["seeds"] == 3 and row.params["between_seeds"] == pytest.approx(
            np.std(values, ddof=1), rel=0.01
        )
        assert row.method == "clopper-pearson, 3 seeds" and row.status == "ok"


def test_an_interval_includes_samples_and_seeds(three):
    (_, row) = robust(three)
    outcomes = [of_seed(three, number, AREAS[1]) for number in range(3)]
    values = np.array([one.mean() for one in outcomes])
    ends = np.array([clopper_pearson(int(one.sum()), len(one)) for one in outcomes])
    seeds = t.ppf(0.975, 2) * values.std(ddof=1) / math.sqrt(3)
    assert row.lo == pytest.approx(max(0, values.mean() - math.hypot((values - ends[:, 0]).mean(), seeds)))
    assert row.hi == pytest.approx(values.mean() + math.hypot((ends[:, 1] - values).mean(), seeds))
    wide = three.summarised(level=0.99)[1]
    assert wide.lo <= row.lo and row.hi < wide.hi


def test_controls_do_not_depend_on_the_training(one, three):
    pairs = [[m for m in found.measures if m.metric == "control_accuracy"] for found in (one, three)]
    assert pairs[0] == pairs[1] and len(pairs[0]) == 2 * len(AREAS)


def test_one_seed_leaves_its_effect_unknown(one, three):
    assert all(row.params["seeds"] == 1 and "between_seeds" not in row.params for row in robust(one))
    status, sentence = one.facts["checks"]["training_seeds"]
    assert status == "n/a" and "how far another seed moves the numbers is not known" in sentence
    status, sentence = three.facts["checks"]["training_seeds"]
    assert status == "pass" and "means over 3 seeds" in sentence
    assert {"seeds", "between_seeds"} <= set(one.axis.entries(one.kind)[0].descriptive)
    untrained = finding_of(Robustness("fgsm(eps=[0.1])", audit=0), context_of(count=20))
    assert "training_seeds" not in untrained.facts["checks"] and "seeds" not in robust(untrained)[0].params


def test_comparisons_between_models_get_the_mean_over_seeds(tmp_path, three):
    store = Store(tmp_path)
    folder = store.put(small_record(columns=three.result.columns, facts=three.facts))
    (_, row) = robust(three)
    values = sample_values(store.record(folder.name), "quality", row.params)
    assert values.mean() == pytest.approx(row.value) and set(np.unique(values)) - {0, 1}
    stored = store.record(folder.name)
    assert summarise(three.axis, three.kind, stored.columns, stored.facts) == three.measures


def test_seeds_need_a_training():
    with pytest.raises(SpecError, match=r"seeds=2: pgd has no training .* use patch, trigger or transfer"):
        finding_of(Robustness("pgd(eps=[0.1])", seeds=2), context_of(count=4))
    for seeds in (0, 1.5, True, "three"):
        with pytest.raises(SpecError, match="expected a number of trainings"):
            Robustness(PATCH, seeds=seeds)


def test_surrogates_are_trained_with_several_seeds_too():
    finding = finding_of(
        Robustness("transfer(eps=[0.1], steps=3, rounds=1, samples=64)", audit=0, seeds=2), context_of()
    )
    assert robust(finding)[0].params["seeds"] == 2
    assert not np.array_equal(finding.quality(0.1), finding.column("quality", norm="linf", eps=0.1, training=1))


def test_every_number_of_a_trigger_is_a_mean_over_the_seeds():
    torch.manual_seed(0)
    tokenizer, data = SpacedWords(["good", "bad", "film"]), prepare_task("tests/fixtures/reviews.py:opinions", 0).data
    model = TorchText(Bag(len(tokenizer.vocabulary), 2), tokenizer, length=4)
    context = replace(context_of(count=1), kind=Sentiment().kind(), data=data, test=data.test, model=model)
    finding = finding_of(Robustness("trigger(edits=[1], restarts=1)", audit=0, seeds=2), context)
    right = finding.quality()
    for row in finding.measures:
        if row.metric in ("robust_accuracy", "success_rate"):
            outcomes = [finding.quality(1), finding.column("quality", norm="trigger", edits=1, training=1)]
            values = [one.mean() if row.metric == "robust_accuracy" else 1 - one[right].mean() for one in outcomes]
            assert row.value == pytest.approx(np.mean(values))
    assert {"robust_accuracy", "success_rate"} <= {row.metric for row in finding.measures}


# The interval alone


def measure(value, lo, hi, **fields):
    return Measure("m", value, lo, hi, 50, "some", **fields)


def test_means_by_hand():
    pooled = over_seeds([measure(0.4, 0.3, 0.5), measure(0.6, 0.5, 0.8)], 0.95)
    seeds = 12.706204736 * math.sqrt(0.02) / math.sqrt(2)
    assert pooled.value == 0.5 and pooled.params == {"between_seeds": 0.141}
    assert (pooled.lo, pooled.hi) == (0, 1)  # two seeds say little
    negative = over_seeds([measure(-0.3, -0.4, -0.2), measure(-0.1, -0.2, 0.0)], 0.95, (-1.0, 1.0))
    assert (negative.value, negative.lo, negative.hi) == (pytest.approx(-0.2), -1, 1)
    wide = over_seeds([measure(0.4, 0.3, 0.5, unit="nats"), measure(0.6, 0.5, 0.8, unit="nats")], 0.95)
    assert wide.lo == pytest.approx(0.5 - math.hypot(0.1, seeds)) and wide.hi == pytest.approx(
        0.5 + math.hypot(0.15, seeds)
    )


def test_equal_and_undefined_measures_stay_as_they_are():
    same, undefined = measure(0.4, 0.3, 0.5), replace(measure(0.4, 0.3, 0.5), value=None, lo=None, hi=None, reason="r")
    assert over_seeds([same, same, same], 0.95) is same
    assert over_seeds([same, undefined], 0.95) is undefined
    without = replace(measure(0.6, None, None), method="none(too few samples)", reason="too few")
    pooled = over_seeds([same, without], 0.95)
    assert (pooled.value, pooled.lo, pooled.hi, pooled.method) == (0.5, None, None, "none(too few samples)")


@pytest.mark.parametrize("cell", [cell for cell in CELLS if cell.n == 1000 and "0.5" in cell.setting])
def test_intervals_cover_the_mean_over_samples_and_seeds(cell):
    assert simulate(cell, 200).coverage > 0.93
