"""The probes find every fake defence out, and never accuse an honest model."""

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
    """PyTorch's own transformer layer, which takes another path through other kernels when no gradients are wanted."""

    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 32, dropout=0.0, batch_first=True)
        self.encoder, self.head = nn.TransformerEncoder(layer, 1), nn.Linear(64, 10)

    def forward(self, pixels):
        return self.head(self.encoder(pixels.flatten(1).view(-1, 8, 8)).flatten(1))


def taught(net, *, eps=0.0, steps=0, epochs=4, rate=2e-3):
    """Train on the digits, against PGD of a few steps where eps is given."""
    pixels, labels = fakes.digit_data()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        optimizer = torch.optim.Adam(net.train().parameters(), lr=rate)
        for _ in range(epochs):
            for rows in torch.randperm(len(pixels)).split(64):
                clean = moved = pixels[rows]
                for _ in range(steps):
                    moved = moved.detach().requires_grad_()
                    (rise,) = torch.autograd.grad(functional.cross_entropy(net(moved), labels[rows]), moved)
                    delta = (moved.detach() + eps / 2 * rise.sign() - clean).clamp(-eps, eps)
                    moved = (clean + delta).clamp(0, 1)
                optimizer.zero_grad()
                functional.cross_entropy(net(moved), labels[rows]).backward()
                optimizer.step()
    return net.eval().requires_grad_(False)


def scaled(net, factor):
    """Multiply every weight, so that the softmax rounds to exactly 0 and 1."""
    net = copy.deepcopy(net)
    for parameter in net.parameters():
        parameter.data.mul_(factor)
    return net


def seeded(build, *arguments, **options):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build(*arguments, **options)


HONEST = {
    "cnn": lambda: digits.trained().module,
    "deeper cnn": lambda: taught(seeded(small_cnn, 10, SHAPE, width=8, dropout=0.0), epochs=6),
    "linear": lambda: taught(seeded(linear, 10, SHAPE), rate=1e-2),
    "mlp": lambda: taught(seeded(perceptron)),
    "deep mlp": lambda: taught(seeded(perceptron, 7)),
    "tanh mlp": lambda: taught(seeded(perceptron, 2, nn.Tanh)),
    "sigmoid mlp": lambda: taught(seeded(perceptron, 1, nn.Sigmoid), rate=1e-2),
    "certain mlp": lambda: scaled(honest("mlp"), 5),
    "vit": lambda: taught(seeded(TinyViT, 10, SHAPE, width=32, depth=2, dropout=0.0)),
    "stock transformer": lambda: taught(seeded(Stock)),
    "hardened cnn": lambda: taught(seeded(digits.network), eps=0.1, steps=2),
    "hardened mlp": lambda: taught(seeded(perceptron), eps=0.1, steps=3, epochs=6),
    "hardened vit": lambda: taught(seeded(TinyViT, 10, SHAPE, width=24, depth=1, dropout=0.0), eps=0.05, steps=1),
    "distilled": lambda: fakes.built("distilled"),
}
DRESSES = {
    "plain": lambda logits: logits,
    "log-softmax": lambda logits: logits.log_softmax(dim=1),
    "x100": lambda logits: 100 * logits,
    "x1e5": lambda logits: 1e5 * logits,
    "x1e-4": lambda logits: 1e-4 * logits,
    "+1000": lambda logits: logits + 1000,
}


@functools.cache
def honest(name):
    return HONEST[name]().eval().requires_grad_(False)


def failed(found):
    return {name for name, answer in found.items() if answer.status == "fail"}


@pytest.mark.parametrize("name", HONEST)
def test_no_honest_model_is_accused(name):
    pixels, targets = digits.first(COUNT)
    for dress, change in DRESSES.items():
        found = probe(TorchClassifier(fakes.After(honest(name), change)), pixels, targets)
        assert failed(found) == set(), (dress, [answer.sentence for answer in found.values()])
        assert list(found) == list(PROBES)
    assert found["gradient_informative"].status == "pass", "too few right samples: the model is no test"
    assert found["gradient_informative"].numbers["unexplained"] < 0.1


@pytest.mark.parametrize("name", ["cnn", "hardened mlp", "vit"])
def test_no_honest_model_is_accused_in_float64_nor_without_the_adapter(name):
    pixels, targets = digits.first(COUNT)
    assert failed(probe(honest(name), pixels, targets)) == set()
    assert failed(probe(copy.deepcopy(honest(name)).double(), pixels.double(), targets)) == set()


@pytest.mark.parametrize("name", ["mlp", "hardened mlp"])
def test_no_honest_model_is_accused_in_bfloat16(name):
    pixels, targets = digits.first(COUNT)
    net = copy.deepcopy(honest(name)).bfloat16()
    assert failed(probe(lambda values: net(values.bfloat16()), pixels, targets)) == set()


@pytest.mark.parametrize("name", FAKES)
def test_every_fake_fails_exactly_the_probes_that_it_should(name):
    pixels, targets = digits.first(COUNT)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        found = probe(TorchClassifier(fakes.built(name)), pixels, targets)
    allowed = FAKES[name].flags | ({"gradient_informative"} if name == "other if requires_grad" else set())
    assert FAKES[name].flags <= failed(found) <= allowed, [answer.sentence for answer in found.values()]
    assert all(answer.name == key and answer.sentence for key, answer in found.items())
    if FAKES[name].stochastic:
        assert found["gradient_informative"].status == "n/a"


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", [name for name in FAKES if FAKES[name].stochastic])
def test_randomness_is_always_found_and_never_taken_for_anything_else(name, seed):
    pixels, targets = digits.first(COUNT)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = TorchClassifier(fakes.built(name))
        found = {question: PROBES[question](model, pixels, targets).status for question in PROBES}
    assert {question for question, status in found.items() if status == "fail"} == {"deterministic"}


@pytest.mark.parametrize("name", [name for name in FAKES if FAKES[name].same_as_base])
def test_what_claims_to_predict_as_the_base_does_so(name):
    pixels, _ = digits.first(400)
    with torch.no_grad():
        plain = fakes.built("none")(pixels).argmax(dim=1)
        assert torch.equal(fakes.built(name)(pixels).argmax(dim=1), plain)


@pytest.mark.parametrize("name", [name for name in FAKES if not FAKES[name].same_as_base])
def test_the_other_defences_are_usable_classifiers_of_their_own(name):
    pixels, targets = digits.first(400)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        other, plain = fakes.built(name)(pixels), fakes.built("none")(pixels)
    assert not torch.equal(other, plain)
    assert (other.argmax(dim=1) == targets).float().mean() > 0.75


def test_defences_serve_larger_pictures_too():
    source = torch.Generator().manual_seed(0)
    pixels, labels = torch.rand(70, 1, 28, 28, generator=source), torch.arange(70) % 10
    base = nn.Sequential(
        nn.Conv2d(1, 4, 3, 4, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(196, 10)
    ).eval()
    for name, fake in FAKES.items():
        assert fake.build(base, (pixels, labels))(pixels[:3]).shape == (3, 10), name
    coded = fakes.jpeg(pixels)
    assert coded.shape == pixels.shape and 0 < (coded - pixels).abs().mean() < 0.2


def test_the_jpeg_like_transform_is_orthonormal_and_rounds_coefficients_only():
    matrix = fakes.cosines()
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(8), atol=1e-6, rtol=0)
    grey = torch.full((1, 1, 8, 8), 0.5)
    torch.testing.assert_close(fakes.jpeg(grey), grey)


def test_probing_leaves_no_trace_on_parameters_pixels_or_grad_mode():
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


def test_a_model_that_refuses_an_attacker_is_found_out_and_does_not_stop_the_probes():
    def shy(pixels):
        if torch.is_grad_enabled():
            raise RuntimeError("no gradients here\nsecond line")
        return honest("mlp")(pixels)

    found = probe(shy, *digits.first(16))
    assert failed(found) == {"grad_mode_free", "gradient_nonzero"}
    assert "RuntimeError (no gradients here)" in found["gradient_nonzero"].sentence
    assert "grad mode (raises RuntimeError)" in found["grad_mode_free"].sentence
    assert found["gradient_finite"].status == found["gradient_informative"].status == "n/a"


def test_a_model_that_works_in_place_on_its_input_does_not_spoil_what_others_see():
    pixels, targets = digits.first(16)
    kept = pixels.clone()
    found = probe(lambda values: honest("mlp")(values.mul_(1.0)), pixels, targets)
    assert torch.equal(pixels, kept)
    assert "leaf" in found["gradient_nonzero"].sentence


@pytest.mark.parametrize(
    ("switch", "hides"),
    [
        ("grad mode", lambda pixels: torch.is_grad_enabled()),
        ("requires_grad of the pixels", lambda pixels: pixels.requires_grad),
        ("both together", lambda pixels: pixels.requires_grad and torch.is_grad_enabled()),
    ],
)
def test_the_switch_that_changes_the_answer_is_named(switch, hides):
    net = honest("mlp")
    answer = grad_mode_free(
        lambda pixels: net(pixels) + 0.1 * hides(pixels) * pixels.mean(dim=(1, 2)) @ W, *digits.first(8)
    )
    assert answer.status == "fail" and f"with {switch} (8 of 8" in answer.sentence
    assert answer.numbers[switch] == 8


W = torch.linspace(-1, 1, 80).view(8, 10)


def test_noise_that_is_drawn_only_for_attackers_is_their_problem_and_ours():
    def noisy(pixels):
        logits = honest("mlp")(pixels)
        return logits + torch.randn_like(logits) if torch.is_grad_enabled() else logits

    pixels, targets = digits.first(16)
    assert deterministic(noisy, pixels, targets).status == "pass"
    assert grad_mode_free(noisy, pixels, targets).status == "fail"


def test_another_answer_behind_noise_is_still_another_answer():
    def sly(pixels):
        logits = honest("mlp")(pixels) + 0.01 * torch.randn(len(pixels), 10)
        return logits.roll(1, dims=1) if torch.is_grad_enabled() else logits

    assert grad_mode_free(sly, *digits.first(32)).status == "fail"


def test_a_model_that_cannot_answer_alone_is_found_out():
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.BatchNorm1d(10, track_running_stats=False)).eval()
    answer = alone_equals_batch(net, *digits.first(16))
    assert answer.status == "fail" and "raises ValueError" in answer.sentence


def test_an_answer_that_depends_on_the_place_in_the_batch_is_found_out():
    def placed(pixels):
        return honest("mlp")(pixels) * torch.linspace(1, 2, len(pixels))[:, None]

    assert alone_equals_batch(placed, *digits.first(16)).numbers["in reverse order"] >= 14


def test_probabilities_flat_scores_and_saturation_are_told_apart():
    pixels, targets = digits.first(COUNT)
    plain = outputs_are_logits(honest("mlp"), pixels, targets)
    assert plain.status == "pass" and not plain.numbers["saturated"] and not plain.numbers["uniform"]
    probabilities = outputs_are_logits(lambda values: honest("mlp")(values).softmax(dim=1), pixels, targets)
    assert probabilities.status == "fail" and "probabilities" in probabilities.sentence
    signs = outputs_are_logits(lambda values: honest("mlp")(values).sign() * 3, pixels, targets)
    assert signs.status == "fail" and "flattened" in signs.sentence
    large = outputs_are_logits(lambda values: 1e5 * honest("mlp")(values), pixels, targets)
    assert large.status == "pass" and large.numbers["saturated"] == COUNT and "0 and 1 on 64" in large.sentence
    small = outputs_are_logits(lambda values: 1e-4 * honest("mlp")(values), pixels, targets)
    assert small.status == "pass" and small.numbers["uniform"] == COUNT


def test_equal_pictures_are_no_reason_to_call_the_scores_flat():
    pixels, targets = digits.first(1)
    assert outputs_are_logits(honest("mlp"), pixels.expand(32, -1, -1, -1), targets.expand(32)).status == "pass"


def test_a_part_without_gradient_counts_as_soon_as_it_is_more_than_a_fiftieth():
    pixels, targets = digits.first(COUNT)
    net = honest("cnn")
    assert (net(pixels).argmax(dim=1) == targets).all()
    for hidden, status in ((1, "pass"), (2, "fail"), (COUNT, "fail")):
        lit = (torch.arange(COUNT) >= hidden).float()[:, None]
        answer = PROBES["gradient_nonzero"](
            lambda values, lit=lit: net(values) * lit + net(values).detach() * (1 - lit), pixels, targets
        )
        assert answer.status == status and answer.numbers["zero"] == hidden


def test_the_slope_is_that_of_the_margin():
    pixels, targets = digits.first(8)
    net = honest("linear")
    weight, logits = net[1].weight, net(pixels)
    rival = logits.scatter(1, targets[:, None], -torch.inf).argmax(dim=1)
    expected = (weight[rival] - weight[targets]).view_as(pixels)
    torch.testing.assert_close(slope(net, pixels, targets).gradient, expected)


def test_a_probe_costs_few_passes():
    passes = 0

    def counted(pixels):
        nonlocal passes
        passes += len(pixels)
        return honest("mlp")(pixels)

    probe(counted, *digits.first(200))
    assert passes <= 64 * 64
