"""Autoencoding: an image, its code, and the image again."""

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
from suite.kinds.autoencoding import losses
from suite.kinds.autoencoding.calibration import calibrated, rescaling, uncertainty
from suite.kinds.autoencoding.evidence import likelihood
from suite.kinds.autoencoding.gallery import shown
from suite.kinds.base import Array, AttributionTarget, Calibrated, Outcomes, Rescaling, ValidatedSample
from suite.kinds.defaults import Graded, KindDefaults
from suite.kinds.images import image
from suite.metrics.stats import Statistic, average, resampled
from suite.models.adapters.autoencoder import Answer, TorchAutoencoder, parts
from suite.models.adapters.evidence import bernoulli, divergences
from suite.registry import register
from suite.types import Measure, Sample

PRESETS: Mapping[str, Sequence[str]] = MappingProxyType(
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
        "attribution": ("attribution(methods=[saliency, integrated_gradients, occlusion, centre, edges], samples=16)",),
    }
)
"""What a plain run measures on images of strokes; a task may say otherwise."""

USED = 0.01
"""Divergence in nats, or magnitude of a code that is a point, from which on a number of a code says something."""

POINTS = "points, at no cost"
"""What is told of the codes of a plain autoencoder."""


@dataclass(frozen=True)
class Autoencoding(Graded, KindDefaults):
    """An image from its own code; the output is a logit per pixel, and the code's mean and log variance.

    The target is the clean image, whatever the model was shown. A tally is what the pixels and the code cost, (n, 2),
    in bits per dimension. Damage is 1 - 2^-(code length / reference): half where the code is worth nothing, because the
    image costs as much as without any, by the training images' mean of each pixel.

    Attributes:
        shape: (channels, height, width) of the task's images; known once the kind has settled.
        reference: what an image costs without a code, in bits per dimension; known once the kind has settled.
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
    presets = PRESETS

    def validate_sample(self, sample: Sample, classes: Sequence[str] | None) -> ValidatedSample:
        """Return (channels, height, width) in uint8 or float32, twice: an image is its own target."""
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
        """Raise ModelError unless there is a row of numbers for each image."""
        if output.ndim != 2:
            raise ModelError(f"The model returns {tuple(output.shape)}; expected (n, pixels + 2 * latent).")

    def fitted_on_validation(self, validation: Callable[[], tuple[Array, Array]], data: TaskData | None = None) -> Self:
        """Return the kind with the shape of the images, and what one costs without a code."""
        if data is None:
            return self
        images = data.train.targets if len(data.train) else data.test.targets
        chance = losses.independent(images)
        nats = float(losses.independent_nats(images, chance).mean())
        return replace(self, shape=data.info.input_shape, reference=nats / (len(chance) * math.log(2)))

    def training_loss(self, model: TorchAutoencoder, pixels: Tensor, targets: Tensor) -> tuple[Tensor, None]:
        """Return the negative evidence lower bound with one draw, in nats, (n,); of a plain one the cross-entropy."""
        mean, log_variance = model.code(pixels)
        if not model.variational:
            return bernoulli(model.decoded(mean), targets).float(), None
        code = mean + (log_variance / 2).exp() * torch.randn_like(mean)
        return (bernoulli(model.decoded(code), targets) + divergences(mean, log_variance).sum(dim=1)).float(), None

    def attack_loss(
        self, output: Tensor, targets: Tensor, *, name: str, target_classes: Tensor | None = None
    ) -> Tensor:
        """Return one of `autoencoding_losses.LOSSES` per image, in float64."""
        return losses.attack_loss(output, targets, name, target_classes)

    def damage(self, output: Tensor, targets: Tensor) -> Tensor:
        """Return 1 - 2^-(code length of the clean image / reference), (n,)."""
        return losses.damage(output.double(), targets, self.reference)

    def hidden(self, targets: Tensor, covered: Tensor) -> Tensor:
        """Return targets with covered pixels not counted."""
        return targets.masked_fill(covered[:, None], torch.nan)

    def tally(self, output: Array, targets: Array) -> Array:
        """Return what the pixels and the code of each image cost, (n, 2), in bits per dimension."""
        given = torch.from_numpy(np.asarray(output, np.float64)), torch.from_numpy(targets)
        return torch.stack([losses.reconstruction(*given), losses.divergence(*given)], dim=1).numpy()

    def statistic(self, tally: Array) -> Statistic:
        """Return the mean code length."""
        return average(tally.sum(axis=1))

    def headline_measure(self, metric: str, tally: Array, *, seed: int, **fields: Any) -> Measure:
        """Return the mean code length; of codes that are points, and cost nothing, the row says so."""
        if not tally[:, 1].any():
            fields["params"] = {**fields.get("params", {}), "codes": POINTS}
        return super().headline_measure(metric, tally, seed=seed, **fields)

    def secondary_metrics(self, tally: Array, *, seed: int, params: Mapping[str, Any]) -> list[Measure]:
        """Return the two parts of the code length: what the pixels cost, and what the code does."""
        fields: dict[str, Any] = {"seed": seed, "unit": self.unit, "higher_is_better": False, "params": params}
        names = ("robust_reconstruction", "robust_divergence")
        return [resampled(n, average(tally[:, part]), len(tally), **fields) for part, n in enumerate(names)]

    def latent_shift(self, before: Array, after: Array) -> dict[str, Array]:
        """Return how far codes moved: the symmetric divergence between their distributions, in nats, (n,)."""
        sides = self._parts(before), self._parts(after)
        return {"latent_shift": losses.shift(*sides).numpy()} if bool(sides[0].spread.all()) else {}

    def columns(self, outcomes: Outcomes) -> dict[str, Any]:
        """Return each image's code length, its two parts, and the share of pixels that come back wrong."""
        tally = self.tally(outcomes.output, outcomes.targets)
        said = parts(torch.from_numpy(outcomes.output), math.prod(outcomes.targets.shape[1:])).logits.numpy() > 0
        wrong = (said != (outcomes.targets.reshape(said.shape) >= 0.5)).mean(axis=1)
        costs = {"code_length": tally.sum(axis=1), "reconstruction": tally[:, 0], "divergence": tally[:, 1]}
        return {**costs, "pixel_error": wrong}

    def details(self, outcomes: Outcomes) -> dict[str, Any]:
        """Return the likelihood, and the mean divergence of each number of codes, in nats; None for points."""
        known = losses.answer(torch.from_numpy(outcomes.output).double(), torch.from_numpy(outcomes.targets))
        if not bool(known.spread.all()):
            return {**likelihood(outcomes), "divergence_by_latent": None}
        return {
            **likelihood(outcomes),
            "divergence_by_latent": divergences(known.mean, known.log_variance).mean(dim=0).tolist(),
        }

    def output_arrays(self, output: Array) -> dict[str, Array]:
        """Return the reconstruction, uint8 (n, c, h, w), and what the code costs, in nats, (n,)."""
        known = self._parts(output)
        pixels = known.logits.sigmoid().mul(255).round().to(torch.uint8).view(-1, *self._known())
        cost = torch.where(known.spread, divergences(known.mean, known.log_variance), 0.0).sum(dim=1)
        return {"reconstruction": pixels.numpy(), "divergence": cost.numpy()}

    def gallery(self, outcomes: Outcomes) -> dict[str, Array]:
        """Return images and their reconstructions, ways between images, and what the model generates."""
        return shown(outcomes)

    def probabilities(self, output: Array) -> Array:
        """Return the probability that a pixel is 1, at the mean of the image's own code, float64 (n, c, h, w)."""
        return self._parts(output).logits.double().sigmoid().view(-1, *self._known()).numpy()

    def calibrated(self, predicted: Array, output: Array | None, targets: Array, **options: Any) -> Calibrated:
        """Return how well the probabilities of pixels are calibrated."""
        logits = None if output is None else self._parts(output).logits.view(-1, *self._known()).numpy()
        return calibrated(predicted, logits, targets, **options)

    def rescaling(self, output: Array, targets: Array) -> Rescaling:
        """Return the temperature of the logits that fits validation pixels."""
        return rescaling(output, targets)

    def uncertainty(self, outcomes: Outcomes) -> list[Measure]:
        """Return whether the codes' distributions are those that the decoder implies."""
        return uncertainty(outcomes)

    def explainable(self, output: Array) -> Array:
        """Return for which images the code says anything."""
        return np.asarray((_said(self._parts(output)).amax(dim=1) > USED).numpy())

    def explained(self, model: Any, pixels: Tensor, outputs: Tensor) -> AttributionTarget:
        """Explain the number of the code that the clean image moves most, as a share of its clean mean.

        Of a Gaussian code it is the one of the largest divergence among those with a mean that is not 0.
        """
        known = parts(outputs, math.prod(pixels.shape[1:]))
        chosen = torch.where(known.mean.abs() > 1e-6, _said(known), -1.0).argmax(dim=1)
        clean = known.mean.gather(1, chosen[:, None])[:, 0]

        def share(inputs: Tensor, rows: Tensor) -> Tensor:
            return model.code(inputs)[0].gather(1, chosen[rows][:, None])[:, 0] / clean[rows]  # type: ignore[no-any-return]

        return AttributionTarget(share, lambda inputs, rows: share(inputs, rows).double().clamp(0, 1))

    def _known(self) -> tuple[int, ...]:
        if self.shape is None:
            raise MeasureError("The shape of the images is not known before the kind has settled; call settled first.")
        return self.shape

    def _parts(self, output: Array) -> Answer:
        return parts(torch.from_numpy(np.asarray(output)), math.prod(self._known()))


def _said(known: Answer) -> Tensor:
    """Return how much each number of a code says, (n, latent): its divergence, or its magnitude where it is a point."""
    return torch.where(known.spread, divergences(known.mean, known.log_variance), known.mean.abs())


@register("kind")
def autoencoding() -> Autoencoding:
    """An image from its own code."""
    return Autoencoding()
