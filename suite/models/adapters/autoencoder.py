"""The adapter of autoencoders: images to reconstructions and codes, and samples from the prior."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from suite.errors import DataError, ModelError, NotApplicableError
from suite.models.adapters.evidence import Evidence, draw_noise, estimate_evidence
from suite.models.base import TorchModel
from suite.models.outputs import Form, form_of, numbers_of, refusal
from suite.models.recipe import Recipe

CLAMP = 8.0
"""Log variances are clamped to +-8: beyond, a posterior is practically a point or far wider than the prior."""

NO_SPREAD = -30.0
"""Log variance of a deterministic code, far outside the range of Gaussian codes."""

CODES = Form("(mean, log variance) of shape (n, latent) each, or (code, None)", source="The encoder")

PIXELS = "Return the logits of pixels instead of 8-bit images."
"""What to do where a decoder returns whole numbers."""


class AutoencoderOutput(NamedTuple):
    """The parts of an output: logits (n, channels * height * width), mean and log variance (n, latent)."""

    logits: Tensor
    mean: Tensor
    log_variance: Tensor

    @property
    def is_gaussian(self) -> Tensor:
        """Which components of the codes are Gaussian rather than deterministic, bool (n, latent)."""
        return self.log_variance >= -2 * CLAMP


def split_output(output: Tensor, pixels: int) -> AutoencoderOutput:
    """Return the parts of an output (n, pixels + 2 * latent).

    Raises:
        ModelError: the output has another shape.
    """
    code = output.shape[-1] - pixels
    if output.ndim != 2 or code < 2 or code % 2:
        raise ModelError(
            f"An output of shape {tuple(output.shape)} for images of {pixels} pixels; expected a logit per pixel, then "
            "the means and log variances of the code, (n, pixels + 2 * latent)."
        )
    return AutoencoderOutput(output[:, :pixels], *output[:, pixels:].chunk(2, dim=1))


class TorchAutoencoder(TorchModel):
    """An autoencoder of images with pixels in [0, 1].

    Its module has ``encode(images)``, which returns the mean and the log variance of Gaussian codes, (n, latent) each,
    or deterministic codes and None; and ``decode(codes)``, which returns the logits of Bernoulli pixels, (n, c, h, w).
    The prior is standard normal. The output is (n, c * h * w + 2 * latent): the logits at the mean code, the mean, and
    the log variance, clamped to +-8.

    Args:
        module: a module with encoder and decoder.
        shape: (channels, height, width) of the images.
        variational: whether codes are Gaussian; otherwise they are deterministic.
        weights, recipe, layer: as for every model.
    """

    output_name = "a reconstruction and a code"

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
        """Number of elements of an image."""
        return math.prod(self.shape)

    def raw(self, pixels: Tensor) -> Tensor:
        """Return logits at the mean code, mean and log variance, (n, c * h * w + 2 * latent)."""
        self._check_shape(pixels)
        mean, log_variance = self.code(pixels)
        logits = self.decoded(mean)
        return torch.cat([logits.flatten(1), mean, log_variance], dim=1)

    def code(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log variance of the codes of images, (n, latent) each, differentiable.

        Raises:
            ModelError: the encoder returns another form, or a log variance although codes are deterministic.
        """
        code: tuple[Tensor, Tensor] = self.in_full_batches(self._code, pixels)
        return code

    def _code(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        code = self.module.encode(self.prepare(pixels))  # type: ignore[operator]  # checked by the constructor
        if not isinstance(code, tuple | list) or len(code) != 2:
            raise ModelError(f"The encoder did not return {CODES.expected}, but {form_of(code)}.")
        mean, log_variance = (part if part is None else numbers_of(part, pixels, CODES) for part in code)
        if mean is None or mean.ndim != 2 or len(mean) != len(pixels):
            raise ModelError(
                f"The encoder did not return {CODES.expected} for {len(pixels)} images, but {form_of(code)}."
            )
        if self.variational != (log_variance is not None):
            returned = "no" if log_variance is None else "a"
            raise ModelError(f"variational={self.variational}, but the encoder returns {returned} log variance.")
        if log_variance is None:
            return mean, torch.full_like(mean, NO_SPREAD)
        if log_variance.shape != mean.shape:
            raise ModelError(
                f"Means {tuple(mean.shape)}, but log variances {tuple(log_variance.shape)}; expected equal shapes."
            )
        return mean, log_variance.clamp(-CLAMP, CLAMP)

    def decoded(self, codes: Tensor) -> Tensor:
        """Return the logits of pixels (n, c, h, w) for codes (n, latent), differentiable.

        Raises:
            ModelError: the decoder returns another shape.
        """
        logits: Tensor = self.in_full_batches(self._decoded, codes)
        return logits

    def _decoded(self, codes: Tensor) -> Tensor:
        output = self.module.decode(codes)  # type: ignore[operator]  # checked by the constructor
        form = Form(str((len(codes), *self.shape)), "codes", PIXELS, "The decoder")
        logits = numbers_of(output, codes, form)
        if tuple(logits.shape) != (len(codes), *self.shape):
            raise refusal(logits, codes, form)
        return logits

    def reconstruct(self, pixels: Tensor) -> Tensor:
        """Return the pixel probabilities at the mean code of each image, (n, c, h, w).

        Raises:
            DataError: not images of this model's shape with pixels in [0, 1].
        """
        self._checked(pixels)
        with self.frozen(), torch.no_grad():
            return self(pixels)[:, : self.dimensions].sigmoid().view(-1, *self.shape)

    def interpolate(self, first: Tensor, second: Tensor, steps: int) -> Tensor:
        """Return decoded linear interpolations between the mean codes of pairs of images.

        Args:
            first: images (n, c, h, w).
            second: images (n, c, h, w).
            steps: points per pair, including both ends, at least 2.

        Returns:
            Pixel probabilities (n, steps, c, h, w).
        """
        if first.shape != second.shape or steps < 2:
            raise DataError(
                f"{len(first)} and {len(second)} images, {steps} steps; expected pairs and at least 2 steps."
            )
        self._checked(first)
        self._checked(second)
        with self.frozen(), torch.no_grad():
            begin, end = self.code(first)[0], self.code(second)[0]
            share = torch.linspace(0, 1, steps, device=begin.device, dtype=begin.dtype)[:, None]
            lines = begin[:, None] + share * (end - begin)[:, None]
            return self.decoded(lines.flatten(0, 1)).sigmoid().view(-1, steps, *self.shape)

    def prior(self, count: int, seed: int) -> Tensor:
        """Return codes drawn from the prior, (count, latent); a larger count starts with the same codes.

        Raises:
            NotApplicableError: codes are deterministic and have no prior.
        """
        self._check_variational()
        one = torch.zeros(1, *self.shape, device=self.device)
        with self.frozen(), torch.no_grad():
            like = self.code(one)[0]
        if count < 1:
            raise DataError(f"count={count}; expected at least one code.")
        return torch.cat(draw_noise(count, like.shape[1], seed, like=like))[:count]

    def sample(self, count: int, seed: int) -> Tensor:
        """Return the pixel probabilities of images drawn from the model, (count, c, h, w)."""
        codes = self.prior(count, seed)
        with self.frozen(), torch.no_grad():
            return self.decoded(codes).sigmoid()

    def evidence(self, pixels: Tensor, draws: int, seeds: Sequence[int]) -> Evidence:
        """Return the bounds and estimates of -log p(x) of images, in nats.

        Args:
            pixels: images (n, c, h, w), each pixel 0 or 1.
            draws: codes drawn per image.
            seeds: one seed per image; the draws depend on nothing else.

        Raises:
            DataError: not images of this model's shape with pixels in [0, 1], or not one seed per image.
            NotApplicableError: there is no likelihood: codes are deterministic, or pixels lie between 0 and 1.
        """
        self._checked(pixels)
        self._check_variational()
        if not bool(((pixels == 0) | (pixels == 1)).all()):
            raise NotApplicableError("pixels between 0 and 1 have no Bernoulli likelihood; binarize the images")
        if len(seeds) != len(pixels) or draws < 1:
            raise DataError(
                f"{len(seeds)} seeds for {len(pixels)} images, {draws} draws; expected one seed per image, draws >= 1."
            )
        with self.frozen(), torch.no_grad():
            mean, log_variance = self.code(pixels)
            samples = zip(pixels.to(mean), mean, log_variance, seeds, strict=True)
            each = [estimate_evidence(self.decoded, image, m, v, draws, seed) for image, m, v, seed in samples]
        names = ("reconstruction", "divergence", "importance")
        return Evidence(*(torch.stack([getattr(one, name) for one in each]) for name in names))

    def _check_variational(self) -> None:
        if not self.variational:
            raise NotApplicableError(
                "the codes of a plain autoencoder are deterministic: it has neither a prior nor a density"
            )

    def _check_shape(self, pixels: Tensor) -> None:
        if tuple(pixels.shape[1:]) != self.shape:
            raise ModelError(
                f"Images of shape {tuple(pixels.shape[1:])}, but the model was built for {self.shape}. Build it for "
                "this task, or set the size= of the task to that of the model."
            )

    def _checked(self, pixels: Tensor) -> None:
        """Raise DataError unless these are images of this model with pixels in [0, 1]."""
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
