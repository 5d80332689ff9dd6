"""A detector and a segmenter in the store: records with arrays of the usual shapes, and squares as objects."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from suite.metrics.table import Column
from suite.records.record import Record
from suite.store import Store
from suite.types import Display, DisplayType, Measure
from tests.reports import synthetic as s
from tests.reports.declared import ACCURACY, MAP, MIOU, declared

BOXES, MASKS = "boxes(side=32)", "masks(side=32)"
DETECTOR, SEGMENTER = "centernet", "unet"
CELLS = {"classification": (s.TASK, s.GOOD), "detection": (BOXES, DETECTOR), "segmentation": (MASKS, SEGMENTER)}
SIDE, SHOWN = 32, 3
NAMES = ["cat", s.HOSTILE_CLASS, "a very long name of a class"]
SEGMENTS = ["background", *NAMES]
CLASSES = {"classification": list("0123456789"), "detection": NAMES, "segmentation": SEGMENTS}
EPS = (0.01, 0.03)


def truth() -> np.ndarray:
    """Return two objects per image, a crowd in the last, float32 (3, 4, 6)."""
    rows = np.zeros((SHOWN, 4, 6), np.float32)
    rows[..., 4] = -1
    rows[:, 0] = (2, 2, 12, 12, 0, 0)
    rows[:, 1] = (18, 16, 30, 30, 1, 0)
    rows[2, 2] = (0, 20, 10, 31, 2, 1)
    return rows


def detections(*rows: tuple[float, ...]) -> np.ndarray:
    """Return the same detections of each image, float32 (3, 30, 6)."""
    table = np.zeros((SHOWN, 30, 6), np.float32)
    table[..., 5] = -1
    for at, row in enumerate(rows):
        table[:, at] = row
    return table


HIT = (2, 2, 12, 12, 0.9, 0)
MISLABELED = (18, 16, 30, 30, 0.7, 2)
FALSE_POSITIVE = (20, 0, 28, 8, 0.6, 1)


def masks() -> np.ndarray:
    mask = np.zeros((SHOWN, SIDE, SIDE), np.uint8)
    mask[:, 2:12, 2:12] = 1
    mask[:, 16:30, 18:30] = 2
    mask[:, 0, :] = 255
    return mask


def worse(mask: np.ndarray) -> np.ndarray:
    """Return a mask with errors: moved by two pixels, and without the second object."""
    moved = np.roll(np.where(mask == 255, 0, mask), 2, axis=2)
    return np.where(moved == 2, 0, moved).astype(np.uint8)


def images() -> np.ndarray:
    image = np.full((SHOWN, 3, SIDE, SIDE), 0.3, np.float32)
    image[:, 0][masks() == 1] = 0.9
    image[:, 2][masks() == 2] = 0.8
    return image


def outputs(kind: str) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return the outputs for clean and for attacked images."""
    if kind == "classification":
        sure = {"confidence": np.full(SHOWN, 0.8)}
        return {"prediction": np.arange(SHOWN), **sure}, {"prediction": np.zeros(SHOWN, int), **sure}
    if kind == "detection":
        return {"boxes": detections(HIT, MISLABELED)}, {"boxes": detections(FALSE_POSITIVE)}
    mask = np.where(masks() == 255, 0, masks()).astype(np.uint8)
    return {"mask": mask}, {"mask": worse(masks())}


def labels(kind: str) -> np.ndarray:
    return {"classification": np.arange(SHOWN), "detection": truth(), "segmentation": masks()}[kind]


def typed(kind: str, arrays: dict[str, Any]) -> dict[str, Display]:
    truths: dict[str, DisplayType] = {"classification": "class", "detection": "boxes", "segmentation": "mask"}
    return s.typed(arrays, truth=truths[kind])


def record(kind: str, spec: str, measures: list[Measure], **more: Any) -> Record:
    task, model = CELLS[kind]
    outcome, quality = ("binary", "correct predictions") if kind == "classification" else ("graded", "mean quality")
    more["facts"] = {"classes": CLASSES[kind], **more.get("facts", {})}
    return Record(
        s.provenance(model, spec, task=task, kind=kind),
        s.run_info(),
        "ok",
        tuple(measures),
        s.about_task(headline(kind), outcome, quality),
        declared(measures),
        **more,
    )


def headline(kind: str) -> str:
    return {"classification": ACCURACY, "detection": MAP, "segmentation": MIOU}[kind].name


def clean(kind: str) -> Record:
    classes = NAMES if kind == "detection" else SEGMENTS
    by_class = "class_map" if kind == "detection" else "class_iou"
    measures = [
        s.about(headline(kind), 0.62),
        *(s.about(by_class, 0.5, params={"class": name}) for name in classes[:2]),
    ]
    measures.append(
        Measure(by_class, None, None, None, 300, "none", params={"class": classes[2]}, reason="no object of the class")
    )
    history = s.training()
    for epoch in history["epochs"]:
        epoch["train_accuracy"] = None
    details: dict[str, Any] = {"data": {"kept": {"test": 300}, "source": ""}, "training": history}
    samples = s.columns(id=s.ids(300))
    if kind == "segmentation":
        measures += [s.about("pixel_accuracy", 0.9), s.about("mean_accuracy", 0.7)]
        counts = np.tile(100 * np.eye(4, dtype=int) + 3000 * np.diag([1, 0, 0, 0]) + 5, (300, 1, 1))
        return record(kind, "clean", measures, columns=[*samples, Column("confusion", counts)], details=details)
    measures += [s.about(name, 0.7) for name in ("map50", "map75", "ar1", "ar10", "ar100")]
    measures.append(s.about("olrp", 0.5, higher_is_better=False))
    measures += [s.about(name, 0.3, params={"threshold": 0.25}) for name in ("found_rate", "mislabel_rate")]
    measures += [
        s.about("disappearance_rate", 0.4, params={"threshold": 0.25}),
        s.about("false_positives_per_image", 1.5, unit="per image", params={"threshold": 0.25}),
    ]
    return record(kind, "clean", measures, columns=samples, facts={"threshold": 0.25}, details=details)


def robustness(kind: str, *, gaps: bool = False) -> Record:
    """Return an attack; with `gaps` some numbers are undefined, and arrays are missing."""
    name, attack = headline(kind), "pgd vanish" if kind == "detection" else "pgd segpgd"
    attack = f"{attack} broken" if gaps else attack
    about = {"attack": attack, "norm": "linf"}
    measures = []
    for eps, value in zip(EPS, (0.4, 0.2), strict=True):
        params = {**about, "eps": eps, **({"reference": True} if eps == EPS[1] else {})}
        measures.append(
            s.about(f"robust_{name}", value, params=params, control=0.6, checks={"random_does_less": "pass"})
        )
        measures.append(s.about(f"control_{name}", 0.6, params={**about, "control": "random", "eps": eps}))
    for eps, shift in zip((0.0, *EPS), (0.0, 0.2, 0.4), strict=True) if kind == "detection" else ():
        params = {**about, "eps": eps, "threshold": 0.25, **({"reference": True} if eps == EPS[1] else {})}
        low: dict[str, Any] = {"higher_is_better": False, "params": params}
        measures += [
            s.about("disappearance_rate", 0.4 + shift, control=0.41, **low),
            s.about("mislabel_rate", 0.1, control=0.1, **low),
            s.about("false_positives_per_image", 1.5 + shift, control=1.5, unit="per image", **low),
        ]
    if gaps:
        measures = [
            replace(one, value=None, lo=None, hi=None, method="none", control=None, reason="undefined")
            for one in measures
        ]
    curve: list[dict[str, Any]] = [
        {"size": size, **s._around(value), **s._around(0.6, "random")}
        for size, value in zip((0.0, *EPS), (0.62, 0.4, 0.2), strict=True)
    ]
    if gaps:
        curve[1] |= {"value": None, "value_lo": None, "value_hi": None}
    before, after = outputs(kind)
    arrays = {
        "ids": np.array(s.ids(SHOWN)),
        "clean": images(),
        "adversarial": np.clip(images() + 0.02, 0, 1),
        "eps": np.full(SHOWN, 0.03),
        "label": labels(kind),
        **{f"clean_{part}": values for part, values in before.items()},
        **({} if gaps else {f"adversarial_{part}": values for part, values in after.items()}),
    }
    facts = {"attack": s.attack_facts(attack, "linf", loss=attack.split()[1])}
    spec = f"robustness(attack=pgd(loss={attack.split(maxsplit=1)[1].replace(' ', '_')}))"
    samples, details = s.columns(id=s.ids(300)), {"curve": curve}
    return record(kind, spec, measures, columns=samples, facts=facts, details=details, arrays=typed(kind, arrays))


def corruption(kind: str) -> Record:
    before, after = outputs(kind)
    curves = {
        name: [{"severity": 0, "value": 0.62, "lo": 0.5, "hi": 0.7}, {"severity": 3, "value": None}]
        for name in ("fog", "gaussian_noise")
    }
    arrays: dict[str, Any] = {"ids": np.array(s.ids(SHOWN)), "label": labels(kind), "severity": np.array(3)}
    for name, output in (("clean", before), ("fog", after), ("gaussian_noise", after)):
        arrays[f"image_{name}"] = np.uint8(255 * images())
        arrays |= {f"{part}_{name}": values for part, values in output.items()}
    measures = [s.about("mean_corruption_error", 0.5)]
    return record(kind, "corruption", measures, details={"corruptions": curves}, arrays=typed(kind, arrays))


def occlusion(kind: str) -> Record:
    before, after = outputs(kind)
    covered = images()
    covered[:, :, 4:14, 6:16] = 0.5
    arrays = {
        "ids": np.array(s.ids(SHOWN)),
        "label": labels(kind),
        "images": images(),
        "score": np.full(SHOWN, 0.8),
        "heat": 0.8 - np.linspace(-0.1, 0.7, SHOWN * 9).reshape(SHOWN, 3, 3),
        "side": np.array(10),
        "worst_corner": np.tile((4, 6), (SHOWN, 1)),
        "worst": covered,
        **before,
        **{f"worst_{part}": values for part, values in after.items()},
    }
    points = [
        {"fraction": 0.0, "covered": 0.0, "value": 0.62, "lo": 0.5, "hi": 0.7},
        {"fraction": 0.1, "covered": 0.098, "value": None, "lo": None, "hi": None},
    ]
    details = {"occlusion": points, "fill": "grey", "places": 2}
    measures = [s.about(f"occluded_{headline(kind)}", 0.5, params={"fraction": 0.1})]
    return record(kind, "occlusion", measures, details=details, arrays=typed(kind, arrays))


def calibration(kind: str) -> Record:
    draw, low = np.random.default_rng(3), {"higher_is_better": False}
    ways = ("score", "score+temperature") if kind == "detection" else ("softmax", "softmax+temperature")
    measures, diagrams = [], {}
    for at, way in enumerate(ways):
        params: dict[str, Any] = {"uncertainty": way}
        if kind == "detection":
            params["detections"] = 300
            names = ("d_ece", "laece", "laace", "oce")
            measures += [s.about(name, 0.1 + 0.05 * k, params=params, **low) for k, name in enumerate(names)]
        else:
            regions = ({}, {"region": "foreground"}, {"region": "boundary"})
            measures += [
                s.about("ece", 0.1 + 0.05 * k, params={**params, **region, "pixels": 300}, **low)
                for k, region in enumerate(regions)
            ]
            measures += [s.about(name, 0.08, params=params, **low) for name in ("classwise_ece", "image_ece")]
        diagrams[way] = s.reliability(draw, at, "detections" if kind == "detection" else "pixels")
    measures.append(Measure("temperature", 0.5, None, None, 200, "none", unit="ratio", higher_is_better=None))
    diagrams[ways[1]] = {} if kind == "detection" else diagrams[ways[1]]
    return record(kind, "calibration", measures, facts=s.calibration_facts(diagrams, 0.5))


def attribution(kind: str) -> Record:
    fractions, measures, curves = np.linspace(0, 1, 5), [], {}
    for method in ("saliency", "random"):
        chance = method == "random"
        for metric, value, wins in (
            ("deletion_auc", 0.1, "pass"),
            ("insertion_auc", 0.7, "pass"),
            ("context_deletion_auc", 0.6, "fail"),
            ("pointing_game", 0.9, "pass"),
            ("energy_inside", 0.3, "fail"),
        ):
            params = {"method": method, "baseline": "none" if metric in ("pointing_game", "energy_inside") else "mean"}
            measures.append(
                s.about(
                    metric,
                    0.4 if chance else value,
                    control=0.4,
                    params=params,
                    checks={"beats_random": "n/a" if chance else wins},
                    reason="does not beat the random control" if wins == "fail" and not chance else None,
                )
            )
        curves[method] = {
            f"{name}/mean": (0.8 * fractions).tolist() for name in ("deletion", "insertion", "context_deletion")
        }
    before, _ = outputs(kind)
    region = masks() == 1
    arrays = {
        "ids": np.array(s.ids(SHOWN)),
        "images": images(),
        "label": labels(kind),
        **before,
        "region": region,
        "map_saliency": region - 0.2,
        "map_random": np.random.default_rng(1).normal(size=region.shape),
    }
    details = {"curves": curves, "areas": s.AREAS, "fractions": fractions.tolist(), "skipped": {}}
    return record(kind, "attribution", measures, details=details, arrays=typed(kind, arrays))


def add(store: Store) -> Store:
    """Add a detector and a segmenter, with every axis measured, and the damage axes of the classifier."""
    store.put(corruption("classification"))
    store.put(occlusion("classification"))
    for kind in ("detection", "segmentation"):
        for make in (clean, robustness, corruption, occlusion, calibration, attribution):
            store.put(make(kind))
        store.put(robustness(kind, gaps=True))
    return store
