"""The adapter of detectors: images with pixels in [0, 1] in, one table of boxes, scores and classes per image out."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from suite.errors import ModelError
from suite.models.adapters.detections import detection_table, nan_rows, select_detections
from suite.models.base import TorchModel, in_full_batches
from suite.models.modules import keep_modes
from suite.models.outputs import Form, form_of, numbers_of, refusal

Truth = Sequence[Mapping[str, Tensor]]
"""Ground truth of each image: ``boxes`` (k, 4), x1, y1, x2, y2 in pixels, and ``labels`` (k,), int64 from 0."""

LARGEST_WIDTH = 8
"""Images per call on a CPU, where more of them save no time and waste padding."""

BRIGHTEST = 10.0
"""Pixel value above which an image is taken to be in 0 to 255; noise added to images in [0, 1] stays far below."""

CANDIDATES = "Return boxes and scores as floating-point numbers."
"""What to do where a detector returns whole numbers."""


class TorchDetector(TorchModel):
    """A detector: its module predicts boxes in images (n, channels, height, width).

    The module has these methods; its images are scaled and normalized by the adapter's other arguments.

    - ``raw(images)`` returns candidates (n, L, 4 + classes): x1, y1, x2, y2 in pixels of the images, and a score in
      [0, 1] for each class, before any suppression, differentiable and finite. L depends only on the size of the
      images.
    - ``losses(images, targets)`` with `targets` as `Truth` returns losses (n,), or a mapping of such, which are summed.
      A single number, or a mapping of such, is accepted too; the module is then called once per image.
    - ``both(images, targets)``, optional: (losses, candidates) from one forward pass.
    - ``predict(images)``, optional: a list with ``boxes`` (k, 4), ``scores`` (k,) and ``labels`` (k,) per image.
      Without it, non-maximum suppression per class at an IoU of ``module.nms`` is applied (0.5 without this attribute;
      1 for none).

    It may have these attributes: ``classes`` and ``channels``, the numbers that labels and images are checked against;
    ``losses_in_training``, true if losses exist in training mode only, see `train_mode`.

    Args:
        module: such a module.
        settings: as for `TorchModel`, without `input_size`: boxes are in pixels of the image, so the module has to do
            any resizing itself.
    """

    output_name = "boxes or scores"

    def __init__(self, module: nn.Module, **settings: Any) -> None:
        if settings.get("input_size") is not None:
            raise ModelError(
                f"TorchDetector got input_size={settings['input_size']}; boxes are in pixels of the image, so resize "
                "inside the module, and scale the boxes back there."
            )
        lacking = [name for name in ("raw", "losses") if not callable(getattr(module, name, None))]
        if isinstance(module, nn.Module) and lacking:
            raise ModelError(
                f"TorchDetector got a {type(module).__name__} without {' and '.join(lacking)}; expected a module with "
                "raw(images) and losses(images, targets), see its documentation. For a detector of torchvision use "
                "torchvision_detector."
            )
        super().__init__(module, **settings)
        self._one_by_one = False

    def raw(self, pixels: Tensor) -> Tensor:
        """Return detections (n, 100, 6) without checking that they are finite.

        Rows are x1, y1, x2, y2 in pixels, score, class index, by descending score; padding rows have score 0 and class
        -1. An image with a candidate that is not finite has rows of NaN: the threshold would drop the candidate
        silently, and a broken model would look like one without detections.

        Raises:
            ModelError: the images do not fit this model, or the module's output has a wrong form.
        """
        candidates = self.candidates(pixels)
        if not callable(getattr(self.module, "predict", None)):
            return select_detections(candidates, self.nms)
        predicted = self.in_full_batches(self._predicted, pixels)
        finite = torch.isfinite(candidates.detach()).flatten(1).all(dim=1)
        return torch.where(finite[:, None, None], predicted, nan_rows(candidates))

    def candidates(self, pixels: Tensor) -> Tensor:
        """Return all candidates (n, L, 4 + classes) before suppression, differentiable.

        Raises:
            ModelError: the images do not fit this model, or the module's output has a wrong form.
        """
        found: Tensor = self.in_full_batches(
            lambda rows: self._checked(self._net.raw(self.prepare(rows)), rows), pixels
        )
        return found

    def _predicted(self, pixels: Tensor) -> Tensor:
        """Return the module's own detections (n, 100, 6)."""
        predicted = self._net.predict(self.prepare(pixels))
        parts = ("boxes", "scores", "labels")
        if len(predicted) != len(pixels) or not all(
            isinstance(one, Mapping) and all(isinstance(one.get(part), Tensor) for part in parts) for one in predicted
        ):
            raise ModelError(
                f"The module's predict returned {form_of(predicted)} for {len(pixels)} images; expected a list with a "
                f"dict of {', '.join(parts)} for each."
            )
        return torch.stack([detection_table(detections) for detections in predicted])

    def losses(self, pixels: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the detector's own training loss and the detections of each image.

        The module's mode does not change: batch statistics are updated in training mode only.

        Args:
            pixels: images (n, channels, height, width) in [0, 1].
            targets: (n, M, 6), rows x1, y1, x2, y2, class, ignored; ignored rows and rows with class -1 are left out.

        Returns:
            Losses (n,), differentiable, and detections (n, 100, 6) as from `raw`, detached; empty in training mode.

        Raises:
            ModelError: images, targets or the module's output have a wrong form.
        """
        self._check_shape(targets, len(pixels))
        training, width = self.module.training, 1 if self._one_by_one else self.width
        with self._mode():
            evaluated = (
                self._evaluate(pixels, targets) if training else in_full_batches(self._evaluate, width, pixels, targets)
            )
        losses, candidates = evaluated[0], evaluated[1:]
        if self.module.training:  # training does not need detections
            return losses, losses.new_zeros(0)
        if candidates:
            return losses, select_detections(candidates[0].detach(), self.nms)
        with torch.no_grad():
            return losses, self.raw(pixels)

    def prepare(self, pixels: Tensor) -> Tensor:
        """Scale and normalize pixels in [0, 1] as the module expects them.

        Raises:
            ModelError: they are not (n, channels, height, width), have another number of channels, or are in 0 to 255.
        """
        channels = getattr(self.module, "channels", None)
        if pixels.ndim != 4 or (channels is not None and pixels.shape[1] != channels):
            raise ModelError(
                f"The detector got images of shape {tuple(pixels.shape)}; expected (n, channels, height, width) with "
                f"{channels or 'its'} channels. Convert grayscale images with convert('RGB') where 3 are expected."
            )
        if len(pixels) and (peak := float(pixels.detach().max())) > BRIGHTEST:
            raise ModelError(f"The detector got pixels up to {peak:g}; expected [0, 1]. Divide 8-bit images by 255.")
        return super().prepare(pixels)

    def normalized_output(self, output: Tensor, pixels: Tensor) -> Tensor:
        """Return detections with coordinates relative to the image size, on the scale of the scores."""
        height, width = pixels.shape[-2:]
        return output / output.new_tensor([width, height, width, height, 1, 1])

    @property
    def _net(self) -> Any:
        """The module, typed as one with the methods of the class docstring."""
        return self.module

    @property
    def nms(self) -> float:
        """IoU threshold of non-maximum suppression; 1 if the module suppresses boxes itself."""
        return float(getattr(self.module, "nms", 0.5))

    def _check_shape(self, targets: Tensor, count: int) -> None:
        if targets.ndim != 3 or targets.shape[-1] != 6 or len(targets) != count:
            raise ModelError(f"Targets of shape {tuple(targets.shape)} for {count} images; expected ({count}, M, 6).")

    def _truth(self, targets: Tensor) -> list[dict[str, Tensor]]:
        counted = (targets[..., 4] != -1) & (targets[..., 5] == 0)
        labels, classes = targets[..., 4][counted], getattr(self.module, "classes", None)
        invalid = labels[(labels < 0) | (labels != labels.round()) | (labels >= (classes or torch.inf))]
        if len(invalid):
            raise ModelError(
                f"Targets with class {invalid[0]:g}; expected whole numbers from 0 to "
                f"{classes - 1 if classes else 'the last class'}, or -1 in padding. Is the model built for the classes "
                "of this task?"
            )
        rows = [image[chosen] for image, chosen in zip(targets, counted, strict=True)]
        return [{"boxes": r[:, :4].to(self.dtype), "labels": r[:, 4].long()} for r in rows]

    def _checked(self, output: Any, images: Tensor) -> Tensor:
        classes = getattr(self.module, "classes", None)
        form = Form(f"(images, candidates, 4 + {classes or 'classes'})", integers=CANDIDATES, source="The module's raw")
        candidates = numbers_of(output, images, form)
        fits = candidates.ndim == 3 and len(candidates) == len(images) and candidates.shape[-1] >= 5
        if not fits or (classes and candidates.shape[-1] != 4 + classes):
            raise refusal(candidates, images, form)
        return candidates

    @property
    def max_width(self) -> int | None:  # type: ignore[override]  # depends on the device
        """Largest number of images of a call: `LARGEST_WIDTH` on a CPU, where more save no time."""
        return LARGEST_WIDTH if self.device.type == "cpu" else None

    def _mode(self) -> AbstractContextManager[None]:
        switch = getattr(self.module, "losses_in_training", False) and not self.module.training
        return train_mode(self.module) if switch else nullcontext()

    def _evaluate(self, pixels: Tensor, targets: Tensor) -> tuple[Tensor, ...]:
        """Return losses (n,), and also the candidates if the module returns both."""
        images, truth = self.prepare(pixels), self._truth(targets)
        if callable(getattr(self.module, "both", None)):
            losses, candidates = self._net.both(images, truth)
            return self._per_image(sum_losses(losses), len(images)), self._checked(candidates, images)
        if not self._one_by_one:
            losses = sum_losses(self._net.losses(images, truth))
            if losses.ndim:
                return (self._per_image(losses, len(images)),)
            self._one_by_one = True  # one number for the batch: an image's loss would depend on the other images
        singles = [sum_losses(self._net.losses(images[i : i + 1], truth[i : i + 1])) for i in range(len(images))]
        return (torch.stack([loss.reshape(()) for loss in singles]),)

    def _per_image(self, losses: Tensor, count: int) -> Tensor:
        if losses.shape != (count,):
            raise ModelError(f"The module's losses have shape {tuple(losses.shape)}; expected one for each of {count}.")
        return losses


def sum_losses(losses: Any) -> Tensor:
    """Return the sum of a mapping's losses, or a tensor unchanged."""
    parts = list(losses.values()) if isinstance(losses, Mapping) else [losses]
    if not parts or not all(isinstance(part, Tensor) for part in parts):
        raise ModelError(
            f"The module's losses are {type(losses).__name__} of {sorted({type(p).__name__ for p in parts})}; expected "
            "a tensor, or a mapping of names to tensors."
        )
    total: Tensor = sum(parts[1:], parts[0])
    return total


@contextmanager
def train_mode(module: nn.Module) -> Iterator[None]:
    """Put a module into training mode, in which many detectors return losses, and restore all modes afterwards.

    Batch norm and dropout stay in evaluation mode: no statistic is updated, and no loss is random or depends on the
    other images of the batch.
    """
    fixed = (nn.modules.batchnorm._NormBase, nn.modules.dropout._DropoutNd, nn.AlphaDropout)
    with keep_modes(module):
        module.train()
        for child in module.modules():
            if isinstance(child, fixed):
                child.eval()
        yield


@contextmanager
def eval_mode(module: nn.Module) -> Iterator[None]:
    """Put a module into evaluation mode and restore all modes afterwards."""
    with keep_modes(module):
        module.eval()
        yield
