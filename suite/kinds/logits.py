"""Outputs that are not logits: a module that ends in a softmax or a sigmoid changes numbers without an error."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from suite.kinds.base import Array, Logits
from suite.types import Measure

CHECK = "outputs_are_logits"
"""The name of the check."""

NOT_LOGITS = "not_logits"
"""The fact that says why the outputs do not look like logits; there is none if they do."""

SAMPLES = 64
"""Samples whose outputs are looked at, the first in digest order."""

FEWEST = 8
"""Fewest predictions from which a sigmoid is concluded."""

SPAN = 0.5
"""Smallest range of outputs from which a sigmoid is concluded: logits of untrained networks may all lie in [0, 1]."""

SLACK = 5e-3
"""Rounding of a sum of probabilities of half precision, relative to the sum."""

TOTALS = (1, 100)
"""Sums of probabilities and of percentages; scores that count words may have another constant sum."""

CONSTANT = 1e-5
"""Range of outputs below which they are constant and say nothing of their scale."""


@dataclass(frozen=True)
class Scale:
    """The range of some predictions.

    Attributes:
        low, high: smallest and largest output of each class, (classes,).
        least, most: smallest and largest sum over the classes.
        count: number of predictions.
    """

    low: Array
    high: Array
    least: float
    most: float
    count: int

    @classmethod
    def of(cls, logits: Array) -> Scale:
        """Return the range of predictions (m, classes), at least one."""
        sums = logits.sum(axis=1, dtype=np.float64)
        return cls(logits.min(axis=0), logits.max(axis=0), float(sums.min()), float(sums.max()), len(logits))

    def __add__(self, other: Scale) -> Scale:
        """Return the range of all predictions of both."""
        low, high = np.minimum(self.low, other.low), np.maximum(self.high, other.high)
        return Scale(low, high, min(self.least, other.least), max(self.most, other.most), self.count + other.count)

    @property
    def is_possible(self) -> bool:
        """Whether the outputs may be probabilities or shares, which are not negative."""
        return bool(self.low.min() >= 0) and (bool(self.high.max() <= 1 + SLACK) or self._adds_up)

    @property
    def are_probabilities(self) -> bool:
        """Whether the outputs are probabilities or percentages, and not constant."""
        return self.is_possible and self._adds_up and not self._is_constant

    @property
    def _adds_up(self) -> bool:
        """Whether the outputs of every prediction add up to 1, or to 100 as percentages do."""
        is_total = [max(abs(self.least / total - 1), abs(self.most / total - 1)) <= SLACK for total in TOTALS]
        return len(self.low) > 1 and any(is_total)

    @property
    def _range(self) -> float:
        return float(self.high.max() - self.low.min())

    @property
    def _is_constant(self) -> bool:
        return float((self.high - self.low).max()) <= CONSTANT

    def why_not_logits(self) -> str | None:
        """Return why these are no logits; None if they may be, or are constant."""
        if not self.is_possible or self._is_constant:
            return None
        if self.are_probabilities:
            total = f"{(self.least + self.most) / 2:.3g}"
            return (
                f"the outputs are probabilities, not logits: none is negative, and those of every prediction add up to "
                f"{total}. Return the logits before the softmax, or torch.log of the probabilities"
            )
        if self.count >= FEWEST and self._range >= SPAN:
            return (
                f"the outputs look like those of a sigmoid, not like logits: all of {self.count} predictions lie in "
                "[0, 1]. Return the values before the sigmoid, or torch.logit of the outputs"
            )
        return None


def why_not_logits(logits: Logits | None, outputs: Iterable[Array]) -> str | None:
    """Return why outputs do not look like logits; None if they do, or need not be logits.

    Args:
        logits: how the outputs of the kind are logits.
        outputs: batches of outputs (n, ...); no further ones are asked for once they cannot be probabilities.
    """
    scale: Scale | None = None
    for output in outputs if logits is not None else ():
        if len(output) and logits is not None:
            own = Scale.of(logits.of(output))
            scale = own if scale is None else scale + own
            if not scale.is_possible:
                return None
    return None if scale is None else scale.why_not_logits()


def checked_scale(measures: Sequence[Measure], facts: Mapping[str, Any], logits: Logits | None) -> list[Measure]:
    """Return measures, all but `Logits.unaffected` ones with a failed check if the outputs are no logits."""
    reason, unaffected = facts.get(NOT_LOGITS), () if logits is None else logits.unaffected
    if reason is None:
        return list(measures)
    return [one if one.value is None or one.metric in unaffected else _failed(one, reason) for one in measures]


def checked_headline(measures: Sequence[Measure], facts: Mapping[str, Any], logits: Logits | None) -> list[Measure]:
    """Return the same for measures of the headline metric's kind: accuracies are right whatever the scale."""
    depends = logits is not None and logits.in_headline
    return checked_scale(measures, facts, logits) if depends else list(measures)


def checked_explanations(measures: Sequence[Measure], facts: Mapping[str, Any], logits: Logits | None) -> list[Measure]:
    """Return the same for measures of explanations."""
    depends = logits is not None and logits.in_explanations
    return checked_scale(measures, facts, logits) if depends else list(measures)


def _failed(measure: Measure, reason: str) -> Measure:
    reasons = "; ".join(filter(None, (measure.reason, reason)))
    return replace(measure, checks={**measure.checks, CHECK: "fail"}, reason=reasons)
