"""HotFlip: equal to brute force, within its constraints, and rejected by validation if it violates them."""

import dataclasses

import pytest
import torch

from suite.attacks.engine.problem import Passes, Problem
from suite.attacks.engine.validation import validate
from suite.attacks.texts.hotflip import HotFlip
from suite.attacks.texts.lexicon import LETTERS, Lexicon
from suite.attacks.texts.spelling import misspellings
from suite.errors import AttackError, NotApplicableError, SpecError
from suite.kinds.sentiment.kind import Sentiment
from suite.models.adapters.text import TorchText
from tests.attacks.texts import toys

ANY = {"neighbours": 1000, "similarity": -1.0}


def prepare(attack, count=24, seed=0, batch_size=256):
    model = toys.linear(seed)
    codes = toys.coded(toys.texts(count, seed))
    targets = toys.predictions(model, codes)
    problem = toys.problem_of(model, batch_size=batch_size)
    return toys.fitted(attack, problem, codes, targets), problem, codes, targets


def best_by_brute_force(model, text, target, replacements):
    """Return the highest margin of all texts with one replacement."""
    others = [
        text[: m.start()] + new + text[m.end() :] for m in LETTERS.finditer(text) for new in replacements(m.group())
    ]
    codes = toys.coded([text, *others])
    return float(toys.margins(model, codes, target.expand(len(codes))).max())


@pytest.mark.parametrize("seed", range(4))
def test_one_word_matches_brute_force_where_the_first_order_estimate_is_exact(seed):
    attack, problem, codes, targets = prepare(HotFlip([1], candidates=1, loss="margin", **ANY), seed=seed)
    perturbed = attack.perturb(problem, codes, targets, 1, toys.seeds(len(codes)))
    reached = toys.margins(problem.adapter, perturbed, targets)
    for text, target, margin in zip(toys.written(codes), targets, reached, strict=True):
        best = best_by_brute_force(problem.adapter, text, target, lambda word: toys.WORDS)
        assert float(margin) == pytest.approx(best, abs=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_one_typo_matches_brute_force(seed):
    attack, problem, codes, targets = prepare(HotFlip([1], unit="character", candidates=400), seed=seed)
    perturbed = attack.perturb(problem, codes, targets, 1, toys.seeds(len(codes)))
    reached = toys.margins(problem.adapter, perturbed, targets)
    for text, target, margin in zip(toys.written(codes), targets, reached, strict=True):
        best = best_by_brute_force(
            problem.adapter, text, target, lambda word: [t for kind in misspellings(word) for t in kind]
        )
        assert float(margin) == pytest.approx(best, abs=1e-5)


@pytest.mark.parametrize("unit", ["word", "character"])
def test_more_edits_raise_the_margin_and_beat_random_edits(unit):
    attack, problem, codes, targets = prepare(HotFlip([1, 2, 4], unit=unit, **ANY), count=80)
    before = toys.margins(problem.adapter, codes, targets)
    for size in attack.sizes:
        perturbed = attack.perturb(problem, codes, targets, size, toys.seeds(80))
        random = attack.controls()["random"](codes, size, toys.seeds(80))
        margin = toys.margins(problem.adapter, perturbed, targets)
        assert (attack.violation(codes, perturbed, size) <= 0).all()
        assert (attack.violation(codes, random, size) <= 0).all()
        assert (random != codes).any(dim=1).float().mean() > 0.9, "the control must change most texts"
        assert (margin >= before).all()
        assert (margin > 0).sum() > (toys.margins(problem.adapter, random, targets) > 0).sum()
        before = margin  # misclassified texts are not edited further


def test_size_zero_changes_nothing():
    attack, problem, codes, targets = prepare(HotFlip([1]))
    assert torch.equal(attack.perturb(problem, codes, targets, 0.0, toys.seeds(len(codes))), codes)
    assert problem.passes.total == 0


def test_replacements_are_similar_words_with_the_same_capitalization():
    attack, problem, codes, targets = prepare(HotFlip([4], neighbours=5, similarity=0.2), count=40)
    perturbed = attack.perturb(problem, codes, targets, 4, toys.seeds(40))
    table, place = problem.adapter.table, {word: i + 2 for i, word in enumerate(toys.WORDS)}
    cosines = torch.nn.functional.cosine_similarity(table[2:, None], table[None, 2:], dim=2).fill_diagonal_(-2)
    changed = 0
    for before, after in zip(toys.written(codes), toys.written(perturbed), strict=True):
        for old, new in zip(LETTERS.findall(before), LETTERS.findall(after), strict=True):
            if old != new:
                row = cosines[place[old.lower()] - 2]
                rank = int((row > row[place[new.lower()] - 2]).sum())
                assert rank < 5
                assert row[place[new.lower()] - 2] >= 0.2
                assert old[0].isupper() == new[0].isupper()
                changed += 1
    assert changed > 20


def test_unknown_words_and_truncated_words_are_not_changed():
    model = toys.linear(length=3)
    codes = toys.coded(["zzz good film bad awful poor", "Zzz yyy xxx sad"])
    targets = toys.predictions(model, codes)
    problem = toys.problem_of(model)
    attack = toys.fitted(HotFlip([4], **ANY), problem, codes, targets)
    perturbed = toys.written(attack.perturb(problem, codes, targets, 4, toys.seeds(2)))
    assert perturbed[0].split()[0] == "zzz"
    assert perturbed[0].split()[3:] == ["bad", "awful", "poor"]
    assert perturbed[1] == "Zzz yyy xxx sad"


def test_a_text_never_gets_longer_than_its_array():
    model = toys.linear()
    text = "bad sad bad sad"
    codes = toys.coded([text], len(text))
    targets = toys.predictions(model, codes)
    problem = toys.problem_of(model)
    attack = toys.fitted(HotFlip([4], candidates=40, **ANY), problem, codes, targets)
    perturbed = attack.perturb(problem, codes, targets, 4, toys.seeds(1))
    assert (attack.violation(codes, perturbed, 4) <= 0).all()
    assert len(toys.written(perturbed)[0]) <= len(text)


@pytest.mark.parametrize("unit", ["word", "character"])
@pytest.mark.parametrize("batch_size", [1, 7])
def test_result_does_not_depend_on_batch_size_or_order(unit, batch_size):
    attack, problem, codes, targets = prepare(HotFlip([2], unit=unit), count=30)
    perturbed = attack.perturb(problem, codes, targets, 2, toys.seeds(30))
    small = dataclasses.replace(problem, batch_size=batch_size)
    assert torch.equal(attack.perturb(small, codes, targets, 2, toys.seeds(30)), perturbed)
    back = attack.perturb(problem, codes.flip(0), targets.flip(0), 2, toys.seeds(30).flip(0)).flip(0)
    assert torch.equal(back, perturbed)
    control = attack.random(codes, 2, toys.seeds(30))
    assert torch.equal(attack.random(codes.flip(0), 2, toys.seeds(30).flip(0)).flip(0), control)


def test_passes_are_counted():
    """Each edit costs one gradient, two passes, and a pass per candidate; nothing is misclassified here."""
    attack, problem, codes, targets = prepare(HotFlip([1], candidates=3, **ANY))
    far = dataclasses.replace(
        problem, misclassified=lambda output, expected: torch.zeros(len(output), dtype=torch.bool)
    )
    attack.perturb(far, codes, targets, 1, toys.seeds(len(codes)))
    assert far.passes.total - far.passes.padding == 5 * len(codes)
    assert far.passes.backward == len(codes) + problem.adapter.padding(len(codes))


# -- models that read characters


def test_one_character_matches_brute_force_over_editable_characters():
    model, problem, codes, targets = toys.characters()
    attack = toys.fitted(HotFlip([1], unit="character", candidates=1, loss="margin"), problem, codes, targets)
    perturbed = attack.perturb(problem, codes, targets, 1, toys.seeds(len(codes)))
    assert (perturbed[:, 6:] == codes[:, 6:]).all()
    for text, target, margin in zip(toys.written(codes), targets, toys.margins(model, perturbed, targets), strict=True):
        others = toys.coded([text[:i] + new + text[i + 1 :] for i in range(6) for new in toys.SIGNS], len(text))
        best = toys.margins(model, others, target.expand(len(others))).max()
        assert float(margin) == pytest.approx(float(best), abs=1e-5)


def test_several_characters_respect_the_constraints_and_beat_random_edits():
    model, problem, codes, targets = toys.characters(60)
    attack = toys.fitted(HotFlip([1, 3], unit="character"), problem, codes, targets)
    for size in attack.sizes:
        perturbed = attack.perturb(problem, codes, targets, size, toys.seeds(60))
        random = attack.random(codes, size, toys.seeds(60))
        assert (attack.violation(codes, perturbed, size) <= 0).all()
        assert (attack.violation(codes, random, size) <= 0).all()
        assert ((random != codes).sum(dim=1) == size).all()
        assert (random[:, 6:] == codes[:, 6:]).all()
        assert toys.margins(model, perturbed, targets).mean() > toys.margins(model, random, targets).mean()


def test_unit_word_is_not_applicable_to_a_model_that_reads_characters():
    _, problem, codes, targets = toys.characters()
    with pytest.raises(NotApplicableError, match="unit=character"):
        toys.fitted(HotFlip([1]), problem, codes, targets)


# -- inapplicable models and wrong settings


def test_a_model_without_embeddings_is_not_applicable():
    model = toys.Rules(["good"], ["bad"])
    problem = Problem.of(Sentiment().kind(), model.raw, adapter=model)
    with pytest.raises(NotApplicableError, match="no word embedding"):
        toys.fitted(HotFlip([1]), problem, toys.coded(["good"]), torch.ones(1).long())
    with pytest.raises(NotApplicableError, match="does not expose its tokens"):
        toys.fitted(
            HotFlip([1]), dataclasses.replace(problem, adapter=None), toys.coded(["good"]), torch.ones(1).long()
        )


@pytest.mark.parametrize(
    "settings", [{"unit": "letter"}, {"candidates": 0}, {"neighbours": 0}, {"similarity": 2.0}, {"edits": (2, 1)}]
)
def test_wrong_settings_are_rejected(settings):
    with pytest.raises(SpecError):
        HotFlip(**settings)


# -- subwords


class Pieces(toys.ByWord):
    """Like WordPiece: words of the vocabulary as one token, other words as two known pieces if possible."""

    def tokens(self, text):
        tokens = []
        for token in super().tokens(text):
            word = text[token.start : token.end].lower()
            cut = next((i for i in range(1, len(word)) if word[:i] in self._ids and f"##{word[i:]}" in self._ids), None)
            if token.id == 1 and cut is not None:
                middle = token.start + cut
                tokens += [
                    toys.Token(self._ids[word[:cut]], token.start, middle),
                    toys.Token(self._ids[f"##{word[cut:]}"], middle, token.end),
                ]
            else:
                tokens.append(token)
        return tokens


def test_the_estimate_for_a_word_of_two_tokens_uses_both_gradients():
    words = (*toys.WORDS, "##ly", "##s", "[SEP]")
    model = TorchText(toys.Sum(len(words) + 2, seed=3), Pieces(words), length=16)
    codes = toys.coded(["a sadly films", "the actors again"])
    targets = toys.predictions(model, codes)
    problem = toys.problem_of(model)
    attack = toys.fitted(HotFlip([1], candidates=1, loss="margin", **ANY), problem, codes, targets)
    assert set(attack.lexicon.words) == set(toys.WORDS)
    perturbed = attack.perturb(problem, codes, targets, 1, toys.seeds(2))
    in_vocabulary = {"sadly", "films", "the", "actors", "again"}
    for text, target, margin in zip(toys.written(codes), targets, toys.margins(model, perturbed, targets), strict=True):
        best = best_by_brute_force(model, text, target, lambda word: toys.WORDS if word in in_vocabulary else [])
        assert float(margin) == pytest.approx(best, abs=1e-5)


class SpaceMatters(toys.ByWord):
    """Has different ids for some words inside a text and at its start, like byte-pair encodings."""

    def __init__(self, words, first):
        super().__init__(words)
        self.first = {word: len(self.vocabulary) + place for place, word in enumerate(first)}
        self.vocabulary = (*self.vocabulary, *first)

    def tokens(self, text):
        tokens = super().tokens(text)
        return [t._replace(id=self.first.get(text[: t.end].lower(), 1)) if t.start == 0 < t.end else t for t in tokens]


def test_a_word_with_two_ids_is_listed_once_with_its_id_inside_a_text():
    tokenizer = SpaceMatters(("good", "bad", "film"), ("bad", "good", "alone"))
    lexicon = Lexicon(TorchText(toys.Sum(len(tokenizer.vocabulary)), tokenizer))
    assert list(tokenizer.vocabulary).count("good") == 2
    assert dict(zip(lexicon.words, lexicon.word_ids.tolist(), strict=True)) == {"good": 2, "bad": 3, "film": 4}


# -- validation


def cheating(change):
    """Return a HotFlip class that applies a given change to the texts."""

    class Cheat(HotFlip):
        def perturb(self, problem, codes, targets, size, seeds):
            return change(codes.clone())

    return Cheat


def two_words(codes):
    return toys.coded([f"bad bad {text.split(' ', 2)[2]}" for text in toys.written(codes)], codes.shape[1])


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
def test_validation_rejects_texts_that_violate_the_constraints(change, sentence):
    attack, problem, codes, targets = prepare(cheating(change)([1]))
    perturbed = attack.perturb(problem, codes, targets, 1, toys.seeds(len(codes)))
    with pytest.raises(AttackError, match=sentence):
        validate(problem, attack, codes, perturbed, targets, 1)


def test_validation_rejects_changes_of_protected_characters():
    _, problem, codes, targets = toys.characters()
    attack = toys.fitted(HotFlip([1], unit="character"), problem, codes, targets)
    perturbed = codes.clone()
    perturbed[:, 8] = torch.where(codes[:, 8] == ord("a"), ord("b"), ord("a"))
    with pytest.raises(AttackError, match="over the limit for 12 of 12 samples by up to inf"):
        validate(problem, attack, codes, perturbed, targets, 1)


LENGTHS = {
    "one character more at the end": lambda text: text + "a",
    "one character more before the scored ones": lambda text: "a" + text,
    "one character more among the scored ones": lambda text: text[:8] + "a" + text[8:],
    "one character less at the end": lambda text: text[:-1],
    "one character less before the scored ones": lambda text: text[1:],
}


@pytest.mark.parametrize("change", LENGTHS.values(), ids=LENGTHS)
def test_validation_rejects_another_length_where_characters_are_scored(change):
    model, problem, codes, _ = toys.characters()
    codes = toys.coded(toys.written(codes), 14)  # longer than the texts
    targets = toys.predictions(model, codes)
    attack = toys.fitted(HotFlip([1, 4], unit="character"), problem, codes, targets)
    perturbed = toys.coded([change(text) for text in toys.written(codes)], 14)
    assert (attack.violation(codes, perturbed, 4) == torch.inf).all()
    with pytest.raises(AttackError, match="over the limit for 12 of 12 samples by up to inf"):
        validate(problem, attack, codes, perturbed, targets, 4)
    free = dataclasses.replace(problem, editable=lambda c, t: c != 0)
    attack = toys.fitted(HotFlip([1, 4], unit="character"), free, codes, targets)
    validate(free, attack, codes, perturbed, targets, 1)  # one edit if all characters are editable


def test_a_nonfinite_gradient_is_set_to_zero():
    _, problem, codes, targets = prepare(HotFlip([1]))
    broken = dataclasses.replace(
        problem,
        passes=Passes(),
        loss=lambda o, t, name, target_classes: problem.loss(o, t, name, target_classes) * torch.nan,
    )
    gradient = broken.token_gradient(codes, targets, "ce")
    assert (gradient.gradient == 0).all()
    assert (gradient.reading.mask.sum(dim=1) > 0).all()


@pytest.mark.parametrize("unit", ["word", "character"])
def test_validation_does_not_rely_on_the_attacks_own_violation(unit, monkeypatch):
    attack, problem, codes, targets = prepare(HotFlip([1], unit=unit))
    monkeypatch.setattr(HotFlip, "violation", lambda self, clean, perturbed, size: torch.zeros(len(clean)))
    with pytest.raises(AttackError, match="perturbations over the limit"):
        validate(problem, attack, codes, codes.roll(1, dims=0), targets, 1)
