"""Common parts of the adversarial patches: size, position, application to an image, validation and controls."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor

from suite.attacks.constraints.base import spread
from suite.attacks.constraints.patch import PATCH, covered
from suite.attacks.engine.base import Attack, Control, Training, ascending, restored, stored
from suite.attacks.engine.problem import Problem
from suite.attacks.images.gradient import check_goal
from suite.attacks.rng import as_seeds, uniform
from suite.errors import AttackError, SpecError

GREY = 0.5
"""Pixel value of the grey control."""

BATCHES = 8
"""Batches of samples that are attacked at once, so that batches stay full as samples are misclassified."""

PLACE, PIXELS = 0, 1
"""Streams of random numbers: for the positions, and for the pixels of the random control."""


@dataclass(frozen=True)
class PatchAttack(Attack):
    """Base class of the attacks with a square patch.

    Attributes:
        area: maximum shares of the image that the patch covers, ascending; its side is a whole number of pixels.
        position: ``random``: a random position for each sample; ``search``: the attack searches for a good position on
            each sample; ``[row, column]``: the upper left corner, the same for all samples.
        goal: index of the target class; None for an untargeted attack.
        loss: the kind's loss that is maximized.
    """

    area: tuple[float, ...] = (0.05, 0.1)
    position: str | tuple[int, int] = "random"
    goal: int | None = None
    loss: str | None = "scaled_ce"
    _example: Tensor | None = None

    norm = PATCH.name
    supports_graded_outcomes = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "area", ascending(self.area, "area"))
        if self.area[-1] >= 1:
            raise SpecError(f"A patch of area={list(self.area)} covers the whole image; use areas below 1.")
        object.__setattr__(self, "position", _position(self.position))
        check_goal(self.goal)

    @property
    def sizes(self) -> tuple[float, ...]:
        """The areas."""
        return self.area

    def fit(self, problem: Problem, training: Training, *, seed: int) -> Self:
        """Return the attack; a targeted one with a training image of the target class, from which a control is cut.

        Raises:
            AttackError: there is no such image.
        """
        if self.goal is None:
            return self
        pixels, targets = training()
        rows = torch.nonzero(targets == self.goal)[:, 0]
        if not len(rows):
            raise AttackError(f"No training sample has the class goal={self.goal}; choose a class of the task.")
        return replace(self, _example=pixels[rows[0]].clone())

    def state(self) -> dict[str, Any]:
        """Return the example of the target class."""
        return {"example": stored(self._example)}

    def with_state(self, state: Mapping[str, Any], problem: Problem) -> Self:
        """Return the attack with the example of the target class."""
        return replace(self, _example=restored(state["example"], problem))

    def side(self, pixels: Tensor, area: float) -> int:
        """Return the side of the largest square of whole pixels that covers no more than the area.

        Raises:
            AttackError: not even one pixel fits.
        """
        height, width = pixels.shape[-2:]
        allowed = int(area * height * width * (1 + 1e-9))  # 25/144 of 144 pixels is 25 pixels, not 24.999
        if not allowed:
            raise AttackError(f"A patch of area {area:g} covers less than one pixel of {height}x{width}; use more.")
        return min(height, width, math.isqrt(allowed))

    def corners(self, pixels: Tensor, side: int, seeds: Sequence[int] | Tensor) -> Tensor:
        """Return the fixed corner, or a random one for each sample, (n, 2).

        Raises:
            AttackError: a patch at the fixed corner extends beyond the image.
        """
        if isinstance(self.position, str):
            return random_corners(pixels, side, as_seeds(seeds, pixels.device))
        height, width = pixels.shape[-2:]
        if self.position[0] + side > height or self.position[1] + side > width:
            raise AttackError(
                f"A patch with side {side} at position={list(self.position)} extends beyond an image of "
                f"{height}x{width}; use a row up to {height - side} and a column up to {width - side}."
            )
        return torch.tensor(self.position, device=pixels.device).expand(len(pixels), 2)

    def target_classes(self, targets: Tensor) -> Tensor | None:
        """Return the target class for each sample, (n,), or None for an untargeted attack."""
        return None if self.goal is None else torch.full_like(targets, self.goal)

    def reached(self, problem: Problem, output: Tensor, targets: Tensor) -> Tensor:
        """Return which outputs predict the target class, or any wrong class if untargeted, bool (n,)."""
        classes = self.target_classes(targets)
        return problem.misclassified(output, targets) if classes is None else ~problem.misclassified(output, classes)

    def succeeded(self, problem: Problem, pixels: Tensor, targets: Tensor) -> Tensor:
        """Return how often each sample is wrongly predicted as the target class, (n,) in [0, 1].

        If untargeted, it is how often the sample is misclassified. Shares between 0 and 1 occur with stochastic models.
        """
        shares = torch.zeros(len(pixels), device=pixels.device)
        with torch.no_grad():
            for rows in problem.chunks(len(pixels)):
                for _ in range(problem.draws):
                    shares[rows] += self.reached(problem, problem.forward(pixels[rows]), targets[rows])
        return shares / problem.draws * (targets != (-1 if self.goal is None else self.goal))

    def controls(self) -> Mapping[str, Control]:
        """Return control patches of the same size: random pixels, grey, and a natural example of the target class.

        The example is cut from a training image of the target class; it exists once a targeted attack is fitted. The
        controls have the position of the patch, or a random position if the attack searches for one.
        """

        def noise(pixels: Tensor, side: int) -> Tensor:
            """Return a patch of random pixels, always the same one."""
            return uniform(as_seeds([0], pixels.device), PIXELS, (pixels.shape[1], side, side))[0].to(pixels)

        def grey(pixels: Tensor, side: int) -> Tensor:
            return torch.full((pixels.shape[1], side, side), GREY).to(pixels)

        controls = {"random": self._control(noise), "grey": self._control(grey)}
        if self._example is not None:
            example = self._example
            controls["example"] = self._control(lambda pixels, side: center_crop(example.to(pixels), side))
        return controls

    def violation(self, clean: Tensor, adversarial: Tensor, size: float) -> Tensor:
        """Return by how much the bounding box of all changed pixels exceeds the side, in rows or columns, (n,)."""
        side = self.side(clean, size)
        box = covered(clean, adversarial)
        extents = torch.stack([box.any(dim=2).sum(dim=1), box.any(dim=1).sum(dim=1)])
        return (extents.amax(dim=0) - side).double()

    def _control(self, patch: Callable[[Tensor, int], Tensor]) -> Control:
        def perturb(pixels: Tensor, area: float, seeds: Sequence[int] | Tensor) -> Tensor:
            side = self.side(pixels, area)
            return apply_patch(pixels, patch(pixels, side), self.corners(pixels, side, seeds))

        return perturb


def random_corners(pixels: Tensor, side: int, seeds: Tensor) -> Tensor:
    """Return a random upper left corner (row, column) per sample, (n, 2), with the patch inside the image."""
    height, width = pixels.shape[-2:]
    positions = torch.tensor((height - side + 1, width - side + 1), dtype=torch.float64, device=seeds.device)
    return (uniform(seeds, PLACE, (2,)).double() * positions).long()


def apply_patch(pixels: Tensor, patch: Tensor, corners: Tensor, sides: Tensor | None = None) -> Tensor:
    """Return images (n, c, h, w) with a patch at each sample's corner, differentiable in the patch.

    Args:
        pixels: the images.
        patch: one for all images (c, side, side), or one for each (n, c, side, side).
        corners: row and column of the upper left pixel, (n, 2).
        sides: side lengths to which the patch is scaled by linear interpolation, (n,); None for no scaling.
    """
    side, (height, width) = patch.shape[-1], pixels.shape[-2:]
    sides = torch.full_like(corners[:, 0], side) if sides is None else sides
    rows = _weights(corners[:, 0], sides, side, height).to(patch)
    columns = _weights(corners[:, 1], sides, side, width).to(patch)
    every = patch.expand(len(pixels), *patch.shape[-3:])
    values = torch.einsum("nhi,ncij,nwj->nchw", rows, every, columns)
    inside = (rows.sum(dim=2) > 0)[:, None, :, None] & (columns.sum(dim=2) > 0)[:, None, None, :]
    return torch.where(inside, values, pixels)


def center_crop(image: Tensor, side: int) -> Tensor:
    """Return the central square of an image (c, h, w)."""
    row, column = (image.shape[-2] - side) // 2, (image.shape[-1] - side) // 2
    return image[:, row : row + side, column : column + side]


def _weights(starts: Tensor, sides: Tensor, side: int, length: int) -> Tensor:
    """Return the weight of each patch row in every image row, (n, length, side); zero outside the patch."""
    offsets = torch.arange(length, device=starts.device) - starts[:, None]
    source = ((offsets + 0.5) * side / sides[:, None] - 0.5).clamp(0, side - 1)
    shares = (1 - (source[..., None] - torch.arange(side, device=starts.device)).abs()).clamp_min(0)
    return shares * ((offsets >= 0) & (offsets < sides[:, None]))[..., None]


def _position(value: object) -> str | tuple[int, int]:
    if value in ("random", "search"):
        return str(value)
    if isinstance(value, tuple | list) and len(value) == 2 and all(type(v) is int and v >= 0 for v in value):
        return value[0], value[1]
    raise SpecError(f"position={value!r}; expected random, search, or [row, column] of the upper left corner.")


@dataclass(frozen=True)
class BestCandidates:
    """Samples, and the best candidate of each with its loss, which is infinite once the attack has succeeded."""

    pixels: Tensor
    targets: Tensor
    candidates: Tensor
    loss: Tensor

    @classmethod
    def of(cls, pixels: Tensor, targets: Tensor, candidates: Tensor) -> Self:
        """Return samples with initial candidates that have the lowest loss."""
        lowest = torch.full((len(pixels),), -math.inf, dtype=torch.float64, device=pixels.device)
        return cls(pixels, targets, candidates.clone(), lowest)

    def update(self, rows: Tensor, candidates: Tensor, losses: Tensor, reached: Tensor) -> None:
        """Keep candidates that are better than all before; the first success is kept."""
        score = torch.where(reached, math.inf, losses.double().nan_to_num(-math.inf))
        better = score > self.loss[rows]
        self.candidates[rows] = torch.where(spread(better, candidates), candidates, self.candidates[rows])
        self.loss[rows] = torch.where(better, score, self.loss[rows])
