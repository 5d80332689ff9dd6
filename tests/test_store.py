"""The store: records are written atomically, never overwritten, and stay readable after damage or a kill."""

import json
import os
import random
import signal
import time
from dataclasses import replace

import numpy as np
import pytest

from suite.errors import StoreError
from suite.store import RENAMED, Store
from suite.types import Measure, Provenance, Record, RunInfo
from tests.stores import numbers


def record(key="a" * 64, status="ok", value=0.5, when="2026-01-01T00:00:00+00:00", **extra):
    provenance = Provenance(
        key, "t", "1", "classification", "m", "clean", "clean", 3, 0, {"data": "d"}, "cpu", "f", "0"
    )
    measure = Measure("accuracy", value, None, None, 3, "none", params={"eps": 0.1}, checks={"x": "pass"})
    if status != "ok":
        measure = Measure("-", None, None, None, 0, "none", reason="it broke")
    return Record(provenance, RunInfo("run", when, 0.1, 10.0, ""), status, (measure,), **extra)


def test_a_stored_record_is_read_back_unchanged(tmp_path):
    store = Store(tmp_path / "s")
    store.put(
        record(
            samples={"id": ["a", "b", "c"], "correct": np.array([True, False, True])},
            details={"confusion": [[1, 2], [3, 4]], "name": "ä <b>"},
            arrays={"image": np.arange(6.0).reshape(2, 3), "ids": np.array(["a", "b"])},
        )
    )
    again = Store(tmp_path / "s")
    rows = again.rows()
    assert rows[["metric", "value", "status", "key"]].values.tolist() == [["accuracy", 0.5, "ok", "a" * 64]]
    assert json.loads(rows["params"][0]) == {"eps": 0.1}
    name = rows["record"][0]
    assert again.samples(name)["correct"].tolist() == [True, False, True]
    assert again.details(name) == {"confusion": [[1, 2], [3, 4]], "name": "ä <b>"}
    assert again.arrays(name)["image"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert again.arrays(name)["ids"].tolist() == ["a", "b"]
    assert again.done() == {"a" * 64}


def test_records_are_append_only_and_the_newest_ok_one_counts(tmp_path):
    store = Store(tmp_path)
    store.put(record(status="failed"))
    assert store.done() == set()
    assert store.rows()["status"].tolist() == ["failed"]
    store.put(record(value=0.25))
    store.put(record(status="failed"))
    assert store.rows()["value"].tolist() == [0.25]
    store.put(record(value=0.75))
    assert store.rows()["value"].tolist() == [0.75]
    assert len(list(tmp_path.glob("records/*/*"))) == 4


def test_a_store_ignores_itself_in_a_checkout(tmp_path):
    Store(tmp_path / "s").put(record())
    assert (tmp_path / "s" / ".gitignore").read_text() == "*\n"


def test_the_index_is_rebuilt_from_the_records(tmp_path):
    store = Store(tmp_path)
    for letter in "abc":
        store.put(record(key=letter * 64))
    before = store.rows()
    (tmp_path / "index.parquet").write_bytes(b"not a table")
    assert Store(tmp_path).rows().equals(before)
    (tmp_path / "index.parquet").unlink()
    assert Store(tmp_path).rows().equals(before)
    assert Store(tmp_path).rebuild() == 3


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_a_metric_of_an_older_record_is_listed_under_its_present_name(tmp_path, old, new):
    store = Store(tmp_path)
    store.put(replace(record(), measures=(Measure(old, 0.5, 0.4, 0.6, 10, "wilson"),)))
    assert store.rows()["metric"].tolist() == [new]


def test_a_deleted_record_is_removed_from_the_index(tmp_path):
    store = Store(tmp_path)
    folders = [store.put(record(key=letter * 64)) for letter in "ab"]
    assert len(store.rows()) == 2
    for file in folders[0].iterdir():
        file.unlink()
    folders[0].rmdir()
    assert Store(tmp_path).rows()["key"].tolist() == ["b" * 64]


def test_a_damaged_record_is_reported_and_the_others_are_read(tmp_path):
    store = Store(tmp_path)
    damaged = store.put(record(key="a" * 64))
    store.put(record(key="b" * 64))
    (damaged / "rows.json").write_text("{", "utf-8")
    again = Store(tmp_path)
    assert again.rows()["key"].tolist() == ["b" * 64]
    assert list(again.damaged) == [damaged.name]


def test_an_unwritable_store_is_an_error_and_loses_nothing(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="--store"):
        Store(tmp_path / "file").put(record())
    assert (tmp_path / "file").read_text() == "in the way"


def test_an_interrupted_write_leaves_nothing_behind(tmp_path, monkeypatch):
    store = Store(tmp_path)
    store.put(record())

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="No space"):
        store.put(record(key="b" * 64))
    monkeypatch.undo()
    assert Store(tmp_path).rows()["key"].tolist() == ["a" * 64]
    assert list((tmp_path / "scratch").iterdir()) == []


def test_two_writers_of_one_key_both_keep_their_record(tmp_path):
    first, second = Store(tmp_path), Store(tmp_path)
    assert first.put(record(value=0.1)) != second.put(record(value=0.2))
    assert Store(tmp_path).rows()["value"].tolist() == [0.2]


def test_weights_are_stored_once(tmp_path):
    store = Store(tmp_path)
    assert store.model_folder("d") is None and store.history("d") == {}
    store.put_model("d", b"weights", {"epochs": []})
    store.put_model("d", b"others", {})
    assert (store.model_folder("d") / "weights.safetensors").read_bytes() == b"weights"
    assert store.history("d") == {"epochs": []}


def test_a_killed_run_is_completed_by_the_next(tmp_path, toy):
    """Kill real runs with SIGKILL 24 times; they are forked, so that PyTorch is imported only once."""
    from suite.runner.harness import Harness, plan
    from suite.runner.process import use_threads

    use_threads()
    axes = ["clean", "robustness(attack=pgd(eps=[0.1, 0.2], steps=5))", "calibration(members=2, dropout_samples=3)"]
    cells = plan([toy("toy")], [toy("quick"), toy("dropping")], axes)
    Harness(Store(tmp_path / "whole")).run(cells)
    start = time.perf_counter()
    Harness(Store(tmp_path / "timed")).run(cells)
    duration = time.perf_counter() - start
    expected = numbers(Store(tmp_path / "whole"))
    delays, kills, rounds = random.Random(5), 0, 0
    finished_at_kill: set[int] = set()
    while kills < 24:
        rounds += 1
        root = tmp_path / f"killed{rounds}"
        while True:
            child = os.fork()
            if child == 0:  # the run that will be killed
                try:
                    Harness(Store(root)).run(cells)
                finally:
                    os._exit(0)
            time.sleep(delays.uniform(0, 0.6) * duration)
            os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
            store = Store(root)
            finished_at_kill.add(len(store.done()))
            store.rows()
            assert store.damaged == {}
            if not os.WIFSIGNALED(status):
                break
            kills += 1
            if kills % 6 == 0:  # an uninterrupted run must complete the store
                Harness(Store(root)).run(cells)
                break
        assert numbers(Store(root)).equals(expected)
    assert len(finished_at_kill) > 2, "the kills did not happen at different stages"


def test_a_damaged_record_is_measured_again(tmp_path):
    damaged = Store(tmp_path).put(record())
    assert Store(tmp_path).done() == {"a" * 64}
    (damaged / "rows.json").write_text("{", "utf-8")
    (tmp_path / "index.parquet").unlink(missing_ok=True)
    assert Store(tmp_path).done() == set()
