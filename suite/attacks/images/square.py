"""The Square Attack: random search with squares, using the model's scores and no gradients."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor

from suite.attacks import rng as random
from suite.attacks.engine.problem import Problem
from suite.attacks.images.gradient import NormAttack, require_images
from suite.decorators import attack
from suite.errors import SpecError

START, QUERIES = 1100, 1101
"""Streams of random numbers: for the start, and for the first block of queries."""

BLOCK = 32
"""Number of queries whose random numbers are drawn at once; on an accelerator, also between two compactions."""

HELD = 2**22
"""Maximum number of elements of a working tensor; larger sets are searched in parts, with the same result."""

SCALE = 10_000
"""Number of queries of the schedule in the paper."""

SHRINKS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""Queries, out of `SCALE`, after which the area of the squares is halved (Andriushchenko et al. 2020, section 4)."""


@attack(name="square")
@dataclass(frozen=True)
class Square(NormAttack):
    """Random squares on top of stripes, kept if they do not lower the margin (Andriushchenko et al. 2020).

    Squares are drawn for each sample at every query.

    Attributes:
        queries: maximum number of queries per sample. Rows of a batch that would be padding try later queries ahead.
        p: share of the pixels that the first square covers.
        total: number of queries over which the squares shrink; None for four times the queries, at most the paper's
            10,000. With few queries, a slower schedule would use large squares for too long.
    """

    loss: str | None = None
    queries: int = 1000
    p: float = 0.8
    total: int | None = None
    budget_field: ClassVar[str | None] = "queries"
    norms: ClassVar[tuple[str, ...]] = ("linf", "l2")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.queries < 1 or (self.total is not None and self.total < 1) or not 0 < self.p <= 1:
            raise SpecError(
                f"square needs queries and total of at least 1 and p in (0, 1]; got queries={self.queries}, "
                f"total={self.total} and p={self.p}."
            )

    def perturb(self, problem: Problem, pixels: Tensor, targets: Tensor, size: float, seeds: Tensor) -> Tensor:
        """Return the first misclassified point of each sample, or the one with the highest margin."""
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
        """Search from a start; a sample leaves the batch once it is misclassified.

        Args:
            problem: the model; only `problem.ranking_loss` in forward passes is used.
            pixels: clean images (n, channels, height, width).
            targets: (n, ...).
            eps: radius of each sample (n,).
            seeds: int64 (n,).
            start: points within eps of the pixels; None for the paper's stripes (linf) or tiles (l2).

        Returns:
            The best points (n, channels, height, width), their margins (n,) in float64, -inf where no output was
            finite, and which are misclassified, bool (n,).
        """
        require_images(problem, "square")
        best = (pixels if start is None else start).clone()
        margin = torch.full((len(pixels),), -math.inf, dtype=torch.float64, device=pixels.device)
        misclassified = torch.zeros(len(pixels), dtype=torch.bool, device=pixels.device)
        begin = None if start is not None else _stripes if self.norm == "linf" else _tiles
        radius = eps.to(pixels).view(-1, 1, 1, 1)
        with torch.no_grad():
            for rows in parts_of(pixels, problem.batch_size):
                batch = _Batch.of(rows, pixels[rows], best[rows], targets[rows], radius[rows], seeds[rows])
                if begin is not None:
                    batch.best = begin(batch, problem.bounds)
                self._search_batch(problem, batch, (best, margin, misclassified))
        return best, margin, misclassified

    def _search_batch(self, problem: Problem, batch: _Batch, results: tuple[Tensor, Tensor, Tensor]) -> None:
        """Search until all samples are misclassified or the queries are used up, and store the results."""
        batch.keep(problem, batch.best)
        if batch.best.device.type == "cpu":
            self._search_ahead(problem, batch, results)
        else:
            self._search_in_step(problem, batch, results)

    def _search_in_step(self, problem: Problem, batch: _Batch, results: tuple[Tensor, Tensor, Tensor]) -> None:
        """Do so on an accelerator, without waiting for it at every query."""
        for query in range(self.queries - 1):
            if query % BLOCK == 0:
                batch = batch.without(batch.misclassified, results)
                if not len(batch.rows):
                    return
                batch.draw(torch.full((len(batch.rows),), query))
            bits, share = batch.bits[:, query % BLOCK], self.share(query)
            batch.keep(problem, self._proposed(batch, slice(None), bits, share, problem))
        batch.store(results)

    def _search_ahead(self, problem: Problem, batch: _Batch, results: tuple[Tensor, Tensor, Tensor]) -> None:
        """Do so with the rows of a batch that would be padding used for later queries of the same samples.

        As long as no query is kept, the next ones start from the same point, so they can be tried at once. Those after
        the first one that is kept are discarded and tried again.
        """
        changes = [query for query in range(1, self.queries - 1) if self.share(query) != self.share(query - 1)]
        ends = torch.tensor([*changes, self.queries - 1])
        query = torch.zeros(len(batch.rows), dtype=torch.int64)
        while True:
            over = batch.misclassified | (query >= self.queries - 1)
            batch, query = batch.without(over, results), query[~over]
            if not len(query):
                return
            batch.draw(query)
            until = ends[torch.searchsorted(ends, query, right=True)]  # the squares change their size there
            chosen = (until == until.min()).nonzero()[:, 0]
            left = torch.minimum(until[chosen] - query[chosen], BLOCK - query[chosen] % BLOCK)
            run = torch.minimum(left, _shares(query[chosen], problem))
            place = torch.arange(len(chosen)).repeat_interleave(run)
            ahead = torch.arange(len(place)) - (run.cumsum(0) - run)[place]
            rows, share = chosen[place], self.share(int(query[chosen[0]]))
            bits = batch.bits[rows, query[rows] % BLOCK + ahead]
            points = self._proposed(batch, rows, bits, share, problem)
            query[chosen] += batch.keep_first(problem, points, rows, (place, ahead, run))

    def _proposed(self, batch: _Batch, rows: Tensor | slice, bits: Tensor, share: float, problem: Problem) -> Tensor:
        change = squares if self.norm == "linf" else bumps
        return change(batch.clean[rows], batch.best[rows], batch.eps[rows], bits, share, problem.bounds)

    def share(self, query: int) -> float:
        """Return the share of the pixels that a square covers at a query, counted from 0."""
        at = query * SCALE / (self.total or min(4 * self.queries, SCALE))
        return float(self.p / 2 ** sum(at > after for after in SHRINKS))


@dataclass
class _Batch:
    """The samples that are still searched, and the best point of each so far."""

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
        bits = seeds.new_zeros(len(seeds), BLOCK, clean.shape[1] + 5)
        return cls(rows, clean, best, targets, eps, seeds, margin, torch.zeros_like(rows, dtype=torch.bool), bits)

    def draw(self, query: Tensor) -> None:
        """Draw the random bits of the next `BLOCK` queries of samples that are at the first query of a block.

        They are bits for a side, a position, a pixel and a sign per channel.
        """
        count = self.clean.shape[1] + 5
        begin = (query % BLOCK == 0).nonzero()[:, 0]
        streams = (QUERIES + query[begin] // BLOCK).to(self.seeds.device)
        drawn = random.integers(self.seeds[begin], streams, BLOCK * count)
        self.bits[begin] = drawn.view(-1, BLOCK, count)

    def keep(self, problem: Problem, point: Tensor) -> None:
        """Keep points that are no worse, so that the search also moves where the scores are constant."""
        margin, misclassified = evaluate(problem, point, self.targets)
        better = ((margin >= self.margin) | misclassified) & ~self.misclassified
        self.best = torch.where(better.view(-1, 1, 1, 1), point, self.best)
        self.margin = torch.where(better, margin, self.margin)
        self.misclassified = self.misclassified | misclassified

    def keep_first(
        self, problem: Problem, points: Tensor, rows: Tensor, tried: tuple[Tensor, Tensor, Tensor]
    ) -> Tensor:
        """Keep the first of several points of each sample that is no worse; return how many queries count, (k,).

        Args:
            problem: the model.
            points: the points, those of one sample in succession, (m, ...).
            rows: the sample of each point, (m,).
            tried: the place of each point's sample among all k of them (m,), the number of points of the sample before
                it (m,), and the number of points of each sample (k,).
        """
        place, ahead, run = tried
        margin, misclassified = evaluate(problem, points, self.targets[rows])
        better = (margin >= self.margin[rows]) | misclassified
        first = run.scatter_reduce(0, place, torch.where(better, ahead, run[place]), "amin")
        kept = (better & (ahead == first[place])).nonzero()[:, 0]
        self.best[rows[kept]], self.margin[rows[kept]] = points[kept], margin[kept]
        self.misclassified[rows[kept]] = misclassified[kept]
        return torch.minimum(first + 1, run)

    def without(self, over: Tensor, results: tuple[Tensor, Tensor, Tensor]) -> _Batch:
        """Store the results of some samples and return the other samples."""
        if not over.any():
            return self
        self._take(over).store(results)
        return self._take(~over)

    def _take(self, kept: Tensor) -> _Batch:
        chosen = kept.nonzero()[:, 0]
        return _Batch(*(value[chosen] for value in vars(self).values()))

    def store(self, results: tuple[Tensor, Tensor, Tensor]) -> None:
        """Write best points, margins and `misclassified` into the results of the whole set."""
        for whole, part in zip(results, (self.best, self.margin, self.misclassified), strict=True):
            whole[self.rows] = part


def _shares(query: Tensor, problem: Problem) -> Tensor:
    """Return how many queries each sample tries at once, (k,): more for those that have used fewer of them.

    Together they are as many as the samples and the rows of padding that a pass of all samples would have.
    """
    count = len(query)
    fits = problem.adapter is not None and problem.adapter.width == problem.batch_size
    padding = problem.adapter.padding(count) if problem.adapter is not None and fits else 0
    least, rest = divmod(count + padding, count)
    return least + (query.argsort(stable=True).argsort() < rest).long()


def evaluate(problem: Problem, points: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return the ranking loss (n,) in float64 and which samples are misclassified, bool (n,).

    Where the output or the loss is not finite, the loss is -inf and the sample does not count as misclassified.
    """
    losses = [torch.zeros(0, dtype=torch.float64, device=points.device)]
    misclassified = [torch.zeros(0, dtype=torch.bool, device=points.device)]
    for chunk in problem.chunks(len(points)):
        output = problem.forward(points[chunk])
        loss = problem.loss(output, targets[chunk], problem.ranking_loss, None).double()
        finite = torch.isfinite(output).flatten(1).all(dim=1) & torch.isfinite(loss)
        losses.append(torch.where(finite, loss, -math.inf))
        misclassified.append(problem.misclassified(output, targets[chunk]) & finite)
    return torch.cat(losses), torch.cat(misclassified)


def parts_of(pixels: Tensor, batch_size: int) -> tuple[Tensor, ...]:
    """Return the rows of parts that fit into `HELD` elements, each at least a batch."""
    held = max(batch_size, HELD // max(1, pixels[0].numel())) if len(pixels) else 1
    return torch.split(torch.arange(len(pixels), device=pixels.device), held)


def _below(bits: Tensor, count: int) -> Tensor:
    """Return integers in 0..count-1 from random bits."""
    return (((bits >> 40) & 0xFFFFFF) * count) >> 24


def _signs(bits: Tensor) -> Tensor:
    """Return -1 or 1 from random bits."""
    return ((bits >> 40) & 1).float() * 2 - 1


def _stripes(batch: _Batch, bounds: tuple[float, float]) -> Tensor:
    """Return points with a random sign for every column and channel."""
    _, channels, _, width = batch.clean.shape
    signs = _signs(random.integers(batch.seeds, START, channels * width)).view(-1, channels, 1, width)
    return (batch.clean + signs.to(batch.clean) * batch.eps).clamp(*bounds)


def squares(
    clean: Tensor, best: Tensor, eps: Tensor, bits: Tensor, share: float, bounds: tuple[float, float]
) -> Tensor:
    """Return the best points with a square at the edge of the linf ball, one random sign per channel.

    Where this changes nothing the signs are flipped, so that no query repeats a point.

    Args:
        clean: (n, channels, height, width).
        best: points in the ball, of the same shape.
        eps: (n, 1, 1, 1).
        bits: random, int64 (n, channels + 5).
        share: share of the pixels that the square covers.
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
    """Return which of `total` positions are among the `count` positions from the first on, bool (n, total)."""
    offset = torch.arange(total, device=first.device) - first[:, None]
    return (offset >= 0) & (offset < count)


def _tiles(batch: _Batch, bounds: tuple[float, float]) -> Tensor:
    """Return points at distance eps with a grid of bumps of random sign, each a fifth of the image wide."""
    _, channels, height, width = batch.clean.shape
    side = max(1, min(height, width) // 5)
    down, across = height // side, width // side
    signs = _signs(random.integers(batch.seeds, START, channels * down * across)).view(-1, channels, down, across)
    tiles = torch.kron(signs.to(batch.clean), bump(side).to(batch.clean))
    delta = torch.zeros_like(batch.clean)
    delta[:, :, : down * side, : across * side] = tiles
    return _at_distance(batch.clean, delta, batch.eps, bounds)


def bump(side: int) -> Tensor:
    """Return two adjacent pyramids of opposite sign, (side, side) with norm one (section 4.3 of the paper)."""
    half = side // 2
    whole = torch.cat([_pyramid(half, side), -_pyramid(side - half, side)])
    scaled: Tensor = whole / torch.linalg.vector_norm(whole)
    return scaled


def _pyramid(height: int, width: int) -> Tensor:
    """Return a pyramid of norm one; at distance d from its center it is proportional to sum_{k >= d} 1 / (k + 1)^2."""
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
    """Return points at L2 distance eps: the mass of two windows is moved into the first one, and a bump is added.

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
    transposed, signs = (bits[:, 4] >> 40 & 1).bool()[:, None, None], _signs(bits[:, 5:])[:, :, None].to(delta)
    pattern = bump(side).to(delta, non_blocking=True)  # avoids a synchronization at every query
    added = torch.where(transposed, pattern, pattern.T).flatten(1)[:, None] * signs + before / _length(before, (2,))
    window = added / _length(added, (2,)) * (free + mass - rest).clamp_min(0).sqrt()
    return _at_distance(clean, left.scatter(2, first, window).view_as(best), eps, bounds)


def _window(down: Tensor, across: Tensor, side: int, pixels: Tensor) -> Tensor:
    """Return the flat indices of a random square window, (n, channels, side * side)."""
    _, channels, height, width = pixels.shape
    offset = torch.arange(side, device=pixels.device)
    rows = _below(down, height - side + 1)[:, None] + offset
    columns = _below(across, width - side + 1)[:, None] + offset
    places = (rows[:, :, None] * width + columns[:, None, :]).flatten(1)
    return places[:, None].expand(-1, channels, -1)
