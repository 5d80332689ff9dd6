"""Models: the interface that the harness uses, loading of weights, small networks and their training."""

from suite.models.base import TorchClassifier
from suite.models.recipe import Recipe

__all__ = ["Recipe", "TorchClassifier"]
