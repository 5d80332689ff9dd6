"""Checks that rows, per-sample columns and stored adversarial examples of a record agree."""

import json
from collections.abc import Iterator

import numpy as np

from suite.kinds.base import Array
from suite.verify.records import StoredRecord, named


def columns(stored: StoredRecord) -> Iterator[str]:
    """Yield how the per-sample columns disagree with the stored adversarial examples."""
    samples = stored.samples
    ids = samples["id"].to_numpy().astype(str)
    if (bad := ~np.isin(stored.ids, ids)).any():
        yield f"not among the evaluated samples: {named(stored.ids, bad)}"
    at = dict(zip(stored.ids, stored.arrays["found_size"].tolist(), strict=True))
    found_at = np.array([at.get(name, np.inf) for name in ids])
    clean = samples["correct_clean"].to_numpy().astype(np.float64)
    fits_size = _stochastic_fit if stored.details.get("stochastic") else _outcomes_fit
    quality = {size: samples[name].to_numpy().astype(np.float64) for size, name in stored.columns.items()}
    last = quality[max(quality)] if quality else clean
    for size, name in stored.columns.items():
        if stored.is_graded:
            fits = _graded_fit(quality[size], clean, last, found_at <= size)
        else:
            fits = fits_size(quality[size], clean, found_at, size)
        if (bad := ~fits).any():
            yield f"{name} disagrees with the stored inputs for {named(ids, bad)}"


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


def rates(stored: StoredRecord) -> Iterator[str]:
    """Yield how rows disagree with columns: the value of a row is the mean of its column."""
    without_row, size_name = stored.columns, stored.details.get("size_name")
    metric = f"robust_{stored.details.get('headline', 'accuracy')}"
    for _, row in stored.rows[stored.rows["metric"] == metric].iterrows():
        params = json.loads(row["params"])
        size = float(params.get(size_name, "nan"))
        title = f"the row of {metric} at {size_name} {size:g}"
        if (name := without_row.pop(size, None)) is None:
            yield f"{title} has no column"
            continue
        mean, value = float(stored.samples[name].to_numpy().astype(np.float64).mean()), float(row["value"])
        if not stored.is_graded and abs(value - mean) > 1e-7:  # NaN, a row without a value, passes
            yield f"{title} has value {value:.6g}, but the mean of its column is {mean:.6g}"
        if params.get("norm") != stored.norm:
            yield f"{title} has norm {params.get('norm')}, but the inputs have norm {stored.norm}"
    for name in without_row.values():
        yield f"the column {name} has no row"
