"""Benchmarks of deep networks: accuracy, robustness, calibration and attribution faithfulness, with evidence.

Names are imported when they are first used, so that ``import suite`` is fast.
"""

import importlib
from typing import TYPE_CHECKING, Any

from suite.rounding import fix_rounding

if TYPE_CHECKING:
    from suite.api import Audit as Audit
    from suite.api import audit as audit
    from suite.api import load as load
    from suite.data.loading import TaskInfo as TaskInfo
    from suite.data.splitting import stratified as stratified
    from suite.decorators import attack as attack
    from suite.decorators import attribution as attribution
    from suite.decorators import metric as metric
    from suite.decorators import model as model
    from suite.decorators import task as task
    from suite.models.adapters.detector import TorchDetector as TorchDetector
    from suite.models.adapters.text import Token as Token
    from suite.models.adapters.text import TorchText as TorchText
    from suite.models.adapters.tokens import Words as Words
    from suite.models.base import TorchClassifier as TorchClassifier
    from suite.models.base import TorchSegmenter as TorchSegmenter
    from suite.models.recipe import Recipe as Recipe
    from suite.runner.harness import Harness as Harness
    from suite.runner.harness import plan as plan
    from suite.runner.settings import Settings as Settings
    from suite.store import Store as Store
    from suite.types import Measure as Measure
    from suite.types import Rejected as Rejected
    from suite.types import Sample as Sample

fix_rounding()

_HOMES = {
    "suite.api": ("Audit", "audit", "load"),
    "suite.data.loading": ("TaskInfo",),
    "suite.data.splitting": ("stratified",),
    "suite.decorators": ("attack", "attribution", "metric", "model", "task"),
    "suite.runner.harness": ("Harness", "plan"),
    "suite.runner.settings": ("Settings",),
    "suite.models.base": ("TorchClassifier", "TorchSegmenter"),
    "suite.models.adapters.detector": ("TorchDetector",),
    "suite.models.recipe": ("Recipe",),
    "suite.models.adapters.text": ("Token", "TorchText"),
    "suite.models.adapters.tokens": ("Words",),
    "suite.store": ("Store",),
    "suite.types": ("Measure", "Rejected", "Sample"),
}

__all__ = [  # the order of _HOMES
    "Audit",
    "Harness",
    "Measure",
    "Recipe",
    "Rejected",
    "Sample",
    "Settings",
    "Store",
    "TaskInfo",
    "Token",
    "TorchClassifier",
    "TorchDetector",
    "TorchSegmenter",
    "TorchText",
    "Words",
    "attack",
    "attribution",
    "audit",
    "load",
    "metric",
    "model",
    "plan",
    "stratified",
    "task",
]


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(module), name)
    raise AttributeError(f"module 'suite' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
