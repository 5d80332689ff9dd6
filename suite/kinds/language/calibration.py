"""Calibration of language models: one distribution per character. Windows are resampled, since characters of a window
are correlated.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from suite.data.digests import in_digest_order
from suite.errors import DataError
from suite.kinds.base import Array, Calibrated, Outcomes, Rescaling
from suite.kinds.classification.calibration import best_temperature, temperature_scaling
from suite.kinds.language import losses
from suite.kinds.language.generated_text import CONTINUED, continuations
from suite.metrics import stats
from suite.metrics.calibration import BINNING, Reliability, ece_of_calibrated
from suite.metrics.calibration.bins import bin_index
from suite.metrics.stats import Statistic, drawn, resampled
from suite.types import Measure

DRAWS = 200
"""Simulated calibrated models."""


def calibrated(predicted: Array, targets: Array, *, seed: int, params: Mapping[str, Any], bins: int) -> Calibrated:
    """Return the calibration of distributions (n, positions, classes), of which the last ones are of scored characters.

    ``token_ece`` is the error of the most probable character. ``full_ece`` is that of the whole distribution (Liu et
    al. 2024): the probabilities of all classes are events in one set of bins, and each bin is weighted by its number of
    events over that of the characters, so that it lies in [0, 2].

    Raises:
        DataError: the probabilities of a character are no distribution.
    """
    probabilities = distributions(predicted, targets)
    count, scored = targets.shape
    confidence, correct = probabilities.max(axis=2).clip(0, 1), probabilities.argmax(axis=2) == targets
    own = np.take_along_axis(probabilities, targets[..., None], axis=2)[..., 0]
    truth = np.zeros(probabilities.shape)
    np.put_along_axis(truth, targets[..., None], 1.0, axis=2)
    common = {**params, "bins": bins, "binning": BINNING, "characters": count * scored}
    events = (confidence.ravel(), correct.ravel().astype(np.float64))
    floor = _noise_floor(events[0], seed, common)
    ece = error(gaps(confidence, correct, bins), scored)
    distinguishable = floor.hi is not None and bool(ece(None)[0] > floor.hi)
    binned: dict[str, Any] = {"seed": seed, "higher_is_better": False, "recentred": True}
    measures = [
        resampled(
            "token_ece", ece, count, params={**common, "distinguishable_from_calibrated": distinguishable}, **binned
        ),
        floor,
        resampled(
            "full_ece", error(gaps(probabilities, truth, bins), scored), count,
            params={**common, "norm": "bins weighted by events over characters"}, ceiling=2.0, **binned,
        ),
        _nll(own, seed, params),
        stats.mean_measure(
            "brier", ((probabilities - truth) ** 2).sum(axis=2).mean(axis=1), seed=seed,
            unit="squared error", higher_is_better=False, params=dict(params),
        ),
    ]  # fmt: skip
    columns = {"confidence": confidence.mean(axis=1), "right_characters": correct.mean(axis=1)}
    return Calibrated(measures, columns, Reliability.from_events(*events, bins).diagram())


def distributions(predicted: Array, targets: Array) -> Array:
    """Return the distributions of the scored characters, (n, scored, classes).

    Raises:
        DataError: values that are not finite or outside [0, 1], or a sum that is not 1.
    """
    probabilities = np.asarray(predicted, np.float64)[:, -targets.shape[1] :]
    if not np.isfinite(probabilities).all() or (probabilities < 0).any() or (probabilities > 1 + 1e-9).any():
        raise DataError("some probabilities are not finite or outside [0, 1]; expected a softmax over the alphabet.")
    if (gap := float(np.abs(probabilities.sum(axis=2) - 1).max(initial=0))) > 1e-3:
        raise DataError(f"the probabilities of a character differ from a sum of 1 by {gap:.3g}; expected a softmax.")
    return probabilities.clip(0, 1)


def gaps(probabilities: Array, truth: Array, bins: int) -> Array:
    """Return the sums of probability minus truth over the events (n, ...) of each window and bin, (n, bins)."""
    count = len(probabilities)
    keys = bin_index(probabilities, bins) + bins * np.arange(count).reshape(-1, *(1,) * (probabilities.ndim - 1))
    sums = np.bincount(keys.ravel(), (probabilities - truth).ravel(), count * bins)
    return np.asarray(sums.reshape(count, bins))


def error(sums: Array, scored: int) -> Statistic:
    """Return the sum over bins of the absolute gap, per character, as a function of resampled windows."""

    def value(counts: Array | None) -> Array:
        weights = drawn(counts, len(sums))
        return np.asarray(np.abs(weights @ sums).sum(axis=1) / (weights.sum(axis=1) * scored))

    return value


def _noise_floor(confidence: Array, seed: int, params: Mapping[str, Any]) -> Measure:
    """Return the error of a perfectly calibrated model with the same confidence, due to the number of characters alone.

    Given the preceding text, the predictions of such a model are correct independently from character to character.
    """
    errors = ece_of_calibrated(confidence, seed=seed, bins=int(params["bins"]), draws=DRAWS)
    lo, hi = map(float, np.quantile(errors, [0.025, 0.975]))
    fields: dict[str, Any] = {"higher_is_better": None, "params": dict(params)}
    method = f"simulation-of-calibrated({DRAWS})"
    return Measure("token_ece_noise_floor", float(errors.mean()), lo, hi, confidence.size, method, **fields)


def _nll(own: Array, seed: int, params: Mapping[str, Any]) -> Measure:
    """Return the mean negative log-likelihood per character."""
    fields: dict[str, Any] = {"unit": "nat", "higher_is_better": False, "params": dict(params)}
    if impossible := int((own == 0).sum()):
        why = f"{impossible} characters of the text have probability 0, so that the mean is infinite"
        return Measure("nll", None, None, None, len(own), "none", reason=why, **fields)
    return stats.mean_measure("nll", -np.log(own).mean(axis=1), seed=seed, **fields)


def rescaling(output: Array, targets: Array) -> Rescaling:
    """Return the temperature that fits validation characters.

    It has no interval: the sandwich estimator assumes independent characters, and those of a window are correlated.

    Raises:
        NotApplicableError: no temperature is best.
    """
    logits = output[:, -targets.shape[1] :].reshape(-1, output.shape[2])
    return temperature_scaling(best_temperature(logits, targets.ravel(), "characters"), len(output))


def entropy_gap(outcomes: Outcomes) -> list[Measure]:
    """Return the bits per character of generated text minus those of the real text, under the model itself.

    Both continue the contexts of the same windows, in pairs. For a calibrated model the difference is 0 (Braverman et
    al. 2020); above 0 its generations are too random, below 0 too repetitive. The second row holds the bits per
    character of the generated text.
    """
    rows = in_digest_order(outcomes.ids)[:CONTINUED]
    targets = torch.from_numpy(outcomes.targets[rows])
    real = losses.bits(torch.from_numpy(outcomes.output[rows]), targets).mean(dim=1).numpy()
    own = continuations(outcomes, rows, targets.shape[1]).bits.mean(dim=1).numpy()
    fields: dict[str, Any] = {"seed": outcomes.seed, "unit": "bits", "higher_is_better": None}
    fields["params"] = {"characters": targets.shape[1]}
    return [
        stats.mean_measure("entropy_gap", own - real, **fields),
        stats.mean_measure("own_bits_per_character", own, **fields),
    ]
