"""The small detectors and segmenters: losses against other implementations, and training on simple scenes."""

import math

import pytest
import torch
from torchvision.ops import box_iou

from suite.errors import ModelError, UnknownNameError
from suite.models.adapters.detector import TorchDetector, train_mode
from suite.models.base import TorchSegmenter
from suite.models.networks.centernet import STRIDE, bumps, centernet
from suite.models.networks.fcos import fcos
from suite.models.networks.segmenters import lraspp, unet
from tests.models.dense.squares import squares

SHAPE = (3, 32, 32)
DETECTORS = {
    "centernet": lambda: centernet(2, SHAPE, width=8),
    "fcos": lambda: fcos(2, SHAPE, strides=(4, 8), width=32),
}
SEGMENTERS = {"unet": lambda: unet(3, SHAPE, width=8), "lraspp": lambda: lraspp(3, SHAPE, width=16)}


def detector(name):
    torch.manual_seed(0)
    adapter = TorchDetector(DETECTORS[name]())
    with torch.no_grad():
        for parameter in adapter.module.parameters():  # so that some candidates pass the threshold
            parameter += torch.randn_like(parameter) * 0.02
    adapter.module.eval()
    return adapter


def segmenter(name):
    torch.manual_seed(0)
    adapter = TorchSegmenter(SEGMENTERS[name](), mean=(0.5,) * 3, std=(0.25,) * 3)
    adapter.module.eval()
    return adapter


@pytest.mark.parametrize("name", DETECTORS)
def test_candidates_and_losses_do_not_depend_on_the_batch(name):
    adapter, (pixels, targets) = detector(name), squares(11)
    with torch.no_grad():
        candidates, (losses, result) = adapter.candidates(pixels), adapter.losses(pixels, targets)
        for size in (1, 3, 8):
            parts = list(zip(pixels.split(size), targets.split(size), strict=True))
            assert torch.equal(torch.cat([adapter.candidates(p) for p, _ in parts]), candidates), size
            assert torch.equal(torch.cat([adapter.losses(p, t)[1] for p, t in parts]), result), size
            alone = torch.cat([adapter.losses(p, t)[0] for p, t in parts])
            assert torch.equal(alone, losses), size
        assert torch.equal(adapter(pixels), result)
    assert losses.isfinite().all() and (losses > 0).all() and losses.unique().numel() == 11


@pytest.mark.parametrize("name", DETECTORS)
def test_losses_and_candidates_have_gradients_for_their_own_image_only(name):
    adapter, (pixels, targets) = detector(name), squares(3)
    for output in (lambda p: adapter.losses(p, targets)[0], adapter.candidates):
        point = pixels.clone().requires_grad_()
        output(point)[1].sum().backward()
        assert point.grad[1].abs().sum() > 0 and point.grad[[0, 2]].abs().sum() == 0


@pytest.mark.parametrize("name", DETECTORS)
def test_images_without_objects_have_a_loss_and_a_gradient(name):
    adapter, (pixels, targets) = detector(name), squares(2)
    point = pixels.clone().requires_grad_()
    empty, _ = adapter.losses(point, targets[:, :0])
    empty.sum().backward()
    assert (empty > 0).all() and point.grad.abs().sum() > 0
    targets[0, :, 4] = -1
    assert torch.allclose(adapter.losses(pixels, targets)[0][0], empty[0])


@pytest.mark.parametrize("name", DETECTORS)
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_detector_with_non_finite_weights_raises_an_error(name, value):
    adapter = detector(name)
    with torch.no_grad():
        next(p for p in adapter.module.parameters() if p.ndim == 4)[0] = value
    assert adapter.raw(squares(2)[0]).isnan().all()
    with pytest.raises(ModelError, match="NaN or infinite boxes or scores for 2 of 2"):
        adapter(squares(2)[0])


@pytest.mark.parametrize("name", DETECTORS)
def test_non_finite_image_does_not_affect_others(name):
    adapter, (pixels, _) = detector(name), squares(3)
    whole = adapter.raw(pixels)
    pixels[1, 0, 3, 3] = math.nan
    result = adapter.raw(pixels)
    assert result[1].isnan().all() and torch.equal(result[[0, 2]], whole[[0, 2]])


@pytest.mark.parametrize(("name", "steps"), [("centernet", 60), ("fcos", 70)])
def test_detectors_learn_bright_squares(name, steps):
    torch.manual_seed(0)
    adapter, (pixels, targets) = TorchDetector(DETECTORS[name]()), squares(32)
    optimizer = torch.optim.AdamW(adapter.module.parameters(), lr=5e-3)
    for step in range(steps):
        chosen = torch.arange(8) + step % 4 * 8
        losses, _ = adapter.losses(pixels[chosen], targets[chosen])
        optimizer.zero_grad()
        losses.mean().backward()
        optimizer.step()
    adapter.module.eval()
    with torch.no_grad():
        result = adapter(pixels)
    hits = []
    for rows, truth in zip(result, targets, strict=True):
        truth = truth[truth[:, 4] >= 0]
        best = rows[: len(truth)]  # as many detections as there are objects
        overlap = box_iou(truth[:, :4], best[:, :4]) * (truth[:, 4:5] == best[:, 5])
        hits += (overlap.amax(dim=1) > 0.5).tolist()
    assert sum(hits) / len(hits) > 0.8, sum(hits) / len(hits)


def test_fcos_losses_match_torchvision_per_image():
    adapter, (pixels, targets) = detector("fcos"), squares(12, seed=3)
    targets[0, 0, :4] = torch.tensor([3.0, 3, 5, 30])  # narrow: it contains hardly any location
    targets[1, :2] = torch.tensor([[2.0, 2, 30, 30, 0, 0], [6, 6, 26, 26, 1, 0]])  # nested boxes
    targets[2, :, 4] = -1
    losses, _ = adapter.losses(pixels, targets)
    for image, rows, loss in zip(pixels, targets, losses, strict=True):
        rows = rows[rows[:, 4] >= 0]
        with train_mode(adapter.module.net):
            own = adapter.module.net([image], [{"boxes": rows[:, :4], "labels": rows[:, 4].long()}])
        assert torch.allclose(sum(own.values()), loss, rtol=1e-5)


def test_fcos_detections_match_torchvision():
    adapter, (pixels, _) = detector("fcos"), squares(4)
    with torch.no_grad():
        for result, own in zip(adapter(pixels), adapter.module.net(list(pixels)), strict=True):
            count = len(own["scores"])
            assert count > 5 and (result[:, 5] >= 0).sum() == count
            target = torch.cat([own["boxes"], own["scores"][:, None], own["labels"][:, None]], dim=1)
            assert torch.allclose(result[:count], target, atol=1e-4)


def test_target_heat_map_is_a_gaussian_of_the_box_size_at_its_center():
    boxes = torch.tensor([[[8.0, 4, 24, 12], [20, 20, 28, 28], [1, 1, 2, 2]]])
    target = bumps(torch.zeros(1, 2, 8, 8), boxes, torch.tensor([[1, 0, -1]]))
    assert target[0, 1, 2, 4] == 1 and (target[0, 1] == 1).sum() == 1  # center (16, 8): column 4, row 2
    assert target[0, 0, 6, 6] == 1 and target[0].flatten(1).argmax(1).tolist() == [6 * 8 + 6, 2 * 8 + 4]
    wide, high = 16 / 8 / STRIDE, 8 / 8 / STRIDE
    assert target[0, 1, 2, 5] == pytest.approx(math.exp(-1 / (2 * wide**2)))
    assert target[0, 1, 3, 4] == pytest.approx(math.exp(-1 / (2 * high**2)))


def test_centernet_loss_by_hand():
    net = centernet(1, (3, 16, 16), width=8)
    heat = torch.full((1, 1, 4, 4), -2.0)
    truth, labels = torch.tensor([[[6.0, 6, 7, 7]]]), torch.tensor([[0]])  # so small that all other cells have target 0
    chance = 1 / (1 + math.exp(2))
    target = -((1 - chance) ** 2) * math.log(chance) - 15 * chance**2 * math.log(1 - chance)
    assert net._heat_loss(heat, truth, labels).item() == pytest.approx(target, rel=1e-5)
    boxes = torch.tensor([6.0, 6, 7, 8]).view(1, 4, 1, 1).expand(1, 4, 4, 4)  # IoU 1/2; the box is its own hull
    assert net._box_loss(boxes, truth, labels).item() == pytest.approx(0.5)
    boxes = boxes.clone()
    boxes[:, :, 3, 3] = 0  # not next to the center's cell (1, 1), so not trained
    assert net._box_loss(boxes, truth, labels).item() == pytest.approx(0.5)
    assert net._box_loss(boxes, truth, torch.tensor([[-1]])).item() == 0


@pytest.mark.parametrize("name", SEGMENTERS)
def test_segmenter_logits_have_the_image_size_and_do_not_depend_on_the_batch(name):
    adapter = segmenter(name)
    for height, across in ((32, 32), (37, 50)):
        pixels = torch.rand(9, 3, height, across)
        with torch.no_grad():
            whole = adapter(pixels)
            assert whole.shape == (9, 3, height, across)
            assert torch.allclose(torch.cat([adapter(part) for part in pixels.split(2)]), whole, atol=1e-5)


@pytest.mark.parametrize("name", SEGMENTERS)
def test_segmenters_learn_bright_squares(name):
    adapter, (pixels, targets) = segmenter(name), squares(16)
    masks = torch.zeros(16, 32, 32, dtype=torch.long)
    for mask, rows in zip(masks, targets, strict=True):
        for x1, y1, x2, y2, label, _ in rows.int().tolist():
            mask[y1:y2, x1:x2] = label + 1
    adapter.module.train()
    optimizer = torch.optim.AdamW(adapter.module.parameters(), lr=5e-3)
    for _ in range(40):
        loss = torch.nn.functional.cross_entropy(adapter(pixels), masks)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    correct = (adapter(pixels).argmax(dim=1) == masks)[masks > 0].float().mean()
    assert correct > 0.8, correct


@pytest.mark.parametrize("name", SEGMENTERS)
def test_segmenter_with_non_finite_weights_raises_an_error(name):
    adapter = segmenter(name)
    with torch.no_grad():
        next(p for p in adapter.module.parameters() if p.ndim == 4)[0] = math.nan
    with pytest.raises(ModelError, match="NaN or infinite logits"):
        adapter(torch.rand(1, 3, 32, 32))


def test_unsuitable_backbones_are_refused():
    with pytest.raises(UnknownNameError, match=r"Did you mean .*resnet10t"):
        fcos(2, SHAPE, backbone="resnet10")
    with pytest.raises(ModelError, match=r"feature maps at strides \[2, 4, 8, 16, 32\]; expected all of \[4, 6\]"):
        fcos(2, SHAPE, strides=(4, 6))


def test_networks_support_one_channel():
    for net in (centernet(2, (1, 32, 32), width=8), fcos(2, (1, 32, 32))):
        adapter = TorchDetector(net.eval())
        assert adapter(torch.rand(2, 1, 32, 32)).shape == (2, 100, 6)
        with pytest.raises(ModelError, match="with 1 channels"):
            adapter(torch.rand(2, 3, 32, 32))
