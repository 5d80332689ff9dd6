"""Attacks on a small audit set, from scratch and without a smaller size to start from, for the checks to judge."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from suite.attacks.constraints import norm_of
from suite.attacks.engine.base import Attack
from suite.attacks.images.gradient import FGSM
from suite.attacks.images.square import Square
from suite.attacks.images.transfer import Transfer
from suite.axes.robustness.checks import DOUBLED, OTHERS, SIZE_0, UNLIMITED
from suite.axes.robustness.stored import AUDIT
from suite.axes.robustness.sweep import AttackSweep
from suite.errors import AttackError, SpecError
from suite.kinds.base import Array
from suite.metrics.table import Column

UNMOVED = 16
"""Samples attacked at size zero, where every attack uses its whole budget."""

QUERIES = 300
"""Queries per sample of the black-box attack that white-box attacks are compared with."""


@dataclass
class Audit:
    """What the audit attacks did.

    Attributes:
        sweep: the finished sweep.
        rows: correctly predicted samples to attack.
        damage: the columns so far: damage to each sample, (k,) in [0, 1], NaN where it was not attacked.
        not_run: attacks that do not apply, each with the reason.
        errors: attacks that failed, each with the message.
    """

    sweep: AttackSweep
    rows: Array
    damage: list[Column] = field(default_factory=list)
    not_run: dict[str, str] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)

    def columns(self) -> list[Column]:
        """Return the columns of the audit samples: id, clean quality, and the damage under every attack."""
        rows, context = self.rows, self.sweep.context
        of_samples = {"id": context.ids[rows], "quality": self.sweep.clean[rows]}
        return [*(Column(name, values, {}, AUDIT) for name, values in of_samples.items()), *self.damage]

    def facts(self) -> dict[str, Any]:
        """Return what the checks need besides the columns."""
        return {"not_run": self.not_run, "errors": self.errors}

    def run(self) -> None:
        """Run every attack of the audit; random draws of stochastic models depend on the order."""
        if not len(self.rows):
            return
        self._from_scratch()
        self._unlimited()
        self._size_zero()
        self._doubled()
        self._others()

    def _store(self, damage: Array, **condition: Any) -> None:
        self.damage.append(Column("damage", damage, condition, AUDIT))

    def _from_scratch(self) -> None:
        """Attack every size from scratch; the sweep itself attacked the smallest one so."""
        sweep = self.sweep
        smallest, *larger = sweep.attack.sizes
        self._store(1 - sweep.quality[smallest][self.rows], size=smallest)
        for size in larger:
            self._store(sweep.attacked(sweep.attack, self.rows, size), size=size)

    def _unlimited(self) -> None:
        """Attack with a size that allows every input."""
        sweep, attack = self.sweep, self.sweep.attack
        ball = norm_of(attack.norm).ball
        if ball is None or not self._is_multi_step_untargeted():
            self.not_run[UNLIMITED] = "applies only to untargeted multi-step attacks in the ball of a norm"
            return
        low, high = sweep.problem.bounds
        widest = torch.full_like(sweep.context.pixels[:1], high - low)
        self._store(sweep.attacked(attack, self.rows, float(ball().size(widest)[0])), attack=UNLIMITED)

    def _size_zero(self) -> None:
        """Attack the first samples at size zero."""
        norm = norm_of(self.sweep.attack.norm)
        if not norm.has_zero:
            self.not_run[SIZE_0] = f"there is no {norm.name} of size zero"
            return
        few = np.arange(len(self.rows)) < UNMOVED
        self._attempt(SIZE_0, few, lambda: self.sweep.attacked(self.sweep.attack, self.rows[few], 0.0), AttackError)

    def _doubled(self) -> None:
        """Attack with twice the steps."""
        double = self.sweep.attack.with_double_steps()
        if double is None:
            self.not_run[DOUBLED] = "the attack has no steps to double"
            return
        self._store(self.sweep.attacked(double, self.rows, self.sweep.reference), attack=DOUBLED)

    def _others(self) -> None:
        """Run weaker attacks on the samples where the attack failed."""
        sweep, attack = self.sweep, self.sweep.attack
        images = attack.norm in ("linf", "l2") and sweep.context.model.input.type == "image"
        if not images or not self._is_multi_step_untargeted() or sweep.problem.draws > 1:
            reason = "applies only to untargeted multi-step linf and l2 attacks on images and deterministic models"
            self.not_run |= dict.fromkeys(OTHERS.values(), reason)
        elif sweep.graded:
            self.not_run |= dict.fromkeys(("square", "transfer"), "applies only to samples with one label")
            self._other("fgsm", FGSM(attack.sizes, attack.norm, attack.loss))
        else:
            self._other("fgsm", FGSM(attack.sizes, attack.norm))
            self._other("square", Square(attack.sizes, attack.norm, queries=QUERIES))
            self._other("transfer", Transfer(attack.sizes, attack.norm, steps=20, restarts=1, samples=256, rounds=1))

    def _other(self, name: str, other: Attack) -> None:
        sweep = self.sweep
        scratch = {column.params.get("size"): column.values for column in self.damage}
        left = scratch[sweep.reference] <= 0.5

        def damage() -> Array:
            fitted = other.fit(sweep.problem, sweep.training, seed=sweep.context.seed)
            return sweep.attacked(fitted, self.rows[left], sweep.reference)

        if left.any():
            self._attempt(name, left, damage, (AttackError, SpecError))
        else:
            self._store(np.full(len(self.rows), np.nan), attack=name)

    def _attempt(
        self,
        name: str,
        chosen: Array,
        run: Callable[[], Array],
        expected: type[Exception] | tuple[type[Exception], ...],
    ) -> None:
        """Store the damage of an attack to the chosen samples, or the message of an expected error."""
        damage = np.full(len(self.rows), np.nan)
        try:
            damage[chosen] = run()
        except expected as error:
            self.errors[name] = str(error)
        else:
            self._store(damage, attack=name)

    def _is_multi_step_untargeted(self) -> bool:
        """Return whether the attack takes several steps and aims at any wrong class."""
        return self.sweep.attack.with_double_steps() is not None and self.sweep.attack.goal is None
