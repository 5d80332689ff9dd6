"""The probes detect every fake defense and pass every model without masking."""

import copy
import functools

import pytest
import torch
from torch import nn
from torch.nn import functional

from suite.attacks.diagnostics.gradient_probes import slope
from suite.attacks.diagnostics.probes import (
    PROBES,
    alone_equals_batch,
    deterministic,
    grad_mode_free,
    outputs_are_logits,
    probe,
)
from suite.models.base import TorchClassifier
from suite.models.networks.image_classifiers import TinyViT, linear, small_cnn
from tests.attacks import digits, fakes
from tests.attacks.fakes import FAKES

SHAPE = (1, 8, 8)
COUNT = 64


def perceptron(depth=2, activation=nn.ReLU):
    hidden = [layer for _ in range(depth - 1) for layer in (nn.Linear(64, 64), activation())]
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 64), activation(), *hidden, nn.Linear(64, 10))


class Stock(nn.Module):
    """PyTorch's own transformer layer, which uses other kernels when no gradients are computed."""

    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 32, dropout=0.0, batch_first=True)
        self.encoder, self.head = nn.TransformerEncoder(layer, 1), nn.Linear(64, 10)

    def forward(self, pixels):
        return self.head(self.encoder(pixels.flatten(1).view(-1, 8, 8)).flatten(1))


def train(net, *, eps=0.0, steps=0, epochs=4, rate=2e-3):
    """Train on the digits, adversarially against PGD if steps are given."""
    pixels, labels = fakes.digit_data()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        optimizer = torch.optim.Adam(net.train().parameters(), lr=rate)
        for _ in range(epochs):
            for rows in torch.randperm(len(pixels)).split(64):
                clean = perturbed = pixels[rows]
                for _ in range(steps):
                    perturbed = perturbed.detach().requires_grad_()
                    (rise,) = torch.autograd.grad(functional.cross_entropy(net(perturbed), labels[rows]), perturbed)
                    delta = (perturbed.detach() + eps / 2 * rise.sign() - clean).clamp(-eps, eps)
                    perturbed = (clean + delta).clamp(0, 1)
                optimizer.zero_grad()
                functional.cross_entropy(net(perturbed), labels[rows]).backward()
                optimizer.step()
    return net.eval().requires_grad_(False)


def scaled(net, factor):
    """Multiply all weights by a factor, so that the softmax rounds to exactly 0 and 1."""
    net = copy.deepcopy(net)
    for parameter in net.parameters():
        parameter.data.mul_(factor)
    return net


def seeded(build, *arguments, **options):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build(*arguments, **options)


UNMASKED = {
    "cnn": lambda: digits.trained().module,
    "deeper cnn": lambda: train(seeded(small_cnn, 10, SHAPE, width=8, dropout=0.0), epochs=6),
    "linear": lambda: train(seeded(linear, 10, SHAPE), rate=1e-2),
    "mlp": lambda: train(seeded(perceptron)),
    "deep mlp": lambda: train(seeded(perceptron, 7)),
    "tanh mlp": lambda: train(seeded(perceptron, 2, nn.Tanh)),
    "sigmoid mlp": lambda: train(seeded(perceptron, 1, nn.Sigmoid), rate=1e-2),
    "saturated mlp": lambda: scaled(unmasked("mlp"), 5),
    "vit": lambda: train(seeded(TinyViT, 10, SHAPE, width=32, depth=2, dropout=0.0)),
    "stock transformer": lambda: train(seeded(Stock)),
    "adversarially trained cnn": lambda: train(seeded(digits.network), eps=0.1, steps=2),
    "adversarially trained mlp": lambda: train(seeded(perceptron), eps=0.1, steps=3, epochs=6),
    "adversarially trained vit": lambda: train(
        seeded(TinyViT, 10, SHAPE, width=24, depth=1, dropout=0.0), eps=0.05, steps=1
    ),
    "distilled": lambda: fakes.built("distilled"),
}
OUTPUT_CHANGES = {
    "plain": lambda logits: logits,
    "log-softmax": lambda logits: logits.log_softmax(dim=1),
    "x100": lambda logits: 100 * logits,
    "x1e5": lambda logits: 1e5 * logits,
    "x1e-4": lambda logits: 1e-4 * logits,
    "+1000": lambda logits: logits + 1000,
}


@functools.cache
@torch.enable_grad()  # the first call may come from a probe, without gradients, and trains the network
def unmasked(name):
    return UNMASKED[name]().eval().requires_grad_(False)


def failed(results):
    return {name for name, result in results.items() if result.status == "fail"}


@pytest.mark.parametrize("name", UNMASKED)
def test_unmasked_models_pass(name):
    pixels, targets = digits.first(COUNT)
    for name_of_change, change in OUTPUT_CHANGES.items():
        results = probe(TorchClassifier(fakes.After(unmasked(name), change)), pixels, targets)
        assert failed(results) == set(), (name_of_change, [result.sentence for result in results.values()])
        assert list(results) == list(PROBES)
    assert results["gradient_informative"].status == "pass", "too few correctly classified samples for this test"
    assert results["gradient_informative"].numbers["unexplained"] < 0.1


@pytest.mark.parametrize("name", ["cnn", "adversarially trained mlp", "vit"])
def test_unmasked_models_pass_in_float64_and_without_the_adapter(name):
    pixels, targets = digits.first(COUNT)
    assert failed(probe(unmasked(name), pixels, targets)) == set()
    assert failed(probe(copy.deepcopy(unmasked(name)).double(), pixels.double(), targets)) == set()


@pytest.mark.parametrize("name", ["mlp", "adversarially trained mlp"])
def test_unmasked_models_pass_in_bfloat16(name):
    pixels, targets = digits.first(COUNT)
    net = copy.deepcopy(unmasked(name)).bfloat16()
    assert failed(probe(lambda values: net(values.bfloat16()), pixels, targets)) == set()


@pytest.mark.parametrize("name", FAKES)
def test_every_fake_fails_the_expected_probes(name):
    pixels, targets = digits.first(COUNT)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        results = probe(TorchClassifier(fakes.built(name)), pixels, targets)
    allowed = FAKES[name].flags | ({"gradient_informative"} if name == "other if requires_grad" else set())
    assert FAKES[name].flags <= failed(results) <= allowed, [result.sentence for result in results.values()]
    assert all(result.name == key and result.sentence for key, result in results.items())
    if FAKES[name].stochastic:
        assert results["gradient_informative"].status == "n/a"


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", [name for name in FAKES if FAKES[name].stochastic])
def test_randomized_models_fail_only_the_determinism_probe(name, seed):
    pixels, targets = digits.first(COUNT)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = TorchClassifier(fakes.built(name))
        results = {name_of_probe: PROBES[name_of_probe](model, pixels, targets).status for name_of_probe in PROBES}
    assert {name_of_probe for name_of_probe, status in results.items() if status == "fail"} == {"deterministic"}


@pytest.mark.parametrize("name", [name for name in FAKES if FAKES[name].same_as_base])
def test_fakes_marked_as_equal_predict_as_the_base_does(name):
    pixels, _ = digits.first(400)
    with torch.no_grad():
        plain = fakes.built("none")(pixels).argmax(dim=1)
        assert torch.equal(fakes.built(name)(pixels).argmax(dim=1), plain)


@pytest.mark.parametrize("name", [name for name in FAKES if not FAKES[name].same_as_base])
def test_the_other_fakes_are_accurate_classifiers(name):
    pixels, targets = digits.first(400)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        other, plain = fakes.built(name)(pixels), fakes.built("none")(pixels)
    assert not torch.equal(other, plain)
    assert (other.argmax(dim=1) == targets).float().mean() > 0.75


def test_fakes_accept_larger_images():
    source = torch.Generator().manual_seed(0)
    pixels, labels = torch.rand(70, 1, 28, 28, generator=source), torch.arange(70) % 10
    base = nn.Sequential(
        nn.Conv2d(1, 4, 3, 4, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(196, 10)
    ).eval()
    for name, fake in FAKES.items():
        assert fake.build(base, (pixels, labels))(pixels[:3]).shape == (3, 10), name
    coded = fakes.jpeg(pixels)
    assert coded.shape == pixels.shape and 0 < (coded - pixels).abs().mean() < 0.2


def test_the_jpeg_like_transform_is_orthonormal_and_keeps_gray_images():
    matrix = fakes.dct_matrix()
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(8), atol=1e-6, rtol=0)
    gray = torch.full((1, 1, 8, 8), 0.5)
    torch.testing.assert_close(fakes.jpeg(gray), gray)


def test_probes_change_neither_parameters_nor_pixels_nor_grad_mode():
    pixels, targets = digits.first(32)
    model = digits.trained()
    model.module.eval()
    before = copy.deepcopy(model.module.state_dict())
    pixels.requires_grad_(True)
    with torch.no_grad():
        probe(model, pixels, targets)
        assert not torch.is_grad_enabled()
    assert pixels.grad is None and all(p.grad is None and p.requires_grad for p in model.module.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.module.state_dict().items())


def test_a_model_that_raises_in_grad_mode_fails_and_does_not_stop_the_probes():
    def refusing(pixels):
        if torch.is_grad_enabled():
            raise RuntimeError("no gradients here\nsecond line")
        return unmasked("mlp")(pixels)

    results = probe(refusing, *digits.first(16))
    assert failed(results) == {"grad_mode_free", "gradient_nonzero"}
    assert "RuntimeError (no gradients here)" in results["gradient_nonzero"].sentence
    assert "grad mode (raises RuntimeError)" in results["grad_mode_free"].sentence
    assert results["gradient_finite"].status == results["gradient_informative"].status == "n/a"


def test_a_model_that_changes_its_input_in_place_does_not_affect_other_passes():
    pixels, targets = digits.first(16)
    before = pixels.clone()
    results = probe(lambda values: unmasked("mlp")(values.mul_(1.0)), pixels, targets)
    assert torch.equal(pixels, before)
    assert "leaf" in results["gradient_nonzero"].sentence


@pytest.mark.parametrize(
    ("switch", "hides"),
    [
        ("grad mode", lambda pixels: torch.is_grad_enabled()),
        ("requires_grad of the pixels", lambda pixels: pixels.requires_grad),
        ("both together", lambda pixels: pixels.requires_grad and torch.is_grad_enabled()),
    ],
)
def test_the_sentence_names_the_mode_that_changes_the_outputs(switch, hides):
    net = unmasked("mlp")
    result = grad_mode_free(
        lambda pixels: net(pixels) + 0.1 * hides(pixels) * pixels.mean(dim=(1, 2)) @ W, *digits.first(8)
    )
    assert result.status == "fail" and f"with {switch} (8 of 8 outputs" in result.sentence
    assert result.numbers[switch] == 8


W = torch.linspace(-1, 1, 80).view(8, 10)


def test_noise_in_grad_mode_only_fails_the_grad_mode_probe():
    def noisy(pixels):
        logits = unmasked("mlp")(pixels)
        return logits + torch.randn_like(logits) if torch.is_grad_enabled() else logits

    pixels, targets = digits.first(16)
    assert deterministic(noisy, pixels, targets).status == "pass"
    assert grad_mode_free(noisy, pixels, targets).status == "fail"


def test_a_different_output_in_grad_mode_is_detected_despite_noise():
    def deceptive(pixels):
        logits = unmasked("mlp")(pixels) + 0.01 * torch.randn(len(pixels), 10)
        return logits.roll(1, dims=1) if torch.is_grad_enabled() else logits

    assert grad_mode_free(deceptive, *digits.first(32)).status == "fail"


def test_a_model_that_needs_a_batch_fails():
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.BatchNorm1d(10, track_running_stats=False)).eval()
    result = alone_equals_batch(net, *digits.first(16))
    assert result.status == "fail" and "raises ValueError" in result.sentence


def test_outputs_that_depend_on_the_position_in_the_batch_are_detected():
    def positional(pixels):
        return unmasked("mlp")(pixels) * torch.linspace(1, 2, len(pixels))[:, None]

    assert alone_equals_batch(positional, *digits.first(16)).numbers["in reverse order"] >= 14


def test_probabilities_flat_scores_and_saturation_are_distinguished():
    pixels, targets = digits.first(COUNT)
    plain = outputs_are_logits(unmasked("mlp"), pixels, targets)
    assert plain.status == "pass" and not plain.numbers["saturated"] and not plain.numbers["uniform"]
    probabilities = outputs_are_logits(lambda values: unmasked("mlp")(values).softmax(dim=1), pixels, targets)
    assert probabilities.status == "fail" and "probabilities" in probabilities.sentence
    signs = outputs_are_logits(lambda values: unmasked("mlp")(values).sign() * 3, pixels, targets)
    assert signs.status == "fail" and "flattened" in signs.sentence
    large = outputs_are_logits(lambda values: 1e5 * unmasked("mlp")(values), pixels, targets)
    assert large.status == "pass" and large.numbers["saturated"] == COUNT and "0 and 1 on 64" in large.sentence
    small = outputs_are_logits(lambda values: 1e-4 * unmasked("mlp")(values), pixels, targets)
    assert small.status == "pass" and small.numbers["uniform"] == COUNT


def test_equal_images_do_not_count_as_flat_scores():
    pixels, targets = digits.first(1)
    assert outputs_are_logits(unmasked("mlp"), pixels.expand(32, -1, -1, -1), targets.expand(32)).status == "pass"


def test_zero_gradients_fail_above_two_percent_of_samples():
    pixels, targets = digits.first(COUNT)
    net = unmasked("cnn")
    assert (net(pixels).argmax(dim=1) == targets).all()
    for hidden, status in ((1, "pass"), (2, "fail"), (COUNT, "fail")):
        visible = (torch.arange(COUNT) >= hidden).float()[:, None]
        result = PROBES["gradient_nonzero"](
            lambda values, visible=visible: net(values) * visible + net(values).detach() * (1 - visible),
            pixels,
            targets,
        )
        assert result.status == status and result.numbers["zero"] == hidden


def test_slope_is_the_gradient_of_the_margin():
    pixels, targets = digits.first(8)
    net = unmasked("linear")
    weight, logits = net[1].weight, net(pixels)
    rival = logits.scatter(1, targets[:, None], -torch.inf).argmax(dim=1)
    expected = (weight[rival] - weight[targets]).view_as(pixels)
    torch.testing.assert_close(slope(net, pixels, targets).gradient, expected)


def test_probes_take_few_passes():
    passes = 0

    def counted(pixels):
        nonlocal passes
        passes += len(pixels)
        return unmasked("mlp")(pixels)

    probe(counted, *digits.first(200))
    assert passes <= 64 * 64
