"""Quantiles of confidence levels."""

from suite.errors import MeasureError


def checked_level(level: float) -> float:
    """Return a confidence level unchanged; raise MeasureError unless it is in (0, 1)."""
    if not 0.0 < level < 1.0:
        raise MeasureError(f"level is {level}; expected a number strictly between 0 and 1, such as 0.95.")
    return level


def quantile_of_level(level: float) -> float:
    """Return the two-sided standard normal quantile of a confidence level, 1.96 for 0.95.

    Raises:
        MeasureError: `level` is outside (0, 1).
    """
    from scipy.special import ndtri

    return float(ndtri(0.5 + checked_level(level) / 2))


def t_quantile(level: float, freedom: int) -> float:
    """Return the two-sided quantile of Student's t distribution, 2.26 for 0.95 and 9 degrees of freedom.

    Raises:
        MeasureError: `level` is outside (0, 1).
    """
    from scipy.special import stdtrit

    return float(stdtrit(max(1, freedom), 0.5 + checked_level(level) / 2))
