"""The n-gram model against a dictionary, by hand, and with stored weights."""

from collections import Counter

import numpy as np
import pytest
import torch

from suite.errors import ModelError, NotApplicableError
from suite.kinds.language.kind import Language
from suite.models.networks.ngram import NGram, TorchNGram
from suite.models.recipe import Recipe
from suite.models.training.trainer import TrainingData, train
from suite.models.weights import load_weights, to_bytes
from tests.models.language.periodic import CLASSES, bits, codes, periodic


class Naive:
    """The same model as a dictionary of histories, one character at a time."""

    def __init__(self, texts, classes, order):
        self.classes, self.order, self.followers = classes, order, {}
        for text in texts:
            for place, character in enumerate(text):
                for history in range(min(order - 1, place) + 1):
                    key = tuple(text[place - history : place])
                    self.followers.setdefault(key, Counter())[character] += 1

    def probabilities(self, past):
        probability = np.full(self.classes, 1 / self.classes)
        for history in range(min(self.order - 1, len(past)) + 1):
            continuations = self.followers.get(tuple(past[len(past) - history :]))
            if continuations:
                counts = np.array([continuations[c] for c in range(self.classes)], float)
                probability = (counts + len(continuations) * probability) / (counts.sum() + len(continuations))
        return probability


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_probabilities_match_a_dictionary_implementation(order):
    generator = np.random.default_rng(order)
    texts, queries = (generator.choice(5, size=(n, 40), p=[0, 0.4, 0.3, 0.2, 0.1]) for n in (30, 3))
    queries[0, 7] = 0  # unseen in training
    model, naive = NGram(5, order=order), Naive(texts.tolist(), 5, order)
    assert model.count(torch.from_numpy(texts)) == 0
    result = model(torch.from_numpy(queries)).double().exp().numpy()
    np.testing.assert_allclose(result.sum(axis=2), 1, atol=1e-6)
    for row, text in enumerate(queries.tolist()):
        for place in range(40):
            np.testing.assert_allclose(result[row, place], naive.probabilities(text[: place + 1]), atol=1e-6)


def test_smoothed_distribution_by_hand():
    # "aab" over <unk>, a, b. Empty history: a twice, b once; 2 types: (c + 2/3) / 5.
    # After a: a once, b once; 2 types: (1 + 2 lower) / 4.
    model = NGram(3, order=2)
    model.count(torch.tensor([[1, 1, 2]]))
    lower = np.array([2 / 3, 2 + 2 / 3, 1 + 2 / 3]) / 5
    behind_a = (np.array([0, 1, 1]) + 2 * lower) / 4
    result = model(torch.tensor([[1, 2]])).exp().numpy()[0]
    np.testing.assert_allclose(result, [behind_a, lower], atol=1e-7)  # no counts after b


def test_distribution_without_counts_is_uniform():
    result = NGram(7)(torch.tensor([[1, 2, 3]])).exp()
    assert torch.allclose(result, torch.full_like(result, 1 / 7))


def test_full_table_drops_the_rarest_longest_ngrams():
    texts = torch.tensor([[1, 1, 1, 1, 2, 1, 1, 3]])
    model = NGram(4, order=2, room=5)
    # n-grams: a, b, c and aa 4 times, ab, ba, ac once each; five fit, shorter ones first
    assert model.count(texts) == 2
    kept = dict(zip((model.keys - 4).tolist(), model.counts.tolist(), strict=True))
    assert {1 * 4 + 1, 1 * 4 + 2} == {key for key in kept if key >= 0}
    assert (model.keys.diff() > 0).all()
    assert torch.allclose(model(texts).exp().sum(dim=2), torch.ones(1, 8))


@pytest.mark.parametrize(("classes", "order"), [(77, 10), (77, 0)])
def test_orders_with_overflowing_keys_are_refused(classes, order):
    with pytest.raises(ModelError, match="order"):
        NGram(classes, order=order)


def training_data(data):
    return TrainingData(data.train, data.validation, Language(), 0, lambda items, label, total: items)


def test_periodic_text_is_learned_and_weights_are_loaded(tmp_path):
    data, kind = periodic(), Language()

    def built():
        return TorchNGram(NGram(len(CLASSES), room=4096), CLASSES, length=32, recipe=Recipe(epochs=1))

    model = built()
    history = train(model, model.recipe, training_data(data), device=torch.device("cpu"))
    output = model(codes(data))
    assert bits(kind, output, data.test.targets) < 0.1
    assert history["stopped"] == "counted" and history["runs_forgotten"] == 0
    losses, _ = kind.training_loss(model, torch.from_numpy(data.validation.inputs), None)
    assert history["epochs"][0]["validation_loss"] == pytest.approx(float(losses.mean()), rel=1e-6)
    file = tmp_path / "weights.safetensors"
    file.write_bytes(to_bytes(model.module))
    other = built()
    load_weights(other.module, file)
    assert torch.equal(other(codes(data)), output)
    parts = [model(part) for part in codes(data).split(1)]
    assert torch.equal(torch.cat(parts), output)


def test_generation_follows_counts_and_gradients_are_not_applicable():
    data = periodic()
    model = TorchNGram(NGram(len(CLASSES), room=4096), CLASSES, length=32)
    model.module.count(model.read(torch.from_numpy(data.train.inputs)).ids)
    (text,) = model.generate(1, 28, 1, temperature=0.1, prompt="to be, ")
    assert text == "or not.to be, or not.to be, "
    assert not model.carries_state
    for ask in (lambda: model.table, lambda: model.in_space("embedding"), lambda: model.embed(torch.tensor([[1]]))):
        with pytest.raises(NotApplicableError, match="no gradient"):
            ask()
