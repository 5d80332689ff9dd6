"""Torchvision's detectors with the interface of `TorchDetector`: candidates with NaN kept, and losses per image."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import box_iou, clip_boxes_to_image

from suite.models.adapters.detections import LIMIT, THRESHOLD, propagate_nan
from suite.models.adapters.detector import Truth, eval_mode, train_mode
from suite.models.base import record_calls
from suite.models.libraries.fcos_losses import fcos_losses

Tensors = dict[str, Tensor]
"""Losses, maps, outputs or targets by name."""


class _Detector(nn.Module):
    """A detector of torchvision with the interface of `TorchDetector`.

    Args:
        net: a detector of torchvision.
        labels: its own label for each class.
    """

    net: Any
    labels: Tensor

    def __init__(self, net: nn.Module, labels: Sequence[int]) -> None:
        super().__init__()
        self.net = net
        self.classes, self.channels = len(labels), len(self.net.transform.image_mean)
        self.register_buffer("labels", torch.tensor(labels), persistent=False)

    def losses(self, images: Tensor, targets: Truth) -> Tensors:
        """Return torchvision's losses, each (n,), computed for every image alone."""
        return self.both(images, targets)[0]

    def both(self, images: Tensor, targets: Truth) -> tuple[Tensors, Tensor]:
        """Return the losses and the candidates from one forward pass."""
        raise NotImplementedError


class OneStage(_Detector):
    """FCOS, RetinaNet and SSD."""

    @property
    def nms(self) -> float:
        """IoU threshold of non-maximum suppression."""
        return float(self.net.nms_thresh)

    def raw(self, images: Tensor) -> Tensor:
        """Return the box of every anchor and its score for each class, (n, anchors, 4 + classes)."""
        return self._candidates(images, *self._pass(images)[:3])

    def both(self, images: Tensor, targets: Truth) -> tuple[Tensors, Tensor]:
        """Return the losses and the candidates from one forward pass."""
        batch, outputs, anchors, levels = self._pass(images)
        _, truth = self.net.transform(list(images), [with_labels(target, self.labels) for target in targets])
        return self._losses(truth, outputs, anchors, levels), self._candidates(images, batch, outputs, anchors)

    def _pass(self, images: Tensor) -> tuple[Any, Tensors, list[Tensor], list[int]]:
        batch, _ = self.net.transform(list(images))
        maps = self.net.backbone(batch.tensors)
        features = [maps] if isinstance(maps, Tensor) else list(maps.values())
        anchors = self.net.anchor_generator(batch, features)
        return batch, self.net.head(features), anchors, [m.shape[-2:].numel() for m in features]

    def _losses(self, truth: Sequence[Tensors], outputs: Tensors, anchors: list[Tensor], levels: list[int]) -> Tensors:
        if "bbox_ctrness" in outputs:
            return fcos_losses(truth, outputs, anchors[0], levels, self.net.center_sampling_radius)
        each = []
        for index, target in enumerate(truth):
            single = {name: value[index : index + 1] for name, value in outputs.items()}
            matched = [[self._matched(target["boxes"], anchors[index])]] if self._has_background else []
            each.append(self.net.compute_loss([target], single, anchors[index : index + 1], *matched))
        return stack_losses(each)

    def _matched(self, boxes: Tensor, anchors: Tensor) -> Tensor:
        """Return the object matched to each default box of SSD, -1 for none."""
        if not len(boxes):
            return torch.full((len(anchors),), -1, dtype=torch.int64, device=anchors.device)
        matched: Tensor = self.net.proposal_matcher(box_iou(boxes, anchors))
        return matched

    def _candidates(self, images: Tensor, batch: Any, outputs: Tensors, anchors: list[Tensor]) -> Tensor:
        boxes, scores = self._decoded(outputs, torch.stack(anchors))
        boxes = rescale_boxes(clip_boxes_to_image(boxes, batch.image_sizes[0]), batch.image_sizes[0], images)
        return propagate_nan(torch.cat([boxes, scores[..., self.labels]], dim=-1), *outputs.values())

    def _decoded(self, outputs: Tensors, anchors: Tensor) -> tuple[Tensor, Tensor]:
        logits, regression = outputs["cls_logits"], outputs["bbox_regression"]
        if "bbox_ctrness" in outputs:
            sigmoid = nn.functional.logsigmoid
            scores = (
                (sigmoid(logits) + sigmoid(outputs["bbox_ctrness"])) / 2
            ).exp()  # the square root is not differentiable at 0
            return self.net.box_coder.decode(regression, anchors), scores
        flat = self.net.box_coder.decode_single(regression.flatten(0, 1), anchors.flatten(0, 1))
        return flat.view_as(anchors), logits.softmax(dim=-1) if self._has_background else logits.sigmoid()

    @property
    def _has_background(self) -> bool:
        """Whether this is SSD, which has a background class."""
        return hasattr(self.net, "neg_to_pos_ratio")


class TwoStage(_Detector):
    """Faster and Mask R-CNN.

    The second stage sees only the proposals of the first, so the candidates are the final detections, each with a score
    for one class. Losses exist in training mode only and sample proposals; outside training the sample is fixed.
    """

    nms = 1.0

    def __init__(self, net: nn.Module, labels: Sequence[int]) -> None:
        super().__init__(net, labels)
        self.net.roi_heads.score_thresh, self.net.roi_heads.detections_per_img = THRESHOLD, LIMIT
        self.net.roi_heads.mask_roi_pool = None  # disables masks and their ground truth

    def raw(self, images: Tensor) -> Tensor:
        """Return the detections, (n, 100, 4 + classes)."""
        batch, _ = self.net.transform(list(images))
        return self._candidates(images, batch, self._features(batch))

    def both(self, images: Tensor, targets: Truth) -> tuple[Tensors, Tensor]:
        """Return the losses and the candidates from one pass through the backbone."""
        batch, truth = self.net.transform(list(images), [with_labels(target, self.labels) for target in targets])
        features = self._features(batch)
        each = [self._losses(target, batch, features, i) for i, target in enumerate(truth)]
        return stack_losses(each), self._candidates(images, batch, features)

    def _features(self, batch: Any) -> Tensors:
        features: Tensors = self.net.backbone(batch.tensors)
        return features

    def _losses(self, target: Tensors, batch: Any, features: Tensors, index: int) -> Tensors:
        single = {name: value[index : index + 1] for name, value in features.items()}
        image = ImageList(batch.tensors[index : index + 1], batch.image_sizes[index : index + 1])
        with self._sampling(batch.tensors):
            proposals, first = self.net.rpn(image, single, [target])
            _, second = self.net.roi_heads(single, proposals, image.image_sizes, [target])
        return {**first, **second}

    @contextmanager
    def _sampling(self, like: Tensor) -> Iterator[None]:
        """Make both stages return losses; outside training without updates of statistics and with a fixed seed."""
        if self.training:
            yield
            return
        devices, kind = [] if like.is_cpu else [like.device], like.device.type
        restored = torch.random.fork_rng(devices=devices, device_type=kind)
        with train_mode(self.net.rpn), train_mode(self.net.roi_heads), restored:
            torch.manual_seed(0)
            yield

    def _candidates(self, images: Tensor, batch: Any, features: Tensors) -> Tensor:
        heads = self.net.rpn.head, self.net.roi_heads.box_predictor
        with eval_mode(self.net.rpn), eval_mode(self.net.roi_heads), record_calls(heads, tuple) as calls:
            proposals, _ = self.net.rpn(batch, features)
            detections, _ = self.net.roi_heads(features, proposals, batch.image_sizes)
        rows = pad_sequence([self._rows(each) for each in detections], batch_first=True)
        rows = nn.functional.pad(rows, (0, 0, 0, LIMIT - rows.shape[1]))
        boxes, scores = rescale_boxes(rows[..., :4], batch.image_sizes[0], images), rows[..., 4:]
        (_, (objectness, deltas)), (_, seconds) = calls
        counts = [len(each) for each in proposals]
        second = [torch.stack([(part * 0).sum() for part in out.detach().split(counts)]) for out in seconds]
        return propagate_nan(torch.cat([boxes, scores], dim=-1), *objectness, *deltas, *[s[:, None] for s in second])

    def _rows(self, detections: Tensors) -> Tensor:
        labels, scores = detections["labels"][:, None], detections["scores"]
        return torch.cat([detections["boxes"], scores[:, None] * (labels == self.labels).to(scores)], dim=1)


def with_labels(target: Mapping[str, Tensor], labels: Tensor) -> Tensors:
    """Return a target with a detector's own labels."""
    return {"boxes": target["boxes"], "labels": labels[target["labels"]]}


def stack_losses(each: Sequence[Mapping[str, Tensor]]) -> Tensors:
    """Return the losses of single images as one mapping of losses (n,)."""
    return {name: torch.stack([losses[name] for losses in each]) for name in each[0]}


def rescale_boxes(boxes: Tensor, size: tuple[int, int], images: Tensor) -> Tensor:
    """Return boxes (..., 4) in pixels of the images, given boxes in images resized to `size` (height, width)."""
    height, width = images.shape[-2] / size[0], images.shape[-1] / size[1]
    return boxes * boxes.new_tensor([width, height, width, height])
