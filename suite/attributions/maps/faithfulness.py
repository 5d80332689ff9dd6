"""Faithfulness of a set of attribution methods, per sample, next to a random control."""

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

CONTROL = "random"
"""Name of the random control, which is always measured; no other method may have it."""

Key = tuple[str, str, str]
"""(method, metric, baseline); the baseline of infidelity is ``noise``, that of what deletes nothing is ``none``."""

Watch = Callable[[list[tuple[str, Method]]], Iterable[tuple[str, Method]]]
"""Hands on the methods one by one, each when the one before is measured: a place for a progress bar."""


@dataclass(frozen=True)
class Settings:
    """How much is measured.

    Attributes:
        steps: points of a curve after the first; fewer where an image has fewer cells.
        baselines: names in `BASELINES`.
        noise_samples: draws of noise per sample for infidelity, 2 or more.
        noise_sd: their standard deviation, in units of the input.
        gallery: how many samples to keep the maps of, from the first.
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
    """What `evaluate` found, as plain numpy.

    Attributes:
        values: per sample (n,), float64, by method, metric and baseline. Metrics: ``deletion_auc``,
            ``insertion_auc``; for methods that are `local`, ``infidelity``, ``infidelity_scaled``; where a region is
            explained, ``pointing_game``, ``energy_inside`` and ``context_deletion_auc``. The last is NaN for samples
            whose region touches every cell: they have no context to delete, whatever the method.
        curves: mean curves (steps + 1,) by method, ``deletion``, ``insertion`` or ``context_deletion`` (of the samples
            that have a context, if any), and baseline.
        maps: pixel maps of the first samples by method, (k, h, w), float32.
        skipped: why a method was not applicable, by method.
        settings: what was asked for.
    """

    values: Mapping[Key, NDArray[np.float64]]
    curves: Mapping[Key, NDArray[np.float64]]
    maps: Mapping[str, NDArray[np.float32]]
    skipped: Mapping[str, str]
    settings: Settings


def evaluate(
    explained: Explained, methods: Mapping[str, Method], *, settings: Settings = DEFAULT, watch: Watch = iter
) -> Faithfulness:
    """Measure methods, and the random control, on the same samples, baselines and noise.

    Args:
        explained: the samples, and what to explain of them.
        methods: by the name to report them under; `CONTROL` is added.
        settings: how much is measured.
        watch: is given the named methods, the control at the end, and hands them on; for progress.

    Returns:
        Values per sample; independent of the batch size and of which other methods are measured.

    Raises:
        ModelError: a scalar, a score or an attribution is not finite, or of the wrong shape.
        MeasureError: a method has the control's name.
    """
    everyone = list(_with_control(methods).items())
    bench = _Bench.prepare(explained, settings)
    for name, method in watch(everyone):
        try:
            bench.add(name, method)
        except NotApplicableError as error:
            bench.skipped[name] = str(error)
    return Faithfulness(bench.values, bench.curves, bench.maps, bench.skipped, settings)


@dataclass(eq=False)
class _Bench:
    """What all methods share, and the results so far; lives for one call of `evaluate`."""

    explained: Explained
    settings: Settings
    grid: Grid
    ends: Mapping[str, Tensor]
    answers: Probe
    values: dict[Key, NDArray[np.float64]] = field(default_factory=dict)
    curves: dict[Key, NDArray[np.float64]] = field(default_factory=dict)
    maps: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    @classmethod
    def prepare(cls, explained: Explained, settings: Settings) -> _Bench:
        height, width = explained.inputs.shape[2:]
        ends = {name: BASELINES[name](explained.inputs) for name in settings.baselines}
        answers = probe(explained, samples=settings.noise_samples, sd=settings.noise_sd)
        return cls(explained, settings, Grid.fit(height, width), ends, answers)

    def add(self, name: str, method: Method) -> None:
        raw = attribute(method, self.explained)
        maps = pixel_map(method, raw)
        self.maps[name] = maps[: self.settings.gallery].float().cpu().numpy()
        order = rank_cells(self.grid.pool(maps), self.explained.seeds)
        rank = self.grid.spread(order)
        for baseline, end in self.ends.items():
            self._follow(name, "deletion", baseline, (self.explained.inputs, end, rank))
            self._follow(name, "insertion", baseline, (end, self.explained.inputs, rank))
        if method.local:
            self._predict(name, raw)
        if self.explained.region is not None:
            self._locate(name, maps, order, self.explained.region)

    def _predict(self, name: str, raw: Tensor) -> None:
        infidelity = measure_infidelity(raw, self.answers)
        self.values[name, "infidelity", "noise"] = infidelity.raw.cpu().numpy()
        self.values[name, "infidelity_scaled", "noise"] = infidelity.scaled.cpu().numpy()

    def _locate(self, name: str, maps: Tensor, order: Tensor, region: Tensor) -> None:
        self.values[name, "pointing_game", "none"] = pointing_game(maps, region).cpu().numpy()
        self.values[name, "energy_inside", "none"] = energy_inside(maps, region).cpu().numpy()
        rows = context_rows(self.grid, region).cpu().numpy()
        for baseline, end in self.ends.items():
            values = self.values[name, "context_deletion_auc", baseline] = np.full(len(maps), np.nan)
            if len(rows):
                curve = context_curve(self.explained, self.grid, order, end, steps=self._steps)
                values[rows] = curve_area(curve).cpu().numpy()
                self.curves[name, "context_deletion", baseline] = curve.mean(0).cpu().numpy()

    @property
    def _steps(self) -> int:
        return min(self.settings.steps, self.grid.count)

    def _follow(self, name: str, direction: str, baseline: str, path: tuple[Tensor, Tensor, Tensor]) -> None:
        curve = perturbation_curve(self.explained.rate, *path, steps=self._steps, batch_size=self.explained.batch_size)
        self.values[name, f"{direction}_auc", baseline] = curve_area(curve).cpu().numpy()
        self.curves[name, direction, baseline] = curve.mean(0).cpu().numpy()


def _with_control(methods: Mapping[str, Method]) -> dict[str, Method]:
    if CONTROL in methods and methods[CONTROL] != RandomAttribution():
        raise MeasureError(
            f"got a method named {CONTROL!r}; that name belongs to the random control. Report it under another name."
        )
    return {**methods, CONTROL: RandomAttribution()}
