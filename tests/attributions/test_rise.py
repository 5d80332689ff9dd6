"""RISE: locates a planted patch, equals its formula, and does not depend on the batch."""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch.nn import functional

from suite.attributions.maps.base import attribute, pixel_map
from suite.attributions.maps.explained import Explained
from suite.attributions.maps.methods import IntegratedGradients
from suite.attributions.maps.rise import Rise, _Draws
from suite.errors import ModelError, NotApplicableError
from suite.registry import REGISTRY

torch.set_num_threads(1)
SIDE = 32
PATCHES = [(4, 4), (16, 20), (20, 8), (9, 14)]


def truth(count=4):
    masks = torch.zeros(count, SIDE, SIDE, dtype=torch.bool)
    for mask, (top, left) in zip(masks, PATCHES, strict=False):
        mask[top : top + 8, left : left + 8] = True
    return masks


def brightness(x, rows):
    """Return the mean of a patch whose position differs between samples, so that swapped rows are detected."""
    patch = truth().to(x)[rows]
    return (x.mean(1) * patch).sum((1, 2)) / 64


def detector_score(x, rows):
    """Return a score like that of a detector: zero unless enough of the object is visible."""
    mean = brightness(x, rows)
    return torch.where(mean > 0.3, mean, 0.0)


def explain(score=brightness, count=4, dtype=torch.float64, first_seed=10, **fields):
    inputs = torch.rand(count, 2, SIDE, SIDE, generator=torch.Generator().manual_seed(1)).to(dtype)
    return Explained(inputs, score, score, seeds=range(first_seed, first_seed + count), **fields)


def maps_of(method, explained):
    return pixel_map(method, attribute(method, explained))


def best_spearman(mask):
    """Return the rank correlation of the mask with itself after breaking ties: 0.42, since most pixels are tied."""
    return spearmanr(mask.flatten().double() + torch.linspace(0, 0.1, mask.numel()), mask.flatten()).statistic


@pytest.mark.parametrize("score", [brightness, detector_score])
def test_300_masks_locate_a_planted_patch(score):
    for mask, heatmap in zip(truth(), maps_of(Rise(), explain(score)), strict=True):
        assert mask.flatten()[heatmap.argmax()]
        assert spearmanr(heatmap.flatten(), mask.flatten()).statistic > 0.9 * best_spearman(mask)
        assert heatmap[mask].mean() > 4 * heatmap[~mask].abs().mean()


def test_mean_masks_locate_a_bright_patch():
    inputs = truth().double()[:, None].expand(-1, 2, -1, -1)
    explained = Explained(inputs, brightness, brightness, seeds=range(4))
    assert truth().flatten(1)[torch.arange(4), maps_of(Rise(fill="mean"), explained).flatten(1).argmax(1)].all()


def test_masks_interpolate_a_shifted_coarse_grid():
    explained = Explained(torch.rand(2, 1, 12, 20), brightness, brightness, seeds=[3, 4])
    draws = _Draws.of(explained, Rise(masks=5, grid=4))
    rows, which = torch.tensor([0, 1, 1]), torch.tensor([4, 0, 3])
    nodes = draws.kept.shape[-1]
    assert nodes == 6
    shift = draws.shift[rows, which]
    down, across = (
        (torch.arange(side).double() + 0.5) / side * 4 + shift[:, axis, None] for axis, side in ((0, 12), (1, 20))
    )
    place = torch.stack([across[:, None].expand(-1, 12, -1), down[:, :, None].expand(-1, -1, 20)], -1)
    kept = draws.kept[rows, which].double().unsqueeze(1)
    expected = functional.grid_sample(kept, place / (nodes - 1) * 2 - 1, align_corners=True)
    torch.testing.assert_close(draws.masks(rows, which), expected[:, 0], atol=1e-12, rtol=0)


@pytest.mark.parametrize("keep", [0.2, 0.5])
def test_every_pixel_is_kept_equally_often(keep):
    explained = explain(count=1)
    which = torch.arange(4000)
    masks = _Draws.of(explained, Rise(masks=4000, keep=keep)).masks(torch.zeros_like(which), which)
    assert masks.min() >= 0
    assert masks.max() <= 1
    error = masks.std(0) / 4000**0.5
    assert ((masks.mean(0) - keep) / error).abs().max() < 5


def test_map_is_the_covariance_of_score_and_mask():
    method, explained = Rise(masks=70, keep=0.4), explain(count=2)
    draws = _Draws.of(explained, method)
    maps = method.estimate(explained)
    for row in range(2):
        masks = [draws.masks(torch.tensor([row]), torch.tensor([which]))[0].numpy() for which in range(70)]
        image, patch = explained.inputs[row].numpy(), truth()[row].numpy()
        scores = np.array([(image * mask).mean(0)[patch].mean() for mask in masks])
        expected = sum((score - scores.mean()) * mask for score, mask in zip(scores, masks, strict=True))
        np.testing.assert_allclose(maps[row], expected / 70 / 0.24, atol=1e-12)


def test_constant_score_gives_a_map_of_zeros():
    for value in (0.0, 0.1, 1 / 3):
        constant = explain(lambda x, rows, value=value: torch.full((len(x),), value, dtype=torch.float64))
        assert not maps_of(Rise(masks=97), constant).any()


def test_mean_masks_do_not_change_a_constant_image():
    even = Explained(torch.full((1, 2, SIDE, SIDE), 0.3).double(), brightness, brightness, seeds=[0])
    assert maps_of(Rise(masks=20, fill="mean"), even).abs().max() < 1e-12
    assert maps_of(Rise(masks=20), even).abs().max() > 0.01


@pytest.mark.parametrize("batch_size", [1, 13, 64, 1000])
def test_attributions_do_not_depend_on_batch_size_or_other_samples(batch_size):
    method = Rise(masks=20)
    whole = attribute(method, explain())
    parts = attribute(method, explain(batch_size=batch_size, count=2))
    torch.testing.assert_close(parts, whole[:2], atol=1e-14, rtol=0)


def test_no_call_exceeds_the_batch_size():
    sizes = []

    def counted(x, rows):
        sizes.append(len(x))
        return brightness(x, rows)

    attribute(Rise(masks=30), explain(counted, batch_size=16))
    assert max(sizes) == 16
    assert sum(sizes) == 4 * 30


def test_rise_keeps_inputs_dtype_and_the_global_generator():
    explained = explain(dtype=torch.float32)
    before, state = explained.inputs.clone(), torch.random.get_rng_state()
    assert attribute(Rise(masks=5), explained).dtype == torch.float32
    assert torch.equal(explained.inputs, before)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_small_images_are_masked_by_pixel():
    tiny = Explained(torch.rand(1, 1, 3, 5), lambda x, r: x[:, 0, 1, 1], lambda x, r: x[:, 0, 1, 1], seeds=[0])
    assert maps_of(Rise(), tiny).flatten().argmax() == 6


def test_rise_needs_no_gradients():
    detached = explain(lambda x, rows: brightness(x, rows).detach())
    with pytest.raises(NotApplicableError, match="no gradient"):
        attribute(IntegratedGradients(), detached)
    assert attribute(Rise(masks=5), detached).any()


@pytest.mark.parametrize("options", [{"masks": 1}, {"grid": 0}, {"keep": 0.0}, {"keep": 1.0}, {"fill": "white"}])
def test_invalid_options_are_refused(options):
    with pytest.raises(ModelError, match="expected masks >= 2, grid >= 1, 0 < keep < 1"):
        attribute(Rise(**options), explain())


def test_rise_is_registered():
    assert REGISTRY.get("attribution", "rise").factory is Rise
