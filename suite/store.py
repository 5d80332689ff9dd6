"""The store: append-only records on disk, written atomically.

    STORE/
      records/ab/<key>.<serial>.<status>/   record.json  columns.<population>.parquet  arrays.npz  (never changed)
      models/<digest>/                      weights.safetensors  history.json  seen.npy             (never changed)
      nodes/<digest>/                       state.json  arrays.npz: surrogates and the like         (never changed)
      scratch/                              folders being written; those of a killed run are ignored
      index.parquet                         all rows in one table; a cache, updated from the records

A folder is written under scratch/, synced to disk and renamed into place, so readers see either all of it or nothing.
docs/record.md describes a record. A store with records of another schema is refused, and not changed.
"""

import functools
import json
import os
import re
import shutil
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from suite import states
from suite.errors import StoreError
from suite.metrics.catalogue import Metric
from suite.records.reading import StoredRecord, read
from suite.records.record import Record
from suite.records.writing import RECORD, as_json, files
from suite.types import SCHEMA

INDEXED = ("entry", "about", "attack")
"""Columns of the index that an index of an older version lacks."""

NUMBERS = ("value", "lo", "hi", "control", "level", "wall_s", "peak_mb")
"""Columns of the index with numbers that may be undefined."""

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
        self._checked: set[str] = set()

    def put(self, record: Record) -> Path:
        """Store a record and return its folder.

        Raises:
            RecordError: the record cannot be stored as it is, for example since a column is too large.
            StoreError: the folder cannot be written, or contains records of another schema. Existing records are not
                changed.
        """
        content = files(record)
        self._check_schema()
        key = record.provenance.key
        parent = self.root / "records" / key[:2]
        for serial in range(1, 10_000):
            taken = any(parent.glob(f"{key}.{serial:04d}.*"))
            folder = parent / f"{key}.{serial:04d}.{record.status}"
            if not taken and self._commit(folder, content):
                return folder
        raise StoreError(f"{key} has 9,999 records in {parent}; delete some of the failed ones.")

    def done(self) -> set[str]:
        """Return the keys that are stored with status ok."""
        table = self._indexed()  # without damaged records
        return set(table.loc[table["cell_status"] == "ok", "key"]) if len(table) else set()

    def rows(self) -> pd.DataFrame:
        """Return all current rows.

        For each key these are the rows of its newest record with status ok, or else of its newest record. Columns:
        those of `Provenance`, `RunInfo` and `Measure`, `status` of the row, `cell_status` and `cell_n` of the record;
        `entry`, the declaration of the row's metric (NaN for a failed cell); `about`, what the record says about its
        task and model (NaN if the task could not be read); `attack`, what it says about its attack (``{}`` for none);
        and `record`, the name of its folder. `params`, `checks`, `digests`, `entry`, `about` and `attack` are JSON.
        """
        table = self._indexed()
        if table.empty:
            return table
        ranked = table[["key", "record", "cell_status"]].drop_duplicates()
        ranked = ranked.assign(good=ranked["cell_status"] == "ok").sort_values(["good", "record"])
        current = ranked.groupby("key")["record"].last()
        return table[table["record"].isin(current)].reset_index(drop=True)

    def record(self, name: str) -> StoredRecord:
        """Return a record by the name of its folder; its columns and arrays are read when they are used.

        Raises:
            StoreError: there is no such record, or it is damaged.
        """
        if name not in self._checked:
            self._check_schema()
        folder = self.root / "records" / name[:2] / name
        if not folder.is_dir():
            raise StoreError(f"{self.root} has no record {name}; rebuild the index with Store.rebuild().")
        return read(folder)

    def model_folder(self, digest: str) -> Path | None:
        """Return the folder of trained weights; None if they are not stored."""
        folder = self.root / "models" / digest
        return folder if folder.is_dir() else None

    def put_model(self, digest: str, weights: bytes, history: Mapping[str, Any], **others: bytes) -> Path:
        """Store trained weights (safetensors) with their training history, and return the folder.

        Args:
            digest: what the training depends on.
            weights: a safetensors file.
            history: JSON values.
            others: contents of further NumPy files, by their names without ``.npy``.
        """
        self._check_schema()
        folder = self.root / "models" / digest
        trained = {"weights.safetensors": weights, "history.json": as_json(history)}
        self._commit(folder, trained | {f"{name}.npy": content for name, content in others.items()})
        return folder

    def state(self, digest: str) -> dict[str, Any] | None:
        """Return the state of a training node: arrays and JSON values; None if it is not stored."""
        folder = self.root / "nodes" / digest
        return states.read(folder) if folder.is_dir() else None

    def put_state(self, digest: str, state: Mapping[str, Any]) -> None:
        """Store the state of a training node."""
        self._check_schema()
        self._commit(self.root / "nodes" / digest, states.files(state))

    def history(self, digest: str) -> dict[str, Any]:
        """Return the training history of stored weights, empty if there are none."""
        folder = self.model_folder(digest)
        return dict(json.loads((folder / "history.json").read_text("utf-8"))) if folder else {}

    def rebuild(self) -> int:
        """Rebuild the index from the records, and return the number of rows."""
        self._check_schema()
        (self.root / "index.parquet").unlink(missing_ok=True)
        self._table = None
        return len(self._indexed())

    def _check_schema(self) -> None:
        """Raise StoreError if there are records of another schema; each record is looked at once."""
        others: Counter[int] = Counter()
        for name, parent in self._records():
            if name in self._checked:
                continue
            schema = _schema(parent / name)
            if schema in (SCHEMA, None):  # None: the record is damaged
                self._checked.add(name)
            else:
                others[schema] += 1
        if others:
            found = " and ".join(f"{count} of schema {schema}" for schema, count in sorted(others.items()))
            other = "newer" if max(others) > SCHEMA else "older"
            raise StoreError(
                f"{self.root} contains records of another schema ({found}), but this version of trust-suite reads and "
                f"writes schema {SCHEMA}: choose another folder with --store, or use the {other} version of "
                "trust-suite that wrote them; nothing was changed."
            )

    def _records(self) -> Iterator[tuple[str, Path]]:
        for parent in sorted((self.root / "records").glob("??")):
            with os.scandir(parent) as entries:
                for name in sorted(entry.name for entry in entries):
                    yield name, parent

    def _indexed(self) -> pd.DataFrame:
        self._check_schema()
        parents = dict(self._records())
        if self._table is None:
            self._table = self._read_index()
        known = set(self._table["record"]) if len(self._table) else set()
        if known - parents.keys():  # records were deleted
            self._table = self._table[self._table["record"].isin(parents.keys())]
        new = [row for name in sorted(parents.keys() - known) for row in self._read_rows(name, parents[name])]
        if new:
            self._table = _typed(pd.concat([self._table, pd.DataFrame(new)], ignore_index=True))
            self._write_index(self._table)
        return self._table

    def _read_index(self) -> pd.DataFrame:
        path = self.root / "index.parquet"
        try:
            if not path.exists():
                return pd.DataFrame()
            with path.open("rb") as file:  # pyarrow refuses paths that are not UTF-8
                table = pd.read_parquet(file)
        except Exception:  # a damaged index is rebuilt
            return pd.DataFrame()
        return _typed(table) if {*INDEXED} <= {*table.columns} else pd.DataFrame()  # of an older version

    def _write_index(self, table: pd.DataFrame) -> None:
        try:
            scratch = self._scratch()
        except StoreError:
            return  # a read-only store works without an updated index
        try:
            with (scratch / "index.parquet").open("wb") as file:
                table.to_parquet(file, index=False)
            (scratch / "index.parquet").replace(self.root / "index.parquet")
        except OSError:
            return  # the disk is full; the index is only a cache
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _read_rows(self, name: str, parent: Path) -> list[dict[str, Any]]:
        if name in self.damaged:
            return []
        try:
            return _rows(read(parent / name))
        except StoreError as error:
            self.damaged[name] = str(error)
            return []

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


def _schema(folder: Path) -> int | None:
    """Return the schema of a record; None if it is damaged. Records before schema 3 have a file ``rows.json``."""
    try:
        if (folder / RECORD).exists():
            with (folder / RECORD).open("rb") as file:
                start = file.read(64)  # the schema comes first
        else:
            start = (folder / "rows.json").read_bytes()
    except OSError:
        return None
    found = re.search(rb'"schema": ?(\d+)', start)
    if found is None:
        return None if (folder / RECORD).exists() else 1
    return int(found.group(1))


def _rows(stored: StoredRecord) -> list[dict[str, Any]]:
    """Return the rows of a record in the index."""
    common = {**vars(stored.provenance), **vars(stored.run_info), "record": stored.name}
    common |= {"cell_status": stored.status, "cell_n": common.pop("n")}
    common["digests"] = _text(common["digests"])
    common["about"] = _text(stored.about) if stored.about else None
    common["attack"] = _text(stored.facts.get("attack", {}))
    entries = {name: _entry(metric) for name, metric in stored.catalogue.items()}
    rows = []
    for measure in stored.measures:
        row = {**common, **vars(measure), "entry": entries.get(measure.metric)}
        row["status"] = measure.status if stored.status == "ok" else stored.status
        row.update({column: _text(row[column]) for column in ("params", "checks")})
        rows.append(row)
    return rows


@functools.lru_cache(maxsize=4096)
def _entry(metric: Metric) -> str:
    """Return the declaration of a metric; the same for all its rows."""
    return _text(metric)


_text = json.JSONEncoder(sort_keys=True, default=vars).encode
"""Returns JSON values and data classes as text."""


def _typed(table: pd.DataFrame) -> pd.DataFrame:
    """Return the index with numbers as such; rows share their long texts."""
    numbers = {name: pd.to_numeric(table[name]) for name in NUMBERS}
    return table.assign(**numbers, **{name: table[name].astype("category").astype(object) for name in INDEXED})
