"""The universal trigger: the same words before every text, and the best of all by brute force."""

import dataclasses

import pytest
import torch

from suite.attacks.engine.validation import validate
from suite.attacks.rng import as_seeds
from suite.attacks.texts.trigger import Trigger
from suite.data.text import texts_of
from suite.errors import AttackError, NotApplicableError, SpecError
from suite.kinds.sentiment.kind import Sentiment
from suite.models.adapters.text import TorchText
from tests.attacks.texts import toys
from tests.attacks.texts.test_hotflip import SIGNS, characters


def seeds(count):
    return as_seeds(list(range(count)))


def world(seed=0, count=90, **settings):
    """Return a fitted trigger, and texts to try it on that it was not fitted to."""
    model = toys.linear(seed)
    train, codes = (toys.coded(toys.texts(count, which), 120) for which in (seed, seed + 50))
    problem = toys.problem_of(model)
    attack = toys.fitted(Trigger([1, 2], **settings), problem, train, toys.right(model, train))
    return attack, problem, codes, toys.right(model, codes)


def fell(model, codes, targets):
    return int((toys.margins(model, codes, targets) > 0).sum())


@pytest.mark.parametrize("seed", range(4))
def test_one_word_does_as_much_as_the_best_of_all(seed):
    attack, problem, _, _ = world(seed, candidates=len(toys.WORDS), restarts=1)
    train = toys.coded(toys.texts(90, seed), 120)
    targets = toys.right(problem.adapter, train)
    order = toys.coded([f"{word} {text}" for word in toys.WORDS for text in texts_of(train.numpy())], 120)
    margins = toys.margins(problem.adapter, order, targets.repeat(len(toys.WORDS))).view(len(toys.WORDS), -1)
    softly = torch.sigmoid(margins).mean(dim=1)
    (word,) = dict(attack._triggers)[1]
    # Fitted to two thirds of these samples, it need not be the very best on all of them, but is among the first.
    assert (softly > softly[toys.WORDS.index(word)]).sum() <= 2


def test_it_stands_before_every_text_and_does_more_than_random_words():
    attack, problem, codes, targets = world(1)
    for size in attack.sizes:
        moved = attack.perturb(problem, codes, targets, size, seeds(90))
        random = attack.controls()["random"](codes, size, seeds(90))
        told = " ".join(dict(attack._triggers)[size])
        assert all(b == f"{told} {a}" for a, b in zip(texts_of(codes.numpy()), texts_of(moved.numpy()), strict=True))
        assert attack.violation(codes, moved, size).tolist() == [0] * 90
        assert attack.violation(codes, random, size).tolist() == [0] * 90
        assert len(set(texts_of(random.numpy()))) > 80, "every text has a random trigger of its own"
        assert fell(problem.adapter, moved, targets) > fell(problem.adapter, random, targets)
        assert (validate(problem, attack, codes, moved, targets, size) > 0.5).sum() == fell(
            problem.adapter, moved, targets
        )
    assert torch.equal(attack.perturb(problem, codes, targets, 0, seeds(90)), codes)


def test_a_restart_for_one_class_wins_where_the_classes_pull_apart():
    """All words but two do nothing; one of these turns the larger class, the other the smaller one."""
    model = toys.linear()
    table = model.module.embedding.weight.data
    table.zero_()
    model.module.head.weight.data.zero_()
    model.module.head.bias.data.zero_()
    model.module.head.weight.data[:, 0] = torch.tensor([-1.0, 1.0])
    table[2:, 0] = 0.0
    for word, pull in (("good", 1.0), ("bad", -1.0), ("camera", 5.0), ("ending", -5.0)):
        table[2 + toys.WORDS.index(word), 0] = pull
    written = ["good film"] * 60 + ["bad film"] * 30
    codes, targets = toys.coded(written), torch.tensor([1] * 60 + [0] * 30)
    problem = toys.problem_of(model)
    attack = toys.fitted(Trigger([1]), problem, codes, targets)
    assert dict(attack._triggers)[1] == ("ending",)


@pytest.mark.parametrize("batch_size", [1, 7])
def test_neither_batch_nor_order_nor_a_second_run_changes_anything(batch_size):
    first, problem, codes, targets = world(2, 30, candidates=5)
    again, *_ = world(2, 30, candidates=5)
    assert first._triggers == again._triggers
    model = problem.adapter
    train = toys.coded(toys.texts(30, 2), 120)
    small = dataclasses.replace(problem, batch_size=batch_size)
    assert (
        toys.fitted(Trigger([1, 2], candidates=5), small, train, toys.right(model, train))._triggers == first._triggers
    )
    moved = first.perturb(problem, codes, targets, 2, seeds(30))
    back = first.perturb(problem, codes.flip(0), targets.flip(0), 2, seeds(30).flip(0)).flip(0)
    assert torch.equal(moved, back)


def test_a_text_without_room_loses_its_end():
    attack, problem, _, _ = world()
    codes = toys.coded(["good film bad"], 13)
    moved = attack.perturb(problem, codes, torch.tensor([0]), 1, seeds(1))
    (text,) = texts_of(moved.numpy())
    assert len(text) == 13
    assert text.startswith(f"{dict(attack._triggers)[1][0]} good")
    assert attack.violation(codes, moved, 1).tolist() == [0]


def test_the_gate_rejects_another_text_behind_the_words():
    attack, problem, codes, targets = world()
    moved = attack.perturb(problem, codes, targets, 1, seeds(90))
    moved[0, 20] = ord("x")
    with pytest.raises(AttackError, match="for 1 of 90 samples by up to inf"):
        validate(problem, attack, codes, moved, targets, 1)
    moved = attack.perturb(problem, codes, targets, 2, seeds(90))
    with pytest.raises(AttackError, match="for 90 of 90 samples by up to 1"):
        validate(problem, attack, codes, moved, targets, 1)


def test_characters_are_the_same_for_all_at_the_last_places_that_may_be_changed():
    model, problem, codes, targets = characters(90)
    attack = toys.fitted(Trigger([1, 2], candidates=len(SIGNS)), problem, codes, targets)
    for size in attack.sizes:
        moved = attack.perturb(problem, codes, targets, size, seeds(90))
        assert len({text[6 - size : 6] for text in texts_of(moved.numpy())}) == 1
        kept = [column for column in range(10) if not 6 - size <= column < 6]
        assert torch.equal(moved[:, kept], codes[:, kept])
        assert (attack.violation(codes, moved, size) <= 0).all()
        random = attack.random(codes, size, seeds(90))
        assert (attack.violation(codes, random, size) <= 0).all()
        assert torch.equal(random[:, kept], codes[:, kept])
        assert fell(model, moved, targets) >= fell(model, random, targets)
    one = {character: fell(model, attack.applied(codes, [(character,)] * 90), targets) for character in SIGNS}
    assert one[dict(attack._triggers)[1][0]] >= sorted(one.values())[-2]


def test_without_samples_embeddings_or_sense_there_is_none():
    model = toys.linear()
    codes = toys.coded(["good film"])
    with pytest.raises(AttackError, match="the task has none"):
        toys.fitted(Trigger([1]), toys.problem_of(model), codes[:0], torch.zeros(0).long())
    rules = toys.Rules(["good"], ["bad"])
    with pytest.raises(NotApplicableError, match="no embedding"):
        problem = toys.Problem.of(Sentiment(), rules.raw, adapter=rules)
        toys.fitted(Trigger([1]), problem, codes, torch.ones(1).long())
    with pytest.raises(SpecError, match="at least 1"):
        Trigger([1], rounds=0)
    with pytest.raises(AttackError, match="call fit"):
        Trigger([1]).perturb(toys.problem_of(model), codes, torch.ones(1).long(), 1, seeds(1))


def test_long_words_do_not_push_out_a_text():
    words = (*toys.WORDS, "incomprehensibilities")
    model = TorchText(toys.Sum(len(words) + 2), toys.ByWord(words))
    attack = toys.fitted(Trigger([1, 3]), toys.problem_of(model), toys.coded(toys.texts(30)), torch.zeros(30).long())
    assert words[-1] in attack._spellings(1)[0]
    assert words[-1] not in attack._spellings(3)[0]


def test_more_words_than_there_is_room_for_are_refused():
    problem = toys.problem_of(toys.linear())
    samples = toys.coded(["good film"] * 30, 41), torch.ones(30).long()
    Trigger([8], rounds=1, candidates=2).fit(problem, lambda: samples, seed=0)
    with pytest.raises(SpecError, match=r"edits=\[9\]: a trigger has room for 8 words"):
        Trigger([9]).fit(problem, lambda: samples, seed=0)
