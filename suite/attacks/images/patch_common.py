"""What all adversarial patches share: their size, their place, how they are put on an image, and the rule they keep."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from suite.attacks.engine.base import Control, Training, ascending
from suite.attacks.engine.problem import Problem
from suite.attacks.rng import as_seeds, uniform
from suite.errors import AttackError, SpecError

GREY = 0.5
"""Where between the bounds the grey control lies."""

PLACE, PIXELS = 0, 1
"""Streams of random numbers: a sample's place, and the pixels of the random control."""


@dataclass(frozen=True)
class Sticker:
    """What every attack with a square patch has.

    Attributes:
        area: shares of the image that the patch covers at most, ascending; its side is a whole number of pixels.
        position: ``random``: a random place for each sample; ``search``: the attacker looks for a good place on each
            sample; ``[row, column]``: the upper left corner, the same for all.
        goal: index of the class that all samples shall be taken for; None where any wrong one will do.
        loss: the kind's loss that is raised.
    """

    area: tuple[float, ...] = (0.05, 0.1)
    position: str | tuple[int, int] = "random"
    goal: int | None = None
    loss: str | None = "scaled_ce"
    _example: Tensor | None = None

    norm = "patch"
    size_name = "area"
    supports_graded_outcomes = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "area", ascending(self.area, "area"))
        if self.area[-1] >= 1:
            raise SpecError(f"A patch of area={list(self.area)} leaves nothing of the image; give areas below 1.")
        object.__setattr__(self, "position", _position(self.position))
        if self.goal is not None and (isinstance(self.goal, bool) or not isinstance(self.goal, int) or self.goal < 0):
            raise SpecError(f"goal={self.goal!r}; expected the index of a class, or None.")

    @property
    def sizes(self) -> tuple[float, ...]:
        """The areas."""
        return self.area

    def side(self, pixels: Tensor, area: float) -> int:
        """Return the side of the largest square of whole pixels that covers no more than the area.

        Raises:
            AttackError: not even one pixel fits.
        """
        height, width = pixels.shape[-2:]
        allowed = int(area * height * width * (1 + 1e-9))  # 25/144 of 144 pixels is 25 pixels, not 24.999
        if not allowed:
            raise AttackError(f"A patch of area {area:g} covers less than one pixel of {height}x{width}; give more.")
        return min(height, width, math.isqrt(allowed))

    def corners(self, pixels: Tensor, side: int, seeds: Sequence[int] | Tensor) -> Tensor:
        """Return the given corner, or a random one, for each sample, (n, 2).

        Raises:
            AttackError: a patch at the given corner reaches beyond the image.
        """
        if isinstance(self.position, str):
            return random_corners(pixels, side, as_seeds(seeds, pixels.device))
        height, width = pixels.shape[-2:]
        if self.position[0] + side > height or self.position[1] + side > width:
            raise AttackError(
                f"A patch with side {side} at position={list(self.position)} reaches beyond an image of "
                f"{height}x{width}; give a row up to {height - side} and a column up to {width - side}."
            )
        return torch.tensor(self.position, device=pixels.device).expand(len(pixels), 2)

    def target_classes(self, targets: Tensor) -> Tensor | None:
        """Return the goal for each sample, (n,), or None where the attack has none."""
        return None if self.goal is None else torch.full_like(targets, self.goal)

    def reached(self, problem: Problem, output: Tensor, targets: Tensor) -> Tensor:
        """Return who answers the goal, or any wrong class where there is none, bool (n,)."""
        target_classes = self.target_classes(targets)
        return (
            problem.misclassified(output, targets)
            if target_classes is None
            else ~problem.misclassified(output, target_classes)
        )

    def succeeded(self, problem: Problem, pixels: Tensor, targets: Tensor) -> Tensor:
        """Return how often each sample is not of the goal's class but answers it, (n,) in [0, 1].

        Without a goal it is how often the sample is fooled; a share between 0 and 1 is that of a model with draws.
        """
        shares = torch.zeros(len(pixels), device=pixels.device)
        with torch.no_grad():
            for rows in problem.chunks(len(pixels)):
                for _ in range(problem.draws):
                    shares[rows] += self.reached(problem, problem.forward(pixels[rows]), targets[rows])
        return shares / problem.draws * (targets != (-1 if self.goal is None else self.goal))

    def with_double_steps(self) -> Self | None:
        """Return None: there are no steps per sample."""
        return None

    def controls(self) -> Mapping[str, Control]:
        """Return patches of the same size that know nothing of the model: of random pixels, grey, and of the goal.

        The last is cut from a training image of the goal's class, and is there once an attack with a goal is fitted.
        They lie where the patch lies, except that no control looks for a place: instead it lies at a random one.
        """
        controls = {"random": self._control(_noise), "grey": self._control(_grey)}
        if self._example is not None:
            example = self._example
            controls["example"] = self._control(lambda pixels, side: centre(example.to(pixels), side))
        return controls

    def violation(self, clean: Tensor, adversarial: Tensor, size: float) -> Tensor:
        """Return how many rows or columns the box round all changed pixels has beyond the side, (n,)."""
        side = self.side(clean, size)
        changed = (clean != adversarial).any(dim=1)
        extents = torch.stack([_extent(changed.any(dim=2)), _extent(changed.any(dim=1))])
        return (extents.amax(dim=0) - side).double()

    def with_example(self, training: Training) -> Self:
        """Return the attack with a training image of the goal's class, from which a control is cut.

        Raises:
            AttackError: there is no such image.
        """
        if self.goal is None:
            return self
        pixels, targets = training()
        rows = torch.nonzero(targets == self.goal)[:, 0]
        if not len(rows):
            raise AttackError(f"No training sample is of class goal={self.goal}; choose a class of the task.")
        return replace(self, _example=pixels[rows[0]].clone())

    def _control(self, patch: Callable[[Tensor, int], Tensor]) -> Control:
        def perturb(pixels: Tensor, area: float, seeds: Sequence[int] | Tensor) -> Tensor:
            side = self.side(pixels, area)
            return placed(pixels, patch(pixels, side), self.corners(pixels, side, seeds))

        return perturb


def random_corners(pixels: Tensor, side: int, seeds: Tensor) -> Tensor:
    """Return a random upper left corner (row, column) per sample, (n, 2), so that the patch lies inside."""
    height, width = pixels.shape[-2:]
    positions = torch.tensor((height - side + 1, width - side + 1), dtype=torch.float64, device=seeds.device)
    return (uniform(seeds, PLACE, (2,)).double() * positions).long()


def placed(pixels: Tensor, patch: Tensor, corners: Tensor, sides: Tensor | None = None) -> Tensor:
    """Return pixels (n, c, h, w) with a patch at each sample's corner, differentiable in the patch.

    Args:
        pixels: the images.
        patch: one for all (c, side, side), or one for each (n, c, side, side).
        corners: row and column of the upper left pixel, (n, 2).
        sides: lengths to which the patch is scaled by linear interpolation, (n,); None leaves it as it is, to the bit.
    """
    side, (height, width) = patch.shape[-1], pixels.shape[-2:]
    sides = torch.full_like(corners[:, 0], side) if sides is None else sides
    rows = _weights(corners[:, 0], sides, side, height).to(patch)
    columns = _weights(corners[:, 1], sides, side, width).to(patch)
    every = patch.expand(len(pixels), *patch.shape[-3:])
    values = torch.einsum("nhi,ncij,nwj->nchw", rows, every, columns)
    inside = (rows.sum(dim=2) > 0)[:, None, :, None] & (columns.sum(dim=2) > 0)[:, None, None, :]
    return torch.where(inside, values, pixels)


def centre(image: Tensor, side: int) -> Tensor:
    """Return the square in the middle of an image (c, h, w)."""
    row, column = (image.shape[-2] - side) // 2, (image.shape[-1] - side) // 2
    return image[:, row : row + side, column : column + side]


def _weights(starts: Tensor, sides: Tensor, side: int, length: int) -> Tensor:
    """Return how much of each patch row every image row shows, (n, length, side); zero outside the patch."""
    offsets = torch.arange(length, device=starts.device) - starts[:, None]
    source = ((offsets + 0.5) * side / sides[:, None] - 0.5).clamp(0, side - 1)
    shares = (1 - (source[..., None] - torch.arange(side, device=starts.device)).abs()).clamp_min(0)
    return shares * ((offsets >= 0) & (offsets < sides[:, None]))[..., None]


def _noise(pixels: Tensor, side: int) -> Tensor:
    """Return one patch of random pixels, always the same."""
    return uniform(as_seeds([0], pixels.device), PIXELS, (pixels.shape[1], side, side))[0].to(pixels)


def _grey(pixels: Tensor, side: int) -> Tensor:
    return torch.full((pixels.shape[1], side, side), GREY).to(pixels)


def _position(value: object) -> str | tuple[int, int]:
    if value in ("random", "search"):
        return str(value)
    if isinstance(value, tuple | list) and len(value) == 2 and all(type(v) is int and v >= 0 for v in value):
        return value[0], value[1]
    raise SpecError(f"position={value!r}; expected random, search, or [row, column] of the upper left corner.")


def _extent(changed: Tensor) -> Tensor:
    """Return the length of the shortest interval that holds all true entries of each row, (n,)."""
    places = torch.arange(changed.shape[1], device=changed.device)
    last = torch.where(changed, places, -1).amax(dim=1)
    first = torch.where(changed, places, changed.shape[1]).amin(dim=1)
    return torch.where(changed.any(dim=1), last - first + 1, 0)
