"""The adapter round a model: pixels in [0, 1] in, a checked output out."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy.typing as npt
import torch
from torch import Tensor, nn

from suite.data import Split
from suite.errors import ModelError, NotApplicableError
from suite.models.recipe import Recipe
from suite.models.weights import file_digest, load_weights, state_digest

BATCH_MULTIPLE = 8
"""Batches are padded to a multiple of this: with fewer rows PyTorch picks kernels that add in another order, and the
last bits of a sample's logits would depend on which batch it happened to be in."""


class TorchModel:
    """A model as the suite sees it: images with pixels in [0, 1] in, one output per image out.

    Scaling, normalisation and resizing happen inside, so that attacks act on the pixels a camera would deliver.

    Args:
        module: what `shaped` makes an output of.
        weights: a safetensors file or a PyTorch file of plain tensors; None to take the module as it is.
        bounds: the pixel range the module was trained on, (0, 1) or (0, 255), before `mean` and `std`.
        mean, std: per-channel normalisation that the module expects, in units of `bounds`.
        input_size: (height, width) that the module expects; images of another size are resized, differentiably.
        recipe: how to train it; the harness does so when neither `weights` nor a stored training is there.
        layer: the module whose activations Grad-CAM explains; None to find it, see `gradcam_layer`.
    """

    answers, takes = "an output", "images"
    """What the model returns, and what it is shown, in words."""

    limits: tuple[float, float] = (0.0, 1.0)
    """The range of the numbers that the model is shown."""

    max_perturbation: float | None = None
    """How far a number may be moved before it means something else; None where the limits alone bound it."""

    def __init__(
        self,
        module: nn.Module,
        *,
        weights: str | Path | None = None,
        bounds: tuple[float, float] = (0.0, 1.0),
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        input_size: tuple[int, int] | None = None,
        recipe: Recipe | None = None,
        layer: nn.Module | None = None,
    ) -> None:
        if not isinstance(module, nn.Module):
            raise ModelError(f"{type(self).__name__} got a {type(module).__name__}; expected a torch.nn.Module.")
        if not bounds[0] < bounds[1]:
            raise ModelError(f"bounds={bounds} is not a range; expected (low, high) such as (0, 1) or (0, 255).")
        self.module, self.recipe, self.weights = module, recipe, weights
        self.bounds, self.mean, self.std, self.input_size = bounds, mean, std, input_size
        self.layer = layer
        if weights is not None:
            load_weights(module, weights)

    def __call__(self, pixels: Tensor) -> Tensor:
        """Return the output for images (n, channels, height, width) with pixels in [0, 1].

        Raises:
            ModelError: the module returns something else than one finite output per image.
        """
        output = self.raw(pixels)
        bad = ~torch.isfinite(output.detach()).flatten(1).all(dim=1)
        if bad.any():
            raise ModelError(
                f"The model returned NaN or infinite {self.answers} for {int(bad.sum())} of {len(pixels)} {self.takes},"
                f" first at row {int(bad.nonzero()[0])}. Check the weights, the normalisation and the precision."
            )
        return output

    def raw(self, pixels: Tensor) -> Tensor:
        """Return the same without asking whether it is finite, which on an accelerator would mean waiting for it.

        Raises:
            ModelError: the module returns something else than one output per image.
        """
        padded = pad_batch(pixels)
        return self.shaped(self.module(self.prepare(padded)), padded)[: len(pixels)]

    def inputs(self, split: Split) -> npt.NDArray[Any]:
        """Return what the model is shown of a split, (n, ...): its images or texts, or what it makes images from."""
        return split.pixels()

    def in_space(self, space: str) -> TorchModel:
        """Return the model as it is seen from another space than that of its inputs, such as ``embedding``.

        Raises:
            NotApplicableError: it has no such space.
        """
        raise NotApplicableError(f"a {type(self).__name__} cannot be entered through a space called {space!r}")

    def learn(self, lesson: Any, device: torch.device) -> dict[str, Any] | None:
        """Train the model in its own way and return the history; None to be trained as most models are.

        Args:
            lesson: samples, kind, seed and progress, see `suite.models.training.trainer.TrainingData`.
            device: where the module is.
        """
        return None

    def max_batch(self, pixels: Tensor) -> int | None:
        """Return how many images the module is shown at once; None for as many as it is given."""
        return None

    def shaped(self, output: Any, pixels: Tensor) -> Tensor:
        """Return what the module answered to images as the kind expects it, (n, ...).

        Raises:
            ModelError: it is something else.
        """
        raise NotImplementedError

    def prepare(self, pixels: Tensor) -> Tensor:
        """Scale, resize and normalise pixels in [0, 1] as the module expects them."""
        low, high = self.bounds
        value = pixels.to(self.dtype) * (high - low) + low
        if self.input_size is not None and tuple(value.shape[-2:]) != tuple(self.input_size):
            value = nn.functional.interpolate(
                value, size=tuple(self.input_size), mode="bilinear", antialias=True, align_corners=False
            )
        if self.mean is not None:
            value = value - value.new_tensor(self.mean).view(1, -1, 1, 1)
        if self.std is not None:
            value = value / value.new_tensor(self.std).view(1, -1, 1, 1)
        return value

    @property
    def dtype(self) -> torch.dtype:
        """The floating-point type the module computes in."""
        return next((p.dtype for p in self.module.parameters() if p.is_floating_point()), torch.float32)

    def digest(self, probe: Tensor) -> str:
        """Return the identity of a model that is taken as it is.

        Its tensors alone are not enough: the same tensors mean another model under another normalisation or another
        architecture. So the adapter's settings, the module's structure and its answer to a few images belong to it.

        Args:
            probe: a few images (n, channels, height, width) in [0, 1], always the same.
        """
        named = [name for name, child in self.module.named_modules() if child is self.layer]
        settings = [self.bounds, self.mean, self.std, self.input_size, named, *self.settings()]
        weights = file_digest(self.weights) if self.weights is not None else state_digest(self.module)
        try:
            with self.frozen(), torch.no_grad():
                answer = hashlib.sha256(self(probe).float().cpu().numpy().tobytes()).hexdigest()
        except Exception as error:  # a model that cannot answer has an identity too; measuring it will say why
            answer = type(error).__name__
        content = repr([settings, str(self.module), weights, answer])
        return hashlib.sha256(content.encode()).hexdigest()

    def settings(self) -> list[Any]:
        """Return what else, beside the module, decides what the adapter answers; lists and plain values."""
        return []

    def to(self, device: torch.device | str) -> Self:
        """Move the module to a device and return the adapter."""
        self.module.to(device)
        return self

    @contextmanager
    def frozen(self, *, dropout: bool = False) -> Iterator[None]:
        """Hold the module in evaluation mode without parameter gradients; everything is restored afterwards.

        Args:
            dropout: leave the dropout layers on, for Monte Carlo dropout.
        """
        modes = [(child, child.training) for child in self.module.modules()]
        gradients = [(p, p.requires_grad) for p in self.module.parameters()]
        try:
            self.module.eval()
            for child in self.dropout_layers() if dropout else ():
                child.train()
            for parameter, _ in gradients:
                parameter.requires_grad_(False)
            yield
        finally:
            for child, mode in modes:
                child.training = mode
            for parameter, wanted in gradients:
                parameter.requires_grad_(wanted)

    def dropout_layers(self) -> list[nn.Module]:
        """Return the dropout layers that drop anything."""
        kinds = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)
        return [m for m in self.module.modules() if isinstance(m, kinds) and m.p > 0]

    def gradcam_layer(self, pixels: Tensor) -> nn.Module | None:
        """Return the layer Grad-CAM reads: the one that was named, else the last convolution that answers with a map.

        The model is asked about one image, because only its answer shows what is a map: the convolutions of
        squeeze-and-excitation come after the last map and see a single place. One that cuts the image into patches
        comes before everything that a transformer computes, so that it is not taken.

        Args:
            pixels: images (n, channels, height, width) in [0, 1], one or more.

        Returns:
            A module of the model, or None where no convolution is fit.

        Raises:
            ModelError: the model's answer cannot be used, see `__call__`.
        """
        if self.layer is not None:
            return self.layer
        found: list[nn.Module] = []

        def remember(module: nn.Module, inputs: Any, output: Tensor) -> None:
            if output.shape[-2:].numel() > 1:
                found.append(module)

        fit = [m for m in self.module.modules() if isinstance(m, nn.Conv2d) and not _cuts_patches(m)]
        hooks = [convolution.register_forward_hook(remember) for convolution in fit]
        try:
            with self.frozen(), torch.no_grad():
                self(pixels[:1])
        finally:
            for hook in hooks:
                hook.remove()
        once = [
            convolution for convolution in found if found.count(convolution) == 1
        ]  # else several maps are one layer's
        return once[-1] if once else None


class TorchClassifier(TorchModel):
    """A classifier: its module maps (n, channels, height, width) to logits (n, classes)."""

    answers = "logits"

    def shaped(self, output: Any, pixels: Tensor) -> Tensor:
        """Return logits (n, classes) as they are."""
        if not isinstance(output, Tensor) or output.ndim != 2 or len(output) != len(pixels):
            shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise ModelError(f"The model returned {shape} for {len(pixels)} images; expected (images, classes).")
        return output


class TorchSegmenter(TorchModel):
    """A segmenter: its module maps (n, channels, height, width) to logits (n, classes, rows, columns).

    Torchvision's way to return them, a mapping with the key ``out``, is understood. Logits of another size than the
    images are resized to it, bilinearly.
    """

    answers = "logits"

    def shaped(self, output: Any, pixels: Tensor) -> Tensor:
        """Return logits (n, classes, height, width) at the size of the images."""
        logits = output.get("out") if isinstance(output, Mapping) else output
        if not isinstance(logits, Tensor) or logits.ndim != 4 or len(logits) != len(pixels):
            shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(output).__name__
            raise ModelError(
                f"The model returned {shape} for {len(pixels)} images; expected (images, classes, rows, columns), or a "
                "mapping with these under 'out'."
            )
        if logits.shape[-2:] == pixels.shape[-2:]:
            return logits
        return nn.functional.interpolate(logits, size=pixels.shape[-2:], mode="bilinear", align_corners=False)


def pad_batch(pixels: Tensor) -> Tensor:
    """Return a batch filled up to a multiple of `BATCH_MULTIPLE` rows, with its first image."""
    padding = -len(pixels) % BATCH_MULTIPLE
    return torch.cat([pixels, pixels[:1].expand(padding, *pixels.shape[1:])]) if padding else pixels


def _cuts_patches(convolution: nn.Conv2d) -> bool:
    """Return whether the stride is the kernel: it cuts the image into patches for a transformer, each seen alone."""
    return convolution.kernel_size == convolution.stride and max(convolution.kernel_size) > 1
