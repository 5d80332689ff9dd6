"""Typos need answers alone, find the word that matters, and count what they do."""

import dataclasses

import pytest
import torch

from suite.attacks.engine.problem import Problem
from suite.attacks.rng import as_seeds
from suite.attacks.texts.spelling import misspelt
from suite.attacks.texts.typos import Typos
from suite.data.text import texts_of
from suite.errors import SpecError
from suite.kinds.sentiment.kind import Sentiment
from tests.attacks.texts import toys
from tests.attacks.texts.test_hotflip import characters

GOOD, BAD = ["good", "great", "lovely"], ["awful", "poor"]


def seeds(count):
    return as_seeds(list(range(count)))


def ruled(written, targets, batch_size=256):
    """Return fitted typos of texts that rules judge."""
    model = toys.Rules(GOOD, BAD)
    codes, labels = toys.coded(written), torch.tensor(targets)
    problem = Problem.of(Sentiment(), model.raw, adapter=model, batch_size=batch_size)
    return toys.fitted(Typos([1, 2]), problem, codes, labels), problem, codes, labels


def test_rules_are_attacked_through_the_one_word_that_counts():
    texts = ["quite great story with music", "again the great actor awful again great", "this is good never"]
    attack, problem, codes, targets = ruled(texts, [1, 1, 1])
    moved = texts_of(attack.perturb(problem, codes, targets, 1, seeds(3)).numpy())
    assert "great" not in moved[0]
    assert moved[0].split()[:1] + moved[0].split()[2:] == ["quite", "story", "with", "music"]
    assert moved[1].split().count("great") == 1, "one of the two words that count, and no other"
    assert "awful" in moved[1]
    assert moved[2].split()[2] in {typo for way in misspelt("good") for typo in way}


def test_a_second_typo_is_made_in_another_word_of_the_changed_text():
    attack, problem, codes, targets = ruled(["great story great music lovely awful again"], [1])
    moved = attack.perturb(problem, codes, targets, 2, seeds(1))
    (text,) = texts_of(moved.numpy())
    assert sum(word in GOOD for word in text.split()) == 1
    assert attack.violation(codes, moved, 2).tolist() == [0]
    assert problem.outcome(moved, targets).tolist() == [1], "one good word against a bad one: the first class is told"


def test_typos_do_more_than_random_ones_and_keep_to_the_rules():
    model = toys.linear(1)
    codes = toys.coded(toys.texts(80, 1))
    targets = toys.right(model, codes)
    problem = toys.problem_of(model)
    attack = toys.fitted(Typos([1, 2]), problem, codes, targets)
    for size in attack.sizes:
        moved = attack.perturb(problem, codes, targets, size, seeds(80))
        random = attack.controls()["random"](codes, size, seeds(80))
        assert (attack.violation(codes, moved, size) <= 0).all()
        assert (attack.violation(codes, random, size) <= 0).all()
        assert (attack.violation(codes, random, 0) > 0).float().mean() > 0.9
        fell = [(toys.margins(model, other, targets) > 0).sum() for other in (moved, random)]
        assert fell[0] > fell[1]


def test_more_tries_find_no_less():
    model = toys.linear(2)
    codes = toys.coded(toys.texts(60, 2))
    targets = toys.right(model, codes)
    problem = toys.problem_of(model)
    attack = toys.fitted(Typos([1], tries=1), problem, codes, targets)
    longer = attack.with_double_steps()
    assert longer.tries == 2
    fell = [
        (toys.margins(model, one.perturb(problem, codes, targets, 1, seeds(60)), targets) > 0).sum()
        for one in (attack, longer, longer.with_double_steps().with_double_steps())
    ]
    assert fell[0] <= fell[1] <= fell[2]


@pytest.mark.parametrize("batch_size", [1, 7])
def test_neither_batch_nor_order_nor_a_second_run_changes_anything(batch_size):
    texts = toys.texts(30, 4)
    attack, problem, codes, targets = ruled(texts, [i % 2 for i in range(30)])
    moved = attack.perturb(problem, codes, targets, 2, seeds(30))
    small = dataclasses.replace(problem, batch_size=batch_size)
    assert torch.equal(attack.perturb(small, codes, targets, 2, seeds(30)), moved)
    back = attack.perturb(problem, codes.flip(0), targets.flip(0), 2, seeds(30).flip(0)).flip(0)
    assert torch.equal(back, moved)
    assert torch.equal(attack.perturb(problem, codes, targets, 0, seeds(30)), codes)


def test_characters_of_a_model_that_reads_them_change_where_they_may():
    model, problem, codes, targets = characters(60)
    attack = toys.fitted(Typos([1, 3]), problem, codes, targets)
    before = toys.margins(model, codes, targets)
    for size in attack.sizes:
        moved = attack.perturb(problem, codes, targets, size, seeds(60))
        random = attack.random(codes, size, seeds(60))
        assert ((moved != codes).sum(dim=1) <= size).all()
        assert (moved[:, 6:] == codes[:, 6:]).all()
        assert (attack.violation(codes, moved, size) <= 0).all()
        assert (toys.margins(model, moved, targets) >= before).all()
        assert toys.margins(model, moved, targets).mean() > toys.margins(model, random, targets).mean()


def test_what_was_done_is_told():
    attack, problem, codes, targets = ruled(["quite great story with music"], [1])
    moved = attack.perturb(problem, codes, targets, 1, seeds(1))
    told = attack.changes(codes, moved)
    assert told["characters_changed"].tolist() == [1 / 28]
    assert told["unknown_words_added"].tolist() == [1 / 5]


def test_tries_are_at_least_one():
    with pytest.raises(SpecError, match="tries=0"):
        Typos([1], tries=0)
