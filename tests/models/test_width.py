"""The fixed width: every call of a module in evaluation has the same number of rows, whatever number is asked for."""

import pytest
import torch
from torch import nn

from suite import Harness, Settings, plan
from suite.axes.context import Context
from suite.errors import ModelError
from suite.models.adapters.autoencoder import TorchAutoencoder
from suite.models.adapters.detector import LARGEST_WIDTH, TorchDetector
from suite.models.adapters.generator import TorchGenerator
from suite.models.adapters.language import TorchLanguage
from suite.models.adapters.text import TorchText
from suite.models.adapters.tokens import Words
from suite.models.base import WIDTH, TorchClassifier, TorchSegmenter, in_full_batches
from suite.models.networks.image_classifiers import small_cnn
from suite.store import Store

ROWS = (1, 3, 8, 13, 16, 21)


class Watched(nn.Module):
    """A linear layer that records the number of rows of each call."""

    def __init__(self, before, after):
        super().__init__()
        self.layer, self.sizes = nn.Linear(before, after), []

    def forward(self, values):
        self.sizes.append(len(values))
        return self.layer(values.flatten(1))


class Coder(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = Watched(16, 2), Watched(2, 16)

    def encode(self, images):
        mean = self.encoder(images)
        return mean, mean * 0

    def decode(self, codes):
        return self.decoder(codes).view(-1, 1, 4, 4)


class Boxes(nn.Module):
    classes = 1

    def __init__(self):
        super().__init__()
        self.layer = Watched(16, 5)

    def raw(self, images):
        return self.layer(images)[:, None].sigmoid()

    def losses(self, images, targets):
        return self.layer(images).sum(dim=1) + torch.tensor([float(len(truth["boxes"])) for truth in targets])


class Generator(nn.Module):
    latent = 3

    def __init__(self):
        super().__init__()
        self.body, self.head = Watched(3, 16), Watched(16, 1)
        self.generator = nn.Sequential(self.body, nn.Unflatten(1, (1, 4, 4)))
        self.critic = nn.Sequential(self.head, nn.Flatten(0))


class Reader(nn.Module):
    def __init__(self, words, classes, *, each):
        super().__init__()
        self.embedding, self.layer, self.each, self.sizes = nn.Embedding(words, 4), nn.Linear(4, classes), each, []

    def forward(self, embedded, mask):
        self.sizes.append(len(embedded))
        values = self.layer(embedded) * mask[..., None]
        return values if self.each else values.sum(dim=1)


def images(count):
    return torch.rand(count, 1, 4, 4, generator=torch.Generator().manual_seed(count))


def texts(count):
    return torch.tensor([[ord(letter) for letter in "ab ba"]] * count, dtype=torch.int32)


def adapters():
    """Return, by name, an adapter, the function that is called with some rows, and the layers that are watched."""
    torch.manual_seed(0)
    dense = TorchClassifier(Watched(16, 3))
    pixelwise = TorchSegmenter(nn.Sequential(Watched(16, 32), nn.Unflatten(1, (2, 4, 4))))
    coder, boxes, generator = TorchAutoencoder(Coder(), shape=(1, 4, 4)), TorchDetector(Boxes()), Generator()
    text = TorchText(Reader(4, 2, each=False), Words(["ab", "ba"]), length=3)
    language = TorchLanguage(Reader(4, 4, each=True), ["<unk>", "a", "b", " "], length=5)
    truth = torch.tensor([[[0.0, 0, 1, 1, 0, 0]]])
    synthesis = TorchGenerator(generator)
    return {
        "classifier": (dense, lambda n: dense(images(n)), [dense.module]),
        "segmenter": (pixelwise, lambda n: pixelwise(images(n)), [pixelwise.module[0]]),
        "autoencoder": (coder, lambda n: coder(images(n)), [coder.module.encoder, coder.module.decoder]),
        "detector": (boxes, lambda n: boxes(images(n)), [boxes.module.layer]),
        "detector losses": (boxes, lambda n: boxes.losses(images(n), truth.expand(n, 1, 6))[0], [boxes.module.layer]),
        "generator": (synthesis, lambda n: synthesis.sample(n, 0), [generator.body]),
        "critic": (synthesis, lambda n: synthesis.critic_scores(images(n)), [generator.head]),
        "text": (text, lambda n: text(texts(n)), [text.module]),
        "embeddings": (
            text,
            lambda n: text.in_space("embedding")(torch.zeros(n, 3, 4)),
            [text.module],
        ),
        "language": (language, lambda n: language(texts(n)), [language.module]),
        "continued texts": (
            language,
            lambda n: language.continue_texts(torch.ones(n, 2, dtype=torch.long), 2, seeds=range(n)).ids,
            [language.module],
        ),
    }


@pytest.mark.parametrize("name", list(adapters()))
def test_every_call_of_a_module_in_evaluation_has_exactly_width_rows(name):
    adapter, call, watched = adapters()[name]
    adapter.width = 8
    with adapter.frozen():
        for count in ROWS:
            for layer in watched:
                layer.sizes.clear()
            assert len(call(count)) == count
            for layer in watched:
                assert set(layer.sizes) == {8} and len(layer.sizes) % -(-count // 8) == 0, (count, layer.sizes)


def test_the_width_of_an_embedding_space_is_that_of_the_text_model():
    text = TorchText(Reader(4, 2, each=False), Words(["ab", "ba"]), length=3)
    text.in_space("embedding").width = 5
    assert text.width == 5 and text.in_space("embedding").width == 5


def test_in_training_mode_the_module_gets_all_rows_at_once():
    adapter = TorchClassifier(Watched(16, 3).train())
    adapter.width = 8
    adapter.raw(images(13))
    assert adapter.module.sizes == [13] and adapter.padding(13) == 0


def test_padding_is_the_number_of_rows_up_to_the_next_full_batch():
    adapter = TorchClassifier(Watched(16, 3).eval())
    assert adapter.width == WIDTH
    adapter.width = 8
    assert [adapter.padding(rows) for rows in (0, 1, 8, 13, 16)] == [0, 7, 0, 3, 0]
    with pytest.raises(ModelError, match="width=0; expected at least one row"):
        adapter.width = 0


def test_the_width_of_a_detector_on_a_cpu_is_limited():
    detector = TorchDetector(Boxes())
    assert detector.width == LARGEST_WIDTH
    detector.width = 3
    assert detector.width == 3


def test_padding_repeats_the_first_row_of_the_last_call_and_receives_no_gradient():
    seen, rows = [], torch.arange(5.0).view(5, 1).requires_grad_(True)

    def double(values):
        seen.append(values.detach()[:, 0].tolist())
        return 2 * values, values + 1

    doubled, more = in_full_batches(double, 3, rows)
    assert seen == [[0, 1, 2], [3, 4, 3]]
    assert doubled[:, 0].tolist() == [0, 2, 4, 6, 8] and more[:, 0].tolist() == [1, 2, 3, 4, 5]
    doubled.sum().backward()
    assert rows.grad[:, 0].tolist() == [2] * 5


def test_a_model_that_takes_one_row_only_works_with_a_width_of_one():
    class Single(nn.Module):
        def forward(self, pixels):
            if len(pixels) != 1:
                raise ValueError(f"exported for a batch of 1, got {len(pixels)}")
            return pixels.flatten(1)[:, :2]

    adapter = TorchClassifier(Single().eval())
    adapter.width = 1
    assert torch.equal(adapter(images(5)), images(5).flatten(1)[:, :2])


def lite0():
    timm = pytest.importorskip("timm")
    return timm.create_model("efficientnet_lite0", pretrained=False, num_classes=5), (3, 64, 64)


NETS = {"lite0": lite0, "cnn": lambda: (small_cnn(5, (1, 8, 8)), (1, 8, 8))}


@pytest.mark.parametrize("name", NETS)
def test_outputs_and_gradients_depend_neither_on_the_number_of_rows_nor_on_neighbours(name):
    torch.manual_seed(0)
    module, shape = NETS[name]()
    adapter, width = TorchClassifier(module), 16
    adapter.width = width
    pixels = torch.rand(40, *shape)

    def passed(rows):
        point = pixels[rows].requires_grad_(True)
        output = adapter.raw(point)
        return output.detach(), torch.autograd.grad(output.square().sum(), point)[0]

    with adapter.frozen():
        whole = passed(torch.arange(40))
        for rows in (torch.arange(1), torch.arange(37, 40), torch.arange(21), torch.randperm(40)[:33]):
            for part, expected in zip(passed(rows), whole, strict=True):
                assert torch.equal(part, expected[rows])


def test_members_of_an_ensemble_run_at_the_width_of_the_cell(tmp_path, toy, monkeypatch):
    members, forward = [], Context.forward

    def watched(context, split, model=None):
        members.extend([model] if model else [])
        return forward(context, split, model)

    monkeypatch.setattr(Context, "forward", watched)
    Harness(Store(tmp_path), Settings(batch_size=5)).run(
        plan([toy("toy")], [toy("quick")], ["calibration(members=2, dropout_samples=1)"])
    )
    assert [member.width for member in members] == [5, 5]
