"""Infidelity: equal to captum on the same noise, and to closed forms for linear models."""

import pytest
import torch

from suite.attributions.maps.explained import Explained
from suite.attributions.maps.infidelity import measure_infidelity, probe
from suite.errors import MeasureError

torch.set_num_threads(1)
WEIGHTS = torch.randn(2, 75, generator=torch.Generator().manual_seed(0))


def nonlinear(x, rows):
    """Return a nonlinear scalar that differs between samples."""
    return (x.flatten(1).to(WEIGHTS) @ WEIGHTS.T).tanh().gather(1, (rows % 2)[:, None])[:, 0] * (1 + rows)


def linear(x, rows):
    return x.flatten(1) @ WEIGHTS[0].to(x)


def explain(target, dtype=torch.float32, batch_size=256, count=5):
    inputs = torch.rand(count, 3, 5, 5, generator=torch.Generator().manual_seed(2)).to(dtype)
    return Explained(inputs, target, target, seeds=range(10, 10 + count), batch_size=batch_size)


@pytest.mark.parametrize("normalize", [False, True])
def test_infidelity_equals_captum_on_the_same_noise(normalize):
    from captum.metrics import infidelity

    explained = explain(nonlinear)
    raw = torch.randn(5, 3, 5, 5, generator=torch.Generator().manual_seed(3))
    probed = probe(explained, samples=7, sd=0.2)
    noise = probed.noise(torch.arange(5)).flatten(0, 1)
    theirs = infidelity(
        explained.target,
        lambda inputs: (noise, inputs - noise),
        explained.inputs,
        raw,
        additional_forward_args=torch.arange(5),
        n_perturb_samples=7,
        normalize=normalize,
    )
    ours = measure_infidelity(raw, probed)
    torch.testing.assert_close((ours.scaled if normalize else ours.raw).float(), theirs, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradient_of_a_linear_model_has_zero_infidelity(dtype):
    noise = probe(explain(linear, dtype))
    gradient = WEIGHTS[0].reshape(1, 3, 5, 5).expand(5, -1, -1, -1).to(dtype)
    assert measure_infidelity(gradient, noise).raw.max() <= 1e-10
    assert measure_infidelity(-4 * gradient, noise).scaled.max() <= 1e-10
    assert measure_infidelity(4 * gradient, noise).raw.min() > 1e-3


def test_map_of_zeros_predicts_no_change():
    noise = probe(explain(linear))
    result = measure_infidelity(torch.zeros(5, 3, 5, 5), noise)
    torch.testing.assert_close(result.scaled, (noise.change**2).mean(1))
    torch.testing.assert_close(result.raw, result.scaled)


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_infidelity_does_not_depend_on_batch_size_or_other_samples(batch_size):
    raw = torch.randn(5, 3, 5, 5, generator=torch.Generator().manual_seed(3))
    whole = measure_infidelity(raw, probe(explain(linear, torch.float64)))
    parts = measure_infidelity(raw[:2], probe(explain(linear, torch.float64, batch_size, count=2)))
    torch.testing.assert_close(parts.raw, whole.raw[:2], atol=1e-14, rtol=0)
    torch.testing.assert_close(parts.scaled, whole.scaled[:2], atol=1e-14, rtol=0)


def test_scores_of_the_noise_are_computed_once():
    sizes = []

    def counted(x, rows):
        sizes.append(len(x))
        return linear(x, rows)

    noise = probe(explain(counted, batch_size=16), samples=7)
    for _ in range(3):
        measure_infidelity(torch.ones(5, 3, 5, 5), noise)
    assert sum(sizes) == 5 * (1 + 7)


def test_one_draw_is_refused():
    with pytest.raises(MeasureError, match="samples=1"):
        probe(explain(linear), samples=1)
