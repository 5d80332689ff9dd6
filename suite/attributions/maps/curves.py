"""Deletion and insertion curves (Petsiuk et al. 2018, RISE), and the baselines that replace deleted pixels."""

from collections.abc import Callable

import torch
from torch import Tensor

from suite.attributions.maps.explained import Scalar, one_each
from suite.errors import MeasureError

BLUR = 0.125
"""Standard deviation of the blur as a fraction of the longer side of the image: it removes shapes."""


@torch.no_grad()
def perturbation_curve(
    score: Scalar, start: Tensor, end: Tensor, rank: Tensor, *, steps: int, batch_size: int = 256
) -> Tensor:
    """Track the score while the pixels of one image are replaced by those of another, in the order of their rank.

    Deletion goes from the sample to a baseline, insertion from a baseline to the sample. Every step replaces the same
    number of cells, up to rounding.

    Args:
        score: (inputs, rows) -> (m,).
        start: images (n, c, h, w).
        end: as many images of the same shape.
        rank: the rank of each pixel's cell (n, h, w), int64, 0 for the first to be replaced (`Grid.spread`).
        steps: number of points after the first, at most the number of cells.
        batch_size: images per call of `score`.

    Returns:
        Scores (n, steps + 1), float64; the first belongs to `start`, the last to `end`.

    Raises:
        MeasureError: more steps than cells.
        ModelError: a score is not finite, or not one number per image.
    """
    replaced = _replaced_cells(int(rank.max()) + 1, steps).to(rank.device)
    points = torch.arange(len(start) * (steps + 1), device=start.device)
    scores = [_score_points(score, start, end, rank, replaced, chunk) for chunk in torch.split(points, batch_size)]
    return torch.cat(scores).reshape(len(start), steps + 1)


def curve_area(curve: Tensor) -> Tensor:
    """Return the area under curves (n, steps + 1) by the trapezoid rule, divided by the number of steps, (n,).

    Lies between the smallest and the largest score. Lower is better for deletion, higher for insertion.
    """
    return (curve.sum(1) - (curve[:, 0] + curve[:, -1]) / 2) / (curve.shape[1] - 1)


def channel_mean(inputs: Tensor) -> Tensor:
    """Return images (n, c, h, w) in which every pixel has the mean of its channel."""
    return inputs.double().mean((2, 3), keepdim=True).to(inputs).expand_as(inputs).contiguous()


def blur(inputs: Tensor) -> Tensor:
    """Blur images (n, c, h, w) by a Gaussian of `BLUR` times their longer side, renormalized at the edges."""
    height, width = inputs.shape[2:]
    sd = BLUR * max(height, width)
    down, across = _gaussian_rows(height, sd).to(inputs.device), _gaussian_rows(width, sd).to(inputs.device)
    return (down @ inputs.double() @ across.T).to(inputs)


BASELINES: dict[str, Callable[[Tensor], Tensor]] = {"mean": channel_mean, "blur": blur}
"""Replacements of deleted pixels, by name. Both are reported, since the choice changes the ranking of methods."""


def _replaced_cells(cells: int, steps: int) -> Tensor:
    if not 1 <= steps <= cells:
        raise MeasureError(
            f"got steps={steps} for an image of {cells} cells; expected 1 to {cells}. "
            "Take fewer steps, or smaller cells."
        )
    return torch.arange(steps + 1) * cells // steps


def _score_points(score: Scalar, start: Tensor, end: Tensor, rank: Tensor, replaced: Tensor, points: Tensor) -> Tensor:
    rows, step = points // len(replaced), points % len(replaced)
    gone = rank[rows] < replaced[step][:, None, None]
    images = torch.where(gone.unsqueeze(1), end[rows], start[rows])
    return one_each(score(images, rows), rows, "score function").double()


def _gaussian_rows(side: int, sd: float) -> Tensor:
    place = torch.arange(side, dtype=torch.float64)
    weights = torch.exp(-((place[:, None] - place[None, :]) ** 2) / (2 * sd**2))
    return weights / weights.sum(1, keepdim=True)
