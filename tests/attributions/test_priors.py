"""Model-independent maps: their location, and that they never call the model."""

import pytest
import torch
from scipy import ndimage

from suite.attributions.maps.base import attribute, pixel_map
from suite.attributions.maps.explained import Explained
from suite.attributions.maps.faithfulness import Settings, evaluate
from suite.attributions.maps.priors import Centre, Edges
from suite.errors import ModelError
from suite.registry import REGISTRY
from tests.attributions.measured import measures_of

torch.set_num_threads(1)


def must_not_be_called(x, rows):
    raise AssertionError("a prior called the model")


def explain(count=3, shape=(2, 6, 9), score=must_not_be_called, **fields):
    inputs = torch.rand(count, *shape, generator=torch.Generator().manual_seed(1)).double()
    return Explained(inputs, score, score, seeds=range(count), **fields)


def test_center_prior_is_a_centered_gaussian():
    maps = pixel_map(Centre(), attribute(Centre(), explain(shape=(2, 7, 9))))
    torch.testing.assert_close(maps, maps[:1].expand_as(maps))
    assert maps[0].argmax() == 3 * 9 + 4
    torch.testing.assert_close(maps, maps.flip(1))
    torch.testing.assert_close(maps, maps.flip(2))
    # two of nine pixels beside the center and two of seven above it, in units of a quarter of the side
    expected = [torch.exp(torch.tensor(-((4 * 2 / side) ** 2) / 2)).item() for side in (9, 7)]
    assert [maps[0, 3, 6].item(), maps[0, 1, 4].item()] == pytest.approx(expected, abs=1e-7)
    assert maps.max() == pytest.approx(1)


def test_edges_equal_the_sobel_filter_of_scipy():
    explained = explain()
    for raw, image in zip(attribute(Edges(), explained), explained.inputs, strict=True):
        for result, channel in zip(raw.numpy(), image.numpy(), strict=True):
            down, across = (ndimage.sobel(channel, axis, mode="nearest") for axis in (0, 1))
            assert result == pytest.approx((down**2 + across**2) ** 0.5, abs=1e-12)


def test_constant_image_has_no_edges():
    even = Explained(torch.full((1, 3, 5, 5), 0.7), must_not_be_called, must_not_be_called, seeds=[0])
    assert attribute(Edges(), even).abs().max() < 1e-6


def test_priors_are_compared_with_the_control_and_have_no_infidelity():
    region = torch.zeros(60, 8, 8, dtype=torch.bool)
    region[:, 2:6, 2:6] = True
    middle = explain(60, (1, 8, 8), lambda x, rows: x[:, 0, 2:6, 2:6].flatten(1).std(1), region=region)
    result = evaluate(middle, {"centre": Centre(), "edges": Edges()}, settings=Settings(steps=8))
    measures = {(m.params["method"], m.metric): m for m in measures_of(result)}
    assert measures["centre", "deletion_auc"].checks == {"beats_random": "pass"}
    assert measures["centre", "energy_inside"].checks == {"beats_random": "pass"}
    assert measures["edges", "infidelity"].status == "skipped"


@pytest.mark.parametrize("sd", [0.0, -1.0, float("nan")])
def test_prior_without_width_is_refused(sd):
    with pytest.raises(ModelError, match="expected a number above 0"):
        attribute(Centre(sd), explain())


@pytest.mark.parametrize(("name", "method"), [("centre", Centre), ("edges", Edges)])
def test_priors_are_registered(name, method):
    assert REGISTRY.get("attribution", name).factory is method
