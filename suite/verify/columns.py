"""Whether the rows and the per-sample columns of a robustness record follow from each other and from what it keeps."""

import json
from collections.abc import Iterator

import numpy as np

from suite.kinds.base import Array
from suite.verify.records import StoredRecord, those


def columns(stored: StoredRecord) -> Iterator[str]:
    """Compare the columns with the inputs."""
    samples = stored.samples
    ids = samples["id"].to_numpy().astype(str)
    if (bad := ~np.isin(stored.ids, ids)).any():
        yield f"not among the samples that were measured: {those(stored.ids, bad)}"
    at = dict(zip(stored.ids, stored.arrays["found_size"].tolist(), strict=True))
    found_at = np.array([at.get(name, np.inf) for name in ids])
    clean = samples["correct_clean"].to_numpy().astype(np.float64)
    follows = _shares_follow if stored.details.get("stochastic") else _outcomes_follow
    held = {size: samples[name].to_numpy().astype(np.float64) for size, name in stored.columns.items()}
    last = held[max(held)] if held else clean
    for size, name in stored.columns.items():
        if stored.graded:
            fits = _qualities_follow(held[size], clean, last, found_at <= size)
        else:
            fits = follows(held[size], clean, found_at, size)
        if (bad := ~fits).any():
            yield f"{name} is not what follows from the stored inputs for {those(ids, bad)}"


def _outcomes_follow(held: Array, clean: Array, found_at: Array, size: float) -> Array:
    """Return where right at a size is who was right without an attack, and not found up to it."""
    return np.asarray(held == ((clean == 1) & (found_at > size)))


def _qualities_follow(held: Array, clean: Array, last: Array, found: Array) -> Array:
    """Return where a quality is that of the stored input once it was found, and lies between that and the clean one."""
    return np.asarray(np.where(found, held == last, (held >= last) & (held <= clean)))


def _shares_follow(held: Array, clean: Array, found_at: Array, size: float) -> Array:
    """Return where shares of random answers are less than a half where found, and no less where not found yet.

    Beyond the size at which it was found a sample is attacked anew, and may be right more often by chance.
    """
    low = held < 0.5
    follows = np.where(found_at == size, low, ~low | (clean == 0) | (found_at < size))
    return np.asarray(follows & (held >= 0) & (held <= 1))


def rates(stored: StoredRecord) -> Iterator[str]:
    """Compare the rows with the columns: a value is the mean of its column."""
    unseen, size_name = stored.columns, stored.details.get("size_name")
    metric = f"robust_{stored.details.get('headline', 'accuracy')}"
    for _, row in stored.rows[stored.rows["metric"] == metric].iterrows():
        params = json.loads(row["params"])
        size = float(params.get(size_name, "nan"))
        title = f"the row of {metric} at {size_name} {size:g}"
        if (name := unseen.pop(size, None)) is None:
            yield f"{title} has no column"
            continue
        mean, value = float(stored.samples[name].to_numpy().astype(np.float64).mean()), float(row["value"])
        if not stored.graded and abs(value - mean) > 1e-7:  # a row without a value claims nothing
            yield f"{title} says {value:.6g}, but the mean of its column is {mean:.6g}"
        if params.get("norm") != stored.norm:
            yield f"{title} is of norm {params.get('norm')}, but the inputs are of norm {stored.norm}"
    for name in unseen.values():
        yield f"the column {name} has no row"
