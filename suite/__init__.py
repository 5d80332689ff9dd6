"""Benchmarks of deep networks: accuracy, robustness, calibration and attribution faithfulness, with evidence.

Names are imported when they are first used, so that ``import suite`` is fast.
"""

import importlib
from typing import TYPE_CHECKING, Any

from suite.rounding import fix_rounding

if TYPE_CHECKING:
    from suite.api import Audit, audit, load
    from suite.axes.derived import summarise_record
    from suite.data.report import TaskInfo
    from suite.data.splitting import stratified
    from suite.decorators import attack, attribution, kind, metric, model, page, task, uncertainty
    from suite.metrics.catalogue import BoardColumn, Metric
    from suite.metrics.table import Measured, Table
    from suite.models.adapters.detector import TorchDetector
    from suite.models.adapters.text import Token, TorchText
    from suite.models.adapters.tokens import Words
    from suite.models.base import TorchClassifier, TorchSegmenter
    from suite.models.recipe import Recipe
    from suite.runner.harness import Harness, plan
    from suite.runner.settings import Settings
    from suite.store import Store
    from suite.types import ClassNames, Deferred, Measure, Rejected, Remark, Sample

fix_rounding()

_HOMES = {
    "suite.api": ("Audit", "audit", "load"),
    "suite.axes.derived": ("summarise_record",),
    "suite.data.report": ("TaskInfo",),
    "suite.data.splitting": ("stratified",),
    "suite.decorators": ("attack", "attribution", "kind", "metric", "model", "page", "task", "uncertainty"),
    "suite.metrics.catalogue": ("BoardColumn", "Metric"),
    "suite.metrics.table": ("Measured", "Table"),
    "suite.runner.harness": ("Harness", "plan"),
    "suite.runner.settings": ("Settings",),
    "suite.models.base": ("TorchClassifier", "TorchSegmenter"),
    "suite.models.adapters.detector": ("TorchDetector",),
    "suite.models.recipe": ("Recipe",),
    "suite.models.adapters.text": ("Token", "TorchText"),
    "suite.models.adapters.tokens": ("Words",),
    "suite.store": ("Store",),
    "suite.types": ("ClassNames", "Deferred", "Measure", "Rejected", "Remark", "Sample"),
}

__all__ = [
    "Audit",
    "BoardColumn",
    "ClassNames",
    "Deferred",
    "Harness",
    "Measure",
    "Measured",
    "Metric",
    "Recipe",
    "Rejected",
    "Remark",
    "Sample",
    "Settings",
    "Store",
    "Table",
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
    "kind",
    "load",
    "metric",
    "model",
    "page",
    "plan",
    "stratified",
    "summarise_record",
    "task",
    "uncertainty",
]


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(module), name)
    raise AttributeError(f"module 'suite' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
