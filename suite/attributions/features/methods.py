"""Attribution methods for lists of features: the words of a text, the numbers of a latent.

A method is registered with ``@attribution(of="features")``, as a factory of functions from `Features` to
`FeatureAttribution`.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from suite.attributions.maps.explained import one_each
from suite.attributions.maps.methods import gauss_legendre, slopes
from suite.decorators import attribution
from suite.errors import MeasureError, NotApplicableError
from suite.kinds.base import Rationale

STEPS = (50, 100, 200, 400)
"""Points on the path of integrated gradients, increased until the attributions of a sample add up."""

TOLERANCE = 0.05
"""Largest relative convergence error: the attributions' sum may miss this fraction of the explained difference."""

SMALLEST = 0.01
"""Smallest denominator of the relative convergence error, in units of the target."""

NO_POINT = "the model has no embeddings, so that features have no gradient; use occlusion"


@dataclass(frozen=True, eq=False)
class Features:
    """The samples whose features are explained.

    Attributes:
        rationale: features, scores and targets from the kind.
        rows: indices of the explained samples of the rationale, int64 (n,).
        seeds: one non-negative integer per explained sample, for ties and the random control.
        batch_size: inputs per call of the model. Results do not depend on it.
    """

    rationale: Rationale
    rows: Tensor
    seeds: Sequence[int]
    batch_size: int = 256

    def __post_init__(self) -> None:
        if not len(self.rows) or len(self.seeds) != len(self.rows) or self.batch_size < 1:
            raise MeasureError(
                f"got {len(self.rows)} samples, {len(self.seeds)} seeds and batch_size={self.batch_size}; expected at "
                "least one sample, one seed per sample, and a batch_size of at least 1."
            )

    @property
    def present(self) -> Tensor:
        """Which features the explained samples have, bool (n, features)."""
        return self.rationale.present[self.rows]

    @functools.cached_property
    def _known(self) -> dict[bytes, float]:
        """Scores so far, by sample and kept features."""
        return {}

    @functools.cached_property
    def whole(self) -> Tensor:
        """The scores with all features, float64 (n,)."""
        return self.scores(torch.ones_like(self.present), torch.arange(len(self.rows), device=self.rows.device))

    def scores(self, kept: Tensor, samples: Tensor) -> Tensor:
        """Return the scores with only the kept features (m, features) of the explained samples (m,), float64 (m,).

        Each set of kept features is scored once, whichever method or curve asks for it.

        Raises:
            ModelError: a score is not finite, or not one number per input.
        """
        bits = np.packbits(kept.cpu().numpy(), axis=1)
        numbers = samples.cpu().numpy().astype(np.int64).view(np.uint8).reshape(-1, 8)
        keys = [key.tobytes() for key in np.concatenate([numbers, bits], axis=1)]
        new = {key: place for place, key in enumerate(keys) if key not in self._known}
        if new:
            places = torch.tensor(list(new.values()), device=kept.device)
            self._known.update(zip(new, self._scored(kept[places], samples[places]).tolist(), strict=True))
        return torch.tensor([self._known[key] for key in keys], dtype=torch.float64, device=kept.device)

    @torch.no_grad()
    def _scored(self, kept: Tensor, samples: Tensor) -> Tensor:
        scores = []
        for part in torch.split(torch.arange(len(samples), device=kept.device), self.batch_size):
            score = self.rationale.score(kept[part], self.rows[samples[part]])
            scores.append(one_each(score, part, "score of a rationale").double())
        return torch.cat(scores)

    def point(self) -> tuple[Tensor, Tensor]:
        """Return points and blank points, both (n, features, d); absent features are equal in both.

        Raises:
            NotApplicableError: the model has no embeddings.
        """
        if self.rationale.point is None or self.rationale.blank is None or self.rationale.target is None:
            raise NotApplicableError(NO_POINT)
        point = self.rationale.point[self.rows].detach()
        return point, torch.where(self.present[..., None], self.rationale.blank[self.rows].detach(), point)

    def target(self, points: Tensor, samples: Tensor) -> Tensor:
        """Return the scalars to explain at points (m, features, d) of the explained samples (m,).

        Raises:
            ModelError: a scalar is not finite, or not one number per point.
            NotApplicableError: it is detached from its points.
        """
        if self.rationale.target is None:
            raise NotApplicableError(NO_POINT)
        values = one_each(self.rationale.target(points, self.rows[samples]), samples, "target of a rationale")
        if points.requires_grad and not values.requires_grad:
            raise NotApplicableError("the target is detached from the features, so that it has no gradient")
        return values

    def chunks(self, cost: int = 1) -> Iterator[Tensor]:
        """Yield the explained samples in order, in batches that fit if each needs `cost` inputs."""
        everyone = torch.arange(len(self.rows), device=self.rows.device)
        yield from torch.split(everyone, max(1, self.batch_size // cost))


class FeatureAttribution(NamedTuple):
    """Attributions of features.

    Attributes:
        values: (n, features) in float64, 0 for absent features, largest for the most important.
        completeness_error: relative error of the values' sum against the difference between input and blank, (n,);
            None for methods without completeness.
        steps: points on the path of each sample, (n,), if there is a path.
    """

    values: Tensor
    completeness_error: Tensor | None = None
    steps: Tensor | None = None


FeatureMethod = Callable[[Features], FeatureAttribution]
"""An attribution method for features. One that needs something the model does not have raises NotApplicableError."""


@attribution(of="features", name="gradient_x_input")
@dataclass(frozen=True)
class GradientXInput:
    """Explain by the gradient of the target times the point, summed over the dimensions of a feature."""

    def __call__(self, features: Features) -> FeatureAttribution:
        """Return the attributions; raise NotApplicableError for a model without embeddings."""
        point, _ = features.point()
        gradients = []
        for samples in features.chunks():
            leaf = point[samples].clone().requires_grad_()
            with torch.enable_grad():
                (gradient,) = slopes(features.target(leaf, samples), [leaf])
            gradients.append((gradient.double() * leaf.detach().double()).sum(dim=2))
        return FeatureAttribution(torch.cat(gradients).masked_fill(~features.present, 0.0))


@attribution(of="features", name="layer_integrated_gradients")
@dataclass(frozen=True)
class LayerIntegratedGradients:
    """Explain by the gradients along the straight path from blank features to the point (Sundararajan et al. 2017).

    The path has 50 Gauss-Legendre points, and up to 400 for samples whose relative convergence error exceeds
    `TOLERANCE`.
    """

    def __call__(self, features: Features) -> FeatureAttribution:
        """Return the attributions; raise NotApplicableError for a model without embeddings."""
        point, blank = features.point()
        everyone = torch.arange(len(point), device=point.device)
        gap = _differences(features, point, blank)
        values = torch.zeros(point.shape[:2], dtype=torch.float64, device=point.device)
        error, steps = torch.full_like(gap, torch.inf), torch.zeros_like(everyone)
        for count in STEPS:
            left = everyone[error > TOLERANCE]
            if not len(left):
                break
            for samples in torch.split(left, max(1, features.batch_size // count)):
                values[samples] = _integrated(features, (point, blank), samples, count)
                steps[samples] = count
            error = (gap - values.sum(dim=1)).abs() / gap.abs().clamp_min(SMALLEST)
        return FeatureAttribution(values.masked_fill(~features.present, 0.0), error, steps)


@attribution(of="features", name="occlusion")
@dataclass(frozen=True)
class Occlusion:
    """Explain by the drop of the score when a single feature is deleted."""

    def __call__(self, features: Features) -> FeatureAttribution:
        """Return the attributions; the model needs no embeddings."""
        present = features.present
        samples, deleted = present.nonzero(as_tuple=True)
        kept = torch.ones_like(present)[samples]
        kept[torch.arange(len(samples), device=kept.device), deleted] = False
        values = torch.zeros(present.shape, dtype=torch.float64, device=present.device)
        values[samples, deleted] = features.whole[samples] - features.scores(kept, samples)
        return FeatureAttribution(values)


def _differences(features: Features, point: Tensor, blank: Tensor) -> Tensor:
    """Return the difference of the target between point and blank, (n,) in float64."""
    with torch.no_grad():
        parts = [
            features.target(point[samples], samples).double() - features.target(blank[samples], samples).double()
            for samples in features.chunks(2)
        ]
    return torch.cat(parts)


def _integrated(features: Features, ends: tuple[Tensor, Tensor], samples: Tensor, steps: int) -> Tensor:
    """Return integrated gradients of some samples, summed over the dimensions of a feature, (m, features)."""
    point, blank = (end[samples] for end in ends)
    nodes, weights = gauss_legendre(steps)
    total = torch.zeros(point.shape, dtype=torch.float64, device=point.device)
    together = max(1, features.batch_size // len(samples))
    for place, weight in zip(torch.split(nodes, together), torch.split(weights, together), strict=True):
        path = blank + place.to(point)[:, None, None, None] * (point - blank)
        leaf = path.flatten(0, 1).requires_grad_()
        with torch.enable_grad():
            (slope,) = slopes(features.target(leaf, samples.repeat(len(place))), [leaf])
        total += torch.tensordot(weight.to(total), slope.double().reshape(path.shape), 1)
    return (total * (point - blank)).sum(dim=2)
