"""How large a miss the checks of an attack see: the printed figure, against the checks' own decision."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom

from suite.axes.robustness.axis import Robustness
from suite.axes.robustness.checks import CHECKS, OTHERS, judge, less_damage
from suite.axes.robustness.misses import fewest_losses, smallest_miss
from suite.axes.robustness.stored import AUDIT
from suite.data.digests import in_digest_order
from suite.errors import SpecError
from suite.metrics.table import Column
from tests.axes.contexts import context_of, finding_of, robust


def found_by_another(n, found, won=0):
    """Return the damage of an attack that fails on all but the last samples, and of one that succeeds on the first."""
    damage, other = np.zeros(n), np.zeros(n)
    damage[n - won :], other[:found] = 1, 1
    return damage, other


def power(n, miss, won=0):
    """Return how often the check of an attack fails, by adding up the probabilities of every number of misses."""
    fails = [found for found in range(n - won + 1) if less_damage(*found_by_another(n, found, won))]
    return float(binom.pmf(fails, n - won, miss).sum())


def test_power_of_the_check_for_known_audits():
    assert power(105, 0.1) == pytest.approx(0.910, abs=5e-4)
    assert power(64, 0.1) == pytest.approx(0.461, abs=5e-4)
    assert power(16, 0.2) == pytest.approx(0.027, abs=5e-4)
    assert (smallest_miss(105), smallest_miss(64), smallest_miss(16)) == (0.099, 0.159, 0.566)


@pytest.mark.parametrize("won", [0, 1, 4])
@pytest.mark.parametrize("n", [16, 40, 64, 105, 500])
def test_the_printed_miss_is_the_smallest_one_seen_nine_times_in_ten(n, won):
    miss = smallest_miss(n, won)
    if miss is None:
        assert n - won < fewest_losses(won)
        return
    assert power(n, miss, won) >= 0.9 > power(n, miss - 0.001, won)


@pytest.mark.parametrize("n", [16, 64, 105, 300])
def test_the_printed_miss_is_seen_as_often_as_it_says(n):
    source, miss, draws = np.random.default_rng(n), smallest_miss(n), 4000
    seen = np.mean([less_damage(np.zeros(n), (source.random(n) < miss).astype(float)) for _ in range(draws)])
    assert abs(seen - power(n, miss)) < 4 * np.sqrt(0.1 * 0.9 / draws)


def test_no_miss_is_seen_with_too_few_samples():
    assert smallest_miss(6) is None and smallest_miss(0) is None
    assert smallest_miss(7) == pytest.approx(0.9 ** (1 / 7), abs=1e-3)
    assert [fewest_losses(won) for won in range(3)] == [7, 10, 12]


# Rows and sentences


@pytest.fixture(scope="module")
def weak():
    return finding_of(Robustness("pgd(eps=[0.001], steps=2)", audit=40), context_of(count=60))


def audited(finding, n, *, found=(), **facts):
    """Return the table with n audit samples on which the attack fails, and other attacks succeed on a few."""
    columns = [column for column in finding.result.columns if column.population != AUDIT]
    columns += [
        Column("id", np.arange(n).astype(str).astype(object), {}, AUDIT),
        Column("quality", np.ones(n), {}, AUDIT),
    ]
    for column in finding.result.columns:
        if column.population == AUDIT and column.name == "damage":
            damage = np.zeros(n)
            damage[: dict(found).get(column.params.get("attack"), 0)] = 1
            columns.append(replace(column, values=damage))
    return replace(finding.table, columns=tuple(columns)).with_facts(facts)


def test_every_row_has_the_miss_that_its_checks_see(weak):
    (row,) = robust(weak)
    assert row.status == "ok" and row.params["miss_seen"] == smallest_miss(40) == 0.249
    status, sentence = weak.facts["checks"]["misses_seen"]
    assert status == "pass" and "a miss of 24.9 points or more would have been seen nine times in ten" in sentence
    assert sentence.startswith("at eps 0.001, ") and "with 40 audited samples" in sentence
    assert "miss_seen" in weak.axis.entries(weak.kind)[0].descriptive


@pytest.mark.parametrize("other", OTHERS)
def test_a_check_fails_at_the_number_of_misses_that_the_sentence_is_about(weak, other):
    for found in (fewest_losses() - 1, fewest_losses()):
        table = audited(weak, 105, found={OTHERS[other]: found}.items())
        assert judge(table)[other].status == ("fail" if found == 7 else "pass")


def test_an_attack_that_found_everything_missed_nothing(weak):
    scratch = {"damage": np.ones(40)}
    columns = [
        replace(one, values=scratch.get(one.name, one.values)) if one.population == AUDIT else one
        for one in weak.result.columns
    ]
    evidence = judge(replace(weak.table, columns=tuple(columns)))["misses_seen"]
    assert evidence.status == "pass" and "succeeded on all 40 audited samples, so it missed none" in evidence.sentence


def test_without_a_comparison_a_miss_of_any_size_goes_unseen(weak):
    not_run = dict.fromkeys((*OTHERS.values(), "twice the steps"), "why")
    evidence = judge(audited(weak, 40, audit={"not_run": not_run, "errors": {}}))["misses_seen"]
    assert (evidence.status, evidence.sentence) == (
        "n/a",
        "no check compares the attack with another one, so a miss of any size went unseen",
    )


def test_a_single_step_is_compared_with_no_other_attack():
    finding = finding_of(Robustness("fgsm(eps=[0.05])", audit=8), context_of(count=20))
    assert "miss_seen" not in robust(finding)[0].params
    assert finding.facts["checks"]["misses_seen"][1].startswith("no check compares the attack with another one")


def test_too_few_audited_samples_are_named(weak):
    evidence = judge(audited(weak, 5))["misses_seen"]
    assert (
        evidence.status == "n/a" and "5 audited samples are too few to see a miss; at least 7 are" in evidence.sentence
    )


def test_more_steps_alone_see_less_where_they_also_lose_samples(weak):
    facts = {"not_run": dict.fromkeys(OTHERS.values(), "why"), "errors": {}}
    table = audited(weak, 64, audit=facts)
    damaged = [
        replace(one, values=np.r_[np.ones(2), np.zeros(62)])
        if (one.population, dict(one.params)) == (AUDIT, {"size": 0.001})
        else one
        for one in table.columns
    ]
    assert "a miss of 15.9 points" in judge(table)["misses_seen"].sentence
    assert "a miss of 25.6 points" in judge(replace(table, columns=tuple(damaged)))["misses_seen"].sentence
    assert smallest_miss(64, 2) == 0.256


# The number of audited samples


def test_a_full_audit_takes_every_correct_sample():
    context = context_of(count=100)
    finding = finding_of(Robustness("pgd(eps=[0.05], steps=2, restarts=1)", audit="full"), context)
    correct = [row for row in in_digest_order(context.test.ids) if finding.quality()[row]]
    assert sorted(finding.table.of(AUDIT, "id")) == sorted(context.test.ids[row] for row in correct)
    (row,) = robust(finding)
    assert len(correct) > 64 and row.params["miss_seen"] == smallest_miss(len(correct))


def test_no_audit_says_that_nothing_was_audited():
    finding = finding_of(Robustness("fgsm(eps=[0.05])", audit=0), context_of(count=20))
    (row,) = robust(finding)
    assert "miss_seen" not in row.params and row.status == "ok"
    assert finding.facts["checks"]["misses_seen"] == ["n/a", "no sample was audited, so a miss of any size went unseen"]
    assert {finding.facts["checks"][check][0] for check in CHECKS} == {"n/a"}


@pytest.mark.parametrize("audit", ["ful", "all", -1, 2.5, True, None])
def test_an_audit_is_a_number_or_full(audit):
    with pytest.raises(SpecError, match=r"expected a number of samples, at least 0, or full for all"):
        Robustness(audit=audit)


def test_a_misspelled_audit_has_a_hint():
    with pytest.raises(SpecError, match="Did you mean 'full'"):
        Robustness(audit="ful")
