"""Calibration of language models: one distribution per character. Windows are resampled, since characters of a window
are correlated.
"""

from typing import Any

import numpy as np

from suite.data.digests import in_digest_order
from suite.decorators import metric
from suite.errors import DataError
from suite.kinds.base import Array, Outcomes, Prediction, Rescaling
from suite.kinds.classification.calibration import best_temperature, temperature_scaling
from suite.kinds.language.generated_text import CONTINUED, continuations
from suite.metrics.calibration import BINNING, Diagram, Reliability, ece_of_calibrated
from suite.metrics.calibration.bins import bin_index
from suite.metrics.calibration.events import uncertainty_columns
from suite.metrics.calibration.summary import BRIER, NLL
from suite.metrics.catalogue import BoardColumn, Metric
from suite.metrics.stats import Statistic, drawn
from suite.metrics.stats.bootstrap import tails
from suite.metrics.table import Measured, Table
from suite.types import Measure

TOKEN_ECE = Metric(
    "token_ece",
    "ECE of characters",
    "mean gap between the probability of the most probable next character and how often it is right",
    higher_is_better=False,
    columns=uncertainty_columns("token ECE", "softmax"),
    descriptive=("distinguishable_from_calibrated",),
)
TOKEN_ECE_NOISE_FLOOR = Metric(
    "token_ece_noise_floor",
    "noise floor of the ECE of characters",
    "the ECE of characters that a perfectly calibrated model would have by chance, with this number of characters",
    higher_is_better=None,
)
FULL_ECE = Metric(
    "full_ece",
    "ECE of all classes",
    "gap between the probabilities of all characters and how often they come next, summed over bins",
    higher_is_better=False,
    columns=uncertainty_columns("full ECE", "softmax"),
)
ENTROPY_GAP = Metric(
    "entropy_gap",
    "entropy gap",
    "bits per character of generated text minus those of real text: above 0 it is too random, below 0 too repetitive",
    unit="bits",
    higher_is_better=None,
    columns=(BoardColumn("entropy gap"),),
)
OWN_BITS_PER_CHARACTER = Metric(
    "own_bits_per_character",
    "bits per character of generated text",
    "mean surprisal of the characters of generated text under the model that generated it",
    unit="bits",
    higher_is_better=None,
)

DRAWS = 200
"""Simulated calibrated models."""


def character_events(prediction: Prediction) -> Measured:
    """Return what calibration needs of the distributions of each window's scored characters.

    Returns:
        ``confidence`` and ``correct`` of the most probable character, (n, scored); ``gaps``, see `gaps`, of all
        classes, (n, bins); the mean ``nll`` and ``brier`` per character, (n,); and ``impossible``, the number of
        characters of probability 0, (n,).

    Raises:
        DataError: the probabilities of a character are no distribution.
    """
    targets = prediction.targets
    probabilities = distributions(prediction.predicted, targets)
    confidence, correct = probabilities.max(axis=2).clip(0, 1), probabilities.argmax(axis=2) == targets
    own = np.take_along_axis(probabilities, targets[..., None], axis=2)[..., 0]
    truth = np.zeros(probabilities.shape)
    np.put_along_axis(truth, targets[..., None], 1.0, axis=2)
    with np.errstate(divide="ignore"):
        nll = -np.log(own).mean(axis=1)
    columns = {
        "confidence": confidence,
        "correct": correct,
        "gaps": gaps(probabilities, truth, prediction.bins),
        NLL.name: nll,
        BRIER.name: ((probabilities - truth) ** 2).sum(axis=2).mean(axis=1),
        "impossible": (own == 0).sum(axis=1),
    }
    events = confidence.ravel(), correct.ravel().astype(np.float64)
    reliability = Reliability.from_events(*events, prediction.bins)
    return Measured(columns, sums={"reliability": Diagram(reliability, "characters")})


@metric(
    kind="language",
    axis="calibration",
    per_method=True,
    entries=[TOKEN_ECE, TOKEN_ECE_NOISE_FLOOR, FULL_ECE, NLL, BRIER],
    measure=character_events,
)
def language_calibration(table: Table) -> list[Measure]:
    """Calibration errors and proper scores of the distributions of scored characters.

    ``token_ece`` is the error of the most probable character. ``full_ece`` is that of the whole distribution (Liu et
    al. 2024): the probabilities of all classes are events in one set of bins, and each bin is weighted by its number of
    events over that of the characters, so that it lies in [0, 2].
    """
    confidence, correct, bins = table["confidence"], table["correct"], int(table.facts["bins"])
    scored = correct.shape[1]
    params = {"bins": bins, "binning": BINNING, "characters": correct.size}
    floor = _noise_floor(table, confidence.ravel(), params)
    ece = error(gaps(confidence, correct, bins), scored)
    distinguishable = floor.hi is not None and bool(ece(None)[0] > floor.hi)
    token_params = {**params, "distinguishable_from_calibrated": distinguishable}
    full_params = {**params, "norm": "bins weighted by events over characters"}
    full = error(table["gaps"], scored)
    return [
        table.resampled(TOKEN_ECE, ece, params=token_params, recentred=True),
        floor,
        table.resampled(FULL_ECE, full, params=full_params, recentred=True, ceiling=2.0),
        _nll(table),
        table.mean(BRIER, table[BRIER.name]),
    ]


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


def _noise_floor(table: Table, confidence: Array, params: dict[str, Any]) -> Measure:
    """Return the error of a perfectly calibrated model with the same confidence, due to the number of characters alone.

    Given the preceding text, the predictions of such a model are correct independently from character to character.
    """
    errors = ece_of_calibrated(confidence, seed=table.seed, bins=int(params["bins"]), draws=DRAWS)
    ends = [round(tail, 12) for tail in tails(table.level)]  # 0.5 - 0.95 / 2 is not exactly 0.025
    lo, hi = map(float, np.quantile(errors, ends))
    fields = table.fields(TOKEN_ECE_NOISE_FLOOR, params=params)
    method, name = f"simulation-of-calibrated({DRAWS})", TOKEN_ECE_NOISE_FLOOR.name
    return Measure(name, float(errors.mean()), lo, hi, confidence.size, method, table.level, **fields)


def _nll(table: Table) -> Measure:
    """Return the mean negative log-likelihood per character."""
    if impossible := int(table["impossible"].sum()):
        why = f"{impossible} characters of the text have probability 0, so that the mean is infinite"
        return table.undefined(NLL, why, n=len(table))
    return table.mean(NLL, table[NLL.name])


def rescaling(output: Array, targets: Array) -> Rescaling:
    """Return the temperature that fits validation characters.

    It has no interval: the sandwich estimator assumes independent characters, and those of a window are correlated.

    Raises:
        NotApplicableError: no temperature is best.
    """
    logits = output[:, -targets.shape[1] :].reshape(-1, output.shape[2])
    return temperature_scaling(best_temperature(logits, targets.ravel(), "characters"), len(output))


def continued(outcomes: Outcomes) -> Measured:
    """Return the bits per character of the model's own continuations of some windows, (n,); NaN for the other ones."""
    rows = in_digest_order(outcomes.ids)[:CONTINUED]
    own = np.full(len(outcomes.ids), np.nan)
    own[rows] = continuations(outcomes, rows, outcomes.targets.shape[1]).bits.mean(dim=1).numpy()
    return Measured({"own_bits": own})


@metric(kind="language", axis="calibration", entries=[ENTROPY_GAP, OWN_BITS_PER_CHARACTER], measure=continued)
def entropy_gap(table: Table) -> list[Measure]:
    """Bits per character of generated text minus those of the real text, under the model itself.

    Both continue the contexts of the same windows, in pairs. For a calibrated model the difference is 0 (Braverman et
    al. 2020); above 0 its generations are too random, below 0 too repetitive. The second row holds the bits per
    character of the generated text.
    """
    own = table["own_bits"]
    rows = [row for row in in_digest_order(table["id"]) if not np.isnan(own[row])]
    if not rows:
        reason = "the model continued none of these windows"
        return [table.undefined(one, reason) for one in (ENTROPY_GAP, OWN_BITS_PER_CHARACTER)]
    real = table["bits"] / table["characters"]
    params = {"characters": table.facts["scored"]}
    return [
        table.mean(ENTROPY_GAP, own[rows] - real[rows], rows=rows, params=params),
        table.mean(OWN_BITS_PER_CHARACTER, own[rows], rows=rows, params=params),
    ]
