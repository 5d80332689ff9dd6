"""Explained scalars of detectors: step functions, zero almost everywhere, and without a gradient."""

import numpy as np
import pytest
import torch
from torch import nn

from suite.attributions.maps.base import attribute, pixel_map
from suite.attributions.maps.explained import Explained
from suite.attributions.maps.faithfulness import Settings, evaluate
from suite.attributions.maps.gradcam import GradCam
from suite.attributions.maps.methods import IntegratedGradients, Saliency, SmoothGrad
from suite.attributions.maps.occlusion import Occlusion
from suite.attributions.maps.rise import Rise
from suite.errors import NotApplicableError
from tests.attributions.measured import measures_of

torch.set_num_threads(1)
SIDE, COUNT = 8, 8
GRADIENTS = {
    "saliency": Saliency(),
    "smoothgrad": SmoothGrad(samples=3),
    "integrated_gradients": IntegratedGradients(steps=4),
    "gradcam": GradCam(),
}
BLACK_BOXES = {"occlusion": Occlusion(), "rise": Rise(masks=300)}


def images():
    inputs = torch.full((COUNT, 1, SIDE, SIDE), 0.2).double()
    inputs[:, :, 2:5, 3:6] = 0.9
    return inputs


def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(192, 1)).double()


def explain(target, **fields):
    with torch.no_grad():
        region = images()[:, 0] > 0.5
    return Explained(images(), target, target, seeds=range(COUNT), region=region, **fields)


def fully_visible(x, rows):
    """Return 1 for images in which every pixel of the object is visible, 0 otherwise."""
    return (x[:, 0, 2:5, 3:6].flatten(1).amin(1) > 0.8).double()


@pytest.mark.parametrize("name", BLACK_BOXES)
def test_methods_without_gradients_locate_the_object_for_a_step_score(name):
    explained = explain(fully_visible)
    maps = pixel_map(BLACK_BOXES[name], attribute(BLACK_BOXES[name], explained))
    assert torch.isfinite(maps).all()
    if (
        name == "occlusion"
    ):  # only occlusion hides one part at a time; a random mask always hides some part of the object
        assert (maps[explained.region].min() > maps[:, 6:].max()).item()


def test_occlusion_of_a_constant_scalar_is_zero():
    assert not attribute(Occlusion(), explain(lambda x, rows: torch.zeros(len(x)).double())).any()


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients_of_a_step_function_are_zero(name):
    model = network()
    flat = explain(lambda x, rows: (4 * model(x)[:, 0]).round(), layer=model[0])
    assert not attribute(GRADIENTS[name], flat).any()


def test_maps_of_zeros_score_like_the_control():
    model = network()
    flat = explain(lambda x, rows: (4 * model(x)[:, 0]).round(), layer=model[0])
    result = evaluate(flat, GRADIENTS, settings=Settings(steps=8))
    assert all(np.isfinite(values).all() for values in result.values.values())
    area = 9 / 64
    for name in GRADIENTS:
        assert result.values[name, "pointing_game", "none"] == pytest.approx(area)
        assert result.values[name, "energy_inside", "none"] == pytest.approx(area)
    # the order of cells in a map of zeros depends on the seeds of the samples only
    deletions = [result.values[name, "deletion_auc", "mean"] for name in GRADIENTS]
    assert all(np.array_equal(values, deletions[0]) for values in deletions)
    assert {m.status for m in measures_of(result)} <= {"ok", "suspect", "skipped", "inconclusive"}


@pytest.mark.parametrize("name", GRADIENTS)
def test_detached_scalar_has_no_gradient(name):
    model = network().requires_grad_(False)
    detached = explain(lambda x, rows: (model(x)[:, 0] > 0).double(), layer=model[0])
    with pytest.raises(NotApplicableError, match="detached from its input"):
        attribute(GRADIENTS[name], detached)


def test_black_box_supports_methods_without_gradients():
    result = evaluate(explain(fully_visible), {**GRADIENTS, **BLACK_BOXES}, settings=Settings(steps=8))
    assert set(result.skipped) == set(GRADIENTS)
    assert {method for method, _, _ in result.values} == {*BLACK_BOXES, "random"}
