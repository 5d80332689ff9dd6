"""Autoencoders: likelihood bounds against numerical integration, divergences by hand, invalid inputs and modules."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.special import expit
from scipy.stats import norm
from torch import nn

from suite.data.digests import seed_of
from suite.errors import DataError, ModelError, NotApplicableError
from suite.models.adapters.autoencoder import NO_SPREAD, TorchAutoencoder, split_output
from suite.models.adapters.evidence import bernoulli, divergences
from suite.models.networks.vae import ConvAutoencoder, autoencoder

SLOPES, SHIFTS = (2.0, -1.5, 0.7, 3.0), (0.3, -0.2, 0.0, -1.0)
"""Slopes of the logits of four pixels with respect to a one-dimensional code."""


class Linear(nn.Module):
    """Logits linear in a one-dimensional code with a mean linear in the pixels and a constant log variance."""

    def __init__(self, slopes=SLOPES, shifts=SHIFTS, pull=0.15, log_variance=-0.2):
        super().__init__()
        self.slopes = nn.Parameter(torch.tensor(slopes, dtype=torch.float64))
        self.shifts = torch.tensor(shifts, dtype=torch.float64)
        self.pull, self.log_variance = pull, log_variance

    def encode(self, pixels):
        mean = self.pull * ((2 * pixels.flatten(1) - 1) @ self.slopes)[:, None]
        return mean, torch.full_like(mean, self.log_variance)

    def decode(self, codes):
        return (codes * self.slopes + self.shifts).view(-1, 1, 2, 2)


def every_image():
    return torch.tensor([[n >> bit & 1 for bit in range(4)] for n in range(16)], dtype=torch.float64).view(-1, 1, 2, 2)


def likelihood(image, code):
    chance = expit(code * np.array(SLOPES) + np.array(SHIFTS))
    return float(np.prod(np.where(np.ravel(image) > 0, chance, 1 - chance)))


def linear(**settings):
    return TorchAutoencoder(Linear(**settings), shape=(1, 2, 2))


def integrated(image, model):
    """Return -log p(x) and the negative ELBO of an image, by numerical integration."""
    exact = quad(lambda z: likelihood(image, z) * norm.pdf(z), -12, 12)[0]
    mean, log_variance = (float(part.detach()) for part in model.module.encode(torch.tensor(image)[None]))
    own = norm(mean, math.exp(log_variance / 2))

    def integrand(z):
        return own.pdf(z) * (math.log(likelihood(image, z)) + norm.logpdf(z) - own.logpdf(z))

    return -math.log(exact), -quad(integrand, mean - 8, mean + 8)[0]


def test_integrated_probabilities_of_all_images_sum_to_one():
    model = linear()
    total = sum(math.exp(-integrated(image.numpy(), model)[0]) for image in every_image())
    assert total == pytest.approx(1, abs=1e-6)


def test_elbo_and_importance_weighted_bound_match_numerical_integration():
    model, images = linear(), every_image()
    result = model.evidence(images, 20_000, [seed_of("test", str(n), "0") for n in range(16)])
    expected = np.array([integrated(image.numpy(), model) for image in images])
    assert result.importance.numpy() == pytest.approx(expected[:, 0], abs=0.02)
    assert result.negative_elbo.numpy() == pytest.approx(expected[:, 1], abs=0.05)
    assert (expected[:, 1] > expected[:, 0]).all()


def test_importance_weighted_bound_tightens_with_more_draws():
    model, images = linear(pull=0.25), every_image()
    exact = np.mean([integrated(image.numpy(), model)[0] for image in images])
    means = []
    for draws in (1, 5, 50, 2000):
        runs = [model.evidence(images, draws, [seed_of(f"run {r}", str(n), "0") for n in range(16)]) for r in range(20)]
        means.append(float(torch.stack([run.importance for run in runs]).mean()))
    assert means == sorted(means, reverse=True) and means[0] - means[-1] > 0.1
    assert means[-1] == pytest.approx(exact, abs=0.02)


def test_one_draw_is_the_elbo_with_a_sampled_divergence():
    model, images = linear(), every_image()
    seeds = list(range(16))
    result = model.evidence(images, 1, seeds)
    noise = torch.stack([torch.randn(100, 1, generator=torch.Generator().manual_seed(s))[0] for s in seeds]).double()
    with model.frozen(), torch.no_grad():
        mean, log_variance = model.code(images)
        code, spread = mean + (log_variance / 2).exp() * noise, (log_variance / 2).exp()
        missed = bernoulli(model.decoded(code), images).numpy()
    logs = (norm.logpdf(code) - norm.logpdf(code, mean, spread))[:, 0]
    assert result.importance.numpy() == pytest.approx(missed - logs, abs=1e-6)
    assert result.reconstruction.numpy() == pytest.approx(missed, abs=1e-6)


def test_divergence_by_hand():
    mean, log_variance = torch.tensor([[0.0, 1.0, 2.0]]), torch.tensor([[0.0, 0.0, math.log(0.25)]])
    assert divergences(mean, log_variance).tolist()[0] == pytest.approx([0, 0.5, 0.5 * (4 + 0.25 - 1 + math.log(4))])


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return autoencoder((1, 10, 11), latent=3, width=4)


@pytest.fixture(scope="module")
def images():
    return torch.from_numpy(np.random.default_rng(0).integers(0, 2, (13, 1, 10, 11)).astype(np.float32))


def test_results_do_not_depend_on_the_batch(network, images):
    seeds = [seed_of("x", f"i{n}", "0") for n in range(13)]
    with network.frozen(), torch.no_grad():
        whole = network(images)
        alone = torch.cat([network(image[None]) for image in images])
    assert torch.equal(whole, alone)
    max_batch = network.evidence(images, 30, seeds)
    single = [network.evidence(image[None], 30, [seed]) for image, seed in zip(images, seeds, strict=True)]
    turned = network.evidence(images.flip(0), 30, seeds[::-1])
    for name in ("reconstruction", "divergence", "importance"):
        values = getattr(max_batch, name)
        assert torch.equal(values, torch.cat([getattr(one, name) for one in single]))
        assert torch.equal(values, getattr(turned, name).flip(0))


def test_more_draws_start_with_the_same_ones(network):
    assert torch.equal(network.prior(150, 3)[:40], network.prior(40, 3))
    assert torch.equal(network.sample(30, 3), network.sample(120, 3)[:30])
    assert not torch.equal(network.prior(40, 3), network.prior(40, 4))


def test_reconstructions_have_the_size_and_range_of_images(network, images):
    back = network.reconstruct(images)
    assert back.shape == images.shape and float(back.min()) >= 0 and float(back.max()) <= 1
    assert network.sample(5, 0).shape == (5, 1, 10, 11)


def test_interpolation_starts_and_ends_with_the_reconstructions(network, images):
    ways = network.interpolate(images[:3], images[3:6], 5)
    assert ways.shape == (3, 5, 1, 10, 11)
    assert torch.allclose(ways[:, 0], network.reconstruct(images[:3]), atol=1e-6)
    assert torch.allclose(ways[:, -1], network.reconstruct(images[3:6]), atol=1e-6)


def test_plain_autoencoder_has_deterministic_codes_and_no_density(images):
    plain = autoencoder((1, 10, 11), latent=3, width=4, variational=False)
    with plain.frozen(), torch.no_grad():
        codes = split_output(plain(images), 110)
    assert (codes.log_variance == NO_SPREAD).all() and not codes.is_gaussian.any()
    for queries in (lambda: plain.sample(3, 0), lambda: plain.evidence(images, 5, list(range(13)))):
        with pytest.raises(NotApplicableError, match="neither a prior nor a density"):
            queries()


def test_log_variances_are_clamped(images):
    wild = ConvAutoencoder((1, 10, 11), latent=2, width=4)
    with torch.no_grad():
        wild.encoder[-1].bias[2:] = torch.tensor([1e4, -1e4])
    model = TorchAutoencoder(wild, shape=(1, 10, 11))
    codes = split_output(model(images), 110)
    assert (codes.log_variance == torch.tensor([8.0, -8.0])).all()
    assert torch.isfinite(model.evidence(images, 10, list(range(13))).importance).all()


BAD = {
    "above 1": (lambda x: x * 255, DataError, "outside 0 to 1"),
    "below 0": (lambda x: x - 0.5, DataError, "outside 0 to 1"),
    "NaN": (lambda x: x * torch.nan, DataError, "NaN or outside"),
    "another size": (lambda x: x[..., :9], DataError, r"shape \(13, 1, 10, 9\); expected"),
    "no images": (lambda x: x[:0], DataError, "one or more images"),
    "whole numbers": (lambda x: x.to(torch.uint8), DataError, "floating point"),
}


@pytest.mark.parametrize("way", BAD)
def test_invalid_images_are_refused(way, network, images):
    spoil, error, message = BAD[way]
    with pytest.raises(error, match=message):
        network.reconstruct(spoil(images))
    with pytest.raises(error, match=message):
        network.evidence(spoil(images), 5, list(range(13)))


def test_gray_images_have_no_likelihood(network, images):
    with pytest.raises(NotApplicableError, match="binarize the images"):
        network.evidence(images * 0.5, 5, list(range(13)))
    with pytest.raises(DataError, match="2 seeds for 13 images"):
        network.evidence(images, 5, [1, 2])


def test_bounds_of_constant_and_single_images_are_finite(network):
    for value in (0.0, 1.0):
        result = network.evidence(torch.full((1, 1, 10, 11), value), 10, [0])
        assert torch.isfinite(result.importance).all() and float(result.importance) > 0


class Invalid(Linear):
    """Returns codes or logits of a wrong form."""

    def __init__(self, encoded=None, decoded=None):
        super().__init__()
        self.encoded, self.decoded = encoded, decoded

    def encode(self, pixels):
        return super().encode(pixels) if self.encoded is None else self.encoded(*super().encode(pixels))

    def decode(self, codes):
        return super().decode(codes) if self.decoded is None else self.decoded(super().decode(codes))


ODD = {
    "no code": ({"encoded": lambda m, v: (m[0], v)}, "did not return"),
    "no log variance": ({"encoded": lambda m, v: (m, None)}, "returns no log variance"),
    "shapes differ": ({"encoded": lambda m, v: (m, v.repeat(1, 2))}, "expected equal shapes"),
    "NaN": ({"encoded": lambda m, v: (m * torch.nan, v)}, "NaN or infinite a reconstruction"),
    "small images": ({"decoded": lambda x: x[..., :1]}, r"\(16, 1, 2, 1\) for 16 codes; expected \(16, 1, 2, 2\)"),
    "infinite": ({"decoded": lambda x: x + torch.inf}, "NaN or infinite"),
}


@pytest.mark.parametrize("way", ODD)
def test_module_with_invalid_output_is_refused(way):
    settings, message = ODD[way]
    with pytest.raises(ModelError, match=message):
        TorchAutoencoder(Invalid(**settings), shape=(1, 2, 2))(every_image())


def test_module_without_a_decoder_is_refused():
    with pytest.raises(ModelError, match="has no encode and no decode"):
        TorchAutoencoder(nn.Linear(2, 2), shape=(1, 2, 2))
    with pytest.raises(ModelError, match=r"expected \(channels, height, width\)"):
        TorchAutoencoder(Linear(), shape=(2, 2))


def test_images_of_another_task_are_refused(network):
    with pytest.raises(ModelError, match="but the model was built for"):
        network(torch.zeros(2, 1, 8, 8))


def test_pixels_have_gradients(network, images):
    point = images.clone().requires_grad_(True)
    network.raw(point).sum().backward()
    assert float(point.grad.abs().sum()) > 0
