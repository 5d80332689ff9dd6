"""How large a miss of an attack its comparisons with other attacks see.

A miss is the share of the correctly predicted samples on which an attack fails although another one succeeds. It shows
on the audit samples, which the other attacks of the checks attack too. Of n of them, as many are missed as a binomial
distribution of n draws says, and a comparison fails once they are too many for the sign test.
"""

import math
from itertools import count

from scipy.stats import beta, binomtest

SIGNIFICANT = 0.01
"""Significance level of the tests on the audit set."""

POWER = 0.9
"""The probability with which a check sees the miss that is printed with a number."""


def is_significant(lost: int, won: int) -> bool:
    """Return whether losing some samples and winning others is a significant loss, by the exact one-sided sign test."""
    return lost > won and bool(binomtest(lost, lost + won, 0.5, alternative="greater").pvalue < SIGNIFICANT)


def fewest_losses(won: int = 0) -> int:
    """Return the smallest number of lost samples that is a significant loss; 7 if none is won."""
    return next(lost for lost in count(won + 1) if is_significant(lost, won))


def smallest_miss(n: int, won: int = 0) -> float | None:
    """Return the smallest miss that a comparison on n audit samples sees with probability `POWER`.

    It is the solution p of P(B(n - won, p) >= `fewest_losses`) = `POWER`, a quantile of a beta distribution, rounded
    up to tenths of a point; None if all samples together are too few.

    Args:
        n: number of audit samples, all of them predicted correctly.
        won: samples on which the attack succeeds and the other one fails.
    """
    needed, left = fewest_losses(won), n - won
    if left < needed:
        return None
    return math.ceil(1000 * float(beta.ppf(POWER, needed, left - needed + 1)) - 1e-9) / 1000
