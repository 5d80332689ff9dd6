"""A regression model in the store, of a kind that is not installed: its records alone say what is shown."""

from __future__ import annotations

from typing import Any

import numpy as np

from suite.metrics.catalogue import BoardColumn, Metric
from suite.records.record import Record
from suite.store import Store
from suite.types import VECTOR, Display, Measure
from tests.reports import synthetic as s

TASK, MODEL, UNIT = "diabetes", "ridge", "target units"
RMSE = Metric("rmse", "RMSE", "root mean squared error", UNIT, False, columns=(BoardColumn("RMSE"),), is_headline=True)
R2 = Metric("r2", "R2", "share of the variance that is explained", "", columns=(BoardColumn("R2"),))
CRPS = Metric(
    "crps", "CRPS", "mean continuous ranked probability score", UNIT, False,
    columns=(BoardColumn("CRPS", {"uncertainty": "normal"}),),
)  # fmt: skip
INTERVALS = Metric("interval_coverage", "interval coverage", "share of targets inside their interval")
DELETION = Metric("deletion_drop", "deletion drop", "drop of the score without the features", "probability")
DRIFT = Metric("drift", "drift", "change of the error over time", UNIT, None)
FEATURES = ("age", "bmi", "<b>s1</b>")


def record(spec: str, metrics: tuple[Metric, ...], measures: list[Measure], **more: Any) -> Record:
    known = s.provenance(MODEL, spec, task=TASK, kind="regression")
    about = s.about_task(RMSE.name, "graded", "closeness", VECTOR)
    return Record(known, s.run_info(), "ok", tuple(measures), about, metrics, **more)


def measure(metric: Metric, value: float, **more: Any) -> Measure:
    width = 0.02 * abs(value)
    return s.about(metric.name, value, width=width, unit=metric.unit, higher_is_better=metric.higher_is_better, **more)


def clean() -> Record:
    columns = s.columns(id=s.ids(300), target=np.arange(300.0), prediction=np.arange(300.0))
    return record("clean", (RMSE, R2), [measure(RMSE, 54.3), measure(R2, 0.48)], columns=columns)


def robustness() -> Record:
    attack, control = RMSE.under_attack(), RMSE.renamed("control", "RMSE under a control")
    about = {"attack": "pgd", "norm": "linf"}
    measures = [
        measure(attack, 60 + 100 * eps, params={**about, "eps": eps, "reference": True}, control=56.0) for eps in (0.1,)
    ]
    measures.append(measure(control, 56.0, params={**about, "control": "random", "eps": 0.1}))
    curve = [
        {
            "size": size,
            **{f"value{end}": 54.3 + 157 * size + shift for end, shift in (("", 0), ("_lo", -1), ("_hi", 1))},
            **{f"random{end}": 54.3 + 17 * size + shift for end, shift in (("", 0), ("_lo", -1), ("_hi", 1))},
        }
        for size in (0.0, 0.1)
    ]
    vectors = np.linspace(-1, 1, 6).reshape(2, 3).astype(np.float32)
    arrays = {
        "ids": Display(np.array(["a", "b"]), "id", "ids"),
        "clean": Display(vectors, "vector", "input"),
        "adversarial": Display(vectors + np.float32(0.1), "vector", "changed"),
        "names": Display(np.array([FEATURES] * 2), "name", "features"),
        "label": Display(np.array([151.0, 75.0]), "number", "truth"),
        "clean_prediction": Display(np.array([140.0, 80.0]), "number", "prediction"),
        "adversarial_prediction": Display(np.array([180.0, 120.0]), "number", "changed_prediction"),
    }
    facts, details = {"attack": s.attack_facts("pgd", "linf")}, {"curve": curve}
    return record("robustness(attack=pgd)", (attack, control), measures, facts=facts, details=details, arrays=arrays)


def calibration() -> Record:
    measures = [
        measure(metric, value, params={"uncertainty": name})
        for name in ("normal", "normal+temperature")
        for metric, value in ((CRPS, 30.2), (INTERVALS, 0.91))
    ]
    methods = [{"params": {"uncertainty": name}, "facts": {}} for name in ("normal", "normal+temperature")]
    facts = {"methods": methods, "temperature": {"reason": "-"}}
    return record("calibration", (CRPS, INTERVALS), measures, facts=facts)


def rationale() -> Record:
    measures = [
        measure(DELETION, 0.4, params={"method": "occlusion", "deletion": "mean"}, checks={"beats_random": "pass"}),
        measure(DELETION, 0.1, params={"method": "random", "deletion": "mean"}, checks={"beats_random": "n/a"}),
    ]
    details = {
        "rationale": {"occlusion": {DELETION.name: [0.3, 0.5]}, "random": {DELETION.name: [0.1, 0.1]}},
        "fractions": [0.2, 0.5],
        "deletion": "set to the mean",
    }
    arrays = {
        "ids": Display(np.array(["a"]), "id", "ids"),
        "label": Display(np.array([151.0]), "number", "truth"),
        "prediction": Display(np.array([140.0]), "number", "prediction"),
        "names": Display(np.array([FEATURES]), "name", "features"),
        "attribution_occlusion": Display(
            np.array([[0.5, -0.3, 0.0]]), "number", "attribution", {"method": "occlusion"}
        ),
    }
    return record("rationale", (DELETION,), measures, details=details, arrays=arrays)


def add(store: Store) -> Store:
    """Add the model with every axis measured, and a record of an axis that is not installed."""
    for made in (clean(), robustness(), calibration(), rationale()):
        store.put(made)
    weeks = [measure(DRIFT, 0.5 / week, params={"week": week}) for week in (1, 4)]
    store.put(record("drift(weeks=4)", (DRIFT,), weeks))
    return store
