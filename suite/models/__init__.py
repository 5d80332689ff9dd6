"""Models: what the harness can ask of them, how weights are loaded, how small ones are trained."""

from suite.models.base import TorchClassifier
from suite.models.recipe import Recipe

__all__ = ["Recipe", "TorchClassifier"]
