"""Any timm architecture, with its own normalization and input size."""

from typing import Any

from suite.data import TaskInfo
from suite.errors import ModelError, UnknownNameError, did_you_mean
from suite.models.base import TorchClassifier
from suite.models.recipe import Recipe


def timm_classifier(name: str, task: TaskInfo, *, weights: str | None, pretrained: bool) -> TorchClassifier:
    """Build a timm model for a task.

    Args:
        name: timm's name, with or without a tag (``resnet18.a1_in1k``).
        task: sets the numbers of classes and channels.
        weights: a local file for exactly this architecture and number of classes; without one the model is trained.
        pretrained: fine-tune timm's published weights, which needs network access to the hub or its cache; the last
            layer is initialized for the task's classes, so the model is trained in any case.

    Raises:
        UnknownNameError: timm has no such architecture.
        ModelError: it cannot be built for this task, or its published weights cannot be fetched.
    """
    import timm

    if not timm.is_model(name.split(".")[0]):
        raise UnknownNameError(f"timm has no model {name!r}.{did_you_mean(name, timm.list_models())}")
    channels = task.input_shape[0]
    try:
        net = timm.create_model(name, pretrained=pretrained, num_classes=len(task.classes), in_chans=channels)
    except Exception as error:  # timm and the hub raise many types of errors
        hint = " Without network access, pass weights=FILE or omit pretrained." if pretrained else ""
        raise ModelError(f"timm:{name} cannot be built: {type(error).__name__}: {error}.{hint}") from error
    config: Any = net.pretrained_cfg
    return TorchClassifier(
        net,
        weights=weights,
        mean=_for_channels(config["mean"], channels),
        std=_for_channels(config["std"], channels),
        input_size=tuple(config["input_size"][1:]),
        recipe=None if weights else Recipe(epochs=20, learning_rate=1e-3),
    )


def _for_channels(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    """Return one value per channel: timm's own for RGB, their mean for other numbers of channels."""
    return tuple(values) if len(values) == channels else (sum(values) / len(values),) * channels
