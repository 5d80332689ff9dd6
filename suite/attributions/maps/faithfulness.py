"""Faithfulness of attribution methods and a random control, per sample."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from suite.attributions.maps.base import Method, RandomAttribution, attribute, pixel_map
from suite.attributions.maps.baselines import BASELINES
from suite.attributions.maps.budget import forwards
from suite.attributions.maps.cells import Grid, rank_cells
from suite.attributions.maps.curves import curve_area, replaced_cells
from suite.attributions.maps.explained import Explained
from suite.attributions.maps.infidelity import Noise, infidelities
from suite.attributions.maps.localization import context_kept, context_rows, energy_inside, pointing_game
from suite.errors import MeasureError, NotApplicableError
from suite.metrics.catalogue import BoardColumn, Metric

CONTROL = "random"
"""Reserved name of the random control, which is always measured."""

DELETION = Metric(
    "deletion_auc",
    "deletion AUC",
    "area under the curve of the score while the pixels of the highest attribution are deleted first",
    higher_is_better=False,
    control="random",
)
INSERTION = Metric(
    "insertion_auc",
    "insertion AUC",
    "area under the curve of the score while the pixels of the highest attribution are inserted first",
    control="random",
    columns=(BoardColumn("insertion over random", best_of="method", controls=(CONTROL,), prefer={"baseline": "mean"}),),
)
INFIDELITY = Metric(
    "infidelity",
    "infidelity",
    "squared difference between the change of the output under noise and the change that the attributions predict",
    unit="squared scalar",
    bounds=(0.0, None),
    higher_is_better=False,
    control="random",
)
INFIDELITY_SCALED = Metric(
    "infidelity_scaled",
    "scaled infidelity",
    "infidelity of the attributions multiplied by the factor that minimizes it",
    unit="squared scalar",
    bounds=(0.0, None),
    higher_is_better=False,
    control="random",
)
# Plausibility, not faithfulness: it does not show that the model uses these pixels.
POINTING_GAME = Metric(
    "pointing_game",
    "pointing game",
    "share of the maps whose maximum lies in the explained region; plausibility, not faithfulness",
    control="random",
    section="Plausibility, not faithfulness",
)
ENERGY_INSIDE = Metric(
    "energy_inside",
    "energy inside",
    "share of a map's positive values that lies in the explained region; plausibility, not faithfulness",
    control="random",
    section="Plausibility, not faithfulness",
)
# Lower if the context that the map highlights matters. If a model uses no context, no map beats the control.
CONTEXT_DELETION = Metric(
    "context_deletion_auc",
    "context deletion AUC",
    "area under the curve of the score while pixels outside the explained region are deleted",
    higher_is_better=False,
    control="random",
    section="Context of the explained region",
)
METRICS = {
    metric.name: metric
    for metric in (
        INSERTION,
        DELETION,
        INFIDELITY,
        INFIDELITY_SCALED,
        POINTING_GAME,
        ENERGY_INSIDE,
        CONTEXT_DELETION,
    )
}
"""The metrics of maps, by name."""

AREAS = {"deletion": DELETION, "insertion": INSERTION, "context_deletion": CONTEXT_DELETION}
"""The metric that is the area under each curve."""

NOISE, NO_BASELINE = "noise", "none"
"""In place of a baseline: for infidelity, and for metrics without deletion."""

Key = tuple[str, str, str]
"""(method, metric, baseline); the baseline is ``noise`` for infidelity and ``none`` for metrics without deletion."""

Watch = Callable[[list[tuple[str, Method]]], Iterable[tuple[str, Method]]]
"""Wraps the iteration over methods, for example in a progress bar."""


STEPS = 16
"""Points of a curve after the first, if the budget of forward passes allows."""


@dataclass(frozen=True)
class Settings:
    """Settings of `evaluate`.

    Attributes:
        steps: points of a curve after the first, at most the number of cells. None for `STEPS`, or as many as the
            curves of a method may have within `budget.forwards`.
        baselines: names in `BASELINES`.
        noise_samples: noise draws per sample for infidelity, at least 2.
        noise_sd: their standard deviation, in units of the input.
        gallery: number of samples, from the first, whose maps are kept.
    """

    steps: int | None = None
    baselines: tuple[str, ...] = ("mean", "blur")
    noise_samples: int = 10
    noise_sd: float = 0.1
    gallery: int = 8

    def __post_init__(self) -> None:
        unknown = sorted(set(self.baselines) - set(BASELINES))
        if unknown or not self.baselines:
            raise MeasureError(f"got baselines {self.baselines}; expected one or more of {tuple(BASELINES)}.")
        if (self.steps is not None and self.steps < 1) or self.gallery < 0:
            raise MeasureError(f"got {self}; expected steps of 1 or more and a gallery of 0 or more.")

    def points(self, grid: Grid) -> int:
        """Return the points of a curve after the first, on an image."""
        if self.steps is not None:
            return min(self.steps, grid.count)
        curves = 2 * len(self.baselines)  # the end points are shared by all curves
        return min(STEPS, grid.count, forwards(grid.height, grid.width) // curves + 1)

    def cost(self, grid: Grid) -> str:
        """Return what the curves of a method cost, in words."""
        cells, points = "x".join(map(str, grid.shape)), self.points(grid)
        limit = f"budget {forwards(grid.height, grid.width)}" if self.steps is None else f"steps={self.steps}"
        spent = 2 * len(self.baselines) * (points - 1)
        return f"{cells} cells, {points} steps, {spent} forwards per image and method, {limit}"


DEFAULT = Settings()


@dataclass(frozen=True, eq=False)
class Faithfulness:
    """Results of `evaluate` as numpy arrays.

    Attributes:
        values: per sample (n,), float64, by method, metric and baseline. Metrics: `DELETION`, `INSERTION`; for methods
            that are `local`, `INFIDELITY`, `INFIDELITY_SCALED`; if a region is explained, `POINTING_GAME`,
            `ENERGY_INSIDE` and `CONTEXT_DELETION`. The last is NaN, for all methods, for samples whose region overlaps
            every cell: they have no context to delete.
        curves: mean curves (steps + 1,) by method, ``deletion``, ``insertion`` or ``context_deletion`` (of samples with
            a context, if any), and baseline.
        maps: pixel maps of the first samples by method, (k, h, w), float32.
        skipped: why a method was not applicable, by method.
        costs: forward passes and their budget in words: of the curves under ``curves``, and of the methods that have
            a budget under their names.
    """

    values: Mapping[Key, NDArray[np.float64]]
    curves: Mapping[Key, NDArray[np.float64]]
    maps: Mapping[str, NDArray[np.float32]]
    skipped: Mapping[str, str]
    costs: Mapping[str, str]


def evaluate(
    explained: Explained, methods: Mapping[str, Method], *, settings: Settings = DEFAULT, watch: Watch = iter
) -> Faithfulness:
    """Measure methods, and the random control, on the same samples, baselines and noise.

    The images of all curves of all methods share their batches, and equal ones are scored once.

    Args:
        explained: the samples to explain.
        methods: methods by reported name; `CONTROL` is added.
        settings: baselines, steps and noise.
        watch: wraps the iteration over the named methods, with the control last.

    Returns:
        Values per sample; independent of the batch size and of which other methods are measured.

    Raises:
        ModelError: a scalar, a score or an attribution is not finite, or of the wrong shape.
        MeasureError: a method has the control's name.
    """
    noise = Noise(settings.noise_samples, settings.noise_sd)
    evaluation = _Evaluation(explained, settings, Grid.fit(*explained.inputs.shape[2:]))
    for name, method in watch(list(_with_control(methods).items())):
        try:
            evaluation.add(name, method)
        except NotApplicableError as error:
            evaluation.skipped[name] = str(error)
    return evaluation.finished(noise)


@dataclass(eq=False)
class _Evaluation:
    """State that all methods share, and the results so far, of one call of `evaluate`."""

    explained: Explained
    settings: Settings
    grid: Grid
    values: dict[Key, NDArray[np.float64]] = field(default_factory=dict)
    maps: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    costs: dict[str, str] = field(default_factory=dict)
    _asked: dict[Key, Tensor] = field(default_factory=dict)
    _local: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.costs["curves"] = self.settings.cost(self.grid)

    def add(self, name: str, method: Method) -> None:
        """Explain all samples by a method, and ask for the points of its curves."""
        self.explained.costs.clear()
        raw = attribute(method, self.explained)
        maps = pixel_map(method, raw)
        self.maps[name] = maps[: self.settings.gallery].float().cpu().numpy()
        rank = rank_cells(self.grid.pool(maps), self.explained.seeds)
        replaced = replaced_cells(rank, self._steps)
        for baseline in self.settings.baselines:
            self._ask((name, DELETION.name, baseline), ~replaced)
            self._ask((name, INSERTION.name, baseline), replaced)
        if method.local:
            self._local[name] = raw
            for metric in (INFIDELITY, INFIDELITY_SCALED):
                self._reserve((name, metric.name, NOISE))
        if self.explained.region is not None:
            self._add_localization(name, maps, rank, self.explained.region)
        if self.explained.costs:
            self.costs[name] = "; ".join(self.explained.costs)

    def finished(self, noise: Noise) -> Faithfulness:
        """Return the results, with the areas under the curves and the infidelity of local methods."""
        curves = {key: self.explained.masked_scores.values(places) for key, places in self._asked.items()}
        for key, curve in curves.items():
            rows = self._context.cpu().numpy() if key[1] == CONTEXT_DELETION.name else slice(None)
            self.values[key][rows] = curve_area(curve).cpu().numpy()
        for name, found in infidelities(self.explained, self._local, noise).items():
            self.values[name, INFIDELITY.name, NOISE] = found.raw.cpu().numpy()
            self.values[name, INFIDELITY_SCALED.name, NOISE] = found.scaled.cpu().numpy()
        direction = {metric.name: name for name, metric in AREAS.items()}
        means = {(name, direction[of], end): curve.mean(0).cpu().numpy() for (name, of, end), curve in curves.items()}
        return Faithfulness(self.values, means, self.maps, self.skipped, self.costs)

    def _add_localization(self, name: str, maps: Tensor, rank: Tensor, region: Tensor) -> None:
        self.values[name, POINTING_GAME.name, NO_BASELINE] = pointing_game(maps, region).cpu().numpy()
        self.values[name, ENERGY_INSIDE.name, NO_BASELINE] = energy_inside(maps, region).cpu().numpy()
        rows = self._context
        for baseline in self.settings.baselines:
            key = name, CONTEXT_DELETION.name, baseline
            self._reserve(key)
            if len(rows):
                kept = context_kept(self.grid, rank[rows], region[rows], steps=self._steps)
                self._ask(key, kept, rows.tolist())

    def _ask(self, key: Key, kept: Tensor, rows: list[int] | None = None) -> None:
        self._reserve(key)
        self._asked[key] = self.explained.masked_scores.ask(self.grid, kept, key[2], rows)

    def _reserve(self, key: Key) -> None:
        """Keep the place of values that are known at the end, so that rows stay in the order of methods."""
        self.values[key] = np.full(len(self.explained), np.nan)

    @property
    def _steps(self) -> int:
        return self.settings.points(self.grid)

    @functools.cached_property
    def _context(self) -> Tensor:
        """Samples with a context to delete, (m,)."""
        assert self.explained.region is not None  # noqa: S101  # without a region there is no context
        return context_rows(self.grid, self.explained.region)


def _with_control(methods: Mapping[str, Method]) -> dict[str, Method]:
    if CONTROL in methods and methods[CONTROL] != RandomAttribution():
        raise MeasureError(
            f"got a method named {CONTROL!r}; this name is reserved for the random control. Use another name."
        )
    return {**methods, CONTROL: RandomAttribution()}
