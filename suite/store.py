"""The store: append-only records on disk, written atomically.

    STORE/
      records/ab/<key>.<serial>.<status>/   rows.json  samples.parquet  details.json  arrays.npz   (never changed)
      models/<digest>/                      weights.safetensors  history.json                       (never changed)
      scratch/                              folders being written; those of a killed run are ignored
      index.parquet                         all rows in one table; a cache, updated from the records

A folder is written under scratch/, synced to disk and renamed into place, so readers see either all of it or nothing.
"""

import io
import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from suite.errors import StoreError
from suite.types import Record

JSON_COLUMNS = ("params", "checks", "digests")
"""Columns of the table that contain JSON."""

RENAMED = {
    "memorised": "ngram_memorization",
    "memorisation": "image_memorization",
    "hallucinations": "false_positives_per_image",
    "stranger_auroc": "out_of_distribution_auroc",
}
"""Current names of metrics that older records store under another name."""

STALE_SECONDS = 24 * 3600
"""Age after which a folder in scratch/ is deleted, because its run has ended."""


class Store:
    """A folder of results.

    Args:
        root: the folder; created on the first write, with a .gitignore.

    Attributes:
        damaged: the reasons why records cannot be read, by record; these records are kept.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self.damaged: dict[str, str] = {}
        self._table: pd.DataFrame | None = None

    def put(self, record: Record) -> Path:
        """Store a record and return its folder.

        Raises:
            StoreError: the folder cannot be written. Existing records are not changed.
        """
        files = {"rows.json": _json(_rows(record)), "details.json": _json(record.details)}
        if record.samples:
            buffer = io.BytesIO()
            pd.DataFrame(dict(record.samples)).to_parquet(buffer, index=False)
            files["samples.parquet"] = buffer.getvalue()
        if record.arrays:
            buffer = io.BytesIO()
            arrays: dict[str, Any] = {name: np.asarray(array) for name, array in record.arrays.items()}
            np.savez_compressed(buffer, **arrays)
            files["arrays.npz"] = buffer.getvalue()
        key = record.provenance.key
        parent = self.root / "records" / key[:2]
        for serial in range(1, 10_000):
            taken = any(parent.glob(f"{key}.{serial:04d}.*"))
            folder = parent / f"{key}.{serial:04d}.{record.status}"
            if not taken and self._commit(folder, files):
                return folder
        raise StoreError(f"{key} has 9,999 records in {parent}; delete some of the failed ones.")

    def done(self) -> set[str]:
        """Return the keys that are stored with status ok."""
        table = self._indexed()  # without damaged records
        return set(table.loc[table["cell_status"] == "ok", "key"]) if len(table) else set()

    def rows(self) -> pd.DataFrame:
        """Return all current rows.

        For each key these are the rows of its newest record with status ok, or else of its newest record. Columns:
        those of `Provenance`, `RunInfo` and `Measure`, `status` of the row, `cell_status` of the record, and `record`,
        the name of its folder.
        """
        table = self._indexed()
        if table.empty:
            return table
        ranked = table[["key", "record", "cell_status"]].drop_duplicates()
        ranked = ranked.assign(good=ranked["cell_status"] == "ok").sort_values(["good", "record"])
        current = ranked.groupby("key")["record"].last()
        return _current(table[table["record"].isin(current)].reset_index(drop=True))

    def samples(self, record: str) -> pd.DataFrame:
        """Return the per-sample outcomes of a record, empty if it has none."""
        path = self._folder(record) / "samples.parquet"
        return pd.read_parquet(path) if path.exists() else pd.DataFrame()

    def details(self, record: str) -> dict[str, Any]:
        """Return the details of a record."""
        return dict(json.loads((self._folder(record) / "details.json").read_text("utf-8")))

    def arrays(self, record: str) -> dict[str, np.ndarray[Any, Any]]:
        """Return the arrays of a record, empty if it has none."""
        path = self._folder(record) / "arrays.npz"
        if not path.exists():
            return {}
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}

    def model_folder(self, digest: str) -> Path | None:
        """Return the folder of trained weights; None if they are not stored."""
        folder = self.root / "models" / digest
        return folder if folder.is_dir() else None

    def put_model(self, digest: str, weights: bytes, history: Mapping[str, Any]) -> Path:
        """Store trained weights (safetensors) with their training history, and return the folder."""
        folder = self.root / "models" / digest
        self._commit(folder, {"weights.safetensors": weights, "history.json": _json(history)})
        return folder

    def history(self, digest: str) -> dict[str, Any]:
        """Return the training history of stored weights, empty if there are none."""
        folder = self.model_folder(digest)
        return dict(json.loads((folder / "history.json").read_text("utf-8"))) if folder else {}

    def rebuild(self) -> int:
        """Rebuild the index from the records, and return the number of rows."""
        (self.root / "index.parquet").unlink(missing_ok=True)
        self._table = None
        return len(self._indexed())

    def _folder(self, record: str) -> Path:
        folder = self.root / "records" / record[:2] / record
        if not folder.is_dir():
            raise StoreError(f"{self.root} has no record {record}; rebuild the index with Store.rebuild().")
        return folder

    def _records(self) -> Iterator[tuple[str, Path]]:
        for parent in sorted((self.root / "records").glob("??")):
            with os.scandir(parent) as entries:
                for name in sorted(entry.name for entry in entries):
                    yield name, parent / name

    def _indexed(self) -> pd.DataFrame:
        paths = dict(self._records())
        if self._table is None:
            self._table = self._read_index()
        known = set(self._table["record"]) if len(self._table) else set()
        if known - paths.keys():  # records were deleted
            self._table = self._table[self._table["record"].isin(paths.keys())]
        new = [row for name in sorted(paths.keys() - known) for row in self._read_rows(name, paths[name])]
        if new:
            self._table = _typed(pd.concat([self._table, pd.DataFrame(new)], ignore_index=True))
            self._write_index(self._table)
        return self._table

    def _read_index(self) -> pd.DataFrame:
        path = self.root / "index.parquet"
        try:
            return pd.read_parquet(path) if path.exists() else pd.DataFrame()
        except Exception:  # a damaged index is rebuilt
            return pd.DataFrame()

    def _write_index(self, table: pd.DataFrame) -> None:
        try:
            scratch = self._scratch()
        except StoreError:
            return  # a read-only store works without an updated index
        try:
            table.to_parquet(scratch / "index.parquet", index=False)
            (scratch / "index.parquet").replace(self.root / "index.parquet")
        except OSError:
            return  # the disk is full; the index is only a cache
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _read_rows(self, name: str, folder: Path) -> list[dict[str, Any]]:
        if name in self.damaged:
            return []
        try:
            stored = json.loads((folder / "rows.json").read_text("utf-8"))
            common = {**stored["provenance"], **stored["occasion"], "record": name, "cell_status": stored["status"]}
            common["cell_n"] = common.pop("n")
            rows = [{**common, **row} for row in stored["measures"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            self.damaged[name] = f"{type(error).__name__}: {error}"
            return []
        for row in rows:
            row.update({column: json.dumps(row[column], sort_keys=True) for column in JSON_COLUMNS})
        return rows

    def _scratch(self) -> Path:
        scratch = self.root / "scratch"
        try:
            scratch.mkdir(parents=True, exist_ok=True)
            ignore = self.root / ".gitignore"
            if not ignore.exists():
                ignore.write_text("*\n", "utf-8")
            for old in scratch.iterdir():
                if time.time() - old.stat().st_mtime > STALE_SECONDS:
                    shutil.rmtree(old, ignore_errors=True)
            folder = scratch / uuid.uuid4().hex
            folder.mkdir()
        except OSError as error:
            raise StoreError(f"{self.root} cannot be written: {error}. Choose another folder with --store.") from error
        return folder

    def _commit(self, folder: Path, files: Mapping[str, bytes]) -> bool:
        """Write a folder atomically; return False if it exists already."""
        scratch = self._scratch()
        try:
            for name, content in files.items():
                with (scratch / name).open("wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
            _sync(scratch)
            folder.parent.mkdir(parents=True, exist_ok=True)
            try:
                scratch.rename(folder)
            except OSError:
                if folder.is_dir():
                    return False
                raise
            _sync(folder.parent)
        except OSError as error:
            raise StoreError(f"{folder} cannot be written: {error}. Free some space or use --store.") from error
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        return True


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False, indent=1, default=_plain).encode()


def _plain(value: Any) -> Any:
    """Convert a numpy scalar to a Python number."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{value!r} ({type(value).__name__}) cannot be stored as JSON")


def _rows(record: Record) -> dict[str, Any]:
    override = {} if record.status == "ok" else {"status": record.status}
    return {
        "provenance": asdict(record.provenance),
        "occasion": asdict(record.run_info),
        "status": record.status,
        "measures": [{**asdict(measure), "status": measure.status, **override} for measure in record.measures],
    }


def _current(table: pd.DataFrame) -> pd.DataFrame:
    """Return rows with current status and metric names; in schema 1 an inconclusive row with a number was suspect."""
    before = (table["schema"] < 2) & (table["status"] == "inconclusive") & table["value"].notna()
    return table.assign(status=table["status"].mask(before, "suspect"), metric=table["metric"].replace(RENAMED))


def _typed(table: pd.DataFrame) -> pd.DataFrame:
    numbers = ["value", "lo", "hi", "control", "level", "wall_s", "peak_mb"]
    return table.assign(**{name: pd.to_numeric(table[name]) for name in numbers})
