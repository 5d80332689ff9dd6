"""Detectors and segmenters of torchvision, untrained or with local weights; nothing is downloaded."""

from collections.abc import Mapping, Sequence
from inspect import signature
from pathlib import Path
from typing import Any

from torch import nn

from suite.data import TaskInfo
from suite.errors import ModelError, UnknownNameError, did_you_mean
from suite.models.adapters.detector import TorchDetector
from suite.models.base import TorchSegmenter
from suite.models.libraries.torchvision_stages import OneStage, TwoStage
from suite.models.recipe import Recipe
from suite.models.weights import load_weights, stored_names

COLOR_MEAN, COLOR_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Normalization of torchvision's segmenters."""

FAMILIES = ("fcos", "retinanet", "ssd", "ssdlite", "fasterrcnn", "maskrcnn")
"""First parts of the names of supported detectors; masks are not predicted."""


def torchvision_detector(
    name: str,
    task: TaskInfo,
    *,
    weights: str | Path | None = None,
    labels: Sequence[int] | None = None,
    **settings: Any,
) -> TorchDetector:
    """Build a detector of torchvision for a task.

    Args:
        name: torchvision's name, for example ``ssdlite320_mobilenet_v3_large``.
        task: sets the numbers of classes and channels.
        weights: a local file for exactly this architecture and number of classes; without one the model is trained.
        labels: the model's own label for each class of the task; see `default_labels` for the default. Together with
            `num_classes` in the settings, a model of more classes can be evaluated on some of them.
        settings: for torchvision's builder, for example ``min_size=320``, to which images are resized (default 800).

    Raises:
        UnknownNameError: torchvision has no such detector, or its family is not supported.
        ModelError: it cannot be built for this task.
        WeightsError: the weights cannot be read or do not fit.
    """
    known = detectors()
    if name not in known:
        raise UnknownNameError(f"torchvision has no supported detector {name!r}.{did_you_mean(name, known)}")
    classes, shift = len(task.classes), label_offset(name)
    net = _built(name, task, {"num_classes": classes + shift, **settings})
    chosen = list(labels) if labels is not None else default_labels(name, classes)
    last = settings.get("num_classes", classes + shift) - 1
    if len(chosen) != classes or len(set(chosen)) != classes or min(chosen) < shift or max(chosen) > last:
        raise ModelError(f"{name} got labels={chosen}; expected {classes} different ones from {shift} to {last}.")
    module = (TwoStage if hasattr(net, "roi_heads") else OneStage)(net, chosen)
    if weights is not None:
        load_weights(net, weights)  # the suite's own files have the prefix "net."
    return TorchDetector(module, recipe=None if weights else Recipe(epochs=20, batch_size=16, learning_rate=1e-3))


def torchvision_segmenter(
    name: str, task: TaskInfo, *, weights: str | Path | None = None, **settings: Any
) -> TorchSegmenter:
    """Build a segmenter of torchvision for a task.

    Args:
        name: torchvision's name, for example ``lraspp_mobilenet_v3_large``.
        task: sets the numbers of classes and channels.
        weights: a local file for exactly this architecture and number of classes; without one the model is trained.
        settings: for torchvision's builder.

    Raises:
        UnknownNameError: torchvision has no such segmenter.
        ModelError: it cannot be built for this task.
        WeightsError: the weights cannot be read or do not fit.
    """
    import torchvision

    known = torchvision.models.list_models(module=torchvision.models.segmentation)
    if name not in known:
        raise UnknownNameError(f"torchvision has no segmenter {name!r}.{did_you_mean(name, known)}")
    if weights is not None and any("aux_classifier." in name for name in stored_names(weights)):
        settings = {"aux_loss": True, **settings}
    net = _built(name, task, {"num_classes": len(task.classes), **settings})
    recipe = None if weights else Recipe(epochs=20, batch_size=16, learning_rate=1e-3)
    return TorchSegmenter(net, weights=weights, mean=COLOR_MEAN, std=COLOR_STD, recipe=recipe)


def detectors() -> list[str]:
    """Return the names of the supported detectors."""
    import torchvision

    names = torchvision.models.list_models(module=torchvision.models.detection)
    return [name for name in names if name.split("_")[0].rstrip("0123456789") in FAMILIES]


def label_offset(name: str) -> int:
    """Return 1 if label 0 is the background (SSD, Faster and Mask R-CNN), 0 if it is a class (FCOS, RetinaNet)."""
    return 0 if name.startswith(("fcos", "retinanet")) else 1


def default_labels(name: str, classes: int) -> list[int]:
    """Return a detector's own label for each class of a task, shifted if label 0 is the background."""
    return [label + label_offset(name) for label in range(classes)]


def _built(name: str, task: TaskInfo, settings: Mapping[str, Any]) -> nn.Module:
    import torchvision

    if task.input_shape[0] != len(COLOR_MEAN):
        raise ModelError(
            f"{name} takes images of 3 channels; {task.name} has {task.input_shape[0]}. Read its images with "
            "convert('RGB')."
        )
    try:
        net: nn.Module = torchvision.models.get_model(name, weights=None, weights_backbone=None, **settings)
    except (TypeError, ValueError) as error:
        raise ModelError(
            f"{name} cannot be built with {dict(settings)}: {error}. See torchvision's builder."
        ) from error
    known = {*signature(torchvision.models.get_model_builder(name)).parameters, *signature(type(net)).parameters}
    if unknown := sorted(set(settings) - known):  # torchvision silently accepts any name
        raise ModelError(f"{name} cannot be built with {unknown[0]}=.{did_you_mean(unknown[0], known - {'kwargs'})}")
    return net
