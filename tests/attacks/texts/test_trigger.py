"""The universal trigger, compared with brute force."""

import dataclasses

import pytest
import torch

from suite.attacks.engine.validation import validate
from suite.attacks.texts.trigger import Trigger
from suite.errors import AttackError, NotApplicableError, SpecError
from suite.kinds.sentiment.kind import Sentiment
from suite.models.adapters.text import TorchText
from tests.attacks.texts import toys


def prepare(seed=0, count=90, **settings):
    """Return a fitted trigger, its problem, and held-out texts with their targets."""
    model = toys.linear(seed)
    train, codes = (toys.coded(toys.texts(count, which), 120) for which in (seed, seed + 50))
    problem = toys.problem_of(model)
    attack = toys.fitted(Trigger([1, 2], **settings), problem, train, toys.predictions(model, train))
    return attack, problem, codes, toys.predictions(model, codes)


def count_errors(model, codes, targets):
    return int((toys.margins(model, codes, targets) > 0).sum())


@pytest.mark.parametrize("seed", range(4))
def test_one_word_is_among_the_best_by_brute_force(seed):
    attack, problem, _, _ = prepare(seed, candidates=len(toys.WORDS), restarts=1)
    train = toys.coded(toys.texts(90, seed), 120)
    targets = toys.predictions(problem.adapter, train)
    order = toys.coded([f"{word} {text}" for word in toys.WORDS for text in toys.written(train)], 120)
    margins = toys.margins(problem.adapter, order, targets.repeat(len(toys.WORDS))).view(len(toys.WORDS), -1)
    scores = torch.sigmoid(margins).mean(dim=1)
    (word,) = dict(attack._triggers)[1]
    # Fitted to two thirds of these samples, it need not be the best on all of them, but is among the top three.
    assert (scores > scores[toys.WORDS.index(word)]).sum() <= 2


def test_the_trigger_precedes_every_text_and_beats_random_words():
    attack, problem, codes, targets = prepare(1)
    for size in attack.sizes:
        perturbed = attack.perturb(problem, codes, targets, size, toys.seeds(90))
        random = attack.controls()["random"](codes, size, toys.seeds(90))
        trigger = " ".join(dict(attack._triggers)[size])
        assert all(b == f"{trigger} {a}" for a, b in zip(toys.written(codes), toys.written(perturbed), strict=True))
        assert attack.violation(codes, perturbed, size).tolist() == [0] * 90
        assert attack.violation(codes, random, size).tolist() == [0] * 90
        assert len(set(toys.written(random))) > 80, "the control draws a different trigger for every text"
        assert count_errors(problem.adapter, perturbed, targets) > count_errors(problem.adapter, random, targets)
        assert (validate(problem, attack, codes, perturbed, targets, size) > 0.5).sum() == count_errors(
            problem.adapter, perturbed, targets
        )
    assert torch.equal(attack.perturb(problem, codes, targets, 0, toys.seeds(90)), codes)


def test_a_restart_on_one_class_wins_where_classes_need_opposite_words():
    """Only two words have a large effect; one flips the larger class, the other the smaller one."""
    model = toys.linear()
    table = model.module.embedding.weight.data
    table.zero_()
    model.module.head.weight.data.zero_()
    model.module.head.bias.data.zero_()
    model.module.head.weight.data[:, 0] = torch.tensor([-1.0, 1.0])
    table[2:, 0] = 0.0
    for word, weight in (("good", 1.0), ("bad", -1.0), ("camera", 5.0), ("ending", -5.0)):
        table[2 + toys.WORDS.index(word), 0] = weight
    written = ["good film"] * 60 + ["bad film"] * 30
    codes, targets = toys.coded(written), torch.tensor([1] * 60 + [0] * 30)
    problem = toys.problem_of(model)
    attack = toys.fitted(Trigger([1]), problem, codes, targets)
    assert dict(attack._triggers)[1] == ("ending",)


@pytest.mark.parametrize("batch_size", [1, 7])
def test_result_does_not_depend_on_batch_size_or_order(batch_size):
    first, problem, codes, targets = prepare(2, 30, candidates=5)
    again, *_ = prepare(2, 30, candidates=5)
    assert first._triggers == again._triggers
    model = problem.adapter
    train = toys.coded(toys.texts(30, 2), 120)
    small = dataclasses.replace(problem, batch_size=batch_size)
    in_batches = toys.fitted(Trigger([1, 2], candidates=5), small, train, toys.predictions(model, train))
    assert in_batches._triggers == first._triggers
    perturbed = first.perturb(problem, codes, targets, 2, toys.seeds(30))
    back = first.perturb(problem, codes.flip(0), targets.flip(0), 2, toys.seeds(30).flip(0)).flip(0)
    assert torch.equal(perturbed, back)


def test_a_text_that_gets_too_long_is_truncated():
    attack, problem, _, _ = prepare()
    codes = toys.coded(["good film bad"], 13)
    perturbed = attack.perturb(problem, codes, torch.tensor([0]), 1, toys.seeds(1))
    (text,) = toys.written(perturbed)
    assert len(text) == 13
    assert text.startswith(f"{dict(attack._triggers)[1][0]} good")
    assert attack.violation(codes, perturbed, 1).tolist() == [0]


def test_validation_rejects_another_text_after_the_trigger():
    attack, problem, codes, targets = prepare()
    perturbed = attack.perturb(problem, codes, targets, 1, toys.seeds(90))
    perturbed[0, 20] = ord("x")
    with pytest.raises(AttackError, match="for 1 of 64 samples by up to inf"):
        validate(problem, attack, codes, perturbed, targets, 1)
    perturbed = attack.perturb(problem, codes, targets, 2, toys.seeds(90))
    with pytest.raises(AttackError, match="for 64 of 64 samples by up to 1"):
        validate(problem, attack, codes, perturbed, targets, 1)


def test_character_triggers_replace_the_last_editable_characters_of_all_texts():
    model, problem, codes, targets = toys.characters(90)
    attack = toys.fitted(Trigger([1, 2], candidates=len(toys.SIGNS)), problem, codes, targets)
    for size in attack.sizes:
        perturbed = attack.perturb(problem, codes, targets, size, toys.seeds(90))
        assert len({text[6 - size : 6] for text in toys.written(perturbed)}) == 1
        kept = [column for column in range(10) if not 6 - size <= column < 6]
        assert torch.equal(perturbed[:, kept], codes[:, kept])
        assert (attack.violation(codes, perturbed, size) <= 0).all()
        random = attack.random(codes, size, toys.seeds(90))
        assert (attack.violation(codes, random, size) <= 0).all()
        assert torch.equal(random[:, kept], codes[:, kept])
        assert count_errors(model, perturbed, targets) >= count_errors(model, random, targets)
    errors = {sign: count_errors(model, attack.applied(codes, [(sign,)] * 90), targets) for sign in toys.SIGNS}
    assert errors[dict(attack._triggers)[1][0]] >= sorted(errors.values())[-2]


def test_missing_samples_or_embeddings_and_wrong_settings_are_rejected():
    model = toys.linear()
    codes = toys.coded(["good film"])
    with pytest.raises(AttackError, match="the task has none"):
        toys.fitted(Trigger([1]), toys.problem_of(model), codes[:0], torch.zeros(0).long())
    rules = toys.Rules(["good"], ["bad"])
    with pytest.raises(NotApplicableError, match="no word embedding"):
        problem = toys.Problem.of(Sentiment().kind(), rules.raw, adapter=rules)
        toys.fitted(Trigger([1]), problem, codes, torch.ones(1).long())
    with pytest.raises(SpecError, match="at least 1"):
        Trigger([1], rounds=0)
    with pytest.raises(AttackError, match="call fit"):
        Trigger([1]).perturb(toys.problem_of(model), codes, torch.ones(1).long(), 1, toys.seeds(1))


def test_long_words_are_left_out_of_long_triggers():
    words = (*toys.WORDS, "incomprehensibilities")
    model = TorchText(toys.Sum(len(words) + 2), toys.ByWord(words))
    attack = toys.fitted(Trigger([1, 3]), toys.problem_of(model), toys.coded(toys.texts(30)), torch.zeros(30).long())
    assert words[-1] in attack._spellings(1)[0]
    assert words[-1] not in attack._spellings(3)[0]


def test_more_words_than_fit_are_rejected():
    problem = toys.problem_of(toys.linear())
    samples = toys.coded(["good film"] * 30, 41), torch.ones(30).long()
    Trigger([8], rounds=1, candidates=2).fit(problem, lambda: samples, seed=0)
    with pytest.raises(SpecError, match=r"edits=\[9\]: a trigger has room for 8 words"):
        Trigger([9]).fit(problem, lambda: samples, seed=0)
