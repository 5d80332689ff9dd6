"""Verification of stored results: every number is derived again, and every adversarial example is checked again.

The rows of every record are computed from its columns and facts, without the model. Adversarial examples are checked by
code that is independent of `suite.attacks`, so that an error there cannot hide itself here.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pandas as pd

from suite.errors import described
from suite.models.base import TorchModel
from suite.records.reading import StoredRecord
from suite.store import Store
from suite.verify import inputs
from suite.verify.measures import derive
from suite.verify.records import Loader, RecordFilter, select
from suite.verify.stored_inputs import StoredInputs


@dataclass(frozen=True)
class Verification:
    """The result of verifying one record.

    Attributes:
        record: the name of its folder.
        subject: task, model, axis spec, n and seed.
        inputs: number of stored adversarial examples; None if the record stores no inputs.
        differences: sentences on everything that differs from the record.
        notes: sentences on what was not checked, with the reason.
        measures: number of measures that were derived again from the per-sample columns.
    """

    record: str
    subject: str
    inputs: int | None
    differences: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    measures: int = 0

    def lines(self) -> list[str]:
        """Return one line, or one line per difference."""
        if self.differences:
            return [f"FAIL {self.subject}: {difference}" for difference in self.differences]
        parts = [f"{self.measures} measures derived again"] if self.measures else []
        parts += [f"{self.inputs} inputs verified"] if self.inputs is not None else []
        if not parts:
            return [f"-    {self.subject}: {'; '.join(('nothing stored to verify', *self.notes))}"]
        return [f"ok   {self.subject}: {'; '.join((*parts, *self.notes))}"]


def verify(
    store: Store,
    wanted: RecordFilter | None = None,
    *,
    device: str = "auto",
    given: Mapping[str, TorchModel] | None = None,
) -> Iterator[Verification]:
    """Verify every current record of a store; see `Loader` for the arguments.

    Raises:
        StoreError: the store contains no results.
        UnknownNameError: the filter names a task, model or axis that is not stored.
        SuiteError: the device cannot be used.
    """
    chosen = wanted or RecordFilter()
    rows = select(store, chosen)
    loader = Loader(store, chosen, device, given)
    for _, part in rows.groupby(["task", "model", "spec", "cell_n", "seed", "record"]):
        yield verify_record(loader, part)


def verify_record(loader: Loader, rows: pd.DataFrame) -> Verification:
    """Verify the record of some rows."""
    first = rows.iloc[0]
    name = str(first["record"])
    subject = f"{first['task']} {first['model']} {first['spec']} (n={first['cell_n']}, seed={first['seed']})"
    try:
        return _verified(loader, loader.store.record(name), subject)
    except Exception as error:  # a damaged file may raise anything
        return Verification(name, subject, None, (f"record {name} cannot be read: {described(error)}",))


def _verified(loader: Loader, record: StoredRecord, subject: str) -> Verification:
    differences = list(_changed_files(record))
    _ = [column.values for column in record.columns]  # reads everything, and raises StoreError if it is damaged
    _ = [display.values for display in record.arrays.values()]
    derived = derive(record)
    notes, count = list(derived.notes), None
    differences += derived.differences
    if "attack" in record.facts and derived.installed:
        stored = StoredInputs(record)
        differences += inputs.differences(loader, stored)
        if stored.is_stored:
            notes += inputs.unchecked(loader, stored)
            count = len(stored.found)
    return Verification(record.name, subject, count, tuple(differences), tuple(notes), derived.count)


def _changed_files(record: StoredRecord) -> Iterator[str]:
    """Yield the files that are not those that were written with the record."""
    for name, digest in record.files.items():
        content = hashlib.sha256((record.folder / name).read_bytes()).hexdigest()
        if content != digest:
            yield f"the SHA-256 of {name} is {content[:12]}, but the record says {digest[:12]}"
