"""Evaluate cells on the CPU and on the pretend device, and compare them.

``python -m tests.device.cells TASK ...`` prints a JSON object: for each cell its faults, an empty list if all is well.
It is a process of its own, since the device must exist before the first backward pass.
"""

import math
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from suite import Harness, plan
from suite.runner.settings import Settings
from suite.store import Store
from suite.types import Measure
from tests.device import device

TASKS = Path(__file__).with_name("tasks.py")
MODELS = Path(__file__).parents[1] / "golden" / "small.py"
N = 8
TOLERANCE = 1e-3

EMBEDDING = "space=embedding, audit=2)"
EDITS = ("corruption(names=[gaussian_noise, jpeg_compression], severities=[3])", "occlusion(fractions=[0.2], places=2)")
MAPS = "attribution(methods=[saliency, smoothgrad, occlusion, rise(masks=8), edges], samples=2)"

CELLS: dict[str, dict[str, tuple[str, ...]]] = {
    "images": {
        "cnn": (
            "clean",
            "robustness(attack=fgsm(eps=[0.05, 0.15]), audit=4)",
            "robustness(attack=pgd(eps=[0.15], steps=4, restarts=1), audit=4)",
            "robustness(attack=cascade(eps=[0.15], tier=quick), audit=4)",
            "robustness(attack=patch(area=[0.15], steps=3), audit=4)",
            "robustness(attack=image_patch(area=[0.15], steps=3, tries=2), audit=4)",
            *EDITS,
            "calibration(members=2, dropout_samples=3)",
            MAPS.replace("saliency", "saliency, integrated_gradients, gradcam"),
        ),
        "vit": ("clean",),
    },
    "attacked": {
        "cnn": (
            "robustness(attack=boundary(eps=[0.15], steps=3), audit=4)",
            "robustness(attack=apgd(eps=[0.1], steps=10), audit=4)",
            "robustness(attack=square(eps=[0.1], queries=20), audit=4)",
            "robustness(attack=decision(eps=[0.5], norm=l2, queries=20), audit=4)",
            "robustness(attack=transfer(eps=[0.1], steps=3), audit=4)",
            "robustness(attack=spec('torchattacks:PGD(eps=[0.1], steps=3)'), audit=4)",
        )
    },
    "boxes": {
        "centernet": (
            "clean",
            "robustness(attack=fgsm(eps=[8/255], loss=detector), audit=4)",
            "robustness(attack=pgd(eps=[8/255], steps=2, restarts=1, loss=vanish), audit=4)",
            "robustness(attack=image_patch(area=[0.05], position=random, steps=2, tries=1, loss=detector), audit=4)",
            *EDITS,
            "calibration",
            MAPS,
        )
    },
    "masks": {
        "unet": (
            "clean",
            "robustness(attack=pgd(eps=[8/255], steps=2, restarts=1), audit=4)",
            "robustness(attack=worst_case(eps=[4/255], losses=[segpgd, cospgd], steps=2), audit=4)",
            "robustness(attack=patch(area=[0.05], steps=2, restarts=1), audit=4)",
            *EDITS,
            "calibration(members=1)",
            MAPS,
        )
    },
    "texts": {
        "bigru": (
            "clean",
            "robustness(attack=hotflip(edits=[1]), audit=2)",
            f"robustness(attack=pgd(eps=[0.5], steps=2, restarts=1), {EMBEDDING}",
            "calibration(members=1, dropout_samples=3)",
            "rationale(samples=2)",
        ),
        "bag": (
            "clean",
            "robustness(attack=typos(edits=[1], tries=2), audit=4)",
            "robustness(attack=trigger(edits=[1], restarts=1, rounds=1), audit=4)",
            f"robustness(attack=fgsm(eps=[0.5]), {EMBEDDING}",
        ),
        "vader_rules": ("clean", "robustness(attack=typos(edits=[1], tries=2), audit=4)", "rationale(samples=2)"),
    },
    "characters": {
        "char_gru": (
            "clean",
            "robustness(attack=hotflip(edits=[1], unit=character), audit=4)",
            "robustness(attack=typos(edits=[1], tries=2), audit=4)",
            f"robustness(attack=pgd(eps=[0.5], steps=2, restarts=1), {EMBEDDING}",
            "calibration(members=1)",
            "rationale(samples=2)",
        ),
        "ngram": ("clean", "robustness(attack=typos(edits=[1], tries=2), audit=4)", "calibration(members=1)"),
    },
    "codes": {
        "vae": (
            "clean",
            "robustness(attack=fgsm(eps=[0.2]), audit=4)",
            "robustness(attack=pgd(eps=[0.2], steps=2, restarts=1, loss=ce), audit=4)",
            *EDITS,
            "calibration(members=1)",
            MAPS,
        )
    },
    "samples": {
        "gan": (
            "clean",
            "robustness(attack=fgsm(eps=[0.2]), audit=2)",
            "calibration(members=1)",
            "rationale(samples=2)",
        )
    },
}
"""Axes for each model on each task of ``tasks.py``; ``attacked`` is the task ``images``."""


def measured(task: str, name: str, root: Path) -> Store:
    """Evaluate the cells of a task on a device and return the store with their records."""
    store = Store(root)
    harness = Harness(store, Settings(device=name, batch_size=4))
    spec = f"{TASKS}:{'images' if task == 'attacked' else task}"
    for model, axes in CELLS[task].items():
        harness.run(plan([spec], [f"{MODELS}:{model}"], axes, n=N))
    return store


def records(store: Store) -> dict[str, str]:
    """Return the record of each cell, by model and axis spec."""
    rows = store.rows().drop_duplicates("record")
    return {f"{row.model.rpartition(':')[2]} {row.spec}": row.record for row in rows.itertuples()}


def faults(expected: Store, found: Store) -> dict[str, list[str]]:
    """Return for each cell why it failed, or what differs from the CPU's record; an empty list if all is well."""
    names, others = records(expected), records(found)
    result = {name: ["the cell has no record on one of the devices"] for name in names.keys() ^ others.keys()}
    for name in names.keys() & others.keys():
        one, other = expected.record(names[name]), found.record(others[name])
        failed = [measure.reason for measure in other.measures] if other.status == "failed" else []
        if other.provenance.device != device.NAME:
            failed.append(f"it ran on {other.provenance.device}")
        result[name] = failed or list(differences(one.measures, other.measures))
    return result


def differences(expected: tuple[Measure, ...], found: tuple[Measure, ...]) -> Iterator[str]:
    """Yield a line for each measure whose value, status or number of samples differs."""
    if len(expected) != len(found):
        yield f"{len(found)} measures instead of {len(expected)}"
    for one, other in zip(expected, found, strict=False):
        same = (one.metric, one.status, one.n) == (other.metric, other.status, other.n)
        if not same or not close(one.value, other.value):
            yield f"{one.metric} {dict(one.params)}: {one.value} ({one.n}) on the CPU, {other.value} ({other.n}) here"


def close(one: float | None, other: float | None) -> bool:
    """Return whether two values are equal up to rounding."""
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=TOLERANCE, abs_tol=TOLERANCE) or (math.isnan(one) and math.isnan(other))


def main(tasks: list[str]) -> None:
    """Compare the cells of some tasks."""
    device.load()
    found: dict[str, list[str]] = {}
    for task in tasks:
        with tempfile.TemporaryDirectory() as folder:
            cpu, other = (measured(task, name, Path(folder) / name) for name in ("cpu", device.NAME))
            found |= faults(cpu, other)
    device.finish(found)


if __name__ == "__main__":
    main(sys.argv[1:])
