"""Torchvision's detectors and segmenters: outputs as in torchvision, losses per image, non-finite outputs."""

import math
import re

import pytest
import torch
import torchvision
from safetensors.torch import save_file

from suite.data import TaskInfo
from suite.errors import ModelError, UnknownNameError, WeightsError
from suite.models.adapters.detections import THRESHOLD
from suite.models.adapters.detector import train_mode
from suite.models.libraries.torchvision import (
    default_labels,
    detectors,
    label_offset,
    torchvision_detector,
    torchvision_segmenter,
)
from suite.models.libraries.torchvision_stages import OneStage, TwoStage
from suite.models.weights import to_bytes
from tests.models.dense.squares import squares

TASK = TaskInfo("squares", "detection", "1", ("red", "green"), (3, 64, 64))
SMALL = {"min_size": 48, "max_size": 48}
FAMILIES = {
    "ssdlite320_mobilenet_v3_large": {},
    "fcos_resnet50_fpn": SMALL,
    "retinanet_resnet50_fpn": SMALL,
    "fasterrcnn_mobilenet_v3_large_320_fpn": SMALL,
    "maskrcnn_resnet50_fpn": SMALL,
}
FAST = ("ssdlite320_mobilenet_v3_large", "retinanet_resnet50_fpn", "fasterrcnn_mobilenet_v3_large_320_fpn")


def heads(adapter):
    """Return the last layers of all heads, with the names of their parameters."""
    last = re.compile(r"(cls_logits|bbox_reg|bbox_ctrness|cls_score|bbox_pred|module_list\.\d+\.1)\.(weight|bias)$")
    return [(key, value) for key, value in adapter.module.named_parameters() if last.search(key)]


def set_batch_statistics(adapter):
    """Set batch norms to the statistics of one batch, so that the features of an untrained backbone vary."""
    norms = [m for m in adapter.module.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    adapter.module.train()
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        adapter.losses(*squares(8, size=64))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    adapter.module.eval()


@pytest.fixture(scope="module")
def built():
    """Return every family once; a test that changes one restores it."""
    adapters = {}

    def get(name):
        if name not in adapters:
            torch.manual_seed(0)
            adapter = torchvision_detector(name, TASK, **FAMILIES[name])
            with torch.no_grad():
                for key, value in heads(adapter):  # untrained heads have equal or zero scores
                    if key.endswith("cls_logits.bias"):
                        value.fill_(-3)
                    value.add_(torch.randn_like(value) * 0.05)
            set_batch_statistics(adapter)
            adapters[name] = adapter
        return adapters[name]

    return get


@pytest.mark.parametrize("name", [*FAST, "fcos_resnet50_fpn"])
def test_detections_match_torchvision(built, name):
    adapter, (pixels, _) = built(name), squares(2, size=64)
    net = adapter.module.net
    held = {key: getattr(net, key) for key in ("score_thresh", "detections_per_img") if hasattr(net, key)}
    for key in held:
        setattr(net, key, THRESHOLD if key == "score_thresh" else 100)
    with torch.no_grad():
        result, own = adapter(pixels), net(list(pixels))
    for key, value in held.items():
        setattr(net, key, value)
    for rows, target in zip(result, own, strict=True):
        count = len(target["scores"])
        assert count > 0 and (rows[:, 5] >= 0).sum() == count
        assert torch.allclose(rows[:count, 4], target["scores"], atol=1e-5)
        same = (rows[:count, 5] + label_offset(name) == target["labels"]) & (
            (rows[:count, :4] - target["boxes"]).abs().amax(dim=1) < 1e-2
        )
        assert same.float().mean() > 0.95  # nearly equal scores may be sorted differently


@pytest.mark.parametrize(
    "name", [*FAST, "fcos_resnet50_fpn", pytest.param("maskrcnn_resnet50_fpn", marks=pytest.mark.slow)]
)
def test_losses_match_torchvision_per_image(built, name):
    adapter, (pixels, targets) = built(name), squares(2, size=64, seed=1)
    targets[1, :, 4] = -1
    adapter.module.double()  # nearly equal scores would select other proposals
    losses, _ = adapter.losses(pixels.double(), targets.double())
    for image, rows, loss in zip(pixels, targets, losses, strict=True):
        rows = rows[rows[:, 4] >= 0]
        truth = {"boxes": rows[:, :4].double(), "labels": rows[:, 4].long() + label_offset(name)}
        with train_mode(adapter.module.net), torch.random.fork_rng():
            adapter.module.net.transform.eval()  # in training mode it draws a size at random
            torch.manual_seed(0)
            own = adapter.module.net([image.double()], [truth])
        assert torch.allclose(sum(own.values()), loss, rtol=1e-5), (sum(own.values()), loss)
    adapter.module.float()


@pytest.mark.parametrize("name", FAST)
def test_results_do_not_depend_on_the_batch(built, name):
    adapter, (pixels, targets) = built(name), squares(9, size=64, seed=2)
    with torch.no_grad():
        losses, result = adapter.losses(pixels, targets)
        single, alone = adapter.losses(pixels[4:5], targets[4:5])
        again, _ = adapter.losses(pixels[4:5], targets[4:5])
    assert torch.equal(alone[0], result[4]) and torch.equal(single[0], losses[4]) and torch.equal(single, again)


@pytest.mark.parametrize("name", FAST)
def test_pixels_have_gradients_and_modes_are_restored(built, name):
    adapter, (pixels, targets) = built(name), squares(2, size=64)
    modes, state = [m.training for m in adapter.module.modules()], adapter.module.state_dict()
    before = {key: value.clone() for key, value in state.items()}
    point = pixels.clone().requires_grad_()
    with adapter.frozen():
        adapter.losses(point, targets)[0].sum().backward()
    assert (point.grad.abs().flatten(1).sum(dim=1) > 0).all() and point.grad.isfinite().all()
    point.grad = None
    adapter.candidates(point)[..., 4:].sum().backward()
    assert point.grad.abs().sum() > 0 and point.grad.isfinite().all()
    assert [m.training for m in adapter.module.modules()] == modes
    assert all(torch.equal(value, before[key]) for key, value in adapter.module.state_dict().items())


@pytest.mark.parametrize("name", [*FAST, "fcos_resnet50_fpn"])
def test_nan_in_any_head_or_the_backbone_is_not_hidden(built, name):
    adapter, (pixels, _) = built(name), squares(1, size=64)
    parameters = dict(adapter.module.named_parameters())
    last = {key.split(".head.")[-1].split(".")[0] + key[-12:]: key for key, _ in heads(adapter) if key.endswith("bias")}
    first = next(key for key, value in parameters.items() if value.ndim == 4)
    assert len(last) >= 2, last
    for key in [first, *last.values()]:
        for value in (math.nan,) if key == first else (math.nan, math.inf):  # a ReLU may remove minus infinity
            kept = parameters[key].detach().clone()
            with torch.no_grad():
                parameters[key].view(-1)[0] = value
                broken = adapter.raw(pixels)
                parameters[key].copy_(kept)
            assert broken.isnan().all(), (key, value)
    assert adapter.raw(pixels).isfinite().all()


@pytest.mark.parametrize("name", FAST)
def test_nan_in_an_image_affects_only_its_output(built, name):
    adapter, (pixels, _) = built(name), squares(3, size=64)
    with torch.no_grad():
        whole = adapter(pixels)
        pixels[1, 0, 30, 30] = math.nan
        result = adapter.raw(pixels)
    assert result[1].isnan().all() and torch.equal(result[[0, 2]], whole[[0, 2]])
    with pytest.raises(ModelError, match="1 of 3 images, first at row 1"):
        adapter(pixels)


@pytest.mark.parametrize("name", FAST)
def test_weights_in_both_formats_are_loaded(built, tmp_path, name):
    adapter, (pixels, _) = built(name), squares(1, size=64)
    torch.save(adapter.module.net.state_dict(), tmp_path / "own.pt")
    (tmp_path / "stored.safetensors").write_bytes(to_bytes(adapter.module))
    for file in ("own.pt", "stored.safetensors"):
        other = torchvision_detector(name, TASK, weights=tmp_path / file, **FAMILIES[name])
        other.module.eval()
        assert other.recipe is None
        with torch.no_grad():
            assert torch.equal(other(pixels), adapter(pixels))


def test_misfitting_weights_are_refused(tmp_path):
    name = "ssdlite320_mobilenet_v3_large"
    save_file({"backbone.weight": torch.ones(3)}, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match="missing"):
        torchvision_detector(name, TASK, weights=tmp_path / "other.safetensors")
    other = torchvision.models.get_model(name, weights=None, weights_backbone=None, num_classes=7)
    save_file(other.state_dict(), tmp_path / "seven.safetensors")
    with pytest.raises(WeightsError, match="Is the number of classes the same"):
        torchvision_detector(name, TASK, weights=tmp_path / "seven.safetensors")


def test_default_labels_skip_the_background():
    assert default_labels("ssd300_vgg16", 3) == default_labels("maskrcnn_resnet50_fpn", 3) == [1, 2, 3]
    assert default_labels("fcos_resnet50_fpn", 3) == default_labels("retinanet_resnet50_fpn_v2", 3) == [0, 1, 2]
    assert "keypointrcnn_resnet50_fpn" not in detectors() and set(FAMILIES) <= set(detectors())


@pytest.mark.parametrize("name", ["ssdlite320_mobilenet_v3_large", "fasterrcnn_mobilenet_v3_large_320_fpn"])
def test_model_of_more_classes_is_evaluated_on_some(built, name):
    pixels, targets = squares(1, size=64)
    wide = torchvision_detector(name, TASK, num_classes=7, labels=(5, 2), **FAMILIES[name])
    wide.module.eval()
    outputs = []
    head = wide.module.net.head if isinstance(wide.module, OneStage) else wide.module.net.roi_heads
    own = head.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    candidates = wide.candidates(pixels)
    own.remove()
    assert candidates.shape[-1] == 6
    if isinstance(wide.module, OneStage):
        assert torch.equal(candidates[0, :, 4:], outputs[0]["cls_logits"][0].softmax(-1)[:, [5, 2]])
    else:
        labels, scores = outputs[0][0][0]["labels"], outputs[0][0][0]["scores"]
        assert {5, 2} & set(labels.tolist()) and {1, 3, 4, 6} & set(labels.tolist())
        assert torch.equal(candidates[0, : len(labels), 4], scores * (labels == 5))
        assert torch.equal(candidates[0, : len(labels), 5], scores * (labels == 2))
    assert wide.losses(pixels, targets)[0].isfinite().all()


def test_invalid_arguments_are_refused():
    with pytest.raises(UnknownNameError, match="Did you mean 'ssd300_vgg16'"):
        torchvision_detector("ssd300", TASK)
    with pytest.raises(UnknownNameError, match="no supported detector 'keypointrcnn_resnet50_fpn'"):
        torchvision_detector("keypointrcnn_resnet50_fpn", TASK)
    for labels in ((0, 1), (2, 3), (1, 1), (1,)):
        with pytest.raises(ModelError, match=r"labels=\[.*\]; expected 2 different ones from 1 to 2"):
            torchvision_detector("ssdlite320_mobilenet_v3_large", TASK, labels=labels)
    with pytest.raises(ModelError, match="Did you mean 'min_size'"):
        torchvision_detector("fasterrcnn_mobilenet_v3_large_320_fpn", TASK, min_sise=64)
    with pytest.raises(ModelError, match=r"cannot be built with .*image_mean"):
        torchvision_detector("fasterrcnn_mobilenet_v3_large_320_fpn", TASK, image_mean=[0.5], rpn_head=3, backbone=4)
    grey = TaskInfo("grey", "detection", "1", ("a", "b"), (1, 64, 64))
    with pytest.raises(ModelError, match=r"3 channels; grey has 1"):
        torchvision_detector("ssdlite320_mobilenet_v3_large", grey)


def test_invalid_images_and_labels_are_refused(built):
    adapter, (pixels, targets) = built("ssdlite320_mobilenet_v3_large"), squares(1, size=64)
    with pytest.raises(ModelError, match="with 3 channels"):
        adapter(pixels[:, :1])
    with pytest.raises(ModelError, match="Divide 8-bit images by 255"):
        adapter(pixels * 255)
    targets[0, 0, 4] = 2
    with pytest.raises(ModelError, match="class 2; expected whole numbers from 0 to 1"):
        adapter.losses(pixels, targets)


def test_two_stage_losses_outside_training_use_no_global_randomness(built):
    adapter, (pixels, targets) = built("fasterrcnn_mobilenet_v3_large_320_fpn"), squares(2, size=64)
    assert isinstance(adapter.module, TwoStage)
    before = torch.random.get_rng_state()
    with torch.no_grad():
        adapter.losses(pixels, targets)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_segmenter_logits_have_the_image_size_and_weights_are_loaded(tmp_path):
    task = TaskInfo("masks", "segmentation", "1", ("none", "red", "green"), (3, 64, 64))
    adapter = torchvision_segmenter("lraspp_mobilenet_v3_large", task)
    adapter.module.eval()
    pixels = torch.rand(2, 3, 64, 48)
    with torch.no_grad():
        logits = adapter(pixels)
    assert logits.shape == (2, 3, 64, 48) and adapter.recipe is not None
    save_file(adapter.module.state_dict(), tmp_path / "w.safetensors")
    other = torchvision_segmenter("lraspp_mobilenet_v3_large", task, weights=tmp_path / "w.safetensors")
    other.module.eval()
    with torch.no_grad():
        assert torch.equal(other(pixels), logits) and other.recipe is None
    with pytest.raises(WeightsError, match="does not fit"):
        torchvision_segmenter("deeplabv3_mobilenet_v3_large", task, weights=tmp_path / "w.safetensors")
    with pytest.raises(UnknownNameError, match="lraspp_mobilenet_v3_large"):
        torchvision_segmenter("lraspp", task)


def test_weights_with_an_auxiliary_head_are_loaded(tmp_path):
    task = TaskInfo("masks", "segmentation", "1", ("none", "red"), (3, 64, 64))
    net = torchvision.models.get_model(
        "deeplabv3_mobilenet_v3_large", weights=None, weights_backbone=None, num_classes=2, aux_loss=True
    )
    save_file(net.state_dict(), tmp_path / "w.safetensors")
    adapter = torchvision_segmenter("deeplabv3_mobilenet_v3_large", task, weights=tmp_path / "w.safetensors")
    adapter.module.eval()
    with torch.no_grad():
        assert adapter(torch.rand(1, 3, 64, 64)).shape == (1, 2, 64, 64)
