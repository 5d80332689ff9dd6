"""A board from 100,000 stored rows: target 5 s and 1 GiB, with a cold and a warm index.

Machines are shared, so the test fails only above three times the target; it prints the measurements.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from suite.types import Measure, Record
from tests.reports import synthetic as s

TASKS, MODELS, ROWS, SAMPLES = 20, 60, 14, 1000
SPECS = (
    "clean",
    "robustness(attack=pgd(eps=0.1))",
    "robustness(attack=fgsm(eps=0.1))",
    "robustness(attack=cw(eps=0.1))",
    "calibration(bins=15)",
    "attribution(cells=4)",
)
SECONDS, MEBIBYTES = 5.0, 1024

PROGRAM = """
import json, resource, sys, time
start = time.perf_counter()
from suite.leaderboard import board
from suite.store import Store
loaded = time.perf_counter()
store = Store(sys.argv[1])
result = board(store, sys.argv[2])
print(json.dumps({
    "imports_s": loaded - start,
    "board_s": time.perf_counter() - loaded,
    "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    "rows": len(store.rows()),
    "models": len(result.frame),
    "letters": int(result.frame["accuracy_ties"].notna().sum()),
    "torch": "torch" in sys.modules,
}))
"""


def measures(spec: str, accuracy: float) -> tuple[Measure, ...]:
    more: dict[str, Any] = {}
    name = {"clean": "accuracy", "robustness": "robust_accuracy"}.get(spec.split("(")[0], "ece")
    if name == "robust_accuracy":
        more["params"] = {"attack": spec[18:].split("(")[0], "norm": "linf", "eps": 0.1, "reference": True}
    elif name == "ece":
        more["params"] = {"uncertainty": "softmax"}
    head = s.about(name, accuracy, n=SAMPLES, **more)
    return (head, *(s.about("recall", accuracy, params={"class": f"c{i}"}) for i in range(ROWS - 1)))


def row_text(spec: str, accuracy: float) -> str:
    """Return rows.json of a record with placeholders for task and model; Store.put would sync every file to disk."""
    record = Record(s.provenance("MODEL", spec, task="TASK", key="KEY"), s.run_info(), "ok", measures(spec, accuracy))
    stored = {
        "provenance": asdict(record.provenance),
        "occasion": asdict(record.run_info),
        "status": "ok",
        "measures": [{**asdict(measure), "status": "ok"} for measure in record.measures],
    }
    return json.dumps(stored)


def parquet(accuracy: float, seed: int) -> bytes:
    right = np.random.default_rng(seed).uniform(size=SAMPLES) < accuracy
    buffer = io.BytesIO()
    pd.DataFrame({"id": s.ids(SAMPLES), "correct": right, "robust@0.1": right}).to_parquet(buffer, index=False)
    return buffer.getvalue()


def generate(root: Path) -> None:
    outcomes = [parquet(0.5 + 0.4 * m / MODELS, m) for m in range(MODELS)]
    texts = {(spec, m): row_text(spec, 0.5 + 0.4 * m / MODELS) for spec in SPECS for m in range(MODELS)}
    for number in range(TASKS * MODELS * len(SPECS)):
        task, rest = divmod(number, MODELS * len(SPECS))
        m, spec = divmod(rest, len(SPECS))
        key = f"{number * 2654435761 % 2**32:08x}{number:056x}"
        folder = root / "records" / key[:2] / f"{key}.0001.ok"
        folder.mkdir(parents=True)
        text = texts[SPECS[spec], m].replace("TASK", f"task{task}").replace("MODEL", f"model{m}").replace("KEY", key)
        (folder / "rows.json").write_text(text, "utf-8")
        if spec < 4:
            (folder / "samples.parquet").write_bytes(outcomes[m])


def test_a_board_from_100_000_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    generate(tmp_path)
    for index in ("cold", "warm"):
        command = [sys.executable, "-c", PROGRAM, str(tmp_path), "task3"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ})
        result = json.loads(done.stdout)
        with capsys.disabled():
            print(f"\nboard from {result['rows']:,} rows, {index} index: {result}")
        assert (result["rows"], result["models"], result["letters"], result["torch"]) == (
            100_800,
            MODELS,
            MODELS,
            False,
        )
        assert result["board_s"] < 3 * SECONDS
        assert result["peak_mib"] < 3 * MEBIBYTES


def test_generated_records_have_the_stored_form() -> None:
    stored = json.loads(row_text("clean", 0.9))
    whole = replace(s.clean("m", 0.9, ["a"]).provenance)
    assert stored["provenance"].keys() == asdict(whole).keys()
    assert len(stored["measures"]) == ROWS
