"""Calibration of a GAN's critic: whether its probability that an image is real holds on held-out images.

This is only a diagnostic: the optimal critic of an optimal generator predicts one half for every image.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from suite.errors import ModelError
from suite.kinds.base import Array, Outcomes
from suite.metrics import stats
from suite.metrics.calibration.events import event_measures
from suite.metrics.stats import resampled
from suite.types import Measure, not_applicable

FAKES, FITTED = 101, 102
"""Seeds of the generated images that the critic is evaluated on, and of those that its scores are calibrated on."""

FEWEST = 20
"""Fewest validation images that scores can be calibrated on."""

TINY, STEPS = 1e-3, 50
"""Ridge of the logistic fit, which diverges for separable scores without it, and its maximum number of steps."""


def critic_measures(outcomes: Outcomes) -> list[Measure]:
    """Return the calibration error, the AUROC and the accuracy of the critic.

    The probability of being real is the logistic function of the score; where scores are not log odds, that of a
    logistic fit on validation images (Platt 1999).

    Returns:
        critic_ece, critic_auroc and critic_accuracy, on the test images and as many generated ones.
    """
    model, data = outcomes.model, outcomes.data
    try:
        log_odds, method = _log_odds(model, data.validation)
        scores, real = _critic_scores(model, data.test.pixels(), FAKES)
    except ModelError as error:
        names = ("critic_ece", "critic_auroc", "critic_accuracy")
        return [not_applicable(name, str(error), proxy=True) for name in names]
    params: dict[str, Any] = {"proxy": True, "chance": method}
    logits = log_odds(scores)
    probability = 1 / (1 + np.exp(-logits.clip(-60, 60)))
    calibration = event_measures(probability, real, seed=outcomes.seed, params=params)[0]
    fields: dict[str, Any] = {"seed": outcomes.seed, "params": params, "higher_is_better": None}
    return [
        replace(calibration, metric="critic_ece"),
        resampled("critic_auroc", stats.auroc(scores, real), len(scores), **fields),
        stats.rate("critic_accuracy", (logits > 0) == real, params=params, higher_is_better=None),
    ]


def platt(scores: Array, real: Array) -> tuple[float, float]:
    """Return slope and intercept of the log odds of being real, by Newton's method with a small ridge.

    Args:
        scores: (n,), standardized or nearly so.
        real: which scores are of real images, bool (n,).
    """
    points = np.stack([scores, np.ones(len(scores))], axis=1)
    weights = np.zeros(2)
    for _ in range(STEPS):
        probability = 1 / (1 + np.exp(-(points @ weights).clip(-60, 60)))
        gradient = points.T @ (probability - real) + TINY * weights
        hessian = (points * (probability * (1 - probability))[:, None]).T @ points + TINY * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        weights = weights - step * min(1.0, 5.0 / max(1e-12, float(np.abs(step).max())))
        if np.abs(step).max() < 1e-10:
            break
    return float(weights[0]), float(weights[1])


def _log_odds(model: Any, validation: Any) -> tuple[Callable[[Array], Array], str]:
    """Return the function from scores to log odds, and its description."""
    if model.scores_are_odds:
        return (lambda scores: scores), "logistic function of the score"
    if len(validation) < FEWEST:
        raise ModelError(f"{len(validation)} validation images are too few to fit the scale of the critic's scores on")
    scores, real = _critic_scores(model, validation.pixels(), FITTED)
    mean, deviation = scores.mean(), max(scores.std(), 1e-12)
    slope, offset = platt((scores - mean) / deviation, real)
    return (lambda scores: slope * (scores - mean) / deviation + offset), "logistic fit on validation images"


def _critic_scores(model: Any, pixels: Array, seed: int) -> tuple[Array, Array]:
    """Return the scores of real images and of as many generated ones, and which of them are real."""
    images = torch.from_numpy(pixels).to(model.device)
    with torch.no_grad():
        scores = torch.cat([model.critic_scores(images), model.critic_scores(model.sample(len(images), seed))])
    real = np.arange(len(scores)) < len(images)
    return scores.double().cpu().numpy(), real
