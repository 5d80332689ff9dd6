"""Quality of generated images: their distance to held-out real images, and to the training images.

The control of every row is the same metric for real images of the validation split in place of generated ones: no
generator can be expected to do better at this number of images.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from suite.data import TaskData
from suite.errors import ModelError, NotApplicableError
from suite.kinds.base import Array, Outcomes
from suite.kinds.synthesis.judge import WIDTH, Judge, judge_of
from suite.metrics import stats
from suite.metrics.generation import compared, frechet_distance, frechet_error, kernel_distance, nearest
from suite.metrics.generation.fid import GROUPS
from suite.metrics.generation.kid import FEWEST, KERNEL
from suite.metrics.stats.intervals import quantile_of_level
from suite.types import Measure, not_applicable

MOST = 1000
"""Maximum number of images of each set."""

K, DENSE = 3, 5
"""Neighbors of precision and recall, and of density and coverage, as in the papers that define them."""

GROUPED = f"jackknife of groups of both sets ({GROUPS})"
"""Interval method of the Fréchet distance."""

NEAREST = 0.01
"""Fraction of test images that are, by definition, as near to a training image as a memorized image."""

NAMES = ("kid", "fid", "precision", "recall", "density", "coverage", "image_memorization")


@dataclass(frozen=True)
class Pools:
    """The images that are compared.

    Attributes:
        generated: finite generated images, (m, c, h, w) in [0, 1].
        real: as many images of the test split.
        control: as many real images of the validation split, then of the training split; fewer if these run out.
        n_failed: number of generated images that are not finite.
    """

    generated: Tensor
    real: Tensor
    control: Tensor
    n_failed: int


def sample_quality_measures(outcomes: Outcomes, images: Tensor, *, seed: int) -> list[Measure]:
    """Measure generated images by the features of the task's judge.

    Args:
        outcomes: its ``data`` holds the task's samples.
        images: generated, (m, c, h, w) in [0, 1]; non-finite images are dropped and counted.
        seed: of resampling.

    Returns:
        kid, fid, precision, recall, density, coverage, and image_memorization by pixels and by features. An undefined
        value has a reason.

    Raises:
        ModelError: images of another shape than the task's, or outside [0, 1].
    """
    pools = _pools(outcomes.data, images)
    try:
        judge = judge_of(outcomes.data.train)
    except NotApplicableError as error:
        return [not_applicable(name, str(error)) for name in NAMES]
    fields = {"n_failed": pools.n_failed, "params": {"features": f"judge of {judge.learned}"}}
    scores = _Scores(judge.features_of(pools.real), seed, fields)
    measures, controls = (scores.measures(judge.features_of(pool)) for pool in (pools.generated, pools.control))
    rows = [_with_control(one, other, len(pools.control)) for one, other in zip(measures, controls, strict=True)]
    return [*rows, *_image_memorization(judge, pools, outcomes.data.train.pixels(), fields)]


def _pools(data: TaskData, images: Tensor) -> Pools:
    images = images.detach().float().cpu()
    if images.ndim != 4 or tuple(images.shape[1:]) != tuple(data.info.input_shape):
        raise ModelError(
            f"The generated images are {tuple(images.shape)}; expected the number of images and the task's shape "
            f"{tuple(data.info.input_shape)}."
        )
    finite = torch.isfinite(images).flatten(1).all(dim=1)
    valid = images[finite]
    if len(valid) and (float(valid.min()) < -1e-4 or float(valid.max()) > 1 + 1e-4):
        raise ModelError(
            f"The generated images have pixels from {float(valid.min()):g} to {float(valid.max()):g}; expected 0 to 1. "
            "Map the range of the last layer, as (x + 1) / 2 does for tanh."
        )
    count = min(len(valid), len(data.test), MOST)
    held_out, rest = data.validation.few(count), data.train.few(max(0, count - len(data.validation)))
    control = np.concatenate([held_out.pixels(), rest.pixels()]) if len(rest) else held_out.pixels()
    real = torch.from_numpy(data.test.few(count).pixels())
    spaced = torch.arange(count) * len(valid) // max(1, count)  # not the first ones: images may be sorted
    return Pools(valid[spaced].clamp(0, 1), real, torch.from_numpy(control), int((~finite).sum()))


def _with_control(measure: Measure, control: Measure, count: int) -> Measure:
    params = {**measure.params, "control": f"{count} real images of the validation and training splits"}
    return replace(measure, control=control.value, params=params)


@dataclass(frozen=True)
class _Scores:
    """Scores of features against those of real images (n, features); `fields` are set on every measure."""

    real: Array
    seed: int
    fields: Mapping[str, Any]

    def measures(self, generated: Array) -> list[Measure]:
        """Return kid, fid, precision, recall, density and coverage of features (m, features)."""
        return [self._kid(generated), self._fid(generated), *self._neighbors(generated)]

    def _kid(self, generated: Array) -> Measure:
        fields = self._fields(unit="squared distance", higher_is_better=False)
        fewer = min(len(generated), len(self.real))
        if fewer < FEWEST:
            return _undefined("kid", fewer, FEWEST, fields)
        kid = kernel_distance(self.real, generated, seed=self.seed)
        half = quantile_of_level(0.95) * kid.error
        fields["params"] |= {"kernel": KERNEL, "subsets": kid.subsets, "subset": kid.size}
        bounds = (kid.value - half, kid.value + half)
        return Measure("kid", kid.value, *bounds, len(generated), "jackknife of both sets", **fields)

    def _fid(self, generated: Array) -> Measure:
        fields = self._fields(unit="squared distance", higher_is_better=False)
        fewer = min(len(generated), len(self.real))
        needed = WIDTH + 1 + -(-fewer // GROUPS)  # the jackknife leaves out a group
        if fewer < needed:
            return _undefined("fid", fewer, needed, fields)
        value = frechet_distance(self.real, generated)
        half = quantile_of_level(0.95) * frechet_error(self.real, generated, seed=self.seed)
        fields["params"] |= {"dimensions": WIDTH, "covers": "the value to expect at this number of images"}
        return Measure("fid", value, max(0.0, value - half), value + half, len(generated), GROUPED, **fields)

    def _neighbors(self, generated: Array) -> list[Measure]:
        fewer = min(len(generated), len(self.real))
        if fewer <= DENSE:
            return [_undefined(name, fewer, DENSE + 1, self._fields()) for name in NAMES[2:6]]
        scores = compared(self.real, generated, k=K, dense=DENSE)
        over_generated, over_real = (
            "generated images, the real ones as given",
            "real images, the generated ones as given",
        )
        balls: dict[str, Any] = {"seed": self.seed, "unit": "balls over k"}
        return [
            stats.rate("precision", scores.realistic, **self._fields(k=K, covers=over_generated)),
            stats.rate("recall", scores.recalled, **self._fields(k=K, covers=over_real)),
            stats.mean_measure("density", scores.density, **self._fields(k=DENSE, covers=over_generated), **balls),
            stats.rate("coverage", scores.covered, **self._fields(k=DENSE, covers=over_real)),
        ]

    def _fields(self, *, unit: str | None = None, higher_is_better: bool = True, **params: Any) -> dict[str, Any]:
        params = {**self.fields["params"], **params}
        fields = {**self.fields, "higher_is_better": higher_is_better, "params": params}
        return fields if unit is None else {**fields, "unit": unit}


def _undefined(name: str, count: int, needed: int, fields: Mapping[str, Any]) -> Measure:
    reason = f"{count} usable images on one side; expected at least {needed}"
    return Measure(name, None, None, None, count, "none", reason=reason, **fields)


def _image_memorization(judge: Judge, pools: Pools, train: Array, fields: Mapping[str, Any]) -> list[Measure]:
    """Return how many generated images are at least as near to a training image as the nearest 1 % of test images."""
    spaces: dict[str, Callable[[Array], Array]] = {
        "pixels": lambda images: images.reshape(len(images), int(np.prod(images.shape[1:]))),
        "features": judge.features_of,
    }
    sets = (train, pools.real.numpy(), pools.generated.numpy())
    return [_nearer(space, [embed(images) for images in sets], fields) for space, embed in spaces.items()]


def _nearer(space: str, sets: Sequence[Array], fields: Mapping[str, Any]) -> Measure:
    train, real, generated = sets
    params = {**fields["params"], "space": space, "control": "test images; 0.01 by definition, but for ties"}
    fields = {**fields, "params": params, "higher_is_better": False}
    if not len(generated) or len(real) < 1 / NEAREST:
        reason = f"{len(real)} test images; expected at least {1 / NEAREST:.0f}, to determine the nearest hundredth"
        return Measure("image_memorization", None, None, None, len(generated), "none", reason=reason, **fields)
    of_real, of_generated = (nearest(images, train)[1] for images in (real, generated))
    limit = params["distance"] = float(np.quantile(of_real, NEAREST))
    return stats.rate("image_memorization", of_generated <= limit, control=float((of_real <= limit).mean()), **fields)
