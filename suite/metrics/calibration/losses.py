"""The highest loss to reckon with, which the upper end of the interval of a mean loss depends on."""

import numpy as np

from suite.metrics.calibration.inputs import FloatArray


def highest_loss(confidence: FloatArray, losses: FloatArray) -> float:
    """Return the highest loss in nats that a sample that was not seen is taken to have.

    It is the highest loss seen, or that of an error at the median confidence c, -log(1 - c), if it is higher. The
    highest conceivable loss, that of the least probable class of all samples, would make the interval of a good model
    three times as wide without covering better.

    Args:
        confidence: (n,) largest probabilities, in [0, 1]; n may be 0.
        losses: (n,) losses of the samples, >= 0.
    """
    if not losses.size:
        return 0.0
    of_error = -np.log(max(1.0 - float(np.median(confidence)), np.finfo(np.float64).eps))
    return max(float(losses.max()), float(of_error))
