"""HotFlip finds what brute force finds, keeps to its rules, and is not believed where it does not."""

import dataclasses

import pytest
import torch

from suite.attacks.engine.problem import Passes, Problem
from suite.attacks.engine.validation import validate
from suite.attacks.rng import as_seeds
from suite.attacks.texts.hotflip import HotFlip
from suite.attacks.texts.lexicon import LETTERS, Lexicon
from suite.attacks.texts.spelling import misspelt
from suite.data.text import texts_of
from suite.errors import AttackError, NotApplicableError, SpecError
from suite.kinds.sentiment.kind import Sentiment
from suite.models.adapters.text import TorchText
from tests.attacks.texts import toys

ANY = {"neighbours": 1000, "similarity": -1.0}
SIGNS = "abcdefg "


def world(attack, count=24, seed=0, batch_size=256):
    model = toys.linear(seed)
    codes = toys.coded(toys.texts(count, seed))
    targets = toys.right(model, codes)
    problem = toys.problem_of(model, batch_size=batch_size)
    return toys.fitted(attack, problem, codes, targets), problem, codes, targets


def seeds(count):
    return as_seeds(list(range(count)))


def written(codes):
    return texts_of(codes.numpy())


def best_by_hand(model, text, target, replacements):
    """Return the highest margin that one replacement reaches, of all there are."""
    others = [
        text[: m.start()] + new + text[m.end() :] for m in LETTERS.finditer(text) for new in replacements(m.group())
    ]
    codes = toys.coded([text, *others])
    return float(toys.margins(model, codes, target.expand(len(codes))).max())


@pytest.mark.parametrize("seed", range(4))
def test_one_word_is_the_best_of_all_by_brute_force_where_the_first_order_is_exact(seed):
    attack, problem, codes, targets = world(HotFlip([1], candidates=1, loss="margin", **ANY), seed=seed)
    moved = attack.perturb(problem, codes, targets, 1, seeds(len(codes)))
    reached = toys.margins(problem.adapter, moved, targets)
    for text, target, margin in zip(written(codes), targets, reached, strict=True):
        best = best_by_hand(problem.adapter, text, target, lambda word: toys.WORDS)
        assert float(margin) == pytest.approx(best, abs=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_one_typo_is_the_best_of_all_by_brute_force(seed):
    attack, problem, codes, targets = world(HotFlip([1], unit="character", candidates=400), seed=seed)
    moved = attack.perturb(problem, codes, targets, 1, seeds(len(codes)))
    reached = toys.margins(problem.adapter, moved, targets)
    for text, target, margin in zip(written(codes), targets, reached, strict=True):
        best = best_by_hand(problem.adapter, text, target, lambda word: [t for way in misspelt(word) for t in way])
        assert float(margin) == pytest.approx(best, abs=1e-5)


@pytest.mark.parametrize("unit", ["word", "character"])
def test_more_edits_do_more_and_random_ones_less(unit):
    attack, problem, codes, targets = world(HotFlip([1, 2, 4], unit=unit, **ANY), count=80)
    before = toys.margins(problem.adapter, codes, targets)
    for size in attack.sizes:
        moved = attack.perturb(problem, codes, targets, size, seeds(80))
        random = attack.controls()["random"](codes, size, seeds(80))
        margin = toys.margins(problem.adapter, moved, targets)
        assert (attack.violation(codes, moved, size) <= 0).all()
        assert (attack.violation(codes, random, size) <= 0).all()
        assert (random != codes).any(dim=1).float().mean() > 0.9, "a control that changes nothing controls nothing"
        assert (margin >= before).all()
        assert (margin > 0).sum() > (toys.margins(problem.adapter, random, targets) > 0).sum()
        before = margin  # who is fooled is left alone, and who is not goes on from there


def test_size_zero_changes_nothing():
    attack, problem, codes, targets = world(HotFlip([1]))
    assert torch.equal(attack.perturb(problem, codes, targets, 0.0, seeds(len(codes))), codes)
    assert problem.passes.total == 0


def test_every_replacement_is_a_neighbour_in_the_case_of_its_word():
    attack, problem, codes, targets = world(HotFlip([4], neighbours=5, similarity=0.2), count=40)
    moved = attack.perturb(problem, codes, targets, 4, seeds(40))
    table, place = problem.adapter.table, {word: i + 2 for i, word in enumerate(toys.WORDS)}
    cosines = torch.nn.functional.cosine_similarity(table[2:, None], table[None, 2:], dim=2).fill_diagonal_(-2)
    changed = 0
    for before, after in zip(written(codes), written(moved), strict=True):
        for old, new in zip(LETTERS.findall(before), LETTERS.findall(after), strict=True):
            if old != new:
                row = cosines[place[old.lower()] - 2]
                rank = int((row > row[place[new.lower()] - 2]).sum())
                assert rank < 5
                assert row[place[new.lower()] - 2] >= 0.2
                assert old[0].isupper() == new[0].isupper()
                changed += 1
    assert changed > 20


def test_unknown_words_and_words_that_are_not_read_stay():
    model = toys.linear(length=3)
    codes = toys.coded(["zzz good film bad awful poor", "Zzz yyy xxx sad"])
    targets = toys.right(model, codes)
    problem = toys.problem_of(model)
    attack = toys.fitted(HotFlip([4], **ANY), problem, codes, targets)
    moved = written(attack.perturb(problem, codes, targets, 4, seeds(2)))
    assert moved[0].split()[0] == "zzz"
    assert moved[0].split()[3:] == ["bad", "awful", "poor"]
    assert moved[1] == "Zzz yyy xxx sad"


def test_a_text_never_outgrows_its_array():
    model = toys.linear()
    text = "bad sad bad sad"
    codes = toys.coded([text], len(text))
    targets = toys.right(model, codes)
    problem = toys.problem_of(model)
    attack = toys.fitted(HotFlip([4], candidates=40, **ANY), problem, codes, targets)
    moved = attack.perturb(problem, codes, targets, 4, seeds(1))
    assert (attack.violation(codes, moved, 4) <= 0).all()
    assert len(written(moved)[0]) <= len(text)


@pytest.mark.parametrize("unit", ["word", "character"])
@pytest.mark.parametrize("batch_size", [1, 7])
def test_neither_batch_nor_order_nor_a_second_run_changes_anything(unit, batch_size):
    attack, problem, codes, targets = world(HotFlip([2], unit=unit), count=30)
    moved = attack.perturb(problem, codes, targets, 2, seeds(30))
    small = dataclasses.replace(problem, batch_size=batch_size)
    assert torch.equal(attack.perturb(small, codes, targets, 2, seeds(30)), moved)
    back = attack.perturb(problem, codes.flip(0), targets.flip(0), 2, seeds(30).flip(0)).flip(0)
    assert torch.equal(back, moved)
    control = attack.random(codes, 2, seeds(30))
    assert torch.equal(attack.random(codes.flip(0), 2, seeds(30).flip(0)).flip(0), control)


def test_passes_are_counted_one_by_one():
    """Each edit costs one gradient, two passes, and a pass for each candidate; nobody is fooled here."""
    attack, problem, codes, targets = world(HotFlip([1], candidates=3, **ANY))
    far = dataclasses.replace(problem, misclassified=lambda output, wanted: torch.zeros(len(output), dtype=torch.bool))
    attack.perturb(far, codes, targets, 1, seeds(len(codes)))
    assert (far.passes.forward, far.passes.backward) == (4 * len(codes), len(codes))


# -- models that read characters


def characters(count=12, length=10, batch_size=256):
    source = torch.Generator().manual_seed(5)
    drawn = torch.randint(len(SIGNS), (count, length), generator=source).tolist()
    model = TorchText(toys.Weighted(len(SIGNS) + 2, length), toys.ByCharacter(SIGNS), length=length)
    codes = toys.coded(["".join(SIGNS[i] for i in row) for row in drawn], length)
    problem = dataclasses.replace(
        toys.problem_of(model), editable=lambda c, t: (c != 0) & (torch.arange(c.shape[1]) < 6)
    )
    return model, problem, codes, toys.right(model, codes)


def test_one_character_is_the_best_of_all_by_brute_force_and_only_where_it_may():
    model, problem, codes, targets = characters()
    attack = toys.fitted(HotFlip([1], unit="character", candidates=1, loss="margin"), problem, codes, targets)
    moved = attack.perturb(problem, codes, targets, 1, seeds(len(codes)))
    assert (moved[:, 6:] == codes[:, 6:]).all()
    for text, target, margin in zip(written(codes), targets, toys.margins(model, moved, targets), strict=True):
        others = toys.coded([text[:i] + new + text[i + 1 :] for i in range(6) for new in SIGNS], len(text))
        best = toys.margins(model, others, target.expand(len(others))).max()
        assert float(margin) == pytest.approx(float(best), abs=1e-5)


def test_several_characters_keep_the_rules_and_random_ones_do_less():
    model, problem, codes, targets = characters(60)
    attack = toys.fitted(HotFlip([1, 3], unit="character"), problem, codes, targets)
    for size in attack.sizes:
        moved = attack.perturb(problem, codes, targets, size, seeds(60))
        random = attack.random(codes, size, seeds(60))
        assert (attack.violation(codes, moved, size) <= 0).all()
        assert (attack.violation(codes, random, size) <= 0).all()
        assert ((random != codes).sum(dim=1) == size).all()
        assert (random[:, 6:] == codes[:, 6:]).all()
        assert toys.margins(model, moved, targets).mean() > toys.margins(model, random, targets).mean()


def test_words_are_not_asked_of_a_model_that_reads_characters():
    _, problem, codes, targets = characters()
    with pytest.raises(NotApplicableError, match="unit=character"):
        toys.fitted(HotFlip([1]), problem, codes, targets)


# -- what it cannot be asked of


def test_a_model_without_embeddings_is_not_applicable():
    model = toys.Rules(["good"], ["bad"])
    problem = Problem.of(Sentiment(), model.raw, adapter=model)
    with pytest.raises(NotApplicableError, match="no embedding"):
        toys.fitted(HotFlip([1]), problem, toys.coded(["good"]), torch.ones(1).long())
    with pytest.raises(NotApplicableError, match="does not tell what it reads"):
        Lexicon(None)


@pytest.mark.parametrize(
    "settings", [{"unit": "letter"}, {"candidates": 0}, {"neighbours": 0}, {"similarity": 2.0}, {"edits": (2, 1)}]
)
def test_wrong_settings_are_refused(settings):
    with pytest.raises(SpecError):
        HotFlip(**settings)


# -- subwords


class Pieces(toys.ByWord):
    """Words of the vocabulary whole, as WordPiece has them; others as two halves where both are known."""

    def tokens(self, text):
        found = []
        for token in super().tokens(text):
            word = text[token.start : token.end].lower()
            cut = next((i for i in range(1, len(word)) if word[:i] in self._ids and f"##{word[i:]}" in self._ids), None)
            if token.id == 1 and cut is not None:
                middle = token.start + cut
                found += [
                    toys.Token(self._ids[word[:cut]], token.start, middle),
                    toys.Token(self._ids[f"##{word[cut:]}"], middle, token.end),
                ]
            else:
                found.append(token)
        return found


def test_a_word_of_two_tokens_is_replaced_by_one_and_estimated_from_both():
    words = (*toys.WORDS, "##ly", "##s", "[SEP]")
    model = TorchText(toys.Sum(len(words) + 2, seed=3), Pieces(words), length=16)
    codes = toys.coded(["a sadly films", "the actors again"])
    targets = toys.right(model, codes)
    problem = toys.problem_of(model)
    attack = toys.fitted(HotFlip([1], candidates=1, loss="margin", **ANY), problem, codes, targets)
    assert set(attack.lexicon.words) == set(toys.WORDS)
    moved = attack.perturb(problem, codes, targets, 1, seeds(2))
    known = {"sadly", "films", "the", "actors", "again"}
    for text, target, margin in zip(written(codes), targets, toys.margins(model, moved, targets), strict=True):
        best = best_by_hand(model, text, target, lambda word: toys.WORDS if word in known else [])
        assert float(margin) == pytest.approx(best, abs=1e-5)


class SpaceMatters(toys.ByWord):
    """Has two ids for some words, inside a text and at its beginning, as byte pair encodings have."""

    def __init__(self, words, first):
        super().__init__(words)
        self.first = {word: len(self.vocabulary) + place for place, word in enumerate(first)}
        self.vocabulary = (*self.vocabulary, *first)

    def tokens(self, text):
        found = super().tokens(text)
        return [t._replace(id=self.first.get(text[: t.end].lower(), 1)) if t.start == 0 < t.end else t for t in found]


def test_a_word_with_two_ids_is_offered_once_as_it_is_read_inside_a_text():
    tokenizer = SpaceMatters(("good", "bad", "film"), ("bad", "good", "alone"))
    lexicon = Lexicon(TorchText(toys.Sum(len(tokenizer.vocabulary)), tokenizer))
    assert list(tokenizer.vocabulary).count("good") == 2
    assert dict(zip(lexicon.words, lexicon.word_ids.tolist(), strict=True)) == {"good": 2, "bad": 3, "film": 4}


# -- the gate


def other(change):
    """Return a HotFlip that changes texts in its own way."""

    class Cheat(HotFlip):
        def perturb(self, problem, codes, targets, size, seeds):
            return change(codes.clone())

    return Cheat


def two_words(codes):
    return toys.coded([f"bad bad {text.split(' ', 2)[2]}" for text in written(codes)], codes.shape[1])


def put(column, value):
    def change(codes):
        codes[:, column] = value
        return codes

    return change


CHEATS = {
    "two words at size one": (two_words, "perturbations over the limit"),
    "half a surrogate pair": (put(0, 0xD800), "perturbations over the limit for 24 of 24 samples by up to inf"),
    "a NUL inside": (put(1, 0), "perturbations over the limit for 24 of 24 samples by up to inf"),
    "beyond Unicode": (put(0, 0x110000), "pixels outside"),
    "a negative number": (put(0, -5), "pixels outside"),
    "another shape": (lambda codes: codes[:, 1:], "returned shape"),
}


@pytest.mark.parametrize(("change", "sentence"), CHEATS.values(), ids=CHEATS)
def test_the_gate_rejects_what_breaks_the_rules(change, sentence):
    attack, problem, codes, targets = world(other(change)([1]))
    moved = attack.perturb(problem, codes, targets, 1, seeds(len(codes)))
    with pytest.raises(AttackError, match=sentence):
        validate(problem, attack, codes, moved, targets, 1)


def test_the_gate_rejects_a_character_that_may_not_be_changed():
    _, problem, codes, targets = characters()
    attack = toys.fitted(HotFlip([1], unit="character"), problem, codes, targets)
    moved = codes.clone()
    moved[:, 8] = torch.where(codes[:, 8] == ord("a"), ord("b"), ord("a"))
    with pytest.raises(AttackError, match="over the limit for 12 of 12 samples by up to inf"):
        validate(problem, attack, codes, moved, targets, 1)


LENGTHS = {
    "one more at the end": lambda text: text + "a",
    "one more before those that are scored": lambda text: "a" + text,
    "one more among those that are scored": lambda text: text[:8] + "a" + text[8:],
    "one fewer at the end": lambda text: text[:-1],
    "one fewer before those that are scored": lambda text: text[1:],
}


@pytest.mark.parametrize("change", LENGTHS.values(), ids=LENGTHS)
def test_the_gate_rejects_another_length_where_characters_are_scored(change):
    model, problem, codes, _ = characters()
    codes = toys.coded(written(codes), 14)  # with room for more
    targets = toys.right(model, codes)
    attack = toys.fitted(HotFlip([1, 4], unit="character"), problem, codes, targets)
    moved = toys.coded([change(text) for text in written(codes)], 14)
    assert (attack.violation(codes, moved, 4) == torch.inf).all()
    with pytest.raises(AttackError, match="over the limit for 12 of 12 samples by up to inf"):
        validate(problem, attack, codes, moved, targets, 4)
    free = dataclasses.replace(problem, editable=lambda c, t: c != 0)
    attack = toys.fitted(HotFlip([1, 4], unit="character"), free, codes, targets)
    validate(free, attack, codes, moved, targets, 1)  # where all may be changed it is one edit


def test_a_gradient_that_is_not_finite_moves_nothing_but_is_survived():
    _, problem, codes, targets = world(HotFlip([1]))
    broken = dataclasses.replace(
        problem,
        passes=Passes(),
        loss=lambda o, t, name, target_classes: problem.loss(o, t, name, target_classes) * torch.nan,
    )
    told = broken.token_gradient(codes, targets, "ce")
    assert (told.gradient == 0).all()
    assert (told.reading.mask.sum(dim=1) > 0).all()


@pytest.mark.parametrize("unit", ["word", "character"])
def test_an_attack_on_texts_is_not_the_judge_of_its_own_size(unit, monkeypatch):
    attack, problem, codes, targets = world(HotFlip([1], unit=unit))
    monkeypatch.setattr(HotFlip, "violation", lambda self, clean, moved, size: torch.zeros(len(clean)))
    with pytest.raises(AttackError, match="perturbations over the limit"):
        validate(problem, attack, codes, codes.roll(1, dims=0), targets, 1)
