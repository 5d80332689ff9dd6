"""Autoencoding: images are reconstructed from their own codes."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from suite.data import TaskData
from suite.errors import MeasureError, ModelError
from suite.kinds.autoencoding import calibration, losses
from suite.kinds.autoencoding.evidence import gallery, likelihood
from suite.kinds.base import Array, AttributionTarget, Calibrated, Outcomes, ValidatedSample
from suite.kinds.defaults import Graded, KindDefaults
from suite.kinds.inputs import image
from suite.metrics.stats import Statistic, average, resampled
from suite.models.adapters.autoencoder import AutoencoderOutput, TorchAutoencoder, split_output
from suite.models.adapters.evidence import bernoulli, divergences
from suite.registry import register
from suite.types import Measure, Sample

USED = 0.01
"""Divergence in nats, or magnitude of a point code, above which a latent dimension carries information."""

POINTS = "points, at no cost"
"""Param of rows about plain autoencoders."""


@dataclass(frozen=True)
class Autoencoding(Graded, KindDefaults):
    """An image from its own code; the output is a logit per pixel, and the code's mean and log variance.

    The target is the clean image, also under attack. A tally is the code length of the pixels and that of the code,
    (n, 2), in bits per dimension. Damage is 1 - 2^-(code length / reference): one half where the code is useless,
    because the image needs as many bits as under independent pixels with the training images' means.

    Attributes:
        shape: (channels, height, width) of the task's images; None until the kind is fitted.
        reference: bits per dimension of images under independent pixels; 1 until the kind is fitted.
    """

    shape: tuple[int, ...] | None = None
    reference: float = 1.0

    name = "autoencoding"
    adapter = TorchAutoencoder
    headline = "code_length"
    unit = "bit per dimension"
    higher_is_better = False
    quality = "2^-(code length / that of independent pixels)"
    default_uncertainty = "pixel"
    calibration_metric = "pixel_ece"
    presets = MappingProxyType(
        {
            "clean": ("clean",),
            "robustness": (
                "robustness(attack=fgsm(eps=[0.05, 0.1, 0.2]))",
                "robustness(attack=pgd(eps=[0.05, 0.1, 0.2], steps=20, restarts=1, loss=ce))",
                "robustness(attack=patch(area=[0.05, 0.15], steps=30, restarts=1, loss=ce))",
                "corruption(names=[gaussian_noise, motion_blur, contrast], severities=[3])",
                "occlusion(fractions=[0.1, 0.25], places=2)",
            ),
            "calibration": ("calibration(members=1)",),
            "attribution": (
                "attribution(methods=[saliency, integrated_gradients, occlusion, centre, edges], samples=16)",
            ),
        }
    )
    attack_loss = staticmethod(losses.attack_loss)
    rescaling = staticmethod(calibration.rescaling)
    uncertainty = staticmethod(calibration.uncertainty)
    gallery = staticmethod(gallery)

    def validate_sample(self, sample: Sample, classes: Sequence[str] | None) -> ValidatedSample:
        """Return the image, (channels, height, width) in uint8 or float32, twice: it is its own target."""
        value = image(sample.input)
        return ValidatedSample(value, value)

    def class_names(self, targets: Sequence[Any]) -> tuple[str, ...]:
        """Return nothing: there are no classes."""
        return ()

    def stack(self, targets: Sequence[Any], classes: Sequence[str]) -> Array:
        """Return images as float32 in [0, 1], (n, c, h, w)."""
        if not len(targets):
            return np.zeros((0, 1, 1, 1), np.float32)
        images = np.stack(targets)
        return np.asarray(images / np.float32(255) if images.dtype == np.uint8 else images, np.float32)

    def check_output(self, output: Tensor, classes: Sequence[str]) -> None:
        """Raise ModelError unless the output has two dimensions."""
        if output.ndim != 2:
            raise ModelError(f"The model returns {tuple(output.shape)}; expected (n, pixels + 2 * latent).")

    def fit_to_model(self, validation: Callable[[], tuple[Array, Array]], data: TaskData | None = None) -> Self:
        """Return the kind with the shape of the images, and their bits per dimension under independent pixels."""
        if data is None:
            return self
        images = data.train.targets if len(data.train) else data.test.targets
        means = losses.independent(images)
        nats = float(losses.independent_nats(images, means).mean())
        return replace(self, shape=data.info.input_shape, reference=nats / (len(means) * math.log(2)))

    def training_loss(self, model: TorchAutoencoder, pixels: Tensor, targets: Tensor) -> tuple[Tensor, None]:
        """Return the negative ELBO with one draw, in nats, (n,); for a plain autoencoder the cross-entropy."""
        mean, log_variance = model.code(pixels)
        if not model.variational:
            return bernoulli(model.decoded(mean), targets).float(), None
        code = mean + (log_variance / 2).exp() * torch.randn_like(mean)
        return (bernoulli(model.decoded(code), targets) + divergences(mean, log_variance).sum(dim=1)).float(), None

    def damage(self, output: Tensor, targets: Tensor) -> Tensor:
        """Return 1 - 2^-(code length of the clean image / reference), (n,)."""
        return losses.damage(output.double(), targets, self.reference)

    def mask_covered_targets(self, targets: Tensor, covered: Tensor) -> Tensor:
        """Return targets in which covered pixels are NaN, which are ignored."""
        return targets.masked_fill(covered[:, None], torch.nan)

    def tally(self, output: Array, targets: Array) -> Array:
        """Return the lengths of the pixels and of the code of each image, (n, 2), in bits per dimension."""
        pair = torch.from_numpy(np.asarray(output, np.float64)), torch.from_numpy(targets)
        return torch.stack([losses.reconstruction(*pair), losses.divergence(*pair)], dim=1).numpy()

    def statistic(self, tally: Array) -> Statistic:
        """Return the mean code length as a function of resampling counts."""
        return average(tally.sum(axis=1))

    def headline_measure(self, metric: str, tally: Array, *, seed: int, **fields: Any) -> Measure:
        """Return the mean code length, with a param if codes are points."""
        if not tally[:, 1].any():
            fields["params"] = {**fields.get("params", {}), "codes": POINTS}
        return super().headline_measure(metric, tally, seed=seed, **fields)

    def secondary_metrics(self, tally: Array, *, seed: int, params: Mapping[str, Any]) -> list[Measure]:
        """Return the two parts of the code length: that of the pixels, and that of the code."""
        fields: dict[str, Any] = {"seed": seed, "unit": self.unit, "higher_is_better": False, "params": params}
        names = ("robust_reconstruction", "robust_divergence")
        return [resampled(n, average(tally[:, part]), len(tally), **fields) for part, n in enumerate(names)]

    def latent_shift(self, before: Array, after: Array) -> dict[str, Array]:
        """Return the symmetric divergence between the distributions of the two codes, in nats, (n,)."""
        first, second = self._parts(before), self._parts(after)
        return {"latent_shift": losses.shift(first, second).numpy()} if bool(first.is_gaussian.all()) else {}

    def columns(self, outcomes: Outcomes) -> dict[str, Any]:
        """Return each image's code length, its two parts, and the fraction of wrongly reconstructed pixels."""
        tally = self.tally(outcomes.output, outcomes.targets)
        white = (
            split_output(torch.from_numpy(outcomes.output), math.prod(outcomes.targets.shape[1:])).logits.numpy() > 0
        )
        error = (white != (outcomes.targets.reshape(white.shape) >= 0.5)).mean(axis=1)
        lengths = {"code_length": tally.sum(axis=1), "reconstruction": tally[:, 0], "divergence": tally[:, 1]}
        return {**lengths, "pixel_error": error}

    def details(self, outcomes: Outcomes) -> dict[str, Any]:
        """Return the likelihood, and the mean divergence of each latent dimension, in nats; None for points."""
        parts = losses.output_parts(torch.from_numpy(outcomes.output).double(), torch.from_numpy(outcomes.targets))
        by_latent = losses.code_divergences(parts).mean(dim=0).tolist() if bool(parts.is_gaussian.all()) else None
        return {**likelihood(outcomes), "divergence_by_latent": by_latent}

    def output_arrays(self, output: Array) -> dict[str, Array]:
        """Return the reconstruction, uint8 (n, c, h, w), and the divergence of the code, in nats, (n,)."""
        parts = self._parts(output)
        pixels = parts.logits.sigmoid().mul(255).round().to(torch.uint8).view(-1, *self._image_shape())
        return {"reconstruction": pixels.numpy(), "divergence": losses.code_divergences(parts).sum(dim=1).numpy()}

    def probabilities(self, output: Array) -> Array:
        """Return the probability that a pixel is 1, at the mean of the image's own code, float64 (n, c, h, w)."""
        return self._parts(output).logits.double().sigmoid().view(-1, *self._image_shape()).numpy()

    def calibrated(self, predicted: Array, output: Array | None, targets: Array, **options: Any) -> Calibrated:
        """Return the calibration of pixel probabilities."""
        logits = None if output is None else self._parts(output).logits.view(-1, *self._image_shape()).numpy()
        return calibration.calibrated(predicted, logits, targets, **options)

    def explainable(self, output: Array) -> Array:
        """Return for which images the code carries information."""
        return np.asarray((_information(self._parts(output)).amax(dim=1) > USED).numpy())

    def explained(self, model: Any, pixels: Tensor, outputs: Tensor) -> AttributionTarget:
        """Explain the most informative latent dimension of the clean image, relative to its clean mean.

        For a Gaussian code it is the dimension of the largest divergence among those with a mean other than 0.
        """
        parts = split_output(outputs, math.prod(pixels.shape[1:]))
        chosen = torch.where(parts.mean.abs() > 1e-6, _information(parts), -1.0).argmax(dim=1)
        clean = parts.mean.gather(1, chosen[:, None])[:, 0]

        def relative(inputs: Tensor, rows: Tensor) -> Tensor:
            return model.code(inputs)[0].gather(1, chosen[rows][:, None])[:, 0] / clean[rows]  # type: ignore[no-any-return]

        return AttributionTarget(relative, lambda inputs, rows: relative(inputs, rows).double().clamp(0, 1))

    def _image_shape(self) -> tuple[int, ...]:
        if self.shape is None:
            raise MeasureError("The shape of the images is not known yet; call fit_to_model first.")
        return self.shape

    def _parts(self, output: Array) -> AutoencoderOutput:
        return split_output(torch.from_numpy(np.asarray(output)), math.prod(self._image_shape()))


def _information(parts: AutoencoderOutput) -> Tensor:
    """Return the information of each latent dimension, (n, latent): its divergence, or the magnitude of a point."""
    return torch.where(parts.is_gaussian, divergences(parts.mean, parts.log_variance), parts.mean.abs())


@register("kind")
def autoencoding() -> Autoencoding:
    """An image from its own code."""
    return Autoencoding()
