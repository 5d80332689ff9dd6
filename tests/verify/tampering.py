"""Stored records and manipulations of them."""

import dataclasses
import hashlib
import shutil

import numpy as np

from suite.axes.base import summarise
from suite.axes.robustness.checks import as_facts, judge
from suite.metrics.table import Table
from suite.registry import REGISTRY, resolve
from suite.store import Store
from suite.verify.verifier import verify
from tests.stores import as_record

LINF = "robustness(attack=fgsm(eps=[0.1, 0.2]), audit=4)"
L2 = "robustness(attack=fgsm(eps=[0.5, 1.0], norm=l2), audit=4)"
PATCH = "robustness(attack=image_patch(area=[0.1, 0.2], steps=3, tries=2), audit=4)"
CALIBRATION = "calibration(dropout_samples=2, members=1)"
CORRUPTION = "corruption(names=[fog], severities=[3])"
ATTRIBUTION = "attribution(methods=[saliency], samples=3)"
AXES = ("clean", LINF, L2, PATCH, CALIBRATION, CORRUPTION, ATTRIBUTION)


def verifications(store, record_filter, **settings):
    return list(verify(store, record_filter, device="cpu", **settings))


def stored(store, spec):
    """Return the record of a spec as it was stored."""
    rows = store.rows()
    return as_record(store.record(rows[rows["spec"] == spec]["record"].iloc[0]))


def array(record, name):
    return record.arrays[name].values


def values(record, name, **params):
    """Return a column under a condition."""
    (column,) = (one for one in record.columns if (one.name, one.params, one.population) == (name, params, "test"))
    return column.values


def at(record, size):
    """Return the condition of the columns at a size."""
    attack = record.facts["attack"]
    return {"norm": attack["norm"], attack["size_name"]: size}


def with_arrays(record, **arrays):
    """Return the record with other arrays."""
    changed = {name: dataclasses.replace(record.arrays[name], values=array) for name, array in arrays.items()}
    return dataclasses.replace(record, arrays={**record.arrays, **changed})


def with_example(record, index, value):
    """Return the record with other pixel values in its first adversarial example, and the digest that belongs to it."""
    examples = array(record, "found").copy()
    examples[(0, *index)] = value
    record, row = with_arrays(record, found=examples), first_row(record)
    digest = hashlib.sha256(examples[0].tobytes()).hexdigest()
    return with_column(record, "sha256", lambda digests: np.put(digests, row, digest))


def first_row(record):
    """Return the row of the first adversarial example among the samples."""
    return values(record, "id").tolist().index(array(record, "found_id")[0])


def with_column(record, name, change, **params):
    """Return the record with a changed column under a condition."""
    columns = [dataclasses.replace(one, values=one.values.copy()) for one in record.columns]
    (column,) = (one for one in columns if (one.name, one.params, one.population) == (name, params, "test"))
    change(column.values)
    return dataclasses.replace(record, columns=columns)


def with_rows(record):
    """Return the record with the rows that follow from its columns and facts: a consistent manipulation."""
    entry, spec = resolve("axis", record.provenance.spec)
    kind = REGISTRY.get("kind", record.provenance.kind).factory()
    facts = dict(record.facts)
    if "attack" in facts:
        facts["checks"] = as_facts(judge(Table(tuple(record.columns), facts, seed=facts["seed"])))
    measures = summarise(entry.build(spec), kind, record.columns, facts)
    return dataclasses.replace(record, facts=facts, measures=tuple(measures))


def with_row(record, size, **changes):
    """Return the record with a changed row of robust accuracy at one size."""
    measures = [
        dataclasses.replace(measure, **changes)
        if measure.metric == "robust_accuracy" and measure.params.get("eps") == size
        else measure
        for measure in record.measures
    ]
    return dataclasses.replace(record, measures=tuple(measures))


def with_facts(record, **facts):
    return dataclasses.replace(record, facts={**record.facts, **facts})


def with_attack(record, **changes):
    return with_facts(record, attack={**record.facts["attack"], **changes})


def store_with(measured, root, *records):
    """Return a new store with the models of `measured` and the given records."""
    store = Store(root)
    shutil.copytree(measured.root / "models", store.root / "models")
    for record in records:
        store.put(record)
    return store


def differing(measured, tmp_path, record_filter, record):
    """Return what differs in a manipulated record."""
    (verification,) = verifications(store_with(measured, tmp_path, record), record_filter)
    return "\n".join(verification.differences)
