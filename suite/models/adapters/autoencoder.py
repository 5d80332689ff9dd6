"""The adapter round an autoencoder: images to their reconstruction and their code, and what follows from a code."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from suite.errors import DataError, ModelError, NotApplicableError
from suite.models.adapters.evidence import DRAWS, Evidence, noises, weighed
from suite.models.base import BATCH_MULTIPLE, TorchModel, pad_batch
from suite.models.recipe import Recipe

CLAMP = 8.0
"""Largest log variance of a code either way: beyond it a posterior is a point, or far wider than the prior."""

NO_SPREAD = -30.0
"""What stands for the log variance of a code that is a point; no Gaussian code comes near it."""


class Answer(NamedTuple):
    """The parts of an output: logits (n, channels * height * width), mean and log variance (n, latent)."""

    logits: Tensor
    mean: Tensor
    log_variance: Tensor

    @property
    def spread(self) -> Tensor:
        """Which numbers of the codes are Gaussian, and not points, bool (n, latent)."""
        return self.log_variance >= -2 * CLAMP


def parts(output: Tensor, pixels: int) -> Answer:
    """Return the parts of an output (n, pixels + 2 * latent).

    Raises:
        ModelError: what is left beside the logits is no pair of means and log variances.
    """
    left = output.shape[-1] - pixels
    if output.ndim != 2 or left < 2 or left % 2:
        raise ModelError(
            f"An output of shape {tuple(output.shape)} for images of {pixels} pixels; expected a logit per pixel, then "
            "the means and the log variances of a code, (n, pixels + 2 * latent)."
        )
    return Answer(output[:, :pixels], *output[:, pixels:].chunk(2, dim=1))


class TorchAutoencoder(TorchModel):
    """An autoencoder of images with pixels in [0, 1].

    Its module has ``encode(images)``, which returns the mean and the log variance of Gaussian codes, (n, latent) each,
    or the codes and None; and ``decode(codes)``, which returns the logits of Bernoulli pixels, (n, c, h, w). The prior
    over codes is standard normal. The output is (n, c * h * w + 2 * latent): the logits at the mean of the code, the
    mean, and the log variance, which is clamped to +-8.

    Args:
        module: the encoder and the decoder.
        shape: (channels, height, width) of the images.
        variational: whether codes are Gaussian.
        weights, recipe, layer: as for every model.
    """

    answers = "a reconstruction and a code"

    def __init__(
        self,
        module: nn.Module,
        *,
        shape: Sequence[int],
        variational: bool = True,
        weights: str | Path | None = None,
        recipe: Recipe | None = None,
        layer: nn.Module | None = None,
    ) -> None:
        super().__init__(module, weights=weights, recipe=recipe, layer=layer)
        missing = [name for name in ("encode", "decode") if not callable(getattr(module, name, None))]
        if missing:
            raise ModelError(f"The module {type(module).__name__} has no {' and no '.join(missing)}; give it both.")
        if len(shape) != 3 or min(shape) < 1:
            raise ModelError(f"shape={tuple(shape)}; expected (channels, height, width) of the images.")
        self.shape, self.variational = tuple(int(length) for length in shape), variational

    @property
    def dimensions(self) -> int:
        """Numbers in an image."""
        return math.prod(self.shape)

    def raw(self, pixels: Tensor) -> Tensor:
        """Return logits at the mean of the code, mean and log variance, (n, c * h * w + 2 * latent)."""
        self._fits(pixels)
        mean, log_variance = self.code(pixels)
        logits = self.decoded(pad_batch(mean))[: len(pixels)]
        return torch.cat([logits.flatten(1), mean, log_variance], dim=1)

    def code(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log variance of the codes of images, (n, latent) each, differentiably.

        Raises:
            ModelError: the encoder returns something else, or a log variance where codes are points.
        """
        padded = pad_batch(self.prepare(pixels))
        mean, log_variance = self.module.encode(padded)  # type: ignore[operator]  # asked for by the constructor
        if not isinstance(mean, Tensor) or mean.ndim != 2 or len(mean) != len(padded):
            raise ModelError("The encoder returned something else than (mean, log variance) of shape (n, latent) each.")
        if self.variational != (log_variance is not None):
            told = "none" if log_variance is None else "one"
            raise ModelError(f"variational={self.variational}, but the encoder returns {told} for the log variance.")
        if log_variance is None:
            return mean[: len(pixels)], torch.full_like(mean, NO_SPREAD)[: len(pixels)]
        if log_variance.shape != mean.shape:
            raise ModelError(
                f"Means {tuple(mean.shape)}, but log variances {tuple(log_variance.shape)}; give equal ones."
            )
        return mean[: len(pixels)], log_variance[: len(pixels)].clamp(-CLAMP, CLAMP)

    def decoded(self, codes: Tensor) -> Tensor:
        """Return the logits of pixels (n, c, h, w) for codes (n, latent), differentiably.

        Raises:
            ModelError: the decoder returns another shape.
        """
        logits = self.module.decode(codes)  # type: ignore[operator]  # asked for by the constructor
        if not isinstance(logits, Tensor) or tuple(logits.shape) != (len(codes), *self.shape):
            shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise ModelError(
                f"The decoder returned {shape} for {len(codes)} codes; expected {(len(codes), *self.shape)}."
            )
        return logits

    def reconstruct(self, pixels: Tensor) -> Tensor:
        """Return the probabilities of pixels at the mean of each image's code, (n, c, h, w).

        Raises:
            DataError: not images of this model's shape with pixels in [0, 1].
        """
        self._checked(pixels)
        with self.frozen(), torch.no_grad():
            answers = [self(chunk)[:, : self.dimensions] for chunk in torch.split(pixels, BATCH_MULTIPLE)]
            return torch.cat(answers).sigmoid().view(-1, *self.shape)

    def interpolate(self, first: Tensor, second: Tensor, steps: int) -> Tensor:
        """Return what lies between pairs of images: the decoded points of straight lines between their codes.

        Args:
            first: images (n, c, h, w).
            second: as many images.
            steps: points of a line, both ends among them, at least 2.

        Returns:
            Probabilities of pixels (n, steps, c, h, w).
        """
        if first.shape != second.shape or steps < 2:
            raise DataError(
                f"{len(first)} and {len(second)} images, {steps} steps; expected pairs and 2 steps or more."
            )
        self._checked(first)
        self._checked(second)
        with self.frozen(), torch.no_grad():
            begin, end = (
                torch.cat([self.code(c)[0] for c in torch.split(images, BATCH_MULTIPLE)]) for images in (first, second)
            )
            share = torch.linspace(0, 1, steps, device=begin.device, dtype=begin.dtype)[:, None]
            lines = [self.decoded(pad_batch(a + share * (b - a)))[:steps] for a, b in zip(begin, end, strict=True)]
        return torch.stack(lines).sigmoid()

    def prior(self, count: int, seed: int) -> Tensor:
        """Return codes drawn from the prior, (count, latent); more codes of a seed begin with the same ones.

        Raises:
            NotApplicableError: codes are points, over which there is no prior.
        """
        self._likelihood()
        one = torch.zeros(1, *self.shape, device=self._device)
        with self.frozen(), torch.no_grad():
            like = self.code(one)[0]
        if count < 1:
            raise DataError(f"{count} codes; ask for at least one.")
        return torch.cat(noises(count, like.shape[1], seed, like=like))[:count]

    def sample(self, count: int, seed: int) -> Tensor:
        """Return the probabilities of pixels of images drawn from the model, (count, c, h, w)."""
        codes = self.prior(count, seed)
        with self.frozen(), torch.no_grad():
            return torch.cat([self.decoded(pad_batch(c))[: len(c)] for c in torch.split(codes, DRAWS)]).sigmoid()

    def evidence(self, pixels: Tensor, draws: int, seeds: Sequence[int]) -> Evidence:
        """Return what is known of -log p of images, in nats.

        Args:
            pixels: images (n, c, h, w), each pixel 0 or 1.
            draws: codes that are drawn for each image.
            seeds: one for each image; nothing else decides what is drawn.

        Raises:
            DataError: not images of this model's shape with pixels in [0, 1], or not one seed for each.
            NotApplicableError: there is no likelihood: codes are points, or pixels lie between 0 and 1.
        """
        self._checked(pixels)
        self._likelihood()
        if not bool(((pixels == 0) | (pixels == 1)).all()):
            raise NotApplicableError("pixels between 0 and 1 have no likelihood under a Bernoulli; binarise the images")
        if len(seeds) != len(pixels) or draws < 1:
            raise DataError(
                f"{len(seeds)} seeds for {len(pixels)} images, {draws} draws; expected one each, draws >= 1."
            )
        with self.frozen(), torch.no_grad():
            codes = [self.code(chunk) for chunk in torch.split(pixels, BATCH_MULTIPLE)]
            mean, log_variance = (torch.cat(part) for part in zip(*codes, strict=True))
            given = zip(pixels.to(mean), mean, log_variance, seeds, strict=True)
            each = [weighed(self.decoded, image, m, v, draws, seed) for image, m, v, seed in given]
        names = ("reconstruction", "divergence", "importance")
        return Evidence(*(torch.stack([getattr(one, name) for one in each]) for name in names))

    @property
    def _device(self) -> torch.device:
        return next((p.device for p in self.module.parameters()), torch.device("cpu"))

    def _likelihood(self) -> None:
        if not self.variational:
            raise NotApplicableError(
                "the codes of a plain autoencoder are points: it has neither a prior nor a density"
            )

    def _fits(self, pixels: Tensor) -> None:
        if tuple(pixels.shape[1:]) != self.shape:
            raise ModelError(
                f"Images of shape {tuple(pixels.shape[1:])}, but the model was built for {self.shape}. Build it for "
                "this task, or give the task the size= of the model."
            )

    def _checked(self, pixels: Tensor) -> None:
        """Raise DataError unless these are images of this model with pixels in [0, 1]: others have no cross-entropy."""
        if (
            pixels.ndim != 4
            or tuple(pixels.shape[1:]) != self.shape
            or not len(pixels)
            or not pixels.is_floating_point()
        ):
            raise DataError(
                f"got a {pixels.dtype} tensor of shape {tuple(pixels.shape)}; expected one or more images "
                f"(n, {', '.join(str(length) for length in self.shape)}), floating point."
            )
        if not bool((torch.isfinite(pixels) & (pixels >= 0) & (pixels <= 1)).all()):
            raise DataError("some pixels are NaN or outside 0 to 1; divide 8-bit values by 255.")
