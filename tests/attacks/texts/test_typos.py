"""Typo attacks: they use only forward passes, change the most important word, and count their edits."""

import dataclasses

import pytest
import torch

from suite.attacks.engine.problem import Problem
from suite.attacks.texts.spelling import misspellings
from suite.attacks.texts.typos import Typos
from suite.errors import SpecError
from suite.kinds.sentiment.kind import Sentiment
from tests.attacks.texts import toys

GOOD, BAD = ["good", "great", "lovely"], ["awful", "poor"]


def rule_based(written, targets, batch_size=256):
    """Return typos fitted to a rule-based model, its problem, texts and targets."""
    model = toys.Rules(GOOD, BAD)
    codes, labels = toys.coded(written), torch.tensor(targets)
    problem = Problem.of(Sentiment().kind(), model.raw, adapter=model, batch_size=batch_size)
    return toys.fitted(Typos([1, 2]), problem, codes, labels), problem, codes, labels


def test_the_typo_is_in_the_only_word_that_determines_the_class():
    texts = ["quite great story with music", "again the great actor awful again great", "this is good never"]
    attack, problem, codes, targets = rule_based(texts, [1, 1, 1])
    perturbed = toys.written(attack.perturb(problem, codes, targets, 1, toys.seeds(3)))
    assert "great" not in perturbed[0]
    assert perturbed[0].split()[:1] + perturbed[0].split()[2:] == ["quite", "story", "with", "music"]
    assert perturbed[1].split().count("great") == 1, "only one of the two decisive words is changed"
    assert "awful" in perturbed[1]
    assert perturbed[2].split()[2] in {typo for kind in misspellings("good") for typo in kind}


def test_the_second_typo_is_in_another_word():
    attack, problem, codes, targets = rule_based(["great story great music lovely awful again"], [1])
    perturbed = attack.perturb(problem, codes, targets, 2, toys.seeds(1))
    (text,) = toys.written(perturbed)
    assert sum(word in GOOD for word in text.split()) == 1
    assert attack.violation(codes, perturbed, 2).tolist() == [0]
    assert problem.outcome(perturbed, targets).tolist() == [1], "a tie: the first class is predicted"


def test_typos_respect_the_constraints_and_beat_random_typos():
    model = toys.linear(1)
    codes = toys.coded(toys.texts(80, 1))
    targets = toys.predictions(model, codes)
    problem = toys.problem_of(model)
    attack = toys.fitted(Typos([1, 2]), problem, codes, targets)
    for size in attack.sizes:
        perturbed = attack.perturb(problem, codes, targets, size, toys.seeds(80))
        random = attack.controls()["random"](codes, size, toys.seeds(80))
        assert (attack.violation(codes, perturbed, size) <= 0).all()
        assert (attack.violation(codes, random, size) <= 0).all()
        assert (attack.violation(codes, random, 0) > 0).float().mean() > 0.9
        counts = [(toys.margins(model, other, targets) > 0).sum() for other in (perturbed, random)]
        assert counts[0] > counts[1]


def test_more_tries_are_at_least_as_strong():
    model = toys.linear(2)
    codes = toys.coded(toys.texts(60, 2))
    targets = toys.predictions(model, codes)
    problem = toys.problem_of(model)
    attack = toys.fitted(Typos([1], tries=1), problem, codes, targets)
    doubled = attack.with_double_steps()
    assert doubled.tries == 2
    counts = [
        (toys.margins(model, one.perturb(problem, codes, targets, 1, toys.seeds(60)), targets) > 0).sum()
        for one in (attack, doubled, doubled.with_double_steps().with_double_steps())
    ]
    assert counts[0] <= counts[1] <= counts[2]


@pytest.mark.parametrize("batch_size", [1, 7])
def test_result_does_not_depend_on_batch_size_or_order(batch_size):
    texts = toys.texts(30, 4)
    attack, problem, codes, targets = rule_based(texts, [i % 2 for i in range(30)])
    perturbed = attack.perturb(problem, codes, targets, 2, toys.seeds(30))
    small = dataclasses.replace(problem, batch_size=batch_size)
    assert torch.equal(attack.perturb(small, codes, targets, 2, toys.seeds(30)), perturbed)
    back = attack.perturb(problem, codes.flip(0), targets.flip(0), 2, toys.seeds(30).flip(0)).flip(0)
    assert torch.equal(back, perturbed)
    assert torch.equal(attack.perturb(problem, codes, targets, 0, toys.seeds(30)), codes)


def test_only_editable_characters_change_for_a_model_that_reads_characters():
    model, problem, codes, targets = toys.characters(60)
    attack = toys.fitted(Typos([1, 3]), problem, codes, targets)
    before = toys.margins(model, codes, targets)
    for size in attack.sizes:
        perturbed = attack.perturb(problem, codes, targets, size, toys.seeds(60))
        random = attack.random(codes, size, toys.seeds(60))
        assert ((perturbed != codes).sum(dim=1) <= size).all()
        assert (perturbed[:, 6:] == codes[:, 6:]).all()
        assert (attack.violation(codes, perturbed, size) <= 0).all()
        assert (toys.margins(model, perturbed, targets) >= before).all()
        assert toys.margins(model, perturbed, targets).mean() > toys.margins(model, random, targets).mean()


def test_changes_report_edits_and_unknown_words():
    attack, problem, codes, targets = rule_based(["quite great story with music"], [1])
    perturbed = attack.perturb(problem, codes, targets, 1, toys.seeds(1))
    changes = attack.changes(codes, perturbed)
    assert changes["characters_changed"].tolist() == [1 / 28]
    assert changes["unknown_words_added"].tolist() == [1 / 5]


def test_tries_must_be_positive():
    with pytest.raises(SpecError, match="tries=0"):
        Typos([1], tries=0)
