"""Outputs of modules: the forms that are understood, and the refusal of all others."""

from collections import namedtuple
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from suite.errors import ModelError
from suite.models.adapters.autoencoder import TorchAutoencoder
from suite.models.adapters.detector import TorchDetector
from suite.models.adapters.generator import TorchGenerator
from suite.models.adapters.language import TorchLanguage
from suite.models.adapters.text import TorchText
from suite.models.adapters.tokens import Words
from suite.models.base import TorchClassifier, TorchSegmenter

pytestmark = pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor", "ignore:The PyTorch API of nested tensors")

IMAGES = torch.arange(48.0).view(3, 1, 4, 4) / 48
LOGITS = IMAGES.flatten(1)[:, :4]


@dataclass
class Answer:
    logits: torch.Tensor
    hidden: torch.Tensor


Inception = namedtuple("Inception", ["logits", "aux_logits"])


class Returns(nn.Module):
    """A module that returns a function of the logits."""

    def __init__(self, change):
        super().__init__()
        self.change = change

    def forward(self, images, *others):
        return self.change(images.flatten(1)[:, :4])


UNDERSTOOD = {
    "tensor": lambda z: z,
    "logits and features": lambda z: (z, z.repeat(1, 2)),
    "list of one": lambda z: [z],
    "tuple with None": lambda z: (z, None),
    "dataclass": lambda z: Answer(z, z.repeat(1, 2)),
    "named tuple with auxiliary logits": lambda z: Inception(z, z + 1),
    "dict of logits": lambda z: {"loss": z.sum(), "logits": z},
    "dict of out": lambda z: {"out": z, "aux": z + 1},
    "fully convolutional": lambda z: z[:, :, None, None],
}


@pytest.mark.parametrize("change", UNDERSTOOD.values(), ids=UNDERSTOOD)
def test_logits_are_found_in_the_forms_that_libraries_return(change):
    assert torch.equal(TorchClassifier(Returns(change))(IMAGES), LOGITS)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_logits_of_every_floating_point_type_are_kept(dtype):
    output = TorchClassifier(Returns(lambda z: z.to(dtype)))(IMAGES)
    assert output.dtype == dtype and torch.equal(output, LOGITS.to(dtype))


REFUSED = {
    "bool": (lambda z: z > 0, r"of bool .* before argmax or a threshold"),
    "class numbers": (lambda z: z.argmax(1), r"\(3,\) of int64 for 3 images; .* class numbers"),
    "integer scores": (lambda z: z.int(), r"\.float\(\)"),
    "complex": (lambda z: torch.complex(z, z), "Complex numbers have no order"),
    "float8": (lambda z: z.to(torch.float8_e4m3fn), r"of float8_e4m3fn .*\.float\(\)"),
    "quantised": (lambda z: torch.quantize_per_tensor(z, 0.1, 0, torch.quint8), "dequantize"),
    "sparse": (lambda z: z.to_sparse(), "dense"),
    "nested": (lambda z: torch.nested.nested_tensor(list(z)), "a nested tensor .* dense"),
    "meta": (lambda z: z.to("meta"), "meta device holds no numbers"),
    "array": (lambda z: z.numpy(), "returned ndarray .* without .numpy"),
    "list of arrays": (lambda z: list(z.numpy()), "returned list of ndarray"),
    "list of rows": (list, r"returned list of \(4,\), \(4,\), \(4,\) .* Which of the tensors"),
    "number": (lambda z: 3.0, "returned float"),
    "nothing": (lambda z: None, "returned None .* forward end with return"),
    "two of one shape": (lambda z: (z, z + 1), r"tuple of \(3, 4\), \(3, 4\).* is not known"),
    "other keys": (lambda z: {"scores": z}, "dict with the keys 'scores'.* under the key 'logits'"),
    "scalar": (lambda z: z.sum(), r"returned \(\) for 3 images; expected \(images, classes\)"),
    "no batch": (lambda z: z[0], r"returned \(4,\) .* Keep the dimension of the images"),
    "map": (lambda z: z[:, :, None, None].repeat(1, 1, 2, 2), r"returned \(3, 4, 2, 2\)"),
    "one score": (lambda z: z[:, :1], "return two logits, 0 and z"),
    "one score without classes": (lambda z: z[:, 0], "return two logits, 0 and z"),
    "too many rows": (lambda z: z.repeat(2, 1), r"returned \(6, 4\) for 3 images"),
}


@pytest.mark.parametrize(("change", "reason"), REFUSED.values(), ids=REFUSED)
def test_other_outputs_are_refused_with_what_to_do(change, reason):
    model = TorchClassifier(Returns(change))
    model.width = 3
    with model.frozen(), torch.no_grad(), pytest.raises(ModelError, match=reason):
        model(IMAGES)


def test_a_list_of_one_row_is_no_batch_of_logits():
    with pytest.raises(ModelError, match="Keep the dimension"):
        TorchClassifier(Returns(lambda z: [z[0]]))(IMAGES)


def pixel_logits(z, classes=3):
    return z[:, :classes, None, None].expand(-1, -1, 4, 4)


def test_segmenters_understand_the_same_forms():
    expected = pixel_logits(LOGITS)
    for change in (
        lambda z: (pixel_logits(z), z),
        lambda z: {"out": pixel_logits(z), "aux": pixel_logits(z)},
        lambda z: Answer(pixel_logits(z), z),
    ):
        assert torch.equal(TorchSegmenter(Returns(change))(IMAGES), expected)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda z: pixel_logits(z).argmax(1), "int64 .* class numbers"),
        (lambda z: pixel_logits(z, 1), "return two logits, 0 and z"),
        (lambda z: pixel_logits(z)[:1], r"returned \(1, 3, 4, 4\) for 3 images"),
        (lambda z: z, r"returned \(3, 4\) .* expected \(images, classes, rows, columns\)"),
    ],
    ids=["class numbers", "one channel", "fewer rows", "one row per image"],
)
def test_segmenters_refuse_other_outputs(change, reason):
    with pytest.raises(ModelError, match=reason):
        TorchSegmenter(Returns(change))(IMAGES)


class Embeds(Returns):
    """A text model that returns a function of the mean embedding, (n, 2), or of all, (n, length, 2)."""

    def __init__(self, change, rows, *, mean=True):
        super().__init__(change)
        self.embedding, self.mean = nn.Embedding(rows, 2), mean

    def forward(self, embedded, mask):
        return self.change(embedded.mean(dim=1) if self.mean else embedded)


def test_texts_and_windows_understand_and_refuse_the_same_forms():
    codes = torch.tensor([[ord(letter) for letter in "ab"]] * 3)
    for change, reason in ((lambda z: (z, None), None), (lambda z: z.argmax(-1), "int64 for 64 texts")):
        for model in (
            TorchText(Embeds(change, 4), Words(["a", "b"]), length=4),
            TorchLanguage(Embeds(change, 2, mean=False), ("<unk>", "a"), length=2),
        ):
            with model.frozen(), torch.no_grad():
                if reason is None:
                    assert model(codes).shape[-1] == 2
                else:
                    with pytest.raises(ModelError, match=reason):
                        model(codes)


class Detects(nn.Module):
    classes = 1

    def __init__(self, raw, predict=None):
        super().__init__()
        self.raw = raw
        if predict:
            self.predict = predict

    def losses(self, images, targets):
        return images.flatten(1).sum(1)


def candidates(images):
    return torch.tensor([0.0, 0, 2, 2, 0.5]).expand(len(images), 1, 5)


DETECTORS = {
    "fewer images": (lambda x: candidates(x)[:1], None, r"raw returned \(1, 1, 5\) for 3 images"),
    "integers": (lambda x: candidates(x).int(), None, "int32 .* floating-point"),
    "list": (lambda x: [{}], None, "raw returned list"),
    "fewer predictions": (candidates, lambda x: [], "predict returned an empty list for 3 images"),
    "other predictions": (candidates, lambda x: [{"boxes": 1}] * len(x), "predict returned .* 'boxes'"),
}


@pytest.mark.parametrize(("raw", "predict", "reason"), DETECTORS.values(), ids=DETECTORS)
def test_detectors_refuse_other_outputs(raw, predict, reason):
    model = TorchDetector(Detects(raw, predict))
    model.width = 3
    with model.frozen(), torch.no_grad(), pytest.raises(ModelError, match=reason):
        model(IMAGES)


class Coder(nn.Module):
    def __init__(self, encode, decode):
        super().__init__()
        self.encode, self.decode = encode, decode


def decoded(codes):
    return codes.new_zeros(len(codes), 1, 4, 4)


CODERS = {
    "mean alone": (lambda x: x.flatten(1), decoded, r"encoder did not return \(mean, log variance\) .*, but \(3, 16\)"),
    "integers": (lambda x: (x.flatten(1).int(), None), decoded, "encoder returned .* int32"),
    "image of bytes": (lambda x: (x.flatten(1), None), lambda z: decoded(z).byte(), "decoder returned .* of uint8"),
    "shape": (lambda x: (x.flatten(1), None), lambda z: z, r"decoder returned \(3, 16\) for 3 codes"),
}


@pytest.mark.parametrize(("encode", "decode", "reason"), CODERS.values(), ids=CODERS)
def test_autoencoders_refuse_other_outputs(encode, decode, reason):
    model = TorchAutoencoder(Coder(encode, decode), shape=(1, 4, 4), variational=False)
    model.width = 3
    with model.frozen(), torch.no_grad(), pytest.raises(ModelError, match=reason):
        model(IMAGES)


class Gan(nn.Module):
    latent = 4

    def __init__(self, generator, critic):
        super().__init__()
        self.generator, self.critic = Returns(generator), Returns(critic)


def test_generators_refuse_bytes_and_critics_more_than_one_score():
    model = TorchGenerator(Gan(lambda z: z[:, :, None, None].byte(), lambda z: z))
    with model.frozen(), torch.no_grad():
        with pytest.raises(ModelError, match=r"generator returned .* uint8 .* Divide 8-bit pixels by 255"):
            model(LOGITS)
        with pytest.raises(ModelError, match=r"critic returned \(64, 4\) for 64 images"):
            model.critic_scores(IMAGES)
    scored = TorchGenerator(Gan(lambda z: z, lambda z: (z[:, 0], z)))
    with scored.frozen(), torch.no_grad():
        assert torch.equal(scored.critic_scores(IMAGES), LOGITS[:, 0])


def test_arrays_of_the_suite_are_not_changed_by_a_module_that_writes_into_its_input():
    class Writes(nn.Module):
        def forward(self, images):
            images.sub_(images.mean()).mul_(3)
            return images.flatten(1)[:, :4]

    pixels = np.random.default_rng(0).random((64, 1, 4, 4), dtype=np.float32)
    given = torch.from_numpy(pixels.copy())
    TorchClassifier(Writes())(given)
    assert np.array_equal(given.numpy(), pixels)
