"""Models that predict a normal distribution from a vector of features."""

import torch
from torch import Tensor, nn

from suite.errors import ModelError
from suite.models.base import TorchModel, form_of
from suite.types import VECTOR

CENTER, SCALE = 150.0, 80.0
"""Rough center and spread of targets, so that networks start from reasonable predictions."""


class Gaussian(nn.Module):
    """Mean and log standard deviation of the target, (n, 2), from features (n, d).

    Args:
        features: number of features.
        hidden: width of a hidden layer; 0 for a linear mean and one standard deviation for all samples.
        dropout: rate of dropout in the hidden layer.
    """

    def __init__(self, features: int, *, hidden: int = 0, dropout: float = 0.0) -> None:
        super().__init__()
        body = [nn.Linear(features, hidden), nn.ReLU(), nn.Dropout(dropout)] if hidden else []
        self.mean = nn.Sequential(*body, nn.Linear(hidden or features, 1))
        self.spread = nn.Sequential(nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, 1)) if hidden else None
        self.log_deviation = nn.Parameter(torch.zeros(1))

    def forward(self, features: Tensor) -> Tensor:
        """Return mean and log standard deviation, (n, 2), in units of the target."""
        mean = self.mean(features)[:, 0]
        spread = self.log_deviation.expand(len(features))
        if self.spread is not None:
            spread = spread + self.spread(features)[:, 0].clamp(-3, 3)
        return torch.stack([CENTER + SCALE * mean, spread + float(torch.tensor(SCALE).log())], dim=1)


class TorchRegressor(TorchModel):
    """A regressor of standardized features: its module returns mean and log standard deviation, (n, 2)."""

    input = VECTOR
    output_name, input_name = "predictions", "samples"
    limits = (-8.0, 8.0)

    def shaped(self, output, pixels):
        """Return mean and log standard deviation, (n, 2), unchanged."""
        if not isinstance(output, Tensor) or tuple(output.shape) != (len(pixels), 2):
            raise ModelError(
                f"The model returned {form_of(output)} for {len(pixels)} samples; expected the mean and the log "
                f"standard deviation of each, {(len(pixels), 2)}."
            )
        return output
