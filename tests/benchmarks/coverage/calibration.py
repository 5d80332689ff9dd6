"""Coverage of calibration measures: simulated classifiers whose calibration is known.

Samples are a mixture of normal distributions, one per class, so that the posterior is a calibrated classifier of known
logits. A temperature makes it over- or underconfident; a random one per sample makes it a classifier that no
temperature calibrates. Truths without a formula are means over large simulations; ``python -m
tests.benchmarks.coverage.calibration`` computes them and writes them beside this module.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from suite.errors import UndeterminedError
from suite.kinds.classification.calibration import rescaling
from suite.metrics.calibration import (
    Predictions,
    Reliability,
    calibration_measures,
    event_measures,
    fit_temperature,
    temperature_interval,
)
from suite.metrics.calibration.agreement import agreement_measures, distances
from suite.metrics.calibration.inputs import log_softmax
from suite.metrics.calibration.selective import aurc
from suite.metrics.calibration.summary import brier_scores, classwise_ece
from suite.types import Measure
from tests.benchmarks.coverage.cells import Cell

Array = NDArray[Any]

CLASSES = 10
SHARES = {"balanced": np.full(CLASSES, 1 / CLASSES), "long tail": 0.6 ** np.arange(CLASSES)}
NAMES = {0.5: "underconfident", 1.0: "calibrated", 2.0: "overconfident"}
COPIES = 5
RATERS = 5
SIZES = (50, 100, 200, 1000, 5000)
TRUTHS = Path(__file__).with_name("calibration_truths.json")


@dataclass(frozen=True)
class Setting:
    """A simulated classifier of ten classes.

    Attributes:
        accuracy: share of right answers.
        shares: name of the class shares.
        temperature: what calibrates it; with `scattered` times a factor in 0.3..3 of each sample.
        scattered: whether no single temperature calibrates it.
        copies: samples of a group, all alike.
        sizes: numbers of samples.
    """

    accuracy: float
    shares: str
    temperature: float = 1.0
    scattered: bool = False
    copies: int = 1
    sizes: tuple[int, ...] = (50, 100, 200, 1000)

    @property
    def name(self) -> str:
        """Its name in the table."""
        own = "no temperature fits" if self.scattered else NAMES[self.temperature]
        grouped = f", groups of {self.copies}" if self.copies > 1 else ""
        return f"accuracy {self.accuracy:g}, {self.shares}, {own}{grouped}"

    @property
    def priors(self) -> Array:
        """Probabilities of the classes."""
        return np.asarray(SHARES[self.shares] / SHARES[self.shares].sum())

    def draw(self, generator: np.random.Generator, n: int, margin: float | None = None) -> tuple[Array, Array]:
        """Return logits (n, classes) and labels (n,)."""
        margin = truths()[self.name]["margin"] if margin is None else margin
        labels = generator.choice(CLASSES, n // self.copies, p=self.priors)
        features = generator.standard_normal((len(labels), CLASSES))
        features[np.arange(len(labels)), labels] += margin
        logits = (margin * features + np.log(self.priors)) * self.temperature
        if self.scattered:
            logits *= generator.uniform(0.3, 3.0, (len(labels), 1))
        return np.repeat(logits, self.copies, axis=0), np.repeat(labels, self.copies)

    def groups(self, n: int) -> Array | None:
        """Return the groups of n samples."""
        return np.arange(n) // self.copies if self.copies > 1 else None


@cache
def margin_for(accuracy: float, shares: str) -> float:
    """Return the distance of the classes' means that gives the accuracy, by bisection."""
    low, high = 0.2, 8.0
    for _ in range(25):
        middle = (low + high) / 2
        logits, labels = Setting(accuracy, shares).draw(np.random.default_rng(1), 100_000, middle)
        below = (logits.argmax(axis=1) == labels).mean() < accuracy
        low, high = (middle, high) if below else (low, middle)
    return middle


SETTINGS = [
    Setting(0.98, "balanced", sizes=SIZES),
    Setting(0.98, "balanced", 2.0, sizes=SIZES),
    Setting(0.98, "long tail", 0.5),
    Setting(0.9, "balanced", 2.0, sizes=SIZES),
    Setting(0.9, "long tail"),
    Setting(0.5, "balanced"),
    Setting(0.5, "long tail", 2.0),
]
GROUPED = [Setting(0.9, "balanced", 2.0, copies=COPIES, sizes=(100, 1000))]
FITTED = [
    Setting(0.98, "balanced", 2.0),
    Setting(0.98, "long tail"),
    Setting(0.98, "balanced", scattered=True),
    Setting(0.9, "long tail", scattered=True),
    Setting(0.9, "balanced", 2.0, sizes=SIZES),
    Setting(0.5, "balanced"),
    Setting(0.9, "balanced", 2.0, copies=COPIES, sizes=(100, 1000)),
]
MEASURES = ("ece", "ece_debiased_squared", "aurc", "classwise_ece", "nll", "brier")
OF_EVENTS = MEASURES[:3]
AT_N = ("ece", "aurc", "classwise_ece")
SOFT = ("soft_cross_entropy", "soft_kl", "js_distance", "total_variation")


QUICK = [(SETTINGS[1], "ece_debiased_squared", 1000), (SETTINGS[0], "nll", 50)]


@cache
def truths() -> dict[str, dict[str, Any]]:
    """Return the stored truths by name of the setting and, where they depend on it, number of samples."""
    found: dict[str, dict[str, Any]] = json.loads(TRUTHS.read_text()) if TRUTHS.exists() else {}
    return found


def _population(setting: Setting) -> dict[str, float]:
    """Return what the measures tend to with many samples."""
    parts: list[dict[str, float]] = []
    for seed in range(2):
        rows = setting.draw(np.random.default_rng([7, seed]), 200_000)
        wanted = _values(*rows, setting.temperature if setting.scattered else None)
        parts.append(wanted)
    return {name: float(np.mean([part[name] for part in parts])) for name in parts[0]}


def _values(logits: Array, labels: Array, scattered: float | None) -> dict[str, float]:
    """Return the means, and the temperature that fits best if no temperature is right."""
    predictions = Predictions.from_logits(logits, labels)
    measured = {"nll": float(-predictions.log_likelihood.mean()), "brier": float(brier_scores(predictions).mean())}
    square = Reliability.from_events(*_events(predictions)).debiased_square().value
    measured["ece_debiased_squared"] = float(square or 0.0)
    if scattered is not None:
        measured["temperature"] = fit_temperature(logits, labels).value
    return measured


def _events(predictions: Predictions) -> tuple[Array, Array]:
    """Return confidence and correctness of samples, (n,)."""
    confidence, correct = predictions.top()
    return confidence.clip(0, 1), correct


def _at(setting: Setting, n: int) -> dict[str, float]:
    """Return the expected plug-in values of n samples."""
    generator, sums = np.random.default_rng([8, n]), np.zeros(3)
    draws = max(250, 80_000 // n)
    for _ in range(draws):
        predictions = Predictions.from_logits(*setting.draw(generator, n))
        events = _events(predictions)
        sums += Reliability.from_events(*events).ece(), aurc(*events), classwise_ece(predictions)
    return dict(zip(AT_N, (sums / draws).tolist(), strict=True))


def _soft(setting: Setting, generator: np.random.Generator, n: int) -> tuple[Array, Array, Array]:
    """Return probabilities, shares of raters who follow the posterior, and labels of n samples."""
    logits, labels = setting.draw(generator, n)
    predicted, posterior = (np.exp(log_softmax(rows)) for rows in (logits, logits / setting.temperature))
    return predicted, generator.multinomial(RATERS, posterior / posterior.sum(axis=1, keepdims=True)) / RATERS, labels


def _soft_means(setting: Setting) -> dict[str, float]:
    """Return the means of the agreement with raters over many samples."""
    predicted, shares, _ = _soft(setting, np.random.default_rng(9), 300_000)
    return {metric.name: float(values.mean()) for metric, values, _ in distances(predicted, shares)}


def write_truths() -> None:
    """Compute the truths and write them."""
    found = truths()
    found.clear()
    by_name = {setting.name: setting for setting in (*FITTED, *GROUPED, *SETTINGS)}
    for setting in by_name.values():
        found[setting.name] = {"margin": margin_for(setting.accuracy, setting.shares)}
        found[setting.name] |= _population(setting)
        if setting in SETTINGS or setting in GROUPED:
            found[setting.name] |= {str(n): _at(setting, n) for n in setting.sizes}
        if setting in SETTINGS:
            found[setting.name] |= _soft_means(setting)
    TRUTHS.write_text(json.dumps(found, indent=1) + "\n")


def _named(measures: Sequence[Measure], name: str) -> Measure:
    return next(measure for measure in measures if measure.metric == name)


def _measured(setting: Setting, name: str, n: int, generator: np.random.Generator, level: float) -> Measure:
    """Return a measure of one data set."""
    predictions = Predictions.from_logits(*setting.draw(generator, n))
    common: dict[str, Any] = {
        "seed": int(generator.integers(2**31)), "params": {}, "level": level, "groups": setting.groups(n),
        "replicates": 400,
    }  # fmt: skip
    if name in OF_EVENTS:
        return _named(event_measures(*_events(predictions), **common), name)
    return _named(calibration_measures(predictions, **common), name)


def _agreement(setting: Setting, name: str, n: int, generator: np.random.Generator, level: float) -> Measure:
    """Return a measure of the agreement with raters on one data set."""
    rows = _soft(setting, generator, n)
    return _named(agreement_measures(*rows, seed=int(generator.integers(2**31)), level=level), name)


def _temperature(setting: Setting, n: int, generator: np.random.Generator, level: float) -> Measure | None:
    """Return the temperature fitted on one data set; None if no temperature is best."""
    try:
        scaling = rescaling(*setting.draw(generator, n))
    except UndeterminedError:
        return None
    ends = scaling.ends and scaling.ends(setting.groups(n))
    lo, hi = temperature_interval(scaling.value, ends or {}, level)
    return Measure("temperature", scaling.value, lo, hi, n, "bootstrap-bounded", level)


def _cells() -> Iterator[Cell]:
    known = truths()
    for setting in (*SETTINGS, *GROUPED):
        for name in MEASURES:
            for n in setting.sizes:
                if setting.temperature == 1.0 and name == "ece_debiased_squared":
                    truth = 0.0
                else:
                    truth = known[setting.name][str(n)][name] if name in AT_N else known[setting.name][name]
                quick = (setting, name, n) in QUICK
                yield Cell(name, setting.name, n, truth, partial(_measured, setting, name, n), quick)
    for setting in SETTINGS:
        for name in SOFT:
            for n in (50, 200, 1000):
                yield Cell(name, setting.name, n, known[setting.name][name], partial(_agreement, setting, name, n))
    for setting in FITTED:
        truth = known[setting.name]["temperature"] if setting.scattered else setting.temperature
        for n in setting.sizes:
            yield Cell("temperature", setting.name, n, truth, partial(_temperature, setting, n))


CELLS = list(_cells()) if TRUTHS.exists() else []

if __name__ == "__main__":
    write_truths()
