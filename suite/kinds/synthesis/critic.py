"""Calibration of a GAN's critic: whether its probability that an image is real holds on held-out images.

This is only a diagnostic: the optimal critic of an optimal generator predicts one half for every image.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from suite.decorators import metric
from suite.errors import ModelError, NotApplicableError
from suite.kinds.base import Array, Outcomes
from suite.metrics.calibration.events import event_measures
from suite.metrics.catalogue import BoardColumn, Metric
from suite.metrics.stats.by_class import imagined_auroc
from suite.metrics.table import Measured, Table
from suite.types import Measure

RESULTS = ("proxy", "chance", "distinguishable_from_calibrated")
"""Params of the critic's rows that describe a result."""

CRITIC_ECE = Metric(
    "critic_ece",
    "ECE of the critic",
    "mean gap between the critic's probability that an image is real and the share of real images",
    higher_is_better=False,
    columns=(BoardColumn("critic ECE"),),
    descriptive=RESULTS,
)
CRITIC_AUROC = Metric(
    "critic_auroc",
    "AUROC of the critic",
    "probability that the critic's score of a real image is higher than that of a generated one; 50 % is chance",
    higher_is_better=None,
    descriptive=RESULTS,
)
CRITIC_ACCURACY = Metric(
    "critic_accuracy",
    "accuracy of the critic",
    "accuracy of the critic at telling real from generated images; 50 % is chance",
    higher_is_better=None,
    descriptive=RESULTS,
)
CRITIC = "critic"
"""The population of the test images and as many generated ones."""

FAKES, FITTED = 101, 102
"""Seeds of the generated images that the critic is evaluated on, and of those that its scores are calibrated on."""

FEWEST = 20
"""Fewest validation images that scores can be calibrated on."""

TINY, STEPS = 1e-3, 50
"""Ridge of the logistic fit, which diverges for separable scores without it, and its maximum number of steps."""


def critic_scores(outcomes: Outcomes) -> Measured:
    """Return the critic's score of each image, its log odds of being real, and whether it is real, (n,).

    The log odds are the score; where scores are not log odds, they are those of a logistic fit on validation images
    (Platt 1999).

    Raises:
        NotApplicableError: the critic returns no scores, or they cannot be calibrated.
    """
    model, data = outcomes.model, outcomes.data
    try:
        log_odds, method = _log_odds(model, data.validation)
        scores, real = _critic_scores(model, data.test.pixels(), FAKES)
    except ModelError as error:
        raise NotApplicableError(str(error)) from error
    columns = {"score": scores, "log_odds": log_odds(scores), "is_real": real}
    return Measured(columns, {"chance": method}, CRITIC)


@metric(
    kind="synthesis", axis="calibration", entries=[CRITIC_ECE, CRITIC_AUROC, CRITIC_ACCURACY], measure=critic_scores
)
def critic(table: Table) -> list[Measure]:
    """The calibration error, the AUROC and the accuracy of the critic, on test images and as many generated ones."""
    scores, logits, real = (table.of(CRITIC, name) for name in ("score", "log_odds", "is_real"))
    params: dict[str, Any] = {**table.params, "proxy": True, "chance": table.facts["chance"]}
    probability = 1 / (1 + np.exp(-logits.clip(-60, 60)))
    table = table.of_others()
    calibration = event_measures(probability, real, seed=table.seed, params=params, level=table.level)[0]
    area, added = imagined_auroc(scores, real)
    return [
        replace(calibration, metric=CRITIC_ECE.name),
        table.resampled(CRITIC_AUROC, area, len(scores), added=added, params=params),
        table.rate(CRITIC_ACCURACY, (logits > 0) == real, params=params),
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
