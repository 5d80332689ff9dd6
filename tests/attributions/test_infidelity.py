"""Infidelity: equal to captum on the same noise, and to closed forms for linear models."""

import pytest
import torch

from suite.attributions.maps.explained import Explained
from suite.attributions.maps.infidelity import Noise, infidelities
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


def infidelity_of(raw, explained, samples=10, sd=0.1):
    return infidelities(explained, {"map": raw}, Noise(samples, sd))["map"]


@pytest.mark.parametrize("normalize", [False, True])
def test_infidelity_equals_captum_on_the_same_noise(normalize):
    from captum.metrics import infidelity

    explained = explain(nonlinear)
    raw = torch.randn(5, 3, 5, 5, generator=torch.Generator().manual_seed(3))
    noise = torch.cat([Noise(7, 0.2).draw(explained, row) for row in range(5)])
    theirs = infidelity(
        explained.target,
        lambda inputs: (noise, inputs - noise),
        explained.inputs,
        raw,
        additional_forward_args=torch.arange(5),
        n_perturb_samples=7,
        normalize=normalize,
    )
    ours = infidelity_of(raw, explained, 7, 0.2)
    torch.testing.assert_close((ours.scaled if normalize else ours.raw).float(), theirs, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradient_of_a_linear_model_has_zero_infidelity(dtype):
    explained = explain(linear, dtype)
    gradient = WEIGHTS[0].reshape(1, 3, 5, 5).expand(5, -1, -1, -1).to(dtype)
    found = infidelities(explained, {"one": gradient, "minus": -4 * gradient, "more": 4 * gradient}, Noise())
    assert found["one"].raw.max() <= 1e-10
    assert found["minus"].scaled.max() <= 1e-10
    assert found["more"].raw.min() > 1e-3


def test_map_of_zeros_predicts_no_change():
    explained = explain(linear)
    result = infidelity_of(torch.zeros(5, 3, 5, 5), explained)
    change = torch.stack([linear(Noise().draw(explained, row), None) for row in range(5)])
    torch.testing.assert_close(result.scaled, (change.double() ** 2).mean(1), atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(result.raw, result.scaled)


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_infidelity_does_not_depend_on_batch_size_or_other_samples(batch_size):
    raw = torch.randn(5, 3, 5, 5, generator=torch.Generator().manual_seed(3))
    whole = infidelity_of(raw, explain(linear, torch.float64))
    parts = infidelity_of(raw[:2], explain(linear, torch.float64, batch_size, count=2))
    torch.testing.assert_close(parts.raw, whole.raw[:2], atol=1e-14, rtol=0)
    torch.testing.assert_close(parts.scaled, whole.scaled[:2], atol=1e-14, rtol=0)


def test_scores_of_the_noise_are_computed_once_in_full_batches():
    sizes = []

    def counted(x, rows):
        sizes.append(len(x))
        return linear(x, rows)

    maps = {str(number): torch.ones(5, 3, 5, 5) for number in range(3)}
    infidelities(explain(counted, batch_size=8), maps, Noise(7))
    assert sizes == [8, 8, 8, 8, 3, 5]  # 7 draws of 5 samples, and the samples themselves


def test_one_draw_is_refused():
    with pytest.raises(MeasureError, match="samples=1"):
        Noise(1)
