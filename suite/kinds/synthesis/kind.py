"""Synthesis: images from latents; one sample is one latent, and it is answered well where its image looks real."""

import copy
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from suite.data import Split, TaskData
from suite.errors import DataError, ModelError, NotApplicableError, SpecError, TrainingError
from suite.kinds.base import Array, AttributionTarget, Calibrated, Outcomes, Rationale, Rescaling, ValidatedSample
from suite.kinds.classification.kind import label
from suite.kinds.defaults import Graded, KindDefaults, Labelled
from suite.kinds.images import image
from suite.kinds.synthesis.critic import critic_measures
from suite.kinds.synthesis.gallery import as_bytes, gallery
from suite.kinds.synthesis.judge import judge_of
from suite.kinds.synthesis.manifold import K, Manifold
from suite.metrics import stats
from suite.metrics.generation import kernel_distance
from suite.metrics.generation.kid import FEWEST
from suite.metrics.stats import Statistic, average
from suite.models.adapters.generator import TorchGenerator
from suite.registry import register
from suite.types import Measure, Sample

PRESETS: Mapping[str, Sequence[str]] = MappingProxyType(
    {
        "clean": ("clean",),
        "robustness": (
            "robustness(attack=fgsm(eps=[0.1, 0.2, 0.5]))",
            "robustness(attack=pgd(eps=[0.1, 0.2, 0.5], steps=10, restarts=1))",
        ),
        "calibration": ("calibration(members=1)",),
        "attribution": ("rationale",),
    }
)
"""What a plain run measures; sizes are in standard deviations of a latent's numbers."""

NO_STANDARD = (
    "no standard exists for the robustness of generators: searched is the neighbourhood of a latent, for a point whose "
    "image leaves the manifold of real ones, as a judge's features show it"
)
PREDICTS_NOTHING = (
    "a generator predicts nothing that could come true or not; what its critic says of real and generated images is "
    "measured beside this row"
)
LOSSES = ("margin", "ce", "scaled_ce")
"""``margin``: how far an image is from the nearest ball; ``ce``, ``scaled_ce``: the same, smoothed over the balls."""

SMOOTH = 0.5
"""Width of the smoothing, in units of a feature's deviation."""


class Synthesis(Graded, Labelled, KindDefaults):
    """Images from latents; the output is the image. The damage is 1 where it does not lie on the real manifold."""

    name = "synthesis"
    adapter = TorchGenerator
    headline = "precision"
    quality = "whether an image lies on the manifold of real ones"
    default_uncertainty = "critic"
    selection_loss = "margin"
    no_ensemble_reason: str | None = PREDICTS_NOTHING
    presets = PRESETS

    def __init__(self) -> None:
        self._manifold: Manifold | None = None
        self._reason = "the kind was not given training images to judge by"
        self._placed: dict[torch.device, Manifold] = {}

    # samples

    def validate_sample(self, sample: Sample, classes: Sequence[str] | None) -> ValidatedSample:
        """Return (channels, height, width) in uint8 or float32, and the class, by which the judge learns to see."""
        return ValidatedSample(image(sample.input), "all" if sample.target is None else label(sample.target, classes))

    # models

    def check_output(self, output: Tensor, classes: Sequence[str]) -> None:
        """Raise ModelError unless the pixels are in [0, 1]."""
        low, high = float(output.min()), float(output.max())
        if low < 0 or high > 1:
            raise ModelError(
                f"The generator returns pixels from {low:g} to {high:g}; expected 0 to 1. End it with a logistic "
                "function, or map the range of tanh by (x + 1) / 2."
            )

    def fitted_on_validation(self, validation: Callable[[], tuple[Array, Array]], data: TaskData | None = None) -> Self:
        """Return the kind with the manifold of the task's training images."""
        if data is None:
            return self
        kind = copy.copy(self)
        kind._placed = {}
        try:
            kind._manifold = Manifold.of(data.train)
        except NotApplicableError as error:
            kind._reason = str(error)
        except DataError as error:
            kind._reason = f"the training images span no manifold: {error}"
        return kind

    def manifold(self, device: torch.device) -> Manifold:
        """Return where real images lie.

        Raises:
            NotApplicableError: the task gives nothing to judge by.
        """
        if self._manifold is None:
            raise NotApplicableError(self._reason)
        if device not in self._placed:
            self._placed[device] = self._manifold.on(device)
        return self._placed[device]

    def training_loss(self, model: Any, pixels: Tensor, targets: Tensor) -> tuple[Tensor, Tensor | None]:
        """Refuse: generator and critic are trained against each other."""
        raise TrainingError("A generator is trained in its own way; give its adapter recipe=GanRecipe(...).")

    def scorer(self, train: Split, validation: Split) -> Callable[[Tensor], float]:
        """Return the kernel distance of generated images from validation images by the judge's features.

        Raises:
            TrainingError: too few validation images.
        """
        if len(validation) < FEWEST:
            raise TrainingError(
                f"Checkpoints are chosen on validation images, and there are {len(validation)}; expected at least "
                f"{FEWEST}."
            )
        judge = judge_of(train)
        real = judge.seen(validation.pixels())

        def score(images: Tensor) -> float:
            features = judge.seen(images.float().cpu())
            return kernel_distance(real, features, seed=0).value if np.isfinite(features).all() else float("nan")

        return score

    # attacks

    def attack_loss(
        self, output: Tensor, targets: Tensor, *, name: str, target_classes: Tensor | None = None
    ) -> Tensor:
        """Return how far images lie off the manifold, (n,) in float64; above zero is off it, see `LOSSES`.

        Raises:
            SpecError: no such loss.
        """
        if name not in LOSSES:
            raise SpecError(f"synthesis has no loss {name!r}; expected one of {', '.join(LOSSES)}.")
        gaps = self.manifold(output.device).gaps(output).double()
        return gaps.amin(dim=1) if name == "margin" else -SMOOTH * torch.logsumexp(-gaps / SMOOTH, dim=1)

    def damage(self, output: Tensor, targets: Tensor) -> Tensor:
        """Return 1 where an image lies in no ball of a real one, else 0."""
        return (self.attack_loss(output, targets, name="margin") > 0).double()

    def hidden(self, targets: Tensor, covered: Tensor) -> Tensor:
        """Return the labels as they are."""
        return targets

    # scores

    def tally(self, output: Array, targets: Array) -> Array:
        """Return which images lie on the manifold, bool (n,)."""
        return self.manifold(torch.device("cpu")).seen(output) <= 0

    def statistic(self, tally: Array) -> Statistic:
        """Return the share of images on the manifold."""
        return average(np.asarray(tally, np.float64))

    def headline_measure(self, metric: str, tally: Array, *, seed: int, **fields: Any) -> Measure:
        """Return the share with Wilson's interval."""
        proxy = {"proxy": True} if fields.pop("proxy", True) else {}
        params = {**fields.pop("params", {}), **proxy, "k": K, "real": len(self.manifold(_CPU).centres)}
        return stats.rate(metric, np.asarray(tally, bool), params=params, **fields)

    # readers

    def columns(self, outcomes: Outcomes) -> dict[str, Any]:
        """Return how far each image is off the manifold, in feature deviations; below 0 on it."""
        if self._manifold is None:
            return {}
        return {"off_manifold": self._manifold.seen(outcomes.output)}

    def details(self, outcomes: Outcomes) -> dict[str, Any]:
        """Return the class names, and what has to be said about the measures."""
        return {"classes": list(outcomes.classes), "proxy": NO_STANDARD}

    def output_arrays(self, output: Array) -> dict[str, Array]:
        """Return the images as uint8, and whether they lie on the manifold."""
        told = {"generated": as_bytes(output)}
        return told if self._manifold is None else {**told, "on_manifold": self.tally(output, output)}

    def gallery(self, outcomes: Outcomes) -> dict[str, Array]:
        """Return generated images, images along lines between latents, and generated ones beside the nearest real."""
        return gallery(outcomes)

    # uncertainty

    def probabilities(self, output: Array) -> Array:
        """Refuse: an image is no prediction."""
        raise NotApplicableError(PREDICTS_NOTHING)

    def calibrated(self, predicted: Array, output: Array | None, targets: Array, **options: Any) -> Calibrated:
        """Refuse: an image is no prediction."""
        raise NotApplicableError(PREDICTS_NOTHING)

    def rescaling(self, output: Array, targets: Array) -> Rescaling:
        """Refuse: an image is no prediction."""
        raise NotApplicableError(PREDICTS_NOTHING)

    def uncertainty(self, outcomes: Outcomes) -> list[Measure]:
        """Return what the critic's confidence is worth on held-out real images and as many generated ones."""
        return critic_measures(outcomes)

    # attribution

    def explained(self, model: Any, pixels: Tensor, outputs: Tensor) -> AttributionTarget:
        """Refuse: a latent is no image."""
        raise NotApplicableError(
            "the input is a latent without pixels; its numbers are explained by the axis rationale"
        )

    def rationale(self, model: Any, inputs: Tensor, outputs: Tensor) -> Rationale:
        """Explain by the numbers of a latent what the judge takes its image for; a number is deleted as the mean, 0."""
        judge = self.manifold(outputs.device).judge
        seen = judge.logits(outputs).argmax(dim=1)

        def target(points: Tensor, rows: Tensor) -> Tensor:
            return judge.logits(model.raw(points[..., 0])).gather(1, seen[rows][:, None])[:, 0]

        def score(kept: Tensor, rows: Tensor) -> Tensor:
            logits = judge.logits(model.raw(torch.where(kept, inputs[rows], 0.0))).double()
            return logits.softmax(dim=1).gather(1, seen[rows][:, None])[:, 0]

        point = inputs.detach()[..., None]
        names = [[f"z{place}" for place in range(inputs.shape[1])]] * len(inputs)
        present = torch.ones_like(inputs, dtype=torch.bool)
        deletion = "set to the mean of latents, 0"
        shown = {"images": as_bytes(outputs.detach().cpu().numpy())}
        return Rationale(
            present, point, torch.zeros_like(point), target, score, names, deletion, proxy=True, arrays=shown
        )


_CPU = torch.device("cpu")


@register("kind")
def synthesis() -> Synthesis:
    """Images from latents."""
    return Synthesis()
