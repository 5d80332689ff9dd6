"""Faithfulness of attribution methods and a random control, per sample."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from suite.attributions.maps.base import Method, RandomAttribution, attribute, pixel_map
from suite.attributions.maps.cells import Grid, rank_cells
from suite.attributions.maps.curves import BASELINES, curve_area, perturbation_curve
from suite.attributions.maps.explained import Explained
from suite.attributions.maps.infidelity import Probe, measure_infidelity, probe
from suite.attributions.maps.localization import context_curve, context_rows, energy_inside, pointing_game
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
    higher_is_better=False,
    control="random",
)
INFIDELITY_SCALED = Metric(
    "infidelity_scaled",
    "scaled infidelity",
    "infidelity of the attributions multiplied by the factor that minimizes it",
    unit="squared scalar",
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


@dataclass(frozen=True)
class Settings:
    """Settings of `evaluate`.

    Attributes:
        steps: points of a curve after the first; at most the number of cells.
        baselines: names in `BASELINES`.
        noise_samples: noise draws per sample for infidelity, at least 2.
        noise_sd: their standard deviation, in units of the input.
        gallery: number of samples, from the first, whose maps are kept.
    """

    steps: int = 16
    baselines: tuple[str, ...] = ("mean", "blur")
    noise_samples: int = 10
    noise_sd: float = 0.1
    gallery: int = 8

    def __post_init__(self) -> None:
        unknown = sorted(set(self.baselines) - set(BASELINES))
        if unknown or not self.baselines:
            raise MeasureError(f"got baselines {self.baselines}; expected one or more of {tuple(BASELINES)}.")
        if self.steps < 1 or self.gallery < 0:
            raise MeasureError(f"got {self}; expected steps of 1 or more and a gallery of 0 or more.")


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
    """

    values: Mapping[Key, NDArray[np.float64]]
    curves: Mapping[Key, NDArray[np.float64]]
    maps: Mapping[str, NDArray[np.float32]]
    skipped: Mapping[str, str]


def evaluate(
    explained: Explained, methods: Mapping[str, Method], *, settings: Settings = DEFAULT, watch: Watch = iter
) -> Faithfulness:
    """Measure methods, and the random control, on the same samples, baselines and noise.

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
    named = list(_with_control(methods).items())
    evaluation = _Evaluation.prepare(explained, settings)
    for name, method in watch(named):
        try:
            evaluation.add(name, method)
        except NotApplicableError as error:
            evaluation.skipped[name] = str(error)
    return Faithfulness(evaluation.values, evaluation.curves, evaluation.maps, evaluation.skipped)


@dataclass(eq=False)
class _Evaluation:
    """State that all methods share, and the results so far, of one call of `evaluate`."""

    explained: Explained
    settings: Settings
    grid: Grid
    baselines: Mapping[str, Tensor]
    noise: Probe
    values: dict[Key, NDArray[np.float64]] = field(default_factory=dict)
    curves: dict[Key, NDArray[np.float64]] = field(default_factory=dict)
    maps: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    @classmethod
    def prepare(cls, explained: Explained, settings: Settings) -> _Evaluation:
        height, width = explained.inputs.shape[2:]
        baselines = {name: BASELINES[name](explained.inputs) for name in settings.baselines}
        noise = probe(explained, samples=settings.noise_samples, sd=settings.noise_sd)
        return cls(explained, settings, Grid.fit(height, width), baselines, noise)

    def add(self, name: str, method: Method) -> None:
        raw = attribute(method, self.explained)
        maps = pixel_map(method, raw)
        self.maps[name] = maps[: self.settings.gallery].float().cpu().numpy()
        order = rank_cells(self.grid.pool(maps), self.explained.seeds)
        rank = self.grid.spread(order)
        for baseline, end in self.baselines.items():
            self._add_curve((name, DELETION.name, baseline), "deletion", (self.explained.inputs, end, rank))
            self._add_curve((name, INSERTION.name, baseline), "insertion", (end, self.explained.inputs, rank))
        if method.local:
            self._add_infidelity(name, raw)
        if self.explained.region is not None:
            self._add_localization(name, maps, order, self.explained.region)

    def _add_infidelity(self, name: str, raw: Tensor) -> None:
        infidelity = measure_infidelity(raw, self.noise)
        self.values[name, INFIDELITY.name, NOISE] = infidelity.raw.cpu().numpy()
        self.values[name, INFIDELITY_SCALED.name, NOISE] = infidelity.scaled.cpu().numpy()

    def _add_localization(self, name: str, maps: Tensor, order: Tensor, region: Tensor) -> None:
        self.values[name, POINTING_GAME.name, NO_BASELINE] = pointing_game(maps, region).cpu().numpy()
        self.values[name, ENERGY_INSIDE.name, NO_BASELINE] = energy_inside(maps, region).cpu().numpy()
        rows = context_rows(self.grid, region).cpu().numpy()
        for baseline, end in self.baselines.items():
            values = self.values[name, CONTEXT_DELETION.name, baseline] = np.full(len(maps), np.nan)
            if len(rows):
                curve = context_curve(self.explained, self.grid, order, end, steps=self._steps)
                values[rows] = curve_area(curve).cpu().numpy()
                self.curves[name, "context_deletion", baseline] = curve.mean(0).cpu().numpy()

    @property
    def _steps(self) -> int:
        return min(self.settings.steps, self.grid.count)

    def _add_curve(self, key: Key, direction: str, path: tuple[Tensor, Tensor, Tensor]) -> None:
        curve = perturbation_curve(self.explained.rate, *path, steps=self._steps, batch_size=self.explained.batch_size)
        name, _, baseline = key
        self.values[key] = curve_area(curve).cpu().numpy()
        self.curves[name, direction, baseline] = curve.mean(0).cpu().numpy()


def _with_control(methods: Mapping[str, Method]) -> dict[str, Method]:
    if CONTROL in methods and methods[CONTROL] != RandomAttribution():
        raise MeasureError(
            f"got a method named {CONTROL!r}; this name is reserved for the random control. Use another name."
        )
    return {**methods, CONTROL: RandomAttribution()}
