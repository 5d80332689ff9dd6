"""The columns and facts of an attack, as its summary and its checks read them from a table."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from suite.kinds.base import Array
from suite.metrics.table import Table

AUDIT = "audit"
"""The population of the samples that the checks attack from scratch."""

RANDOM = "random"
"""The name of the control that every attack has."""


@dataclass(frozen=True)
class Stored:
    """An attack at every size, read from the columns and facts of a table."""

    table: Table

    @property
    def attack(self) -> Mapping[str, Any]:
        """What is known of the attack: name, norm, sizes, draws, ..."""
        attack: Mapping[str, Any] = self.table.facts["attack"]
        return attack

    @property
    def sizes(self) -> list[float]:
        """The sizes of the attack, ascending."""
        return list(self.attack["sizes"])

    @property
    def graded(self) -> bool:
        """Whether predictions are better or worse, instead of right or wrong."""
        return bool(self.attack["outcome"] == "graded")

    @property
    def draws(self) -> int:
        """Number of draws that an outcome is the mean of; more than one for a stochastic model."""
        return int(self.attack["draws"])

    @property
    def seeds(self) -> int | None:
        """Number of seeds that the attack was trained with; None for an attack without a training."""
        seeds: int | None = self.attack.get("seeds")
        return seeds

    @property
    def controls(self) -> list[str]:
        """The names of the controls, in order."""
        return list(
            dict.fromkeys(params["control"] for params in self.table.conditions("quality") if "control" in params)
        )

    def condition(self, size: float, control: str = "") -> dict[str, Any]:
        """Return the condition of the columns at a size, under the attack or under a control."""
        return {
            **({"control": control} if control else {}),
            "norm": self.attack["norm"],
            self.attack["size_name"]: size,
        }

    def under(self, size: float, control: str = "") -> Table:
        """Return the table under the attack or a control at a size; size 0 is without attack."""
        return self.table.at(**self.condition(size, control)) if size else self.table

    def quality(self, size: float, control: str = "") -> Array:
        """Return the share of draws in which each sample is right, or the quality of its prediction, float64 (n,)."""
        return np.asarray(self.under(size, control)["quality"], np.float64)

    def tally(self, size: float, control: str = "") -> Array:
        """Return what each sample contributes to the headline metric; where outcomes are binary it is the quality."""
        return self.under(size, control)["tally"] if "tally" in self.table else self.quality(size, control)

    def params(self, size: float, **more: Any) -> dict[str, Any]:
        """Return what identifies a row of some size."""
        return {"attack": self.attack["name"], **self.condition(size), **more}

    def params_under_attack(self, size: float) -> dict[str, Any]:
        """Return the same with the number of trainings, and a mark at the size at which attacks are compared."""
        reference = {"reference": True} if size == self.attack["reference"] else {}
        return self.params(size, **reference, **({"seeds": self.seeds} if self.seeds else {}))

    def audit(self, name: str, **condition: Any) -> Array:
        """Return a column of the audit samples under a condition."""
        table = self.table.at(**condition) if condition else self.table
        return table.of(AUDIT, name)
