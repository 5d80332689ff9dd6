"""The cells of the matrix, and the summaries of their records that must stay equal.

``python -m tests.golden.matrix [TASK ...]`` evaluates the matrix and writes ``records.json``. Tasks whose measures
differ from the reference are listed and not written, unless ``--accept`` is given: use it only for a change that is
meant to change a number, and list that change under "Scores change" in the changelog.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # set before numpy is imported: the number of threads affects rounding

import numpy as np
import torch

import suite  # noqa: F401  # pins the rounding of matrix products before any computation
from suite.metrics.table import Column
from suite.store import Store
from suite.types import Measure

HERE = Path(__file__).parent
RECORDS = HERE / "records.json"

EMBEDDING = "space=embedding, audit=8)"
IMAGE_EDITS = (
    "corruption(names=[gaussian_noise, fog, jpeg_compression], severities=[3])",
    "occlusion(fractions=[0.2], places=2)",
)
ALL_METHODS = (
    "attribution(methods=[saliency, integrated_gradients, smoothgrad, occlusion, gradcam, rise(masks=40), centre, "
    "edges], samples=8)"
)

IMAGE_AXES = (
    "clean",
    "robustness(attack=fgsm(eps=[0.05, 0.15]))",
    "robustness(attack=pgd(eps=[0.05, 0.15], steps=10))",
    "robustness(attack=patch(area=[0.15], steps=20))",
    *IMAGE_EDITS,
    "calibration(members=2, dropout_samples=5)",
    ALL_METHODS,
)
ATTACKS = (
    "robustness(attack=boundary(eps=[0.05, 0.15], steps=10))",
    "robustness(attack=apgd(eps=[0.1], steps=10))",
    "robustness(attack=cascade(eps=[0.05, 0.15], tier=quick))",
    "robustness(attack=cascade(eps=[0.5], norm=l2, tier=quick))",
    "robustness(attack=image_patch(area=[0.15], steps=10, tries=2))",
    "robustness(attack=square(eps=[0.1], queries=100))",
    "robustness(attack=decision(eps=[0.5], norm=l2, queries=100))",
    "robustness(attack=transfer(eps=[0.1], steps=5))",
    "robustness(attack=spec('torchattacks:PGD(eps=[0.1], steps=5)'))",
)

MATRIX: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "images": (("cnn", "adversarial", "vit"), IMAGE_AXES),
    "attacked": (("cnn",), ATTACKS),
    "boxes": (
        ("centernet",),
        (
            "clean",
            "robustness(attack=fgsm(eps=[2/255, 8/255], loss=detector), audit=8)",
            "robustness(attack=pgd(eps=[8/255], steps=5, restarts=1, loss=vanish), audit=8)",
            "robustness(attack=image_patch(area=[0.05], position=random, steps=5, tries=1, loss=detector), audit=8)",
            *IMAGE_EDITS,
            "calibration",
            ALL_METHODS.replace("samples=8", "samples=2"),
        ),
    ),
    "masks": (
        ("unet",),
        (
            "clean",
            "robustness(attack=pgd(eps=[2/255, 8/255], steps=5, restarts=1), audit=8)",
            "robustness(attack=worst_case(eps=[4/255], losses=[segpgd, cospgd], steps=3), audit=8)",
            "robustness(attack=patch(area=[0.05], steps=5, restarts=1), audit=8)",
            *IMAGE_EDITS,
            "calibration(members=1)",
            ALL_METHODS.replace("samples=8", "samples=2"),
        ),
    ),
    "texts": (
        ("bag", "bigru", "vader_rules"),
        (
            "clean",
            "robustness(attack=hotflip(edits=[1, 2]), audit=8)",
            "robustness(attack=hotflip(edits=[1, 2], unit=character), audit=8)",
            "robustness(attack=typos(edits=[1, 2]), audit=8)",
            "robustness(attack=trigger(edits=[1], restarts=1, rounds=1), audit=8)",
            f"robustness(attack=fgsm(eps=[0.1, 0.5]), {EMBEDDING}",
            f"robustness(attack=pgd(eps=[0.1, 0.5], steps=5, restarts=1), {EMBEDDING}",
            "calibration(members=1, dropout_samples=5)",
            "rationale(samples=12)",
        ),
    ),
    "characters": (
        ("ngram", "char_gru"),
        (
            "clean",
            "robustness(attack=hotflip(edits=[1, 2], unit=character), audit=8)",
            "robustness(attack=typos(edits=[2], tries=4), audit=8)",
            f"robustness(attack=pgd(eps=[0.1, 0.5], steps=5, restarts=1), {EMBEDDING}",
            "calibration(members=1)",
            "rationale(samples=8)",
        ),
    ),
    "codes": (
        ("vae",),
        (
            "clean",
            "robustness(attack=fgsm(eps=[0.1, 0.2]), audit=8)",
            "robustness(attack=pgd(eps=[0.1, 0.2], steps=5, restarts=1, loss=ce), audit=8)",
            *IMAGE_EDITS,
            "calibration(members=1)",
            "attribution(methods=[saliency, integrated_gradients, occlusion, centre, edges], samples=8)",
        ),
    ),
    "samples": (("gan",), ("clean", "robustness", "calibration", "attribution")),
}
"""Models and axes for each task of ``small.py``; a bare axis name stands for the presets of its kind."""


def machine() -> dict[str, str]:
    """Return the hardware and library versions that floating-point results depend on, besides the code."""
    # Virtual machines give processors with different instructions the same name, so their flags count too.
    first = Path("/proc/cpuinfo").read_text().partition("\n\n")[0].splitlines()
    fields = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in first)}
    features = (fields.get(name, "") for name in ("cpu family", "model", "stepping", "flags"))
    return {
        "processor": fields.get("model name", platform.processor()),
        "features": hashlib.sha256(" ".join(features).encode()).hexdigest()[:12],
        "torch": torch.__version__,
        "capability": torch.backends.cpu.get_cpu_capability(),
        "numpy": np.__version__,
        "products": os.environ.get("MKL_CBWR", "default"),
    }


def specs(task: str) -> tuple[str, list[str], list[str]]:
    """Return the specs of a task's cells: the task, its models, its axes."""
    models, axes = MATRIX[task]
    file = HERE / "small.py"
    return f"{file}:{'images' if task == 'attacked' else task}", [f"{file}:{model}" for model in models], list(axes)


def measure(task: str, root: Path) -> Store:
    """Evaluate the cells of a task and return the store with their records."""
    from suite import Harness, plan

    torch.set_num_threads(1)
    name, models, axes = specs(task)
    store = Store(root)
    outcome = Harness(store).run(plan([name], models, axes))
    assert not outcome.failed, outcome.failed
    return store


def summaries(store: Store) -> dict[str, Any]:
    """Return the summary of every record, by model and axis spec."""
    rows = store.rows()
    return {
        f"{row.model.rpartition(':')[2]} {row.spec}": summary(store, row.record)
        for row in rows.drop_duplicates("record").sort_values(["model", "spec"]).itertuples()
    }


def summary(store: Store, name: str) -> dict[str, Any]:
    """Return the exact measures of a record, and digests of its columns, facts, arrays and details."""
    record = store.record(name)
    return {
        "weights": record.provenance.digests["data"][:12],
        "measures": [_measure(measure) for measure in record.measures],
        "columns": {column_title(column): _digest(column.values) for column in record.columns},
        "facts": _numbers_digest(record.facts),
        "arrays": {name: _digest(display.values) for name, display in sorted(record.arrays.items())},
        "details": _numbers_digest(record.details),
    }


def column_title(column: Column) -> str:
    """Return population, name and condition of a column in one line."""
    return f"{column.population} {column.name} {json.dumps(dict(column.params), sort_keys=True)}"


def _measure(measure: Measure) -> list[Any]:
    numbers = (measure.value, measure.lo, measure.hi, measure.control)
    return [
        measure.metric,
        measure.status,
        measure.n,
        measure.n_failed,
        measure.method,
        json.dumps(dict(measure.params), sort_keys=True),
        json.dumps(dict(measure.checks), sort_keys=True),
        *(None if number is None else float(number).hex() for number in numbers),
    ]


def _digest(array: np.ndarray) -> str:
    if array.dtype == object or array.dtype.kind in "US":
        content = repr([_plain(value) for value in array.tolist()]).encode()
    else:
        content = str(array.dtype).encode() + np.ascontiguousarray(array).tobytes()
    return hashlib.sha256(content + repr(array.shape).encode()).hexdigest()[:12]


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value


def _numbers_digest(details: Any) -> str:
    """Return a digest of all numbers in a JSON value, sorted; names and sentences may change."""
    numbers = [repr(float(value)) for name, value in _leaves(details, "") if name not in ("seconds",)]
    return hashlib.sha256("\n".join(sorted(numbers)).encode()).hexdigest()[:12]


def _leaves(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, key)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item, name)
    elif isinstance(value, int | float):
        yield name, value


def changes(task: str, known: Mapping[str, Any], measured: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for every record that was added or removed, and every measure that differs from the reference."""
    for name in sorted(known.keys() | measured.keys()):
        title = f"{task}: {name}"
        if name not in known or name not in measured:
            yield f"{title}: {'a new record' if name in measured else 'the record is missing'}"
            continue
        old, new = known[name]["measures"], measured[name]["measures"]
        if len(old) != len(new):
            yield f"{title}: {len(new)} measures instead of {len(old)}"
        for place, (one, other) in enumerate(itertools.zip_longest(old, new)):
            if one != other:
                yield f"{title}: measure {place}:\n    was {json.dumps(one)}\n    is  {json.dumps(other)}"


def main(arguments: list[str]) -> int:
    """Write the reference records of the given tasks, or of all tasks.

    Measures and names of existing records are changed only with ``--accept``; digests always are.
    """
    tasks, accept = [text for text in arguments if text != "--accept"], "--accept" in arguments
    known = json.loads(RECORDS.read_text()) if RECORDS.exists() else {}
    if not accept and known.get("machine") not in (None, machine()):
        print(f"The reference was recorded on {known['machine']}; this machine is {machine()}, and rounds differently.")
        return 1
    refused = []
    for task in tasks or MATRIX:
        with tempfile.TemporaryDirectory() as folder:
            measured = summaries(measure(task, Path(folder)))
        different = list(changes(task, known[task], measured)) if task in known else []
        print(task, len(measured), "records,", len(different), "changes", *different, sep="\n  " if different else " ")
        if different and not accept:
            refused.append(task)
        else:
            known[task] = measured
        sys.stdout.flush()
    RECORDS.write_text(json.dumps({**known, "machine": machine()}, indent=0, sort_keys=True) + "\n")
    if refused:
        print(f"Not written: {', '.join(refused)}. Add --accept to change these measures.")
    return int(bool(refused))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
