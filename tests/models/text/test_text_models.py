"""The registered text models: training, stored weights and reproducibility."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from suite.data import Split, TaskInfo
from suite.data.text import WORD, packed, texts_of, vocabulary
from suite.errors import ModelError
from suite.kinds.sentiment.kind import Sentiment
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
    """Return texts of eight words, two of which determine the class."""
    generator = np.random.default_rng(seed)
    targets = generator.integers(0, 2, n)
    rows = [[*generator.choice(PLAIN, 6), *generator.choice(GOOD if target else BAD, 2)] for target in targets]
    texts = [" ".join(generator.permutation(row)) for row in rows]
    return Split(tuple(f"{seed}/{place}" for place in range(n)), packed(texts, 80), targets)


TRAIN, VALIDATION, TEST = split(160, 0), split(40, 1), split(80, 2)
TASK = TaskInfo("toy", "sentiment", "1", ("neg", "pos"), (80,), words=vocabulary(TRAIN.inputs))


def built(name: str, seed: int = 0, **options: object) -> TorchText:
    """Return a model from its factory in tasks/, seeded as in the suite."""
    torch.manual_seed(seed)
    return REGISTRY.get("model", name).factory(TASK, **options)


def trained(name: str) -> TorchText:
    model = built(name, length=12)
    training_data = TrainingData(TRAIN, VALIDATION, Sentiment(), 0, lambda epochs, what, count: iter(epochs))
    train(model, Recipe(epochs=4, batch_size=16, learning_rate=1e-2), training_data, device=torch.device("cpu"))
    return model


@pytest.mark.parametrize("name", NAMES)
def test_training_is_reproducible_and_weights_are_loaded(name: str, tmp_path: Path) -> None:
    first, again = trained(name), trained(name)
    file = tmp_path / "weights.safetensors"
    file.write_bytes(to_bytes(first.module))
    stored = built(name, 1, weights=str(file), length=12)
    rows = torch.from_numpy(TEST.pixels())
    with first.frozen(), again.frozen(), stored.frozen(), torch.no_grad():
        outputs = first(rows)
        assert (outputs.argmax(dim=1).numpy() == TEST.targets).mean() > 0.9
        assert torch.equal(outputs, again(rows))
        assert torch.equal(outputs, stored(rows))
    assert first.recipe is not None
    assert stored.recipe is None


@pytest.mark.parametrize("name", NAMES)
def test_logits_of_full_models_do_not_depend_on_the_batch(name: str) -> None:
    model, rows = built(name, full=True), torch.from_numpy(TEST.pixels())
    with model.frozen(), torch.no_grad():
        whole = model(rows)
        assert torch.equal(torch.cat([model(part) for part in rows.split(7)]), whole)
        assert torch.equal(model(rows[-1:]), whole[-1:])


@pytest.mark.parametrize("name", NAMES)
def test_every_word_has_a_gradient_in_evaluation_mode(name: str) -> None:
    model = built(name)
    reading = model.read(torch.from_numpy(TEST.pixels()[:8]))
    embedded = model.embed(reading.ids).detach().requires_grad_(True)
    with model.frozen():
        model.forward_embedded(embedded, reading.mask)[:, 1].sum().backward()
    assert torch.isfinite(embedded.grad).all()
    assert (embedded.grad.abs().sum(dim=(1, 2)) > 0).all()


@pytest.mark.parametrize("plan", PLANS)
def test_full_recipes_have_more_steps_than_quick_ones(plan: tuple[str, bool]) -> None:
    name, _ = plan
    assert PLANS[name, True].recipe.epochs > PLANS[name, False].recipe.epochs


@pytest.mark.parametrize(("characters", "length"), [(80, 48), (600, 100), (2032, 256)])
def test_default_length_follows_the_longest_text(characters: int, length: int) -> None:
    task = TaskInfo("toy", "sentiment", "1", ("neg", "pos"), (characters,), words=("a",))
    assert text_model(task, "text_transformer").length == length
    assert text_model(task, "bag", length=7).length == 7


def test_task_without_training_texts_raises_an_error() -> None:
    with pytest.raises(ModelError, match="training texts"):
        text_model(TaskInfo("toy", "sentiment", "1", ("neg", "pos"), (80,)), "bag")


def test_text_models_are_registered_with_a_summary() -> None:
    for name in (*NAMES, "vader_rules", "huggingface"):
        entry = REGISTRY.get("model", name)
        assert entry.meta["kind"] == "sentiment"
        assert entry.summary


def test_vocabulary_comes_from_the_training_texts() -> None:
    words = {word for text in texts_of(TRAIN.inputs) for word in text.split()}
    logits = set(built("bag").tokenizer.vocabulary[2:])
    assert logits < words and len(logits) == math.ceil(0.9 * len(words))


def test_rare_words_train_the_embedding_of_unknown_words() -> None:
    """Otherwise their embedding keeps its random initial value, and typos have random effects."""
    for name in NAMES:
        drawn, learnt = (
            made.table[made.tokenizer.unknown].detach() for made in (built(name, length=12), trained(name))
        )
        assert torch.cosine_similarity(drawn, learnt, dim=0) < 0.99  # weight decay only would keep the direction


def test_small_training_splits_get_more_epochs() -> None:
    recipe = Recipe(epochs=6, batch_size=128, least_steps=300, patience=6)
    assert recipe.on(150) == replace(recipe, epochs=150, patience=150)
    assert recipe.on(8550) is recipe  # 402 steps
    assert recipe.on(0) is recipe
    assert "least_steps" not in Recipe().canonical() and recipe.canonical()["least_steps"] == 300


@pytest.mark.parametrize("text", ["zzz", "Qqq zzz, yyy!", "?!... --", "...", "   "])
@pytest.mark.parametrize("name", NAMES)
def test_text_without_known_words_is_scored_as_unknown_words(name: str, text: str) -> None:
    model, others = built(name, length=12), [*texts_of(TEST.inputs[:10]), " ".join(PLAIN)]
    unknown = model.tokenizer.unknown
    with model.frozen(), torch.no_grad():
        alone = model(torch.from_numpy(packed([text], len(text))))
        max_batch = model(torch.from_numpy(packed([*others, text], 80)))[-1:]
        count = max(1, len(WORD.findall(text)))
        mask = (torch.arange(12) < count)[None]
        expected = model.forward_embedded(model.embed(torch.where(mask, unknown, model.tokenizer.pad)), mask)
        logits = model(torch.from_numpy(packed(["good"], 4)))
    assert torch.isfinite(alone).all()
    assert torch.equal(alone, max_batch)
    assert torch.equal(alone, expected)
    assert not torch.equal(alone, logits)
