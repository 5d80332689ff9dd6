"""The Square Attack: random squares, kept where they raise the margin; it sees a model's scores and no gradient."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Self

import torch
from torch import Tensor

from suite.attacks import rng as random
from suite.attacks.engine.problem import Problem
from suite.attacks.images.gradient import NormAttack
from suite.decorators import attack
from suite.errors import SpecError

START, QUERIES = 1100, 1101
"""Streams of random numbers: of the start, and of the first block of queries."""

BLOCK = 32
"""Queries whose random numbers are drawn together; on a GPU, also those between two compactions."""

HELD = 2**22
"""Numbers in one working tensor; a larger set of samples is searched in parts, with the same result."""

SCALE = 10_000
"""Queries for which the paper gives its schedule."""

SHRINKS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""Queries of `SCALE` after which the squares cover half as much (Andriushchenko et al. 2020, section 4)."""


@attack(name="square")
@dataclass(frozen=True)
class Square(NormAttack):
    """Random squares on top of stripes, kept where they do not lower the margin (Andriushchenko et al. 2020).

    Every sample has squares of its own at every query.

    Attributes:
        queries: forward passes per sample, at most.
        p: share of the pixels that the first square covers.
        total: queries over which the squares shrink; None for four times the queries, at most the paper's 10,000:
            with few queries slower shrinking leaves too many of them to large squares.
    """

    loss: str | None = None
    queries: int = 1000
    p: float = 0.8
    total: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.norm not in ("linf", "l2"):
            raise SpecError(f"square knows linf and l2; got norm={self.norm!r}.")
        if self.queries < 1 or (self.total is not None and self.total < 1) or not 0 < self.p <= 1:
            raise SpecError(
                f"square needs queries and total of at least 1 and p in (0, 1]; got queries={self.queries}, "
                f"total={self.total} and p={self.p}."
            )

    def with_double_steps(self) -> Self:
        """Return the attack with twice the queries."""
        return replace(self, queries=2 * self.queries)

    def perturb(self, problem: Problem, pixels: Tensor, targets: Tensor, size: float, seeds: Tensor) -> Tensor:
        """Return, per sample, the first point that fools the model, else the one of the highest margin."""
        eps = torch.full((len(pixels),), size, dtype=torch.float64, device=pixels.device)
        return self.search(problem, pixels, targets, eps, random.as_seeds(seeds, pixels.device))[0]

    def search(
        self,
        problem: Problem,
        pixels: Tensor,
        targets: Tensor,
        eps: Tensor,
        seeds: Tensor,
        start: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Search from a start; a sample leaves the batch as soon as it is fooled.

        Args:
            problem: the model, asked for `problem.selection_loss` in forward passes alone.
            pixels: clean images (n, channels, height, width).
            targets: (n, ...).
            eps: a radius per sample (n,).
            seeds: int64 (n,).
            start: points within eps of the pixels to start from; None for the paper's stripes (linf) or tiles (l2).

        Returns:
            The best points (n, channels, height, width), their margin (n,) in float64, -inf where no score was finite,
            and which of them fool the model, bool (n,).
        """
        if pixels.ndim != 4:
            raise SpecError(f"square changes images (channels, height, width); got samples of {pixels.shape[1:]}.")
        best = (pixels if start is None else start).clone()
        margin = torch.full((len(pixels),), -math.inf, dtype=torch.float64, device=pixels.device)
        misclassified = torch.zeros(len(pixels), dtype=torch.bool, device=pixels.device)
        begin = None if start is not None else _stripes if self.norm == "linf" else _tiles
        radius = eps.to(pixels).view(-1, 1, 1, 1)
        with torch.no_grad():
            for rows in _parts(pixels, problem.batch_size):
                live = _Live.of(rows, pixels[rows], best[rows], targets[rows], radius[rows], seeds[rows])
                if begin is not None:
                    live.best = begin(live, problem.bounds)
                self._climb(problem, live, (best, margin, misclassified))
        return best, margin, misclassified

    def _climb(self, problem: Problem, live: _Live, found: tuple[Tensor, Tensor, Tensor]) -> None:
        """Search until all samples are fooled or the queries used up, and write what was found."""
        propose, wait = (squares if self.norm == "linf" else bumps), BLOCK if live.best.is_cuda else 1
        live.judge(problem, live.best)
        for query in range(self.queries - 1):
            if query % wait == 0:
                live = live.without_fooled(found)
                if not len(live.rows):
                    return
            if query % BLOCK == 0:
                live.draw(QUERIES + query // BLOCK)
            bits, share = live.bits[:, query % BLOCK], self.share(query)
            live.judge(problem, propose(live.clean, live.best, live.eps, bits, share, problem.bounds))
        live.write(found)

    def share(self, query: int) -> float:
        """Return the share of the pixels that a square covers at a query, counted from 0."""
        at = query * SCALE / (self.total or min(4 * self.queries, SCALE))
        return float(self.p / 2 ** sum(at > after for after in SHRINKS))


@dataclass
class _Live:
    """The samples still searched for, and the best point of each so far."""

    rows: Tensor
    clean: Tensor
    best: Tensor
    targets: Tensor
    eps: Tensor
    seeds: Tensor
    margin: Tensor
    misclassified: Tensor
    bits: Tensor

    @classmethod
    def of(cls, rows: Tensor, clean: Tensor, best: Tensor, targets: Tensor, eps: Tensor, seeds: Tensor) -> Self:
        margin = torch.full_like(seeds, -math.inf, dtype=torch.float64)
        return cls(rows, clean, best, targets, eps, seeds, margin, torch.zeros_like(rows, dtype=torch.bool), seeds)

    def draw(self, stream: int) -> None:
        """Draw the random bits of the next `BLOCK` queries: a side, a place, a pixel and a sign per channel."""
        count = self.clean.shape[1] + 5
        self.bits = random.integers(self.seeds, stream, BLOCK * count).view(-1, BLOCK, count)

    def judge(self, problem: Problem, point: Tensor) -> None:
        """Keep the points that are no worse; on a plateau of the scores the search then walks, not stands."""
        margin, misclassified = measured(problem, point, self.targets)
        better = ((margin >= self.margin) | misclassified) & ~self.misclassified
        self.best = torch.where(better.view(-1, 1, 1, 1), point, self.best)
        self.margin = torch.where(better, margin, self.margin)
        self.misclassified = self.misclassified | misclassified

    def without_fooled(self, found: tuple[Tensor, Tensor, Tensor]) -> _Live:
        """Write the samples that are fooled and return the others."""
        if not self.misclassified.any():
            return self
        self._take(self.misclassified).write(found)
        return self._take(~self.misclassified)

    def _take(self, kept: Tensor) -> _Live:
        chosen = kept.nonzero()[:, 0]
        return _Live(*(getattr(self, field.name)[chosen] for field in fields(self)))

    def write(self, found: tuple[Tensor, Tensor, Tensor]) -> None:
        """Write the best points, their margin and whether they fool the model where the samples stand."""
        for whole, part in zip(found, (self.best, self.margin, self.misclassified), strict=True):
            whole[self.rows] = part


def measured(problem: Problem, points: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return the yardstick (n,) in float64 and who is fooled; an output that is not finite is -inf and fools nobody."""
    margins = [torch.zeros(0, dtype=torch.float64, device=points.device)]
    misclassified = [torch.zeros(0, dtype=torch.bool, device=points.device)]
    for chunk in problem.chunks(len(points)):
        output = problem.forward(points[chunk])
        loss = problem.loss(output, targets[chunk], problem.selection_loss, None).double()
        finite = torch.isfinite(output).flatten(1).all(dim=1) & torch.isfinite(loss)
        margins.append(torch.where(finite, loss, -math.inf))
        misclassified.append(problem.misclassified(output, targets[chunk]) & finite)
    return torch.cat(margins), torch.cat(misclassified)


def _parts(pixels: Tensor, batch_size: int) -> tuple[Tensor, ...]:
    """Return the rows of parts that fit into working memory, each at least a batch."""
    held = max(batch_size, HELD // max(1, pixels[0].numel())) if len(pixels) else 1
    return torch.split(torch.arange(len(pixels), device=pixels.device), held)


def _below(bits: Tensor, count: int) -> Tensor:
    """Return integers in 0..count-1 from random bits."""
    return (((bits >> 40) & 0xFFFFFF) * count) >> 24


def _signs(bits: Tensor) -> Tensor:
    """Return -1 or 1 from random bits."""
    return ((bits >> 40) & 1).float() * 2 - 1


def _stripes(live: _Live, bounds: tuple[float, float]) -> Tensor:
    """Return points with a random sign for every column and channel."""
    _, channels, _, width = live.clean.shape
    signs = _signs(random.integers(live.seeds, START, channels * width)).view(-1, channels, 1, width)
    return (live.clean + signs.to(live.clean) * live.eps).clamp(*bounds)


def squares(
    clean: Tensor, best: Tensor, eps: Tensor, bits: Tensor, share: float, bounds: tuple[float, float]
) -> Tensor:
    """Return the best points with a square at the edge of the linf ball, one random sign per channel.

    Where that changes nothing the signs are turned round, so that no query is asked twice.

    Args:
        clean: (n, channels, height, width).
        best: points in the ball, of the same shape.
        eps: (n, 1, 1, 1).
        bits: random, int64 (n, channels + 5).
        share: of the pixels, that the square covers.
        bounds: the range of a pixel.
    """
    height, width = best.shape[2:]
    side = min(max(round(math.sqrt(share * height * width)), 1), height, width)
    top, left = _below(bits[:, 0], height - side + 1), _below(bits[:, 1], width - side + 1)
    inside = _between(top, side, height)[:, None, :, None] & _between(left, side, width)[:, None, None, :]
    change = _signs(bits[:, 5:])[:, :, None, None].to(best) * eps
    point = torch.where(inside, (clean + change).clamp_(*bounds), best)
    idle = (point == best).flatten(1).all(dim=1).view(-1, 1, 1, 1)
    return torch.where(inside & idle, (clean - change).clamp_(*bounds), point)


def _between(first: Tensor, count: int, total: int) -> Tensor:
    """Return which of `total` places lie among the `count` from the first on, bool (n, total)."""
    offset = torch.arange(total, device=first.device) - first[:, None]
    return (offset >= 0) & (offset < count)


def _tiles(live: _Live, bounds: tuple[float, float]) -> Tensor:
    """Return points at distance eps that are bumps of a random sign on a grid, a fifth of the image on a side."""
    _, channels, height, width = live.clean.shape
    side = max(1, min(height, width) // 5)
    down, across = height // side, width // side
    signs = _signs(random.integers(live.seeds, START, channels * down * across)).view(-1, channels, down, across)
    tiles = torch.kron(signs.to(live.clean), bump(side).to(live.clean))
    delta = torch.zeros_like(live.clean)
    delta[:, :, : down * side, : across * side] = tiles
    return _at_distance(live.clean, delta, live.eps, bounds)


def bump(side: int) -> Tensor:
    """Return two opposite pyramids next to each other, (side, side) of norm one (the paper, section 4.3)."""
    half = side // 2
    whole = torch.cat([_pyramid(half, side), -_pyramid(side - half, side)])
    scaled: Tensor = whole / torch.linalg.vector_norm(whole)
    return scaled


def _pyramid(height: int, width: int) -> Tensor:
    """Return a bump that falls with the distance d to its centre as the sum over k >= d of 1 / (k + 1)^2, norm one."""
    if height == 0:
        return torch.zeros(0, width)
    rows, columns = torch.arange(height) - height // 2, torch.arange(width) - width // 2
    distance = torch.maximum(rows.abs()[:, None], columns.abs()[None, :])
    steps = 1 / torch.arange(1, max(height, width) // 2 + 2).float() ** 2
    value = steps.flip(0).cumsum(0).flip(0)[distance]
    scaled: Tensor = value / torch.linalg.vector_norm(value)
    return scaled


def _at_distance(clean: Tensor, delta: Tensor, eps: Tensor, bounds: tuple[float, float]) -> Tensor:
    """Return the clean pixels moved by eps along delta, clipped to the bounds."""
    return torch.addcmul(clean, delta / _length(delta, (1, 2, 3)), eps).clamp_(*bounds)


def _length(delta: Tensor, over: tuple[int, ...]) -> Tensor:
    return delta.square().sum(dim=over, keepdim=True).sqrt().clamp_min(1e-12)


def bumps(clean: Tensor, best: Tensor, eps: Tensor, bits: Tensor, share: float, bounds: tuple[float, float]) -> Tensor:
    """Return points at L2 distance eps: the mass of two windows has moved into the first, with a bump on top.

    The arguments are those of `squares`.
    """
    channels, height, width = best.shape[1:]
    side = min(max(round(math.sqrt(share * height * width)), 3) // 2 * 2 + 1, height, width)
    first = _window(bits[:, 0], bits[:, 1], side, best)
    second = _window(bits[:, 2], bits[:, 3], side, best)
    delta = (best - clean).flatten(2)
    before = delta.gather(2, first)
    left = delta.scatter(2, second, 0.0).scatter(2, first, 0.0)
    mass, rest = delta.square().sum(dim=2, keepdim=True), left.square().sum(dim=2, keepdim=True)
    free = (eps[..., 0].square() - mass.sum(dim=1, keepdim=True)).clamp_min(0) / channels
    turned, signs = (bits[:, 4] >> 40 & 1).bool()[:, None, None], _signs(bits[:, 5:])[:, :, None].to(delta)
    pattern = bump(side).to(delta, non_blocking=True)  # else an accelerator is waited for at every query
    added = torch.where(turned, pattern, pattern.T).flatten(1)[:, None] * signs + before / _length(before, (2,))
    placed = added / _length(added, (2,)) * (free + mass - rest).clamp_min(0).sqrt()
    return _at_distance(clean, left.scatter(2, first, placed).view_as(best), eps, bounds)


def _window(down: Tensor, across: Tensor, side: int, pixels: Tensor) -> Tensor:
    """Return the flat places of a square window at random, (n, channels, side * side)."""
    _, channels, height, width = pixels.shape
    offset = torch.arange(side, device=pixels.device)
    rows = _below(down, height - side + 1)[:, None] + offset
    columns = _below(across, width - side + 1)[:, None] + offset
    places = (rows[:, :, None] * width + columns[:, None, :]).flatten(1)
    return places[:, None].expand(-1, channels, -1)
