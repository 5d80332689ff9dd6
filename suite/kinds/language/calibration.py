"""Calibration of language models: a distribution per character, resampled by windows, whose characters go together."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from suite.data.digests import in_digest_order
from suite.errors import DataError, NotApplicableError
from suite.kinds.base import Array, Calibrated, Outcomes, Rescaling
from suite.kinds.classification.calibration import by_temperature
from suite.kinds.language import losses
from suite.kinds.language.generated_text import CONTINUED, continuations
from suite.metrics import stats
from suite.metrics.calibration import BINNING, Reliability, ece_of_calibrated, fit_temperature
from suite.metrics.calibration.bins import bin_index
from suite.metrics.stats import Statistic, drawn, resampled
from suite.types import Measure

DRAWS = 200
"""Simulated calibrated models."""


def calibrated(predicted: Array, targets: Array, *, seed: int, params: Mapping[str, Any], bins: int) -> Calibrated:
    """Return the calibration of distributions (n, positions, classes), of which the last ones are of scored characters.

    ``token_ece`` is the error of the first choice. ``full_ece`` is that of the whole distribution (Liu et al. 2024):
    the probabilities of all classes are events in one set of bins, and their gaps are weighted by their number over
    that of the characters, so that it lies in [0, 2].

    Raises:
        DataError: a distribution is none.
    """
    chances = distributions(predicted, targets)
    count, scored = targets.shape
    confidence, correct = chances.max(axis=2).clip(0, 1), chances.argmax(axis=2) == targets
    own = np.take_along_axis(chances, targets[..., None], axis=2)[..., 0]
    truth = np.zeros(chances.shape)
    np.put_along_axis(truth, targets[..., None], 1.0, axis=2)
    told = {**params, "bins": bins, "binning": BINNING, "characters": count * scored}
    flat = (confidence.ravel(), correct.ravel().astype(np.float64))
    floor = _noise_floor(flat[0], seed, told)
    ece = error(gaps(confidence, correct, bins), scored)
    apart = floor.hi is not None and bool(ece(None)[0] > floor.hi)
    binned: dict[str, Any] = {"seed": seed, "higher_is_better": False, "recentred": True}
    measures = [
        resampled("token_ece", ece, count, params={**told, "distinguishable_from_calibrated": apart}, **binned),
        floor,
        resampled(
            "full_ece", error(gaps(chances, truth, bins), scored), count,
            params={**told, "norm": "bins weighted by events over characters"}, ceiling=2.0, **binned,
        ),
        _nll(own, seed, params),
        stats.mean_measure(
            "brier", ((chances - truth) ** 2).sum(axis=2).mean(axis=1), seed=seed,
            unit="squared error", higher_is_better=False, params=dict(params),
        ),
    ]  # fmt: skip
    columns = {"confidence": confidence.mean(axis=1), "right_characters": correct.mean(axis=1)}
    return Calibrated(measures, columns, Reliability.from_events(*flat, bins).diagram())


def distributions(predicted: Array, targets: Array) -> Array:
    """Return the distributions of the scored characters, (n, scored, classes).

    Raises:
        DataError: values that are not finite or outside [0, 1], or a sum that is not 1.
    """
    chances = np.asarray(predicted, np.float64)[:, -targets.shape[1] :]
    if not np.isfinite(chances).all() or (chances < 0).any() or (chances > 1 + 1e-9).any():
        raise DataError("some probabilities are not finite or outside [0, 1]; expected a softmax over the alphabet.")
    if (gap := float(np.abs(chances.sum(axis=2) - 1).max(initial=0))) > 1e-3:
        raise DataError(f"probabilities of a character sum up to 1 but for {gap:.3g}; expected a softmax.")
    return chances.clip(0, 1)


def gaps(chances: Array, truth: Array, bins: int) -> Array:
    """Return by window and bin the sum of chance less truth of events (n, ...), (n, bins)."""
    count = len(chances)
    keys = bin_index(chances, bins) + bins * np.arange(count).reshape(-1, *(1,) * (chances.ndim - 1))
    sums = np.bincount(keys.ravel(), (chances - truth).ravel(), count * bins)
    return np.asarray(sums.reshape(count, bins))


def error(sums: Array, scored: int) -> Statistic:
    """Return the sum over bins of the gap of resampled windows, per character."""

    def value(counts: Array | None) -> Array:
        weights = drawn(counts, len(sums))
        return np.asarray(np.abs(weights @ sums).sum(axis=1) / (weights.sum(axis=1) * scored))

    return value


def _noise_floor(confidence: Array, seed: int, params: Mapping[str, Any]) -> Measure:
    """Return what the finite number of characters alone makes of the error: that of a calibrated model as confident.

    Given what stands before, whether such a model's choices come true is independent from character to character.
    """
    drawn = ece_of_calibrated(confidence, seed=seed, bins=int(params["bins"]), draws=DRAWS)
    lo, hi = np.quantile(drawn, [0.025, 0.975])
    method = f"simulation-of-calibrated({DRAWS})"
    fields: dict[str, Any] = {"higher_is_better": None, "params": dict(params)}
    return Measure(
        "token_ece_noise_floor", float(drawn.mean()), float(lo), float(hi), confidence.size, method, **fields
    )


def _nll(own: Array, seed: int, params: Mapping[str, Any]) -> Measure:
    """Return the mean negative log-likelihood per character."""
    if impossible := int((own == 0).sum()):
        why = f"{impossible} characters came to which the model gave the probability 0, so that the mean is infinite"
        fields: dict[str, Any] = {"unit": "nat", "higher_is_better": False, "params": dict(params)}
        return Measure("nll", None, None, None, len(own), "none", reason=why, **fields)
    spent = -np.log(own).mean(axis=1)
    return stats.mean_measure("nll", spent, seed=seed, unit="nat", higher_is_better=False, params=dict(params))


def rescaling(output: Array, targets: Array) -> Rescaling:
    """Return the temperature that fits validation characters.

    Its interval is left out: the characters of a window go together, and the sandwich formula takes them for
    independent.

    Raises:
        NotApplicableError: no temperature is best.
    """
    scored = targets.shape[1]
    fit = fit_temperature(output[:, -scored:].reshape(-1, output.shape[2]), targets.ravel())
    if not fit.converged:
        raise NotApplicableError(f"no temperature is best on {targets.size} validation characters: {fit.reason}")
    return by_temperature(fit.value, None, None, len(output))


def entropy_gap(outcomes: Outcomes) -> list[Measure]:
    """Return how much more surprising the model finds what it makes up than how the text goes on, in bits a character.

    Both are behind the contexts of the same windows, pairwise. A model that knows how unsure it should be makes up text
    as surprising as the real one, 0 (Braverman et al. 2020); above, its texts run wild, and below, they are too tame.
    The second row is how surprising it finds its own.
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
