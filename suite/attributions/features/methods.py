"""Methods that say what each feature of a list is worth: the words of a text, the numbers of a latent."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from suite.attributions.maps.explained import one_each, require_finite
from suite.errors import MeasureError, NotApplicableError
from suite.kinds.base import Rationale

STEPS = (50, 100, 200, 400)
"""Points on the path of integrated gradients; a sample gets more of them until its attributions add up."""

TOLERANCE = 0.05
"""Share of the difference to explain that attributions may miss."""

SMALLEST = 0.01
"""Difference, in units of the target, below which a share of it says nothing: errors are then a share of this."""

NO_POINT = "the model has no embeddings, so that no gradient leads back to its features; occlusion needs none"


@dataclass(frozen=True, eq=False)
class Features:
    """The samples whose features are explained.

    Attributes:
        rationale: what the kind says about them.
        rows: which samples of the rationale are explained, int64 (n,).
        seeds: one non-negative integer per explained sample, for the order of ties and of the random control.
        batch_size: inputs in one call of the model. Results do not depend on it.
    """

    rationale: Rationale
    rows: Tensor
    seeds: Sequence[int]
    batch_size: int = 256

    def __post_init__(self) -> None:
        if not len(self.rows) or len(self.seeds) != len(self.rows) or self.batch_size < 1:
            raise MeasureError(
                f"got {len(self.rows)} samples, {len(self.seeds)} seeds and batch_size={self.batch_size}; expected at "
                "least one sample, a seed for each, and 1 input or more at a time."
            )

    @property
    def present(self) -> Tensor:
        """Which features the explained samples have, bool (n, features)."""
        return self.rationale.present[self.rows]

    def scores(self, kept: Tensor, samples: Tensor) -> Tensor:
        """Return the scores when only kept features (m, features) of the explained samples (m,) are left, float64 (m,).

        Raises:
            ModelError: a score is not finite, or not one number per input.
        """
        found = [torch.zeros(0, dtype=torch.float64, device=kept.device)]
        with torch.no_grad():
            for part in torch.split(torch.arange(len(samples), device=kept.device), self.batch_size):
                score = self.rationale.score(kept[part], self.rows[samples[part]])
                found.append(one_each(score, part, "score of a rationale").double())
        return torch.cat(found)

    def point(self) -> tuple[Tensor, Tensor]:
        """Return points and what they are blank, (n, features, d); what is absent stays as it is.

        Raises:
            NotApplicableError: the model has no point to take gradients at.
        """
        if self.rationale.point is None or self.rationale.blank is None or self.rationale.target is None:
            raise NotApplicableError(NO_POINT)
        point = self.rationale.point[self.rows].detach()
        return point, torch.where(self.present[..., None], self.rationale.blank[self.rows].detach(), point)

    def target(self, points: Tensor, samples: Tensor) -> Tensor:
        """Return the scalars to explain at points (m, features, d) of the explained samples (m,); raise unless finite.

        Raises:
            ModelError: a scalar is not finite, or not one number per point.
            NotApplicableError: it is cut off from its points.
        """
        if self.rationale.target is None:
            raise NotApplicableError(NO_POINT)
        values = one_each(self.rationale.target(points, self.rows[samples]), samples, "target of a rationale")
        if points.requires_grad and not values.requires_grad:
            raise NotApplicableError("the target is cut off from the features, so that it has no gradient")
        return values

    def chunks(self, cost: int = 1) -> Iterator[Tensor]:
        """Yield the explained samples in order, as many at a time as fit when each needs `cost` inputs."""
        everyone = torch.arange(len(self.rows), device=self.rows.device)
        yield from torch.split(everyone, max(1, self.batch_size // cost))


class Shares(NamedTuple):
    """What features are worth.

    Attributes:
        values: (n, features) in float64, 0 where a feature is absent; the most important is the largest.
        missed: share of the difference between input and blank that the values do not add up to, (n,); None for methods
            that promise no sum.
        steps: points on the path of each sample, (n,), where there is a path.
    """

    values: Tensor
    missed: Tensor | None = None
    steps: Tensor | None = None


def gradient_x_input(features: Features) -> Shares:
    """Explain by the gradient of the target times the point, summed over a feature's numbers."""
    point, _ = features.point()
    found = []
    for samples in features.chunks():
        leaf = point[samples].clone().requires_grad_()
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(features.target(leaf, samples).sum(), leaf)
        found.append((gradient.double() * leaf.detach().double()).sum(dim=2))
    return Shares(_of_present(torch.cat(found), features, "gradient_x_input"))


def layer_integrated_gradients(features: Features) -> Shares:
    """Explain by the gradients along the straight path from blank features to the point (Sundararajan et al. 2017).

    The path has 50 points by the Gauss-Legendre rule, and up to 400 for samples whose attributions miss more than
    `TOLERANCE` of the difference that they have to add up to.
    """
    point, blank = features.point()
    everyone = torch.arange(len(point), device=point.device)
    gap = _differences(features, point, blank)
    values = torch.zeros(point.shape[:2], dtype=torch.float64, device=point.device)
    missed, steps = torch.full_like(gap, torch.inf), torch.zeros_like(everyone)
    for count in STEPS:
        left = everyone[missed > TOLERANCE]
        if not len(left):
            break
        for samples in torch.split(left, max(1, features.batch_size // count)):
            values[samples] = _integrated(features, (point, blank), samples, count)
            steps[samples] = count
        missed = (gap - values.sum(dim=1)).abs() / gap.abs().clamp_min(SMALLEST)
    return Shares(_of_present(values, features, "layer_integrated_gradients"), missed, steps)


def occlusion(features: Features) -> Shares:
    """Explain by how far the score falls when a single feature is deleted."""
    present = features.present
    samples, deleted = present.nonzero(as_tuple=True)
    kept = torch.ones_like(present)[samples]
    kept[torch.arange(len(samples), device=kept.device), deleted] = False
    everyone = torch.arange(len(present), device=present.device)
    whole = features.scores(torch.ones_like(present), everyone)
    values = torch.zeros(present.shape, dtype=torch.float64, device=present.device)
    values[samples, deleted] = whole[samples] - features.scores(kept, samples)
    return Shares(values)


METHODS: Mapping[str, Callable[[Features], Shares]] = MappingProxyType(
    {
        "gradient_x_input": gradient_x_input,
        "layer_integrated_gradients": layer_integrated_gradients,
        "occlusion": occlusion,
    }
)
"""Methods by name."""


def _differences(features: Features, point: Tensor, blank: Tensor) -> Tensor:
    """Return how far the target falls from point to blank, (n,) in float64."""
    with torch.no_grad():
        parts = [
            features.target(point[samples], samples).double() - features.target(blank[samples], samples).double()
            for samples in features.chunks(2)
        ]
    return torch.cat(parts)


def _integrated(features: Features, ends: tuple[Tensor, Tensor], samples: Tensor, steps: int) -> Tensor:
    """Return integrated gradients of some samples, summed over a feature's numbers, (m, features)."""
    captum, (point, blank) = _captum().IntegratedGradients(features.target), ends
    with torch.enable_grad():
        found: Tensor = captum.attribute(
            point[samples].clone().requires_grad_(),
            baselines=blank[samples],
            additional_forward_args=samples,
            n_steps=steps,
            internal_batch_size=max(len(samples), features.batch_size),
        )
    return found.detach().double().sum(dim=2)


def _captum() -> Any:
    # Loaded on first use: it takes seconds, and it is an extra that a plain install does not have.
    try:
        import captum.attr
    except ImportError as error:
        raise NotApplicableError(
            "got no captum; expected it for integrated gradients. Run: pip install trust-suite[attribution]"
        ) from error
    return captum.attr


def _of_present(values: Tensor, features: Features, method: str) -> Tensor:
    values = values.masked_fill(~features.present, 0.0)
    require_finite(values, f"the attributions of {method}")
    return values
