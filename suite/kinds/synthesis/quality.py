"""How good generated images are: beside held-out real ones, and beside those they were learnt from.

Real images of the validation split stand in for generated ones as the control of every row: no generator can be
expected to do better than the real thing does at this number of images.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from suite.data import Split, TaskData
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
"""Images of each set at most."""

K, DENSE = 3, 5
"""Neighbours of precision and recall, and of density and coverage, as their authors have them."""

GROUPED = f"jackknife of groups of both sets ({GROUPS})"
"""How the interval of the Frechet distance is made."""

NEAREST = 0.01
"""Share of test images whose distance to a training image counts as near."""

NAMES = ("kid", "fid", "precision", "recall", "density", "coverage", "image_memorization")


@dataclass(frozen=True)
class Pools:
    """The images that are compared.

    Attributes:
        generated: finite ones, (m, c, h, w) in [0, 1].
        real: of the test split, as many.
        control: real ones of the validation split, filled up from the training split; as many, or fewer.
        broken: how many generated images were not finite.
    """

    generated: Tensor
    real: Tensor
    control: Tensor
    broken: int


def sample_quality_measures(outcomes: Outcomes, images: Tensor, *, seed: int) -> list[Measure]:
    """Measure generated images by the features of the task's judge.

    Args:
        outcomes: whose ``data`` are the task's samples.
        images: generated, (m, c, h, w) in [0, 1]; what is not finite is dropped and counted.
        seed: of resampling.

    Returns:
        kid, fid, precision, recall, density, coverage, and memorisation by pixels and by features. Where a number
        cannot be had its reason says why.

    Raises:
        ModelError: images of another shape than the task's, or outside [0, 1].
    """
    pools = _pools(outcomes.data, images)
    try:
        judge = judge_of(outcomes.data.train)
    except NotApplicableError as error:
        return [not_applicable(name, str(error)) for name in NAMES]
    fields = {"n_failed": pools.broken, "params": {"features": f"judge of {judge.learnt}"}}
    scores = _Scores(judge.seen(pools.real), seed, fields)
    found, control = (scores.measures(judge.seen(pool)) for pool in (pools.generated, pools.control))
    rows = [_beside(one, other, len(pools.control)) for one, other in zip(found, control, strict=True)]
    return [*rows, *_memorised(judge, pools, outcomes.data.train, fields)]


def _pools(data: TaskData, images: Tensor) -> Pools:
    shown = images.detach().float().cpu()
    if shown.ndim != 4 or tuple(shown.shape[1:]) != tuple(data.info.input_shape):
        raise ModelError(
            f"The generated images are {tuple(shown.shape)}; expected the task's shape {tuple(data.info.input_shape)} "
            "behind the number of images."
        )
    finite = torch.isfinite(shown).flatten(1).all(dim=1)
    good = shown[finite]
    if len(good) and (float(good.min()) < -1e-4 or float(good.max()) > 1 + 1e-4):
        raise ModelError(
            f"The generated images have pixels from {float(good.min()):g} to {float(good.max()):g}; expected 0 to 1. "
            "Map the range of the last layer, as (x + 1) / 2 does for tanh."
        )
    count = min(len(good), len(data.test), MOST)
    held, rest = data.validation.few(count), data.train.few(max(0, count - len(data.validation)))
    control = np.concatenate([held.pixels(), rest.pixels()]) if len(rest) else held.pixels()
    real = torch.from_numpy(data.test.few(count).pixels())
    spaced = torch.arange(count) * len(good) // max(1, count)  # not the first: they may be sorted
    return Pools(good[spaced].clamp(0, 1), real, torch.from_numpy(control), int((~finite).sum()))


def _beside(found: Measure, control: Measure, count: int) -> Measure:
    params = {**found.params, "control": f"{count} real images of the validation and training splits"}
    return replace(found, control=control.value, params=params)


@dataclass(frozen=True)
class _Scores:
    """The scores of features beside those of real images (n, features); `fields` are of every measure."""

    real: Array
    seed: int
    fields: Mapping[str, Any]

    def measures(self, generated: Array) -> list[Measure]:
        """Return kid, fid, precision, recall, density and coverage of features (m, features)."""
        return [self._kid(generated), self._fid(generated), *self._neighbours(generated)]

    def _kid(self, generated: Array) -> Measure:
        own: dict[str, Any] = {"unit": "squared distance", "higher_is_better": False}
        fewer = min(len(generated), len(self.real))
        if fewer < FEWEST:
            return self._undefined("kid", fewer, FEWEST, **own)
        found = kernel_distance(self.real, generated, seed=self.seed)
        half = quantile_of_level(0.95) * found.error
        told = self._told(kernel=KERNEL, subsets=found.subsets, subset=found.size, **own)
        bounds = (found.value - half, found.value + half)
        return Measure("kid", found.value, *bounds, len(generated), "jackknife of both sets", **told)

    def _fid(self, generated: Array) -> Measure:
        own: dict[str, Any] = {"unit": "squared distance", "higher_is_better": False}
        fewer = min(len(generated), len(self.real))
        needed = WIDTH + 1 + -(-fewer // GROUPS)  # a group is left out
        if fewer < needed:
            return self._undefined("fid", fewer, needed, **own)
        value = frechet_distance(self.real, generated)
        half = quantile_of_level(0.95) * frechet_error(self.real, generated, seed=self.seed)
        told = self._told(dimensions=WIDTH, covers="the value to expect at this number of images", **own)
        return Measure("fid", value, max(0.0, value - half), value + half, len(generated), GROUPED, **told)

    def _neighbours(self, generated: Array) -> list[Measure]:
        fewer = min(len(generated), len(self.real))
        if fewer <= DENSE:
            return [self._undefined(name, fewer, DENSE + 1) for name in NAMES[2:6]]
        found = compared(self.real, generated, k=K, dense=DENSE)
        made, real = "generated images, the real ones as given", "real images, the generated ones as given"
        balls: dict[str, Any] = {"seed": self.seed, "unit": "balls over k"}
        return [
            stats.rate("precision", found.realistic, **self._told(k=K, covers=made)),
            stats.rate("recall", found.recalled, **self._told(k=K, covers=real)),
            stats.mean_measure("density", found.density, **balls, **self._told(k=DENSE, covers=made)),
            stats.rate("coverage", found.covered, **self._told(k=DENSE, covers=real)),
        ]

    def _told(self, *, unit: str | None = None, higher_is_better: bool = True, **params: Any) -> dict[str, Any]:
        told = {**self.fields, "higher_is_better": higher_is_better}
        told["params"] = {**self.fields["params"], **params}
        return told if unit is None else {**told, "unit": unit}

    def _undefined(self, name: str, count: int, needed: int, **own: Any) -> Measure:
        reason = f"{count} usable images on one side; expected at least {needed}"
        return Measure(name, None, None, None, count, "none", reason=reason, **self._told(**own))


def _memorised(judge: Judge, pools: Pools, train: Split, fields: Mapping[str, Any]) -> list[Measure]:
    """Return how many generated images are nearer to a training image than the nearest test images are."""
    learnt = train.pixels()
    spaces: dict[str, Callable[[Array], Array]] = {
        "pixels": _flat,
        "features": judge.seen,
    }
    parts = (learnt, pools.real.numpy(), pools.generated.numpy())
    return [_nearer(space, [seen(part) for part in parts], fields) for space, seen in spaces.items()]


def _flat(images: Array) -> Array:
    return images.reshape(len(images), int(np.prod(images.shape[1:])))


def _nearer(space: str, parts: Sequence[Array], fields: Mapping[str, Any]) -> Measure:
    learnt, real, generated = parts
    params = {**fields["params"], "space": space, "control": "test images; 0.01 by definition, but for ties"}
    told = {**fields, "params": params, "higher_is_better": False}
    if not len(generated) or len(real) < 1 / NEAREST:
        reason = f"{len(real)} test images; expected at least {1 / NEAREST:.0f}, to say which hundredth is the nearest"
        return Measure("image_memorization", None, None, None, len(generated), "none", reason=reason, **told)
    own, of_generated = (nearest(part, learnt)[1] for part in (real, generated))
    limit = float(np.quantile(own, NEAREST))
    told["params"] = {**params, "distance": limit}
    return stats.rate("image_memorization", of_generated <= limit, control=float((own <= limit).mean()), **told)
