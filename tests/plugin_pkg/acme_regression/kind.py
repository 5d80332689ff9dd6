"""Regression: one number per sample, predicted as a normal distribution."""

from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
import torch

from acme_regression.metrics import RMSE, root_mean
from acme_regression.models import TorchRegressor
from suite.errors import DataError, ModelError, NotApplicableError
from suite.kinds.base import Kind, NotApplicable, Outcome, Rationale, Rescaling, ValidatedSample
from suite.kinds.defaults import Graded, KindDefaults, find_loss
from suite.metrics.table import Measured
from suite.types import VECTOR, Display

NAMES = ("age", "sex", "bmi", "pressure", "s1", "s2", "s3", "s4", "s5", "s6")
"""Names of the features of the diabetes data; other vectors have numbered features."""


def squared_error(output, targets):
    """Return the squared error of the predicted means, (n,)."""
    return (output[:, 0].double() - targets) ** 2


LOSSES = MappingProxyType({"squared_error": squared_error, "margin": squared_error, "ce": squared_error})
"""Attack losses by name; the default losses of attacks stand for the squared error."""


@dataclass(frozen=True)
class Regression(Graded, KindDefaults):
    """One number per sample; the output is the mean and the log standard deviation of a normal distribution, (n, 2).

    Damage is 1 - 2^-(absolute error / spread): one half at an error of one standard deviation of the training targets.

    Attributes:
        spread: standard deviation of the training targets; 1 until the kind is fitted.
    """

    spread: float = 1.0

    adapter = TorchRegressor
    headline = RMSE
    outcome = Outcome("graded", "2^-(absolute error / spread of the targets)")
    ranking_loss = "squared_error"
    method = "normal"
    no_ensemble_reason = "a mixture of several normal distributions is not normal"
    truth = "number"

    def kind(self):
        """Return the kind."""
        return Kind(
            "regression",
            VECTOR,
            samples=self,
            models=self,
            scoring=self,
            showing=self,
            fitting=self,
            training=self,
            attacks=self,
            probabilities=self,
            maps=NotApplicable("the input is a vector; its features are explained by the axis rationale"),
            features=self,
            presets=MappingProxyType(
                {
                    "clean": ("clean",),
                    "robustness": (
                        "robustness(attack=fgsm(eps=[0.1, 0.25, 0.5], loss=squared_error))",
                        "robustness(attack=pgd(eps=[0.1, 0.25, 0.5], steps=20, restarts=1, loss=squared_error))",
                        "robustness(attack=pgd(eps=[0.25, 0.5], norm=l2, steps=20, restarts=1, loss=squared_error))",
                    ),
                    "calibration": ("calibration(members=1)",),
                    "attribution": ("rationale(fractions=[0.1, 0.2, 0.5])",),
                }
            ),
        )

    # samples

    def validate_sample(self, sample, classes):
        """Return the features, float32 (d,), and the target as a number."""
        vector = np.asarray(sample.input, dtype=np.float32)
        if vector.ndim != 1 or not np.isfinite(vector).all():
            raise DataError(f"features of shape {vector.shape}; expected one finite number per feature")
        if not np.isfinite(float(sample.target)):
            raise DataError(f"the target {sample.target!r}; expected a finite number")
        return ValidatedSample(vector, float(sample.target))

    def class_names(self, targets):
        """Return nothing: there are no classes."""
        return ()

    def stack(self, targets, classes):
        """Return the targets as float64, (n,)."""
        return np.array(targets, dtype=np.float64)

    # models

    def check_output(self, output, classes):
        """Raise ModelError unless there are two numbers per sample."""
        if output.ndim != 2 or output.shape[1] != 2:
            raise ModelError(f"The model returns {tuple(output.shape)}; expected mean and log deviation, (n, 2).")

    def fit_to_model(self, validation, data=None):
        """Return the kind with the spread of the training targets."""
        return self if data is None else replace(self, spread=float(data.train.targets.std()))

    def training_loss(self, model, pixels, targets):
        """Return the negative log-likelihood per sample up to a constant, and the output."""
        output = model(pixels)
        mean, log_deviation = output.T
        return log_deviation + ((targets - mean) / log_deviation.exp()) ** 2 / 2, output

    # attacks

    def attack_loss(self, output, targets, *, name, target_classes=None):
        """Return the squared error, (n,)."""
        return find_loss(LOSSES, "regression", name, target_classes)(output, targets)

    def damage(self, output, targets):
        """Return 1 - 2^-(absolute error / spread), (n,)."""
        error = squared_error(output, targets).sqrt()
        return 1 - torch.exp2(-error / self.spread)

    # scores

    def tally(self, output, targets):
        """Return the squared errors, (n,)."""
        return (output[:, 0].astype(np.float64) - targets) ** 2

    def statistic(self, tally):
        """Return the root mean squared error."""
        return root_mean(tally)

    def measured(self, outcomes):
        """Return target, prediction and squared error of each sample."""
        tally = self.tally(outcomes.output, outcomes.targets)
        mean, log_deviation = outcomes.output.astype(np.float64).T
        columns = {"target": outcomes.targets, "mean": mean, "deviation": np.exp(log_deviation), "squared_error": tally}
        return Measured(columns, {"spread": self.spread})

    def output_arrays(self, output):
        """Return the predicted means."""
        return {"prediction": Display(output[:, 0].astype(np.float64), "number", "prediction")}

    # uncertainty

    def probabilities(self, output):
        """Return mean and standard deviation, (n, 2), in float64."""
        wide = output.astype(np.float64)
        return np.stack([wide[:, 0], np.exp(wide[:, 1])], axis=1)

    def rescaling(self, output, targets):
        """Return the factor of the standard deviations that fits validation samples best."""
        mean, deviation = self.probabilities(output).T
        if len(targets) < 2:
            raise NotApplicableError("one validation sample is too few to fit a scale to")
        factor = float(np.sqrt(np.mean(((targets - mean) / deviation) ** 2)))
        shift = np.array([0.0, np.log(factor)])
        return Rescaling(lambda raw: raw.astype(np.float64) + shift, factor, len(targets))

    # attribution

    def explained(self, model, inputs, outputs):
        """Explain the predicted mean by the features; a deleted one gets its mean, 0.

        The score is 2^-(distance from the clean prediction / spread).
        """
        clean = outputs[:, 0].detach()

        def target(points, rows):
            return model(points[..., 0])[:, 0] / self.spread

        def score(kept, rows):
            moved = model(torch.where(kept, inputs[rows], 0.0))[:, 0]
            return torch.exp2(-(moved - clean[rows]).double().abs() / self.spread)

        point = inputs.detach()[..., None]
        count = inputs.shape[1]
        names = NAMES if count == len(NAMES) else [f"x{index}" for index in range(count)]
        present = torch.ones_like(inputs, dtype=torch.bool)
        blank, deletion = torch.zeros_like(point), "set to the mean of the training samples, 0"
        return Rationale(present, point, blank, target, score, [list(names)] * len(inputs), deletion)
