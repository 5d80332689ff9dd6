"""Constraints: which perturbations are allowed, and how an attack moves among them. Each module declares its norms."""

import importlib
import pkgutil

from suite.attacks.constraints.base import Constraint
from suite.attacks.constraints.norms import Norm, ball_norms, constraint, norm_of, register_norm

__all__ = ["Constraint", "Norm", "ball_norms", "constraint", "norm_of", "register_norm"]

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
