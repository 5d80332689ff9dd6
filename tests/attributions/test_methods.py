"""Attribution methods: exact on models with known attributions, and independent of the batch."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from suite.attributions.maps.base import RandomAttribution, attribute, pixel_map
from suite.attributions.maps.explained import Explained
from suite.attributions.maps.gradcam import GradCam
from suite.attributions.maps.methods import IntegratedGradients, Saliency, SmoothGrad
from suite.attributions.maps.occlusion import Occlusion
from suite.errors import MeasureError, ModelError, NotApplicableError

torch.set_num_threads(1)
SIDE = 6
METHODS = [Saliency(), IntegratedGradients(steps=5), SmoothGrad(samples=3), Occlusion(), GradCam(), RandomAttribution()]
WEIGHTS = torch.randn(7, 2, SIDE, SIDE, generator=torch.Generator().manual_seed(0)).double()


def images(count):
    return torch.rand(count, 2, SIDE, SIDE, generator=torch.Generator().manual_seed(1)).double()


def additive(x, rows):
    """Return the output of a different linear model for each sample, so that swapped rows are detected."""
    return (x * WEIGHTS[rows]).sum((1, 2, 3))


def explain(target=additive, count=7, **fields):
    return Explained(images(count), target, target, seeds=range(100, 100 + count), **fields)


def convolutional():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        layers = nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(4, 4, 3, padding=1), nn.Tanh()
        return nn.Sequential(*layers, nn.Flatten(), nn.Linear(4 * SIDE * SIDE, 3)).double()


def explain_network(**fields):
    model = convolutional()
    return explain(lambda x, rows: model(x).gather(1, rows[:, None] % 3)[:, 0], layer=model[2], **fields)


@pytest.mark.parametrize("method", [Saliency(), SmoothGrad(samples=3)])
def test_gradient_of_a_linear_model_is_its_weights(method):
    raw = attribute(method, explain())
    torch.testing.assert_close(raw, WEIGHTS)
    torch.testing.assert_close(pixel_map(method, raw), WEIGHTS.abs().sum(1))


def test_integrated_gradients_are_exact_on_a_linear_model():
    method = IntegratedGradients(steps=3)
    raw = attribute(method, explain(batch_size=8))
    torch.testing.assert_close(raw, WEIGHTS * images(7), atol=1e-6, rtol=0)
    torch.testing.assert_close(pixel_map(method, raw), (WEIGHTS * images(7)).sum(1), atol=1e-6, rtol=0)


def test_integrated_gradients_are_complete():
    explained = explain_network()
    rows = torch.arange(7)
    change = explained.target(explained.inputs, rows) - explained.target(explained.inputs * 0, rows)
    raw = attribute(IntegratedGradients(steps=32), explained)
    # The kinks of ReLU limit the accuracy of the quadrature; the changes themselves are up to 0.2.
    torch.testing.assert_close(raw.sum((1, 2, 3)), change.detach(), atol=2e-3, rtol=0)


def test_occlusion_of_single_pixels_is_exact_on_an_additive_model():
    method = Occlusion(window=1, stride=1)
    maps = pixel_map(method, attribute(method, explain(batch_size=20)))
    torch.testing.assert_close(maps, (WEIGHTS * images(7)).sum(1))


def test_occlusion_averages_the_windows_that_cover_a_pixel():
    method = Occlusion(window=3, stride=3)
    truth = (WEIGHTS * images(7)).sum(1).reshape(7, 2, 3, 2, 3).sum((2, 4))
    expected = truth.repeat_interleave(3, 1).repeat_interleave(3, 2)
    torch.testing.assert_close(pixel_map(method, attribute(method, explain())), expected)
    assert attribute(Occlusion(window=50, stride=50), explain()).std((1, 2, 3)).max() < 1e-12


def test_gradcam_equals_its_definition():
    explained = explain_network()
    model, captured = convolutional(), []
    model[2].register_forward_hook(lambda module, args, output: captured.append(output))
    scalar = model(explained.inputs).gather(1, torch.arange(7)[:, None] % 3).sum()
    (gradient,) = torch.autograd.grad(scalar, captured)
    expected = (captured[0] * gradient.mean((2, 3), keepdim=True)).sum(1).relu()
    maps = pixel_map(GradCam(), attribute(GradCam(), explained))
    torch.testing.assert_close(maps, expected.detach())
    assert maps.max() > 0


def test_gradcam_accepts_a_target_that_pads_its_batches():
    model = convolutional()

    def padded(x, rows):
        return model(torch.cat([x, x[:1].expand(-len(x) % 8, -1, -1, -1)]))[: len(x), 0]

    plain = attribute(GradCam(), explain(lambda x, rows: model(x)[:, 0], layer=model[2]))
    torch.testing.assert_close(attribute(GradCam(), explain(padded, layer=model[2], batch_size=3)), plain)


@pytest.mark.parametrize("size", [2, 3, 8])
def test_gradcam_accepts_a_target_that_splits_its_batches_and_pads_the_last_part(size):
    model = convolutional()

    def split(x, rows):
        padded = torch.cat([x, x[:1].expand(-len(x) % size, -1, -1, -1)])
        return torch.cat([model(part)[:, 0] for part in padded.split(size)])[: len(x)]

    plain = attribute(GradCam(), explain(lambda x, rows: model(x)[:, 0], layer=model[2]))
    torch.testing.assert_close(attribute(GradCam(), explain(split, layer=model[2])), plain)


def test_gradcam_refuses_a_layer_that_runs_twice_for_each_input():
    model = convolutional()
    twice = explain(lambda x, rows: model(x)[:, 0] + model(x)[:, 1], layer=model[2])
    with pytest.raises(ModelError, match="processed 14 inputs in 2 calls for a batch of 7"):
        attribute(GradCam(), twice)


def test_gradcam_is_upsampled_to_the_input():
    model = nn.Sequential(nn.Conv2d(2, 3, 2, stride=2), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(27, 1)).double()
    raw = attribute(GradCam(), explain(lambda x, rows: model(x)[:, 0], layer=model[0]))
    assert raw.shape == (7, 2, SIDE, SIDE)


def test_gradcam_does_not_apply_without_a_convolution():
    with pytest.raises(NotApplicableError, match="without a convolution"):
        attribute(GradCam(), explain(layer=None))


def test_gradcam_does_not_apply_after_global_pooling():
    model = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(2, 3, 1), nn.Flatten()).double()
    with pytest.raises(NotApplicableError, match="more than one position"):
        attribute(GradCam(), explain(lambda x, rows: model(x)[:, 0], layer=model[1]))


@pytest.mark.parametrize("method", METHODS, ids=lambda method: type(method).__name__)
@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_attributions_do_not_depend_on_batch_size_or_other_samples(method, batch_size):
    whole = attribute(method, explain_network())
    parts = attribute(method, explain_network(batch_size=batch_size, count=4))
    torch.testing.assert_close(parts, whole[:4], atol=1e-13, rtol=1e-12)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: type(method).__name__)
def test_methods_change_neither_inputs_nor_the_global_generator(method):
    explained = explain_network()
    before, state = explained.inputs.clone(), torch.random.get_rng_state()
    with torch.no_grad():
        raw = attribute(method, explained)
    assert raw.dtype == explained.inputs.dtype
    assert torch.equal(explained.inputs, before)
    assert not explained.inputs.requires_grad
    assert torch.equal(torch.random.get_rng_state(), state)


def test_random_maps_differ_between_samples_and_streams():
    first, second = (attribute(RandomAttribution(stream), explain())[:, 0] for stream in ("random", "other"))
    assert len(torch.cat([first, second]).unique(dim=0)) == 14
    assert first.sum(0).abs().max() <= 7


@pytest.mark.parametrize(
    ("method", "error", "message"),
    [
        (lambda explained: explained.inputs * float("nan"), ModelError, "504 of 504 values are not finite"),
        (lambda explained: explained.inputs[:, 0], ModelError, r"shape \(7, 6, 6\); expected that of the inputs"),
        (IntegratedGradients(steps=0), ModelError, "steps=0"),
        (Occlusion(window=1, stride=2), ModelError, "stride <= window"),
    ],
)
def test_invalid_methods_are_refused(method, error, message):
    with pytest.raises(error, match=message):
        attribute(method, explain())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"inputs": torch.zeros(2, 4, 4)}, r"shape \(2, 4, 4\)"),
        ({"inputs": torch.zeros(1, 1, 2, 2, dtype=torch.uint8)}, "uint8"),
        ({"seeds": [0]}, "1 seeds for 2 samples"),
        ({"batch_size": 0}, "batch_size=0"),
    ],
)
def test_invalid_samples_are_refused(fields, message):
    good = {"inputs": torch.zeros(2, 1, 4, 4), "target": additive, "score": additive, "seeds": [0, 1]}
    with pytest.raises(MeasureError, match=message):
        Explained(**(good | fields))


def test_target_of_the_wrong_shape_is_refused():
    with pytest.raises(ModelError, match=r"target function returned shape \(7, 6, 6\) for 7 inputs"):
        attribute(Saliency(), explain(lambda x, rows: x[:, 0]))


def test_integrated_gradients_occlusion_and_gradcam_equal_captum():
    import captum.attr

    explained = explain_network()
    rows, inputs = torch.arange(7), explained.inputs.clone().requires_grad_()
    path = captum.attr.IntegratedGradients(explained.target)
    theirs = path.attribute(inputs, additional_forward_args=rows, n_steps=9, internal_batch_size=63).detach()
    torch.testing.assert_close(attribute(IntegratedGradients(steps=9), explained), theirs)
    windows = {"sliding_window_shapes": (2, 3, 3), "strides": (2, 2, 2)}
    theirs = captum.attr.Occlusion(explained.target).attribute(inputs, additional_forward_args=rows, **windows).detach()
    ours = attribute(Occlusion(window=3, stride=2), explained)
    torch.testing.assert_close(ours.float(), theirs / 2, atol=1e-6, rtol=1e-5, check_dtype=False)
    layer = captum.attr.LayerGradCam(explained.target, explained.layer)
    theirs = layer.attribute(inputs, additional_forward_args=rows, relu_attributions=True).detach()
    torch.testing.assert_close(pixel_map(GradCam(), attribute(GradCam(), explained)), theirs[:, 0])


@pytest.mark.parametrize(("side", "cells", "windows"), [(8, 8, 49), (28, 14, 169), (32, 16, 225), (224, 7, 36)])
def test_windows_of_large_images_follow_a_budget(side, cells, windows):
    seen = []

    def target(x, rows):
        seen.append(len(x))
        return x.sum((1, 2, 3))

    image = Explained(torch.rand(1, 1, side, side), target, target, seeds=[0])
    attribute(Occlusion(), image)
    assert sum(seen) == windows + 1  # and the clean image
    assert Occlusion().grid(side, side).shape == (cells, cells)
    assert Occlusion().cost(side, side).startswith(f"{cells}x{cells} cells, {windows} windows, budget ")


def test_the_budget_of_occlusion_can_be_set():
    assert Occlusion(budget=256).grid(224, 224).shape == (16, 16)
    assert Occlusion(budget=1).grid(28, 28).shape == (2, 2)
    with pytest.raises(ModelError, match="a budget of at least 1"):
        Occlusion(budget=0).grid(28, 28)


def test_gradients_use_full_batches_over_samples():
    seen = []

    def target(x, rows):
        seen.append(len(x))
        return additive(x, rows)

    for method, inputs in ((SmoothGrad(samples=5), 35), (IntegratedGradients(steps=3), 21), (Occlusion(), 7 * 26)):
        seen.clear()
        attribute(method, explain(target, batch_size=4))
        assert sum(seen) == inputs
        assert set(seen[:-1]) == {4}


def test_importing_loads_neither_torch_nor_captum():
    code = (
        "import sys, suite.attributions; assert 'torch' not in sys.modules\n"
        "import suite.attributions.maps.methods; assert 'captum' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
