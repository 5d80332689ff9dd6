"""The store: records are written atomically, never overwritten, and stay readable after damage or a kill."""

import json
import os
import random
import signal
import time
from dataclasses import replace

import pandas as pd
import pytest

from suite.errors import RecordError, StoreError
from suite.metrics.catalogue import Metric
from suite.store import Store
from suite.types import SCHEMA
from tests.stores import ACCURACY, as_record, full_record, numbers
from tests.stores import small_record as record


def test_a_stored_record_is_read_back_unchanged(tmp_path):
    store = Store(tmp_path / "s")
    store.put(full_record())
    again = Store(tmp_path / "s")
    rows = again.rows()
    assert rows[["metric", "value", "status", "key"]].values.tolist() == [["accuracy", 0.5, "ok", "a" * 64]]
    assert json.loads(rows["params"][0]) == {"eps": 0.1}
    assert Metric.from_json(json.loads(rows["entry"][0])) == ACCURACY
    assert json.loads(rows["about"][0])["input"]["type"] == "image"
    assert (json.loads(rows["attack"][0]), rows["cell_n"][0], rows["cell_status"][0]) == ({"norm": "linf"}, 3, "ok")
    stored = again.record(rows["record"][0])
    assert as_record(stored).measures == full_record().measures
    assert stored.column("correct").tolist() == [True, False, True]
    assert stored.details == {"confusion": [[1, 2], [3, 4]], "name": "ä <b>"}
    assert stored.arrays["ids"].values.tolist() == ["a", "ü"]
    assert again.done() == {"a" * 64}


def test_a_failed_record_has_no_declaration(tmp_path):
    store = Store(tmp_path)
    store.put(record(status="failed"))
    (row,) = Store(tmp_path).rows().to_dict("records")
    assert pd.isna(row["entry"]) and pd.isna(row["about"])
    assert (row["attack"], row["status"]) == ("{}", "failed")
    assert store.record(row["record"]).about is None


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
    (damaged / "record.json").write_text("{", "utf-8")
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
    (damaged / "record.json").write_text("{", "utf-8")
    (tmp_path / "index.parquet").unlink(missing_ok=True)
    assert Store(tmp_path).done() == set()


def older_record(root, schema, name="c" * 64):
    """Write a record as schema 1 and 2 did."""
    folder = root / "records" / name[:2] / f"{name}.0001.ok"
    folder.mkdir(parents=True)
    content = {"measures": [], "occasion": {}, "provenance": {"key": name, "schema": schema}, "status": "ok"}
    (folder / "rows.json").write_text(json.dumps(content, indent=1), "utf-8")
    return folder


CALLS = {
    "put": lambda store: store.put(record()),
    "done": lambda store: store.done(),
    "rows": lambda store: store.rows(),
    "record": lambda store: store.record("c" * 64 + ".0001.ok"),
    "rebuild": lambda store: store.rebuild(),
    "put_model": lambda store: store.put_model("d", b"", {}),
}


def content_of(root):
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize(
    ("schemas", "sentence"), [((2, 1, 2), "1 of schema 1 and 2 of schema 2"), ((4,), "1 of schema 4")]
)
def test_a_store_of_another_schema_is_refused_and_not_changed(tmp_path, call, schemas, sentence):
    for number, schema in enumerate(schemas):
        folder = older_record(tmp_path, schema, str(number) * 64)
        if schema > SCHEMA:
            (folder / "rows.json").unlink()
            (folder / "record.json").write_text(json.dumps({"schema": schema}, indent=1), "utf-8")
    (tmp_path / "index.parquet").write_bytes(b"an index of that version")
    before = content_of(tmp_path)
    with pytest.raises(StoreError) as caught:
        call(Store(tmp_path))
    text = str(caught.value)
    assert f"({sentence})" in text and "reads and writes schema 3" in text and "--store" in text
    assert ("older" if max(schemas) < SCHEMA else "newer") + " version of trust-suite" in text
    assert text.count(". ") == 0 and text.endswith("nothing was changed.")
    assert content_of(tmp_path) == before


def test_records_of_an_older_schema_that_appear_later_are_refused(tmp_path):
    store = Store(tmp_path)
    store.put(record())
    older_record(tmp_path, 2)
    with pytest.raises(StoreError, match="1 of schema 2"):
        store.put(record())
    assert len(list(tmp_path.glob("records/*/*"))) == 2


def test_an_index_of_an_older_version_is_rebuilt(tmp_path):
    store = Store(tmp_path)
    store.put(record())
    before = store.rows()
    before.drop(columns=["entry", "about", "attack"]).to_parquet(tmp_path / "index.parquet")
    assert Store(tmp_path).rows().equals(before)


def test_a_record_that_cannot_be_stored_leaves_nothing_behind(tmp_path):
    store = Store(tmp_path)
    with pytest.raises(RecordError, match="cannot be stored as JSON"):
        store.put(record(facts={"threshold": float("nan")}))
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_record_is_an_error(tmp_path):
    Store(tmp_path).put(record())
    with pytest.raises(StoreError, match="has no record x; rebuild the index"):
        Store(tmp_path).record("x")


ODD_NAMES = ["../../x", "/etc/x", "..", "x" * 300, "a\x00b", "a\nb", "a\x1b[2J", "con", "ü" * 200, "=1+1"]


@pytest.mark.parametrize("name", ODD_NAMES, ids=range(len(ODD_NAMES)))
def test_a_name_is_never_part_of_a_path(tmp_path, name):
    one = record()
    store = Store(tmp_path / "store")
    store.put(replace(one, provenance=replace(one.provenance, task=name, model=name)))
    row = Store(store.root).rows().iloc[0]
    assert (row["task"], row["model"]) == (name, name)
    assert {path.name for path in store.root.iterdir()} == {".gitignore", "index.parquet", "records", "scratch"}
    assert next((store.root / "records").rglob("*/*")).name.startswith("a" * 64)
    assert list(tmp_path.iterdir()) == [store.root]


def test_a_folder_whose_name_is_not_utf8_is_a_store(tmp_path):
    store = Store(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    folder = store.put(full_record())
    again = Store(store.root)
    assert len(again.rows()) == 1
    assert (store.root / "index.parquet").exists()
    assert len(Store(store.root).rows()) == 1, "from the index"
    assert again.record(folder.name).column("correct").tolist() == [True, False, True]
    assert again.rebuild() == 1


def test_a_message_with_an_unpaired_surrogate_is_stored_as_its_escape(tmp_path):
    one = record(status="failed")
    reason = "cannot open 'caf\udce9'"
    store = Store(tmp_path)
    store.put(replace(one, measures=(replace(one.measures[0], reason=reason),)))
    assert store.rows()["reason"].tolist() == [r"cannot open 'caf\udce9'"]


def test_a_record_with_an_unpaired_surrogate_is_damaged(tmp_path):
    store = Store(tmp_path)
    store.put(record())
    odd = store.put(record("b" * 64))
    text = (odd / "record.json").read_text("utf-8")
    (odd / "record.json").write_text(text.replace('"model": "m"', r'"model": "m\ud800"'), "utf-8")
    assert len(store.rows()) == 1
    assert "record.json" in store.damaged[odd.name]
    (odd / "record.json").write_text(text.replace('"model": "m"', r'"model": "\ud83d\ude00"'), "utf-8")
    assert sorted(Store(tmp_path).rows()["model"]) == ["m", "\U0001f600"]
