"""The adversarial inputs of a record with what its columns say about them, and whether the two agree."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from suite.axes.robustness.checks import as_facts, judge
from suite.data.digests import in_digest_order
from suite.kinds.base import Array
from suite.records.reading import StoredRecord
from suite.verify.records import named

PARTS = {"found_id": 1, "found_size": 1, "found_rung": 1}
"""Arrays that a record stores in addition to its adversarial inputs, with their number of dimensions."""

PER_SIZE = 256
"""Most inputs that a record stores for each size."""

MOST_BYTES = 64 * 2**20
"""Most bytes of all stored inputs of a record."""


@dataclass(frozen=True)
class StoredInputs:
    """The adversarial inputs of a record."""

    record: StoredRecord

    @property
    def is_stored(self) -> bool:
        """Whether the record stores inputs; perturbed embeddings are not stored."""
        return "found" in self.record.arrays

    @property
    def found(self) -> Array:
        """The adversarial inputs, (k, ...)."""
        return np.asarray(self.record.arrays["found"].values)

    @property
    def ids(self) -> Array:
        """Their sample ids, (k,) strings."""
        return self.record.arrays["found_id"].values.astype(str)  # type: ignore[no-any-return]

    @property
    def sizes(self) -> Array:
        """The size of each, float64 (k,)."""
        return self.record.arrays["found_size"].values.astype(np.float64)  # type: ignore[no-any-return]

    @property
    def attack(self) -> Mapping[str, Any]:
        """What the record says about the attack."""
        attack: Mapping[str, Any] = self.record.facts["attack"]
        return attack

    @property
    def norm(self) -> str:
        """The norm that limits the perturbations."""
        return str(self.attack["norm"])

    @property
    def is_graded(self) -> bool:
        """Whether outcomes are better or worse, and not just right or wrong."""
        return self.record.about is not None and self.record.about.outcome == "graded"

    @property
    def is_stochastic(self) -> bool:
        """Whether an outcome is the share of several draws."""
        return int(self.attack["draws"]) > 1

    @property
    def depends_on_batch(self) -> bool:
        """Whether a check found that outputs depend on the rest of the batch, so that another one changes outcomes."""
        state, *_ = self.record.facts.get("checks", {}).get("alone_equals_batch", ("n/a",))
        return bool(state == "fail")

    @property
    def is_text(self) -> bool:
        """Whether the inputs are texts, stored as code points."""
        return self.record.about is not None and self.record.about.input.type == "text"

    @cached_property
    def evaluated(self) -> Array:
        """The ids of all evaluated samples, (n,) strings."""
        return self.record.column("id").astype(str)

    @cached_property
    def clean(self) -> Array:
        """How good the prediction for each sample is without attack, float64 (n,)."""
        return self.record.column("quality").astype(np.float64)

    @cached_property
    def quality(self) -> dict[float, Array]:
        """The same at each size of the attack."""
        wanted = {"norm": self.attack["norm"]}
        name = self.attack["size_name"]
        return {
            size: self.record.column("quality", {**wanted, name: size}).astype(np.float64)
            for size in self.attack["sizes"]
        }

    @cached_property
    def found_at(self) -> Array:
        """The size at which an input was found for each evaluated sample, (n,); infinite for none."""
        return np.nan_to_num(self.record.column("found_size"), nan=np.inf)

    @cached_property
    def places(self) -> Array:
        """The rows of the stored inputs among the evaluated samples, (k,); -1 for unknown samples."""
        row = {name: place for place, name in enumerate(self.evaluated.tolist())}
        return np.array([row.get(name, -1) for name in self.ids.tolist()], dtype=int)

    def stored_quality(self) -> Array:
        """Return the quality of the predictions for the stored inputs, (k,), according to the columns."""
        return self.quality[max(self.quality)][self.places]


def facts(stored: StoredInputs) -> Iterator[str]:
    """Yield which facts do not follow from the columns."""
    computed = as_facts(judge(stored.record.table))
    recorded = stored.record.facts.get("checks", {})
    for name in sorted(computed.keys() | recorded.keys()):
        if list(recorded.get(name, ())) != list(computed.get(name, ())):
            yield f"the fact checks.{name} is {recorded.get(name)}, but {computed.get(name)} follows from the columns"


def misfits(stored: StoredInputs) -> Iterator[str]:
    """Yield why the stored inputs cannot be compared with anything."""
    arrays, found, count = stored.record.arrays, stored.found, len(stored.found)
    if found.ndim < 2:
        yield f"the array found has shape {found.shape}; expected at least two dimensions"
    for name, dimensions in PARTS.items():
        got = arrays[name].values.shape if name in arrays else None
        if got is None or len(got) != dimensions or got[0] != count:
            yield f"the array {name} has shape {got or 'nothing'}; expected {dimensions} dimensions and {count} entries"
    if found.dtype != (expected := np.dtype(np.int32 if stored.is_text else np.float32)):
        yield f"the stored inputs are {found.dtype}; expected {expected}{' of texts' if stored.is_text else ''}"
    if "found_id" in arrays and len(np.unique(stored.ids)) != len(stored.ids):
        yield "an id occurs twice among the stored inputs"


def columns(stored: StoredInputs) -> Iterator[str]:
    """Yield how outcomes disagree with the sizes at which inputs were found."""
    found_at, last = stored.found_at, stored.quality[max(stored.quality)]
    for size, quality in stored.quality.items():
        if stored.is_graded:
            fits = _graded_fit(quality, stored.clean, last, found_at <= size)
        elif stored.is_stochastic:
            fits = _stochastic_fit(quality, stored.clean, found_at, size)
        else:
            fits = _outcomes_fit(quality, stored.clean, found_at, size)
        if (bad := ~fits).any():
            title = f"the column quality at {stored.attack['size_name']}={size:g}"
            yield f"{title} disagrees with the column found_size for {named(stored.evaluated, bad)}"


def _outcomes_fit(quality: Array, clean: Array, found_at: Array, size: float) -> Array:
    """Return which samples are correct at a size exactly if they are correct without attack and not found up to it."""
    return np.asarray(quality == ((clean == 1) & (found_at > size)))


def _graded_fit(quality: Array, clean: Array, last: Array, found: Array) -> Array:
    """Return which qualities equal the last one once an input is found, and before lie between it and the clean one."""
    return np.asarray(np.where(found, quality == last, (quality >= last) & (quality <= clean)))


def _stochastic_fit(quality: Array, clean: Array, found_at: Array, size: float) -> Array:
    """Return which shares of correct draws are below 0.5 where the sample is found, and not below 0.5 before.

    A stochastic model is attacked again at larger sizes, and may be correct more often there by chance.
    """
    low = quality < 0.5
    fits = np.where(found_at == size, low, ~low | (clean == 0) | (found_at < size))
    return np.asarray(fits & (quality >= 0) & (quality <= 1))


def agreement(stored: StoredInputs) -> Iterator[str]:
    """Yield how stored inputs disagree with the columns: their ids, sizes, stages, digests, and which are stored."""
    ids, places = stored.ids, stored.places
    known = places >= 0
    if (~known).any():
        yield f"not among the evaluated samples: {named(ids, ~known)}"
    hashes = [hashlib.sha256(np.ascontiguousarray(one).tobytes()).hexdigest() for one in stored.found]
    stages = stored.record.arrays["found_rung"].values.astype(str)
    expected = {
        "found_size": (stored.sizes, stored.found_at),
        "found_by": (stages, stored.record.column("found_by").astype(str)),
        "sha256": (np.array(hashes, dtype=str), stored.record.column("sha256").astype(str)),
    }
    for name, (own, column) in expected.items():
        if (bad := known & (own != column[np.maximum(places, 0)])).any():
            yield f"the column {name} disagrees with the stored inputs for {named(ids, bad)}"
    has_digest = stored.record.column("sha256").astype(str) != ""
    if (bad := has_digest != np.isfinite(stored.found_at)).any():
        yield f"the columns sha256 and found_size disagree for {named(stored.evaluated, bad)}"
    yield from _selection(stored)


def _selection(stored: StoredInputs) -> Iterator[str]:
    """Yield whether other inputs are stored than the first of each size in digest order."""
    counts = stored.record.facts.get("inputs", {})
    limit, total = int(counts.get("limit", PER_SIZE)), int(np.isfinite(stored.found_at).sum())
    if (counts.get("found"), counts.get("stored")) != (total, len(stored.found)):
        yield f"the fact inputs is {counts}, but {total} inputs were found and {len(stored.found)} are stored"
    order = np.array(in_digest_order(stored.evaluated.tolist()), dtype=int)
    at = stored.found_at[order]
    chosen = [order[at == size][:limit] for size in np.unique(at[np.isfinite(at)])]
    rows = np.sort(np.concatenate(chosen)) if chosen else np.zeros(0, int)
    if not np.array_equal(rows, np.sort(stored.places)):
        yield f"the stored inputs are not the first {limit} of each size in the order of the SHA-256 of their ids"
    one_more = sum(min(int((at == size).sum()), limit + 1) for size in np.unique(at[np.isfinite(at)]))
    fits = len(stored.found) > 0 and one_more * stored.found[0].nbytes <= MOST_BYTES
    if limit > PER_SIZE or (limit < PER_SIZE and fits):
        yield f"{limit} inputs of each size are stored; expected {PER_SIZE}, or fewer if they exceed 64 MiB"
