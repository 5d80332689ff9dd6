"""Autoencoding: images are reconstructed from their own codes."""

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from suite.data import TaskData
from suite.decorators import kind
from suite.errors import MeasureError, ModelError
from suite.kinds.autoencoding import calibration, losses
from suite.kinds.autoencoding.evidence import binarized, gallery
from suite.kinds.autoencoding.losses import ACTIVE_UNITS, DIVERGENCE, INDEPENDENT_PIXELS
from suite.kinds.autoencoding.robustness import LATENT_SHIFT, ROBUST_DIVERGENCE
from suite.kinds.base import (
    Array,
    AttributionTarget,
    Kind,
    Logits,
    NotApplicable,
    Outcome,
    Outcomes,
    ValidatedSample,
)
from suite.kinds.defaults import Graded, KindDefaults
from suite.kinds.inputs import image
from suite.metrics.catalogue import Metric
from suite.metrics.stats import Statistic, average
from suite.metrics.table import Mean, Measured, Table
from suite.models.adapters.autoencoder import AutoencoderOutput, TorchAutoencoder, split_output
from suite.models.adapters.evidence import bernoulli, divergences
from suite.models.base import TorchModel
from suite.types import IMAGE, Display, DisplayType, Measure, Sample

PRESETS = MappingProxyType(
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
        "attribution": ("attribution(methods=[saliency, integrated_gradients, occlusion, centre, edges], samples=32)",),
    }
)

OF_CODES = tuple(one.name for one in (DIVERGENCE, ACTIVE_UNITS, INDEPENDENT_PIXELS, ROBUST_DIVERGENCE, LATENT_SHIFT))
"""Metrics of codes or of the data, which do not depend on the pixels that are decoded."""

USED = 0.01
"""Divergence in nats, or magnitude of a point code, above which a latent dimension carries information."""

POINTS = "points, at no cost"
"""Param of rows about plain autoencoders."""


class Autoencoding(Graded, KindDefaults):
    """An image from its own code; the output is a logit per pixel, and the code's mean and log variance.

    The target is the clean image, also under attack. A tally is the code length of the pixels and that of the code,
    (n, 2), in bits per dimension. Damage is 1 - 2^-(code length / reference): one half where the code is useless,
    because the image needs as many bits as under independent pixels with the training images' means.

    Args:
        shape: (channels, height, width) of the task's images; None until the kind is fitted.
        reference: bits per dimension of images under independent pixels; 1 until the kind is fitted.
    """

    adapter: type[TorchModel] = TorchAutoencoder
    headline = losses.CODE_LENGTH
    outcome = Outcome("graded", "2^-(code length / that of independent pixels)")
    method = "pixel"
    truth: DisplayType = "image"
    attack_loss = staticmethod(losses.attack_loss)
    rescaling = staticmethod(calibration.rescaling)
    gallery = staticmethod(gallery)

    def __init__(self, shape: tuple[int, ...] | None = None, reference: float = 1.0) -> None:
        self.shape, self.reference = shape, reference

    def kind(self) -> Kind:
        """Return the kind: images that are their own targets, explained by maps of pixels."""
        return Kind(
            "autoencoding",
            IMAGE,
            samples=self,
            models=self,
            scoring=self,
            showing=self,
            fitting=self,
            training=self,
            attacks=self,
            probabilities=self,
            maps=self,
            features=NotApplicable("the input is an image; its pixels are explained by the axis attribution"),
            presets=PRESETS,
            logits=Logits(self._logits, in_headline=True, in_explanations=False, unaffected=OF_CODES),
        )

    def validate_sample(self, sample: Sample, classes: Sequence[str] | None) -> ValidatedSample:
        """Return the image, (channels, height, width) in uint8 or float32, twice: it is its own target."""
        value = image(sample.input)
        return ValidatedSample(value, value)

    def class_names(self, targets: Mapping[str, Sequence[Any]]) -> tuple[str, ...]:
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
        return type(self)(data.info.input_shape, nats / (len(means) * math.log(2)))

    def training_loss(self, model: Any, pixels: Tensor, targets: Tensor) -> tuple[Tensor, None]:
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

    def headline_measure(self, table: Table, metric: Metric, tally: Array, **fields: Any) -> Measure:
        """Return the mean code length, with a param if codes are points."""
        if not tally[:, 1].any():
            fields["params"] = {**fields.get("params", {}), "codes": POINTS}
        return super().headline_measure(table, metric, tally, **fields)

    def measured(self, outcomes: Outcomes) -> Measured:
        """Return each image's code length, its two parts, and the fraction of wrongly reconstructed pixels.

        The facts are the number of pixels of an image, the likelihood, whether codes are Gaussian, and the mean
        divergence of each latent dimension, in nats; None for points.
        """
        tally = self.tally(outcomes.output, outcomes.targets)
        output = losses.output_parts(torch.from_numpy(outcomes.output), torch.from_numpy(outcomes.targets))
        white = output.logits.numpy() > 0
        error = (white != (outcomes.targets.reshape(white.shape) >= 0.5)).mean(axis=1)
        lengths = {losses.CODE_LENGTH.name: tally.sum(axis=1), "reconstruction": tally[:, 0], "divergence": tally[:, 1]}
        facts = {
            "dimensions": math.prod(outcomes.targets.shape[1:]),
            "likelihood": "bernoulli",
            "binarised": binarized(outcomes),
            "variational": bool(output.is_gaussian.all()),
        }
        values = {**lengths, "wrong_pixels": error}
        if not facts["variational"]:
            return Measured(values, {**facts, "divergence_by_latent": None})
        return Measured(values, facts, sums={"divergence_by_latent": _divergence_by_latent(outcomes)})

    def output_arrays(self, output: Array) -> dict[str, Display]:
        """Return the reconstruction, uint8 (n, c, h, w), and the divergence of the code, in nats, (n,)."""
        parts = self._parts(output)
        pixels = parts.logits.sigmoid().mul(255).round().to(torch.uint8).view(-1, *self._image_shape())
        nats = losses.code_divergences(parts).sum(dim=1)
        return {
            "reconstruction": Display(pixels.numpy(), "image"),
            "divergence": Display(nats.numpy(), "number"),
        }

    def probabilities(self, output: Array) -> Array:
        """Return the probability that a pixel is 1, at the mean of the image's own code, float64 (n, c, h, w)."""
        return self._parts(output).logits.double().sigmoid().view(-1, *self._image_shape()).numpy()

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

    def _logits(self, output: Array) -> Array:
        """Return the logits of all pixels, (n * pixels, 1)."""
        return self._parts(output).logits.reshape(-1, 1).numpy()

    def _image_shape(self) -> tuple[int, ...]:
        if self.shape is None:
            raise MeasureError("The shape of the images is not known yet; call fit_to_model first.")
        return self.shape

    def _parts(self, output: Array) -> AutoencoderOutput:
        return split_output(torch.from_numpy(np.asarray(output)), math.prod(self._image_shape()))


def _information(parts: AutoencoderOutput) -> Tensor:
    """Return the information of each latent dimension, (n, latent): its divergence, or the magnitude of a point."""
    return torch.where(parts.is_gaussian, divergences(parts.mean, parts.log_variance), parts.mean.abs())


def _divergence_by_latent(outcomes: Outcomes) -> Mean:
    parts = losses.output_parts(torch.from_numpy(outcomes.output).double(), torch.from_numpy(outcomes.targets))
    return Mean(losses.code_divergences(parts).sum(dim=0).numpy(), len(outcomes.ids))


@kind()
def autoencoding() -> Kind:
    """An image from its own code."""
    return Autoencoding().kind()
