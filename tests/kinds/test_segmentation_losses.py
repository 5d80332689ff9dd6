"""Attack losses of segmenters: equal to loops over pixels, with gradients at every scale where documented."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from suite.errors import AttackError, SpecError
from suite.kinds.defaults import SPREAD
from suite.kinds.segmentation.losses import LEAD, LOSSES, attack_loss, damage
from suite.metrics.segmentation import confusions, image_iou

SMOOTH = ("ce", "scaled_ce", "margin", "segpgd", "cospgd", "mask_ce", "js")
SCALE_FREE = ("scaled_ce", "margin")
"""Losses that keep a gradient at any scale of the logits."""

CLASSES = 5


def scene(seed=0, images=6, scale=1.5, ignored=0.2, shape=(8, 9)):
    """Return float64 logits and uint8 targets; about two thirds of the pixels are correct, and one image ignored."""
    source = torch.Generator().manual_seed(seed)
    targets = torch.randint(CLASSES, (images, *shape), generator=source)
    logits = scale * torch.randn(images, CLASSES, *shape, generator=source, dtype=torch.float64)
    logits += 2 * scale * nn.functional.one_hot(targets, CLASSES).movedim(-1, 1)
    targets[torch.rand(targets.shape, generator=source) < ignored] = 255
    targets[-1] = 255
    return logits, targets.to(torch.uint8)


def gradient(logits, targets, name, progress=0.0):
    point = logits.clone().requires_grad_()
    return torch.autograd.grad(attack_loss(point, targets, name, progress=progress).sum(), point)[0]


def softmax(row):
    powers = [math.exp(value - max(row)) for value in row]
    return [power / sum(powers) for power in powers]


def log(value):
    return math.log(value) if value else 0.0


def kl(left, right):
    return sum(p * (log(p) - log(q)) for p, q in zip(left, right, strict=True) if p)


def plain_ce(row, label, progress):
    return -math.log(softmax(row)[label])


def plain_segpgd(row, label, progress):
    weight = progress / 2
    right = row.index(max(row)) == label
    return (1 - weight if right else weight) * plain_ce(row, label, progress)


def plain_cospgd(row, label, progress):
    chances = softmax(row)
    cosine = chances[label] / math.sqrt(sum(chance**2 for chance in chances))
    return cosine * plain_ce(row, label, progress)


def plain_mask_ce(row, label, progress):
    return plain_ce(row, label, progress) if row.index(max(row)) == label else 0.0


def plain_js(row, label, progress):
    chances, truth = softmax(row), [float(index == label) for index in range(len(row))]
    middle = [(p + q) / 2 for p, q in zip(chances, truth, strict=True)]
    return (kl(chances, middle) + kl(truth, middle)) / 2


def plain_margin(row, label, progress):
    return min(LEAD, max(value for index, value in enumerate(row) if index != label) - row[label])


PLAIN = {
    "ce": plain_ce,
    "scaled_ce": plain_ce,
    "margin": plain_margin,
    "segpgd": plain_segpgd,
    "cospgd": plain_cospgd,
    "mask_ce": plain_mask_ce,
    "js": plain_js,
}


def by_pixels(name, logits, targets, progress):
    """Return an image's loss from a loop over its pixels."""
    rows = [
        (logits[:, i, j].tolist(), int(targets[i, j])) for i, j in np.ndindex(*targets.shape) if targets[i, j] != 255
    ]
    if name in SCALE_FREE and rows:
        factor = SPREAD / (sum(max(row) - min(row) for row, _ in rows) / len(rows))
        rows = [([factor * value for value in row], label) for row, label in rows]
    return sum(PLAIN[name](row, label, progress) for row, label in rows) / max(1, len(rows))


def test_all_losses_are_tested():
    assert (*SMOOTH, "damage") == tuple(LOSSES) and set(SMOOTH) == set(PLAIN)


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize("progress", [0.0, 0.75])
def test_losses_equal_a_loop_over_pixels(name, progress):
    logits, targets = scene()
    loss = attack_loss(logits, targets, name, progress=progress)
    assert loss.shape == (6,) and loss.dtype == torch.float64
    expected = [by_pixels(name, *pair, progress) for pair in zip(logits, targets, strict=True)]
    assert loss.tolist() == pytest.approx(expected, rel=1e-12, abs=1e-14)


def test_losses_by_hand():
    # Two classes: one pixel predicts the correct class by a margin of log 3, one the wrong class; a third is ignored.
    logits = torch.tensor([[[[math.log(3), math.log(3), 7]], [[0, 0, 0]]]])
    targets = torch.tensor([[[0, 1, 255]]], dtype=torch.uint8)
    right, wrong = math.log(4 / 3), math.log(4)
    values = {
        "ce": (right + wrong) / 2,
        "scaled_ce": (math.log1p(math.exp(-10)) + 10 + math.log1p(math.exp(-10))) / 2,
        "margin": (-10 + 1) / 2,
        "segpgd": (0.75 * right + 0.25 * wrong) / 2,  # half of the steps are done
        "cospgd": (3 * right + 1 * wrong) / math.sqrt(10) / 2,
        "mask_ce": right / 2,
        "damage": 1 - (1 / 2 + 0) / 2,
    }
    for name, value in values.items():
        assert float(attack_loss(logits, targets, name, progress=0.5)) == pytest.approx(value, rel=1e-6), name
    ends = torch.tensor([[[[0.0]], [[200.0]]], [[[200.0]], [[0.0]]]], dtype=torch.float64)
    js = attack_loss(ends, torch.zeros(2, 1, 1, dtype=torch.uint8), "js")
    assert js.tolist() == pytest.approx([math.log(2), 0], abs=1e-15)


def test_ce_and_its_gradient_match_the_textbook():
    logits, targets = scene()
    point = logits.clone().requires_grad_()
    images = [
        nn.functional.cross_entropy(point[row : row + 1], targets[row : row + 1].long(), ignore_index=255)
        for row in range(5)
    ]
    assert torch.allclose(attack_loss(logits, targets, "ce")[:5], torch.stack(images).detach(), rtol=1e-13)
    textbook = torch.autograd.grad(torch.stack(images).sum(), point)[0]
    torch.testing.assert_close(gradient(logits, targets, "ce"), textbook, rtol=1e-12, atol=1e-15)


def test_pgd_on_ce_matches_torchattacks():
    torchattacks = pytest.importorskip("torchattacks")
    torch.manual_seed(0)
    model = nn.Conv2d(3, CLASSES, 3, padding=1).eval()
    pixels, targets = torch.rand(1, 3, 8, 9), scene()[1][:1]
    attack = torchattacks.FGSM(model, eps=8 / 255)
    theirs = attack(pixels, torch.where(targets == 255, -100, targets.long()))
    point = pixels.clone().requires_grad_()
    step = torch.autograd.grad(attack_loss(model(point), targets, "ce").sum(), point)[0].sign()
    assert torch.equal((pixels + 8 / 255 * step).clamp(0, 1), theirs)


@pytest.mark.parametrize("name", ["ce", "segpgd", "mask_ce", "js"])
def test_gradients_match_finite_differences(name):
    logits, targets = scene(images=2, shape=(3, 3))
    gradients, step = gradient(logits, targets, name, progress=0.5), 1e-6
    for index in np.ndindex(*logits.shape):
        change = torch.zeros_like(logits)
        change[index] = step
        high, low = (attack_loss(logits + way * change, targets, name, progress=0.5).sum() for way in (1, -1))
        assert float(gradients[index]) == pytest.approx(float(high - low) / (2 * step), abs=1e-8), index


def parts(logits, targets):
    """Return labels and their one-hot vectors, the factor of each image, and the weight of a pixel in its mean."""
    valid = targets != 255
    labels = torch.where(valid, targets, 0).long()
    low, high = logits.aminmax(dim=1)
    count = valid.sum(dim=(1, 2), keepdim=True).clamp_min(1)
    spread = torch.where(valid, high - low, 0.0).sum(dim=(1, 2), keepdim=True) / count
    factor = SPREAD / torch.where(spread > 0, spread, 1.0)
    return labels, nn.functional.one_hot(labels, CLASSES).movedim(-1, 1), factor, valid / count


def test_scale_cosine_and_clipping_are_detached():
    logits, targets = scene()
    labels, truth, factor, weight = parts(logits, targets)
    chances = logits.softmax(dim=1)
    cosine = nn.functional.cosine_similarity(chances, truth.double(), dim=1)
    expected = (weight * cosine)[:, None] * (chances - truth)
    torch.testing.assert_close(gradient(logits, targets, "cospgd"), expected)
    expected = (weight * factor)[:, None] * ((factor[:, None] * logits).softmax(dim=1) - truth)
    torch.testing.assert_close(gradient(logits, targets, "scaled_ce"), expected)
    wrong = logits.masked_fill(truth.bool(), -torch.inf)
    rival = nn.functional.one_hot(wrong.argmax(dim=1), CLASSES).movedim(-1, 1)
    short = factor * (wrong.amax(dim=1) - logits.gather(1, labels[:, None])[:, 0]) < LEAD
    expected = (weight * factor * short)[:, None] * (rival - truth)
    torch.testing.assert_close(gradient(logits, targets, "margin"), expected)


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_gradients_are_finite_and_zero_at_ignored_pixels_for_any_scale(name, scale):
    logits, targets = scene()
    point = (scale * logits).float()
    gradients = gradient(point, targets, name, progress=0.5)
    assert gradients.dtype == torch.float32 and torch.isfinite(gradients).all()
    assert torch.isfinite(attack_loss(point, targets, name, progress=0.5)).all()
    ignored = (targets == 255)[:, None].expand_as(gradients)
    assert not gradients[ignored].any()
    assert gradients[:5].flatten(1).any(dim=1).all() or (name not in SCALE_FREE and scale == 1e4)


@pytest.mark.parametrize("name", SMOOTH)
def test_confident_model_masks_gradients_of_unscaled_losses(name):
    logits, targets = scene()
    logits = 1e4 * (logits + 6 * parts(logits, targets)[1])
    gradients = gradient(logits.float(), targets, name)
    if name in SCALE_FREE:
        assert gradients.any(dim=1)[targets != 255].all()  # every pixel
    else:
        assert not gradients.any()


@pytest.mark.parametrize("name", SCALE_FREE)
@pytest.mark.parametrize("factor", [1e-4, 1e4])
def test_scaled_losses_are_scale_invariant(name, factor):
    logits, targets = scene()
    torch.testing.assert_close(attack_loss(factor * logits, targets, name), attack_loss(logits, targets, name))
    before, after = gradient(logits, targets, name), gradient(factor * logits, targets, name)
    torch.testing.assert_close(factor * after, before)


@pytest.mark.parametrize("name", ["margin", "mask_ce"])
def test_clearly_wrong_pixels_have_no_gradient(name):
    logits, targets = scene()
    labels, _, factor, _ = parts(logits, targets)
    valid = targets != 255
    lead = factor * (logits.amax(dim=1) - logits.gather(1, labels[:, None])[:, 0])
    wrong = valid & (lead > (LEAD if name == "margin" else 0))
    pushed = gradient(logits, targets, name).abs().amax(dim=1) > 0
    assert 20 < wrong.sum() < 200
    assert not pushed[wrong].any() and pushed[valid & ~wrong].all()


def test_segpgd_weights_move_from_correct_pixels_to_equal():
    logits, targets = scene()
    first, early, late = (attack_loss(logits, targets, "segpgd", progress=p) for p in (0.0, 0.5, 0.999999))
    torch.testing.assert_close(first, attack_loss(logits, targets, "mask_ce"))
    torch.testing.assert_close(2 * late[:5], attack_loss(logits, targets, "ce")[:5], rtol=1e-4, atol=0)
    assert not torch.allclose(early, first)


@pytest.mark.parametrize("name", LOSSES)
def test_loss_does_not_depend_on_the_batch(name):
    logits, targets = scene()
    whole = attack_loss(logits, targets, name, progress=0.5)
    for row in range(6):
        part = slice(row, row + 1)
        assert torch.equal(attack_loss(logits[part], targets[part], name, progress=0.5), whole[part])
        if name in SMOOTH:
            alone = gradient(logits[part], targets[part], name, 0.5)
            assert torch.equal(alone, gradient(logits, targets, name, 0.5)[part])


@pytest.mark.parametrize("name", LOSSES)
def test_image_without_valid_pixels_has_zero_loss_and_a_graph(name):
    logits, targets = scene()
    assert attack_loss(logits, targets, name)[5] == 0
    if name in SMOOTH:
        gradients = gradient(logits[5:], targets[5:], name)
        assert gradients.shape == logits[5:].shape and not gradients.any()


@pytest.mark.parametrize("name", SMOOTH)
def test_equal_logits_have_finite_losses_and_gradients(name):
    logits, targets = scene()
    for value in (0.0, 7.0):
        flat = torch.full_like(logits, value).float()
        assert torch.isfinite(attack_loss(flat, targets, name)).all()
        assert torch.isfinite(gradient(flat, targets, name)).all()


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_damage_matches_image_iou_of_the_prediction(seed, dtype):
    logits, targets = scene(seed, images=12)
    logits = logits.to(dtype).round()  # creates ties
    predicted = logits.numpy().argmax(axis=1)
    expected = 1 - image_iou(confusions(predicted, targets.numpy(), CLASSES))
    result = damage(logits, targets)
    assert result.dtype == torch.float64 and not result.requires_grad
    np.testing.assert_allclose(result.numpy(), expected, rtol=0, atol=1e-15)
    assert result[-1] == 0 and 0.1 < result[:-1].min() < result.max() < 1


def test_damage_is_zero_if_all_pixels_are_correct_and_one_if_none_is():
    _, targets = scene()
    labels = torch.where(targets == 255, 0, targets).long()
    for shift, value in ((0, 0.0), (1, 1.0)):
        logits = nn.functional.one_hot((labels + shift) % CLASSES, CLASSES).movedim(-1, 1).float()
        assert damage(logits, targets)[:5].tolist() == [value] * 5
    assert not attack_loss(logits.requires_grad_(), targets, "damage").requires_grad


@pytest.mark.parametrize(("name", "suggestion"), [("segpdg", "'segpgd'"), ("hinge", "ce, cospgd, damage, js, margin")])
def test_unknown_loss_raises_with_the_known_names(name, suggestion):
    with pytest.raises(SpecError, match=f"no attack loss '{name}'.*{suggestion}"):
        attack_loss(*scene(), name)


def test_target_classes_and_invalid_progress_raise():
    logits, targets = scene()
    with pytest.raises(AttackError, match="leave the goal out"):
        attack_loss(logits, targets, "ce", target_classes=targets)
    for progress in (-0.1, 1.0, math.nan):
        with pytest.raises(AttackError, match="from 0 to below 1"):
            attack_loss(logits, targets, "ce", progress=progress)
