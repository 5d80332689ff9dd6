"""The adapter round a detector: pixels in [0, 1] in, one table of boxes, scores and classes per image out."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from suite.errors import ModelError
from suite.models.adapters.detections import broken, selected, table
from suite.models.base import BATCH_MULTIPLE, TorchModel, pad_batch

Truth = Sequence[Mapping[str, Tensor]]
"""What is true of each image: ``boxes`` (k, 4), x1, y1, x2, y2 in pixels, and ``labels`` (k,), int64 from 0."""


BRIGHTEST = 10.0
"""Pixel value beyond which an image is taken for one of 0 to 255; noise round images in [0, 1] stays far below."""


class TorchDetector(TorchModel):
    """A detector: its module finds boxes in images (n, channels, height, width).

    The module offers these methods; images come scaled and normalised as the adapter's other arguments say.

    - ``raw(images)`` returns candidates (n, L, 4 + classes): x1, y1, x2, y2 in pixels of the images, and a score in
      [0, 1] for each class, before any suppression and differentiable. They are what must be finite. L depends on
      nothing but the size of the images.
    - ``losses(images, targets)`` with `targets` as `Truth` returns losses (n,), or a mapping of such, all of which
      are added up. A single number, or a mapping of such, is understood too; its module is then asked image by image.
    - ``both(images, targets)``, optional: (losses, candidates) from one pass through the network.
    - ``predict(images)``, optional: a list with ``boxes`` (k, 4), ``scores`` (k,) and ``labels`` (k,) per image.
      Without it, boxes of one class are suppressed that overlap a better one by more than ``module.nms`` (0.5 where
      there is no such attribute; 1 to suppress none).

    and may carry these attributes: ``classes`` and ``channels``, numbers that labels and images are checked against;
    ``losses_in_training``, true where losses can be had in training mode alone: see `learning`.

    Args:
        module: such a module.
        settings: as for `TorchModel`, without `input_size`: boxes are in pixels of the image, so that the module
            itself has to resize what it needs in another size.
    """

    answers = "boxes or scores"

    def __init__(self, module: nn.Module, **settings: Any) -> None:
        if settings.get("input_size") is not None:
            raise ModelError(
                f"TorchDetector got input_size={settings['input_size']}; a detector answers in pixels of the image, so "
                "resize inside its module, and scale the boxes back there."
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
        """Return detections (n, 100, 6) without asking whether they are finite.

        Rows are x1, y1, x2, y2 in pixels, score, class index, by falling score; padding rows have score 0 and class
        -1. An image with a candidate that is not finite has rows of NaN: thresholds would quietly drop the candidate,
        and a broken model would look like one that finds nothing.

        Raises:
            ModelError: the images are no images for this model, or the module's answer has another form.
        """
        candidates = self.candidates(pixels)
        if not callable(getattr(self.module, "predict", None)):
            return selected(candidates, self.nms)
        images = self.prepare(pad_batch(pixels))
        parts = torch.split(images, self.max_batch(images) or len(images))
        predicted = [found for part in parts for found in self._net.predict(part)]
        sound = torch.isfinite(candidates.detach()).flatten(1).all(dim=1)
        tables = zip(predicted[: len(pixels)], sound, strict=True)
        return torch.stack([table(p) if ok else broken(candidates) for p, ok in tables])

    def candidates(self, pixels: Tensor) -> Tensor:
        """Return all candidates (n, L, 4 + classes) before suppression, differentiable.

        Raises:
            ModelError: the images are no images for this model, or the module's answer has another form.
        """
        images = self.prepare(pad_batch(pixels))
        parts = torch.split(images, self.max_batch(images) or len(images))
        return torch.cat([self._checked(self._net.raw(part)) for part in parts])[: len(pixels)]

    def losses(self, pixels: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the detector's own training loss of each image, and what it detects there.

        The module's mode is left as it is: in training mode statistics are updated, in evaluation mode nothing is.

        Args:
            pixels: images (n, channels, height, width) in [0, 1].
            targets: (n, M, 6), rows x1, y1, x2, y2, class, ignored; rows with class -1 and ignored ones are left out.

        Returns:
            Losses (n,), differentiable, and detections (n, 100, 6) as from `raw`, detached; none in training mode.

        Raises:
            ModelError: images, targets or the module's answer do not fit.
        """
        truth = self._truth(targets, len(pixels))
        images = self.prepare(pad_batch(pixels))
        truth += truth[:1] * (len(images) - len(pixels))
        lanes = self.max_batch(images) or len(images)
        with self._mode():
            parts = [self._asked(images[i : i + lanes], truth[i : i + lanes]) for i in range(0, len(images), lanes)]
        losses = torch.cat([part for part, _ in parts])[: len(pixels)]
        candidates = [each for _, each in parts if each is not None]
        if self.module.training:  # nobody asks what is detected while the model learns
            return losses, losses.new_zeros(0)
        if candidates:
            return losses, selected(torch.cat(candidates)[: len(pixels)].detach(), self.nms)
        with torch.no_grad():
            return losses, self.raw(pixels)

    def prepare(self, pixels: Tensor) -> Tensor:
        """Scale and normalise pixels in [0, 1] as the module expects them.

        Raises:
            ModelError: they are not (n, channels, height, width), have another number of channels, or go up to 255.
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

    @property
    def _net(self) -> Any:
        """The module as what it must be: one with the methods of the contract."""
        return self.module

    @property
    def nms(self) -> float:
        """The overlap over which the worse of two boxes of a class is suppressed; 1 where the module has done it."""
        return float(getattr(self.module, "nms", 0.5))

    def _truth(self, targets: Tensor, count: int) -> list[dict[str, Tensor]]:
        if targets.ndim != 3 or targets.shape[-1] != 6 or len(targets) != count:
            raise ModelError(f"Targets of shape {tuple(targets.shape)} for {count} images; expected ({count}, M, 6).")
        counted = (targets[..., 4] != -1) & (targets[..., 5] == 0)
        labels, classes = targets[..., 4][counted], getattr(self.module, "classes", None)
        strange = labels[(labels < 0) | (labels != labels.round()) | (labels >= (classes or torch.inf))]
        if len(strange):
            raise ModelError(
                f"Targets with class {strange[0]:g}; expected whole numbers from 0 to "
                f"{classes - 1 if classes else 'the last class'}, or -1 in rows that pad. Is the model built for the "
                "classes of this task?"
            )
        rows = [image[chosen] for image, chosen in zip(targets, counted, strict=True)]
        return [{"boxes": r[:, :4].to(self.dtype), "labels": r[:, 4].long()} for r in rows]

    def _checked(self, candidates: Any) -> Tensor:
        classes = getattr(self.module, "classes", None)
        fits = isinstance(candidates, Tensor) and candidates.ndim == 3
        if not fits or candidates.shape[-1] < 5 or (classes and candidates.shape[-1] != 4 + classes):
            shape = tuple(candidates.shape) if isinstance(candidates, Tensor) else type(candidates).__name__
            raise ModelError(
                f"The module's raw returned {shape}; expected (images, candidates, 4 + {classes or 'classes'})."
            )
        checked: Tensor = candidates
        return checked

    def max_batch(self, pixels: Tensor) -> int | None:
        """Return how many images the module is shown at once.

        A processor's 1x1 convolutions add in another order when a batch is larger, and the last bits of a score decide
        which of two boxes is kept. So it is always shown equally many, except in training.
        """
        return None if pixels.is_cuda or self.module.training else BATCH_MULTIPLE

    def _mode(self) -> AbstractContextManager[None]:
        wanted = getattr(self.module, "losses_in_training", False) and not self.module.training
        return learning(self.module) if wanted else nullcontext()

    def _asked(self, images: Tensor, truth: Truth) -> tuple[Tensor, Tensor | None]:
        """Return losses (n,), and candidates where they come with them."""
        if callable(getattr(self.module, "both", None)):
            losses, candidates = self._net.both(images, truth)
            return self._per_image(added(losses), len(images)), self._checked(candidates)
        if not self._one_by_one:
            max_batch = added(self._net.losses(images, truth))
            if max_batch.ndim:
                return self._per_image(max_batch, len(images)), None
            self._one_by_one = True  # one number for the batch: an image's loss would depend on its company
        alone = [added(self._net.losses(images[i : i + 1], truth[i : i + 1])) for i in range(len(images))]
        return torch.stack([loss.reshape(()) for loss in alone]), None

    def _per_image(self, losses: Tensor, count: int) -> Tensor:
        if losses.shape != (count,):
            raise ModelError(f"The module's losses have shape {tuple(losses.shape)}; expected one for each of {count}.")
        return losses


def added(losses: Any) -> Tensor:
    """Return the sum of all losses of a mapping, whatever their names, or a tensor as it is."""
    parts = list(losses.values()) if isinstance(losses, Mapping) else [losses]
    if not parts or not all(isinstance(part, Tensor) for part in parts):
        raise ModelError(
            f"The module's losses are {type(losses).__name__} of {sorted({type(p).__name__ for p in parts})}; expected "
            "a tensor, or a mapping of names to tensors."
        )
    total: Tensor = sum(parts[1:], parts[0])
    return total


@contextmanager
def learning(module: nn.Module) -> Iterator[None]:
    """Hold a module in training mode, where many detectors give their losses, without letting it learn from it.

    Layers that normalise by the batch and layers that drop values stay in evaluation mode: no statistic moves, and no
    loss depends on chance or company. Every module's own mode is restored afterwards.
    """
    held = (nn.modules.batchnorm._NormBase, nn.modules.dropout._DropoutNd, nn.AlphaDropout)
    modes = [(child, child.training) for child in module.modules()]
    try:
        module.train()
        for child, _ in modes:
            if isinstance(child, held):
                child.eval()
        yield
    finally:
        for child, mode in modes:
            child.training = mode


@contextmanager
def answering(module: nn.Module) -> Iterator[None]:
    """Hold a module in evaluation mode; every module's own mode is restored afterwards."""
    modes = [(child, child.training) for child in module.modules()]
    try:
        module.eval()
        yield
    finally:
        for child, mode in modes:
            child.training = mode
