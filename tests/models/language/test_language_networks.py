"""The small language models: training, reproducibility and divergence."""

import pytest
import torch

from suite.errors import ModelError, TrainingError
from suite.kinds.language.kind import Language
from suite.models.adapters.language import TorchLanguage
from suite.models.networks.language import CausalTransformer, Recurrent
from suite.models.recipe import Recipe
from suite.models.training.language import learn_in_pieces
from suite.models.training.trainer import TrainingData, train
from tests.models.language.periodic import CLASSES, bits, codes, periodic

MAKERS = {
    "gru": lambda: Recurrent(len(CLASSES), hidden=32, width=16),
    "lstm": lambda: Recurrent(len(CLASSES), cell="lstm", hidden=32, width=16),
    "transformer": lambda: CausalTransformer(len(CLASSES), 32, width=32, depth=1),
}


def trained(name, epochs=12):
    torch.manual_seed(0)
    recipe = Recipe(epochs=epochs, batch_size=8, learning_rate=1e-2)
    model = TorchLanguage(MAKERS[name](), CLASSES, length=32, recipe=recipe)
    data = periodic()
    training_data = TrainingData(data.train, data.validation, Language(), 0, lambda items, label, total: items)
    return model, data, train(model, recipe, training_data, device=torch.device("cpu"))


@pytest.mark.parametrize("name", MAKERS)
def test_periodic_text_is_learned_and_continued(name):
    model, data, history = trained(name)
    with torch.no_grad():
        assert bits(Language(), model(codes(data)), data.test.targets) < 0.15
    assert history["epochs"][-1]["train_loss"] < history["epochs"][0]["train_loss"] / 4
    (text,) = model.generate(1, 50, 0, temperature=0.2, prompt="to be, or not.")
    assert text == ("to be, or not." * 5)[:50]


def test_training_is_reproducible():
    first, second = (trained("gru", epochs=1)[0].module.state_dict() for _ in range(2))
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def test_unknown_cell_is_refused():
    with pytest.raises(ModelError, match="gru, lstm"):
        Recurrent(5, cell="rnn")


def test_dropout_layers_have_a_positive_rate():
    assert TorchLanguage(Recurrent(len(CLASSES), dropout=0.2), CLASSES).dropout_layers()
    assert not TorchLanguage(Recurrent(len(CLASSES)), CLASSES).dropout_layers()


class Impossible(Recurrent):
    """A recurrent model with a fixed logit for one character in `read`."""

    def __init__(self, logit):
        super().__init__(len(CLASSES), hidden=8, width=8)
        self.logit = logit

    def read(self, ids, state):
        logits, state = super().read(ids, state)
        return logits.masked_fill(torch.arange(len(CLASSES)) == CLASSES.index("b"), self.logit), state


@pytest.mark.parametrize("logit", [-float("inf"), float("nan")])
def test_non_finite_loss_of_a_piece_raises_an_error(logit):
    model, data = TorchLanguage(Impossible(logit), CLASSES, length=32), periodic(train=16)
    training_data = TrainingData(data.train, data.validation, Language(), 0, lambda items, label, total: items)
    with pytest.raises(TrainingError, match=r"epoch 1.*lower learning rate"):
        learn_in_pieces(model, Recipe(epochs=2, batch_size=8), training_data, torch.device("cpu"))


@pytest.mark.parametrize("name", ["gru", "lstm"])
def test_diverging_training_of_a_recurrent_model_raises_an_error(name):
    model, data = TorchLanguage(MAKERS[name](), CLASSES, length=32), periodic(train=16)
    recipe = Recipe(epochs=3, batch_size=8, learning_rate=1e30)
    training_data = TrainingData(data.train, data.validation, Language(), 0, lambda items, label, total: items)
    model.recipe = recipe
    with pytest.raises(TrainingError, match="lower learning rate"):
        train(model, recipe, training_data, device=torch.device("cpu"))
