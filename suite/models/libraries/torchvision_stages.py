"""Torchvision's detectors as `TorchDetector` wants them: candidates that show what is broken, losses of each image."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import box_iou, clip_boxes_to_image

from suite.models.adapters.detections import LIMIT, THRESHOLD, spoiled
from suite.models.adapters.detector import Truth, answering, learning
from suite.models.libraries.fcos_losses import fcos_losses

Tensors = dict[str, Tensor]
"""Losses, maps, outputs or targets by name."""


class OneStage(nn.Module):
    """FCOS, RetinaNet and SSD as `TorchDetector` wants them: the same network, with losses of each image alone.

    Args:
        net: a detector of torchvision.
        labels: the label it uses for each class.
    """

    net: Any
    labels: Tensor

    def __init__(self, net: nn.Module, labels: Sequence[int]) -> None:
        super().__init__()
        self.net = net
        self.classes, self.channels, self.nms = len(labels), len(self.net.transform.image_mean), self.net.nms_thresh
        self.register_buffer("labels", torch.tensor(labels), persistent=False)

    def raw(self, images: Tensor) -> Tensor:
        """Return the box of every anchor and its score for each class, (n, anchors, 4 + classes)."""
        return self._candidates(images, *self._pass(images)[:3])

    def losses(self, images: Tensor, targets: Truth) -> Tensors:
        """Return torchvision's losses, each (n,): of every image as if it were alone."""
        return self.both(images, targets)[0]

    def both(self, images: Tensor, targets: Truth) -> tuple[Tensors, Tensor]:
        """Return the losses and the candidates from one pass."""
        batch, outputs, anchors, levels = self._pass(images)
        _, wanted = self.net.transform(list(images), [renamed(target, self.labels) for target in targets])
        return self._losses(wanted, outputs, anchors, levels), self._candidates(images, batch, outputs, anchors)

    def _pass(self, images: Tensor) -> tuple[Any, Tensors, list[Tensor], list[int]]:
        batch, _ = self.net.transform(list(images))
        maps = self.net.backbone(batch.tensors)
        features = [maps] if isinstance(maps, Tensor) else list(maps.values())
        anchors = self.net.anchor_generator(batch, features)
        return batch, self.net.head(features), anchors, [m.shape[-2:].numel() for m in features]

    def _losses(self, wanted: Sequence[Tensors], outputs: Tensors, anchors: list[Tensor], levels: list[int]) -> Tensors:
        if "bbox_ctrness" in outputs:
            return fcos_losses(wanted, outputs, anchors[0], levels, self.net.center_sampling_radius)
        each = []
        for index, target in enumerate(wanted):
            alone = {name: value[index : index + 1] for name, value in outputs.items()}
            matched = [[self._matched(target["boxes"], anchors[index])]] if self._has_background else []
            each.append(self.net.compute_loss([target], alone, anchors[index : index + 1], *matched))
        return gathered(each)

    def _matched(self, boxes: Tensor, anchors: Tensor) -> Tensor:
        """Return the box that each default box of SSD answers for, -1 for none."""
        if not len(boxes):
            return torch.full((len(anchors),), -1, dtype=torch.int64, device=anchors.device)
        matched: Tensor = self.net.proposal_matcher(box_iou(boxes, anchors))
        return matched

    def _candidates(self, images: Tensor, batch: Any, outputs: Tensors, anchors: list[Tensor]) -> Tensor:
        boxes, scores = self._decoded(outputs, torch.stack(anchors))
        boxes = rescaled(clip_boxes_to_image(boxes, batch.image_sizes[0]), batch.image_sizes[0], images)
        return spoiled(torch.cat([boxes, scores[..., self.labels]], dim=-1), *outputs.values())

    def _decoded(self, outputs: Tensors, anchors: Tensor) -> tuple[Tensor, Tensor]:
        logits, regression = outputs["cls_logits"], outputs["bbox_regression"]
        if "bbox_ctrness" in outputs:
            sigmoid = nn.functional.logsigmoid
            scores = ((sigmoid(logits) + sigmoid(outputs["bbox_ctrness"])) / 2).exp()  # a root has no slope at 0
            return self.net.box_coder.decode(regression, anchors), scores
        flat = self.net.box_coder.decode_single(regression.flatten(0, 1), anchors.flatten(0, 1))
        return flat.view_as(anchors), logits.softmax(dim=-1) if self._has_background else logits.sigmoid()

    @property
    def _has_background(self) -> bool:
        """Whether this is SSD, whose classes compete with the background."""
        return hasattr(self.net, "neg_to_pos_ratio")


class TwoStage(nn.Module):
    """Faster and Mask R-CNN as `TorchDetector` wants them.

    Their second stage sees only what survived in the first, so that the candidates are the final detections, each with
    a score for one class. Losses exist in training mode alone, and sample the places they look at; outside of training
    the sample is always the same.

    Args:
        net: a detector of torchvision.
        labels: the label it uses for each class.
    """

    net: Any
    labels: Tensor
    nms = 1.0

    def __init__(self, net: nn.Module, labels: Sequence[int]) -> None:
        super().__init__()
        self.net = net
        self.classes, self.channels = len(labels), len(self.net.transform.image_mean)
        self.net.roi_heads.score_thresh, self.net.roi_heads.detections_per_img = THRESHOLD, LIMIT
        self.net.roi_heads.mask_roi_pool = None  # without it neither masks nor their truth are asked for
        self.register_buffer("labels", torch.tensor(labels), persistent=False)

    def raw(self, images: Tensor) -> Tensor:
        """Return the detections, (n, 100, 4 + classes)."""
        batch, _ = self.net.transform(list(images))
        return self._candidates(images, batch, self._features(batch))

    def losses(self, images: Tensor, targets: Truth) -> Tensors:
        """Return torchvision's losses, each (n,): of every image as if it were alone."""
        return self.both(images, targets)[0]

    def both(self, images: Tensor, targets: Truth) -> tuple[Tensors, Tensor]:
        """Return the losses and the candidates, with one pass through the backbone."""
        batch, wanted = self.net.transform(list(images), [renamed(target, self.labels) for target in targets])
        features = self._features(batch)
        each = [self._losses(target, batch, features, i) for i, target in enumerate(wanted)]
        return gathered(each), self._candidates(images, batch, features)

    def _features(self, batch: Any) -> Tensors:
        features: Tensors = self.net.backbone(batch.tensors)
        return features

    def _losses(self, target: Tensors, batch: Any, features: Tensors, index: int) -> Tensors:
        alone = {name: value[index : index + 1] for name, value in features.items()}
        image = ImageList(batch.tensors[index : index + 1], batch.image_sizes[index : index + 1])
        with self._sampling(batch.tensors):
            proposals, first = self.net.rpn(image, alone, [target])
            _, second = self.net.roi_heads(alone, proposals, image.image_sizes, [target])
        return {**first, **second}

    @contextmanager
    def _sampling(self, like: Tensor) -> Iterator[None]:
        """Let both stages give losses; where the model is not being trained, without learning and without chance."""
        if self.training:
            yield
            return
        devices = [like.device] if like.is_cuda else []
        with learning(self.net.rpn), learning(self.net.roi_heads), torch.random.fork_rng(devices=devices):
            torch.manual_seed(0)
            yield

    def _candidates(self, images: Tensor, batch: Any, features: Tensors) -> Tensor:
        heads = self.net.rpn.head, self.net.roi_heads.box_predictor
        with answering(self.net.rpn), answering(self.net.roi_heads), heard(*heads) as outputs:
            proposals, _ = self.net.rpn(batch, features)
            found, _ = self.net.roi_heads(features, proposals, batch.image_sizes)
        rows = pad_sequence([self._rows(each) for each in found], batch_first=True)
        rows = nn.functional.pad(rows, (0, 0, 0, LIMIT - rows.shape[1]))
        boxes, scores = rescaled(rows[..., :4], batch.image_sizes[0], images), rows[..., 4:]
        (objectness, deltas), seconds = outputs
        counts = [len(each) for each in proposals]
        second = [torch.stack([(part * 0).sum() for part in out.detach().split(counts)]) for out in seconds]
        return spoiled(torch.cat([boxes, scores], dim=-1), *objectness, *deltas, *[s[:, None] for s in second])

    def _rows(self, found: Tensors) -> Tensor:
        chosen = (found["labels"][:, None] == self.labels).to(found["scores"])
        return torch.cat([found["boxes"], found["scores"][:, None] * chosen], dim=1)


def renamed(target: Mapping[str, Tensor], labels: Tensor) -> Tensors:
    """Return a target with the labels a detector uses itself."""
    return {"boxes": target["boxes"], "labels": labels[target["labels"]]}


def gathered(each: Sequence[Mapping[str, Tensor]]) -> Tensors:
    """Return losses of single images as one mapping of losses (n,)."""
    return {name: torch.stack([losses[name] for losses in each]) for name in each[0]}


def rescaled(boxes: Tensor, size: tuple[int, int], images: Tensor) -> Tensor:
    """Return boxes (..., 4) in pixels of the images, from those of their resized copies of (height, width) `size`."""
    height, width = images.shape[-2] / size[0], images.shape[-1] / size[1]
    return boxes * boxes.new_tensor([width, height, width, height])


@contextmanager
def heard(*modules: nn.Module) -> Iterator[list[Any]]:
    """Collect what modules answer, in the order in which they are called."""
    outputs: list[Any] = []
    hooks = [m.register_forward_hook(lambda module, inputs, output: outputs.append(output)) for m in modules]
    try:
        yield outputs
    finally:
        for hook in hooks:
            hook.remove()
