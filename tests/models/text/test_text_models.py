"""The text models of the registry: built for a task, trained, stored, and the same again."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from suite.data import Split, TaskInfo
from suite.data.text import WORD, packed, texts_of
from suite.errors import ModelError
from suite.kinds.inputs import vocabulary
from suite.kinds.sentiment.kind import sentiment
from suite.models.adapters.text import TorchText
from suite.models.networks.text_presets import PLANS, text_model
from suite.models.recipe import Recipe
from suite.models.training.trainer import TrainingData, train
from suite.models.weights import to_bytes
from suite.registry import REGISTRY

NAMES = ("bag", "textcnn", "bigru", "text_transformer")
GOOD, BAD = "good great nice fine lovely".split(), "bad awful poor sad dull".split()
PLAIN = "the a movie film plot was is and very quite so it this".split()


def split(n: int, seed: int) -> Split:
    """Return texts of eight words, two of which say what the text is."""
    generator = np.random.default_rng(seed)
    targets = generator.integers(0, 2, n)
    rows = [[*generator.choice(PLAIN, 6), *generator.choice(GOOD if target else BAD, 2)] for target in targets]
    texts = [" ".join(generator.permutation(row)) for row in rows]
    return Split(tuple(f"{seed}/{place}" for place in range(n)), packed(texts, 80), targets)


TRAIN, VALIDATION, TEST = split(160, 0), split(40, 1), split(80, 2)
TASK = TaskInfo("toy", "sentiment", "1", ("neg", "pos"), (80,), words=vocabulary(TRAIN.inputs))


def built(name: str, seed: int = 0, **options: object) -> TorchText:
    """Return a model as the suite builds it: under a seed, from its factory in tasks/."""
    torch.manual_seed(seed)
    return REGISTRY.get("model", name).factory(TASK, **options)


def taught(name: str) -> TorchText:
    model = built(name, length=12)
    lesson = TrainingData(TRAIN, VALIDATION, sentiment(), 0, lambda epochs, what, count: iter(epochs))
    train(model, Recipe(epochs=4, batch_size=16, learning_rate=1e-2), lesson, device=torch.device("cpu"))
    return model


@pytest.mark.parametrize("name", NAMES)
def test_it_learns_and_is_stored_and_a_second_training_is_the_same(name: str, tmp_path: Path) -> None:
    first, again = taught(name), taught(name)
    file = tmp_path / "weights.safetensors"
    file.write_bytes(to_bytes(first.module))
    stored = built(name, 1, weights=str(file), length=12)
    rows = torch.from_numpy(TEST.pixels())
    with first.frozen(), again.frozen(), stored.frozen(), torch.no_grad():
        answers = first(rows)
        assert (answers.argmax(dim=1).numpy() == TEST.targets).mean() > 0.9
        assert torch.equal(answers, again(rows))
        assert torch.equal(answers, stored(rows))
    assert first.recipe is not None
    assert stored.recipe is None


@pytest.mark.parametrize("name", NAMES)
def test_answers_at_full_size_do_not_depend_on_the_batch_to_the_last_bit(name: str) -> None:
    model, rows = built(name, full=True), torch.from_numpy(TEST.pixels())
    with model.frozen(), torch.no_grad():
        whole = model(rows)
        assert torch.equal(torch.cat([model(part) for part in rows.split(7)]), whole)
        assert torch.equal(model(rows[-1:]), whole[-1:])


@pytest.mark.parametrize("name", NAMES)
def test_gradients_reach_every_word_in_evaluation(name: str) -> None:
    model = built(name)
    reading = model.read(torch.from_numpy(TEST.pixels()[:8]))
    embedded = model.embed(reading.ids).detach().requires_grad_(True)
    with model.frozen():
        model.answer(embedded, reading.mask)[:, 1].sum().backward()
    assert torch.isfinite(embedded.grad).all()
    assert (embedded.grad.abs().sum(dim=(1, 2)) > 0).all()


@pytest.mark.parametrize("plan", PLANS)
def test_a_full_recipe_takes_more_passes_than_the_quick_one(plan: tuple[str, bool]) -> None:
    name, _ = plan
    assert PLANS[name, True].recipe.epochs > PLANS[name, False].recipe.epochs


@pytest.mark.parametrize(("characters", "length"), [(80, 48), (600, 100), (2032, 256)])
def test_as_much_is_read_as_the_longest_text_may_have(characters: int, length: int) -> None:
    task = TaskInfo("toy", "sentiment", "1", ("neg", "pos"), (characters,), words=("a",))
    assert text_model(task, "text_transformer").length == length
    assert text_model(task, "bag", length=7).length == 7


def test_a_task_without_training_texts_is_an_error() -> None:
    with pytest.raises(ModelError, match="training texts"):
        text_model(TaskInfo("toy", "sentiment", "1", ("neg", "pos"), (80,)), "bag")


def test_every_text_model_is_registered_for_sentiment_and_says_what_it_is() -> None:
    for name in (*NAMES, "vader_rules", "huggingface"):
        entry = REGISTRY.get("model", name)
        assert entry.meta["kind"] == "sentiment"
        assert entry.summary


def test_the_vocabulary_is_that_of_the_training_texts() -> None:
    words = {word for text in texts_of(TRAIN.inputs) for word in text.split()}
    known = set(built("bag").tokenizer.vocabulary[2:])
    assert known < words and len(known) == math.ceil(0.9 * len(words))


def test_of_every_vocabulary_some_words_are_left_to_learn_what_an_unknown_one_is_like() -> None:
    """Else its embedding stays as it was drawn, and decides what a typo does."""
    for name in NAMES:
        drawn, learnt = (made.table[made.tokenizer.unknown].detach() for made in (built(name, length=12), taught(name)))
        assert torch.cosine_similarity(drawn, learnt, dim=0) < 0.99  # weight decay alone would leave its direction


def test_a_small_training_split_is_gone_through_more_often() -> None:
    recipe = Recipe(epochs=6, batch_size=128, least_steps=300, patience=6)
    assert recipe.on(150) == replace(recipe, epochs=150, patience=150)
    assert recipe.on(8550) is recipe  # 402 steps
    assert recipe.on(0) is recipe
    assert "least_steps" not in Recipe().canonical() and recipe.canonical()["least_steps"] == 300


@pytest.mark.parametrize("text", ["zzz", "Qqq zzz, yyy!", "?!... --", "...", "   "])
@pytest.mark.parametrize("name", NAMES)
def test_a_text_without_a_known_word_is_scored_as_unknown_words_alone_and_in_company(name: str, text: str) -> None:
    model, others = built(name, length=12), [*texts_of(TEST.inputs[:10]), " ".join(PLAIN)]
    unknown = model.tokenizer.unknown
    with model.frozen(), torch.no_grad():
        alone = model(torch.from_numpy(packed([text], len(text))))
        max_batch = model(torch.from_numpy(packed([*others, text], 80)))[-1:]
        count = max(1, len(WORD.findall(text)))
        mask = (torch.arange(12) < count)[None]
        expected = model.answer(model.embed(torch.where(mask, unknown, model.tokenizer.pad)), mask)
        known = model(torch.from_numpy(packed(["good"], 4)))
    assert torch.isfinite(alone).all()
    assert torch.equal(alone, max_batch)
    assert torch.equal(alone, expected)
    assert not torch.equal(alone, known)
