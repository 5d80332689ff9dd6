"""Synthesis: images are generated from latents; a sample is a latent, and is correct if its image looks real."""

import copy
from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from suite.data import Split, TaskData
from suite.decorators import kind
from suite.errors import DataError, ModelError, NotApplicableError, SpecError, TrainingError
from suite.kinds.base import (
    Array,
    Kind,
    NotApplicable,
    Outcome,
    Outcomes,
    Rationale,
    ValidatedSample,
)
from suite.kinds.defaults import Graded, KindDefaults, Labeled
from suite.kinds.inputs import image, label
from suite.kinds.synthesis.gallery import as_bytes, gallery
from suite.kinds.synthesis.judge import judge_of
from suite.kinds.synthesis.manifold import K, Manifold
from suite.kinds.synthesis.quality import PRECISION
from suite.metrics.catalogue import Metric
from suite.metrics.generation import kernel_distance
from suite.metrics.generation.kid import FEWEST
from suite.metrics.stats import Statistic, average
from suite.metrics.table import Measured, Table
from suite.models.adapters.generator import TorchGenerator
from suite.models.base import TorchModel
from suite.types import IMAGE, Display, DisplayType, Measure, Sample

NO_STANDARD = (
    "no standard exists for the robustness of generators: the neighborhood of a latent is searched for a point whose "
    "image leaves the manifold of real ones in the feature space of a judge"
)
PREDICTS_NOTHING = (
    "a generator makes no predictions that could be calibrated; its critic's predictions for real and generated images "
    "are measured in other rows"
)
LOSSES = ("margin", "ce", "scaled_ce")
"""``margin``: distance of an image to the nearest ball; ``ce``, ``scaled_ce``: the same, smoothed over the balls."""

SMOOTH = 0.5
"""Width of the smoothing, in units of a feature's standard deviation."""


PRESETS = MappingProxyType(
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


class Synthesis(Graded, Labeled, KindDefaults):
    """Images from latents; the output is the image. The damage is 1 where it does not lie on the real manifold."""

    adapter: type[TorchModel] = TorchGenerator
    headline = PRECISION
    outcome = Outcome("graded", "whether an image lies on the manifold of real ones")
    ranking_loss = "margin"
    truth: DisplayType = "class"
    gallery = staticmethod(gallery)

    def __init__(self) -> None:
        self._manifold: Manifold | None = None
        self._reason = "the kind was not fitted to training images"
        self._by_device: dict[torch.device, Manifold] = {}

    def kind(self) -> Kind:
        """Return the kind: real images, and a generator whose latents are explained one by one."""
        return Kind(
            "synthesis",
            IMAGE,
            samples=self,
            models=self,
            scoring=self,
            showing=self,
            fitting=self,
            training=self,
            attacks=self,
            probabilities=NotApplicable(PREDICTS_NOTHING),
            maps=NotApplicable(
                "the input is a latent without pixels; its components are explained by the axis rationale"
            ),
            features=self,
            presets=PRESETS,
        )

    # samples

    def validate_sample(self, sample: Sample, classes: Sequence[str] | None) -> ValidatedSample:
        """Return the image, (channels, height, width) in uint8 or float32, and the class that the judge learns."""
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

    def fit_to_model(self, validation: Callable[[], tuple[Array, Array]], data: TaskData | None = None) -> Self:
        """Return the kind with the manifold of the task's training images."""
        if data is None:
            return self
        kind = copy.copy(self)
        kind._by_device = {}
        try:
            kind._manifold = Manifold.of(data.train)
        except NotApplicableError as error:
            kind._reason = str(error)
        except DataError as error:
            kind._reason = f"the training images span no manifold: {error}"
        return kind

    def manifold(self, device: torch.device) -> Manifold:
        """Return the manifold of real images on a device.

        Raises:
            NotApplicableError: a judge cannot be trained for the task.
        """
        if self._manifold is None:
            raise NotApplicableError(self._reason)
        if device not in self._by_device:
            self._by_device[device] = self._manifold.on(device)
        return self._by_device[device]

    def training_loss(self, model: Any, pixels: Tensor, targets: Tensor) -> tuple[Tensor, Tensor | None]:
        """Raise TrainingError: generator and critic are trained against each other."""
        raise TrainingError("A generator has its own training loop; give its adapter recipe=GanRecipe(...).")

    def scorer(self, train: Split, validation: Split) -> Callable[[Tensor], float]:
        """Return the function from generated images to their kernel distance (KID) from validation images.

        Raises:
            TrainingError: too few validation images.
        """
        if len(validation) < FEWEST:
            raise TrainingError(
                f"Checkpoints are selected on validation images, and there are {len(validation)}; expected at least "
                f"{FEWEST}."
            )
        judge = judge_of(train)
        real = judge.features_of(validation.pixels())

        def score(images: Tensor) -> float:
            features = judge.features_of(images.float().cpu())
            return kernel_distance(real, features, seed=0).value if np.isfinite(features).all() else float("nan")

        return score

    # attacks

    def attack_loss(
        self, output: Tensor, targets: Tensor, *, name: str, target_classes: Tensor | None = None
    ) -> Tensor:
        """Return the distance of images to the manifold, (n,) in float64, positive outside; see `LOSSES`.

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

    # scores

    def tally(self, output: Array, targets: Array) -> Array:
        """Return which images lie on the manifold, bool (n,)."""
        return self.manifold(torch.device("cpu")).distances(output) <= 0

    def statistic(self, tally: Array) -> Statistic:
        """Return the fraction of images on the manifold as a function of resampling counts."""
        return average(np.asarray(tally, np.float64))

    def headline_measure(self, table: Table, metric: Metric, tally: Array, **fields: Any) -> Measure:
        """Return the fraction of images on the manifold with its interval; only clean, it is no proxy."""
        proxy = {} if metric.name == PRECISION.name else {"proxy": True}
        params = {**fields.pop("params", {}), **proxy, "k": K, "real": table.facts["real"]}
        return table.rate(metric, np.asarray(tally, bool), params=params, **fields)

    # what is stored and shown

    def measured(self, outcomes: Outcomes) -> Measured:
        """Return the distance of each image to the manifold, in feature deviations, and whether it lies on it.

        The facts are the class names, a caveat about the robustness of generators, and the number of real images that
        span the manifold.
        """
        facts = {"classes": list(outcomes.classes), "proxy": NO_STANDARD}
        if self._manifold is None:
            return Measured(facts=facts)
        distances = self._manifold.distances(outcomes.output)
        columns = {"off_manifold": distances, "on_manifold": distances <= 0}
        return Measured(columns, {**facts, "real": len(self._manifold.centers)})

    def output_arrays(self, output: Array) -> dict[str, Display]:
        """Return the images as uint8, and whether they lie on the manifold."""
        images = {"generated": Display(as_bytes(output), "image")}
        if self._manifold is None:
            return images
        return {**images, "on_manifold": Display(self.tally(output, output), "flag")}

    # attribution

    def explained(self, model: Any, inputs: Tensor, outputs: Tensor) -> Rationale:
        """Explain the judge's prediction for the image by the components of the latent; 0 replaces a deleted one."""
        judge = self.manifold(outputs.device).judge
        predicted = judge.logits(outputs).argmax(dim=1)

        def target(points: Tensor, rows: Tensor) -> Tensor:
            return judge.logits(model.raw(points[..., 0])).gather(1, predicted[rows][:, None])[:, 0]

        def score(kept: Tensor, rows: Tensor) -> Tensor:
            logits = judge.logits(model.raw(torch.where(kept, inputs[rows], 0.0))).double()
            return logits.softmax(dim=1).gather(1, predicted[rows][:, None])[:, 0]

        point = inputs.detach()[..., None]
        return Rationale(
            torch.ones_like(inputs, dtype=torch.bool),
            point,
            torch.zeros_like(point),
            target,
            score,
            [[f"z{index}" for index in range(inputs.shape[1])]] * len(inputs),
            "set to the mean of latents, 0",
            proxy=True,
            arrays={"images": Display(as_bytes(outputs.detach().cpu().numpy()), "image", "generated")},
        )


@kind()
def synthesis() -> Kind:
    """Images from latents."""
    return Synthesis().kind()
