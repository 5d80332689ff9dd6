"""Attacks on a small audit set, from scratch and without a smaller size to start from, for the checks to judge."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Self

import numpy as np
import torch

from suite.attacks.constraints import norm_of
from suite.attacks.engine.base import Attack
from suite.attacks.engine.problem import Passes
from suite.attacks.images.gradient import FGSM
from suite.attacks.images.square import Square
from suite.attacks.images.transfer import STANDARD_EPS, STANDARD_NORM, Transfer, surrogate_state
from suite.axes.robustness.checks import DOUBLED, OTHERS, SIZE_0, UNLIMITED
from suite.axes.robustness.setup import reference_of, training_of
from suite.axes.robustness.stored import AUDIT
from suite.axes.robustness.sweep import AttackSweep
from suite.axes.rounds import State
from suite.data.digests import in_digest_order
from suite.errors import AttackError, SpecError
from suite.kinds.base import Array
from suite.metrics.table import Column, Table

NOT_AUDITED = (Column("id", np.zeros(0, object), {}, AUDIT), Column("quality", np.zeros(0), {}, AUDIT))
"""The columns of an audit without samples."""

UNMOVED = 16
"""Samples attacked at size zero, where every attack uses its whole budget."""

SURROGATE = {"norm": STANDARD_NORM, "eps": STANDARD_EPS, "samples": 256, "rounds": 1}
"""Settings of the surrogate that the transfer check attacks, the same for all cells of a model, which share it."""

QUERIES = 300
"""Queries per sample of the black-box attack that white-box attacks are compared with."""


@dataclass(frozen=True)
class AuditSet:
    """The samples that the checks attack: correctly predicted ones, the first in digest order.

    Attributes:
        ids: of the samples, in digest order.
        clean, smallest: quality of each sample without attack and under the attack of the smallest size.
    """

    ids: Sequence[str]
    clean: Mapping[str, float]
    smallest: Mapping[str, float]

    @classmethod
    def of(cls, table: Table, smallest: Mapping[str, Any], count: int | None) -> Self:
        """Choose at most `count` samples.

        Args:
            table: the ids and the quality of all samples.
            smallest: the condition of the attack of the smallest size.
            count: most samples; None for all.
        """
        ids, clean = table["id"].tolist(), np.asarray(table["quality"], np.float64)
        rows = [row for row in in_digest_order(ids) if clean[row] > 0.5][:count]
        names = [ids[row] for row in rows]
        attacked = np.asarray(table.at(**smallest)["quality"], np.float64)
        qualities = (dict(zip(names, values[rows].tolist(), strict=True)) for values in (clean, attacked))
        return cls(names, *qualities)


@dataclass
class Audit:
    """What the audit attacks did to the samples of one cohort.

    Attributes:
        sweep: of the cohort, whose samples are all attacked.
        chosen: what is known of the samples.
        damage: the columns so far: damage to each sample, (k,) in [0, 1], NaN where it was not attacked.
        not_run: attacks that do not apply, each with the reason.
        errors: attacks that failed, each with the message.
    """

    sweep: AttackSweep
    chosen: AuditSet
    damage: list[Column] = field(default_factory=list)
    not_run: dict[str, str] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)

    @property
    def rows(self) -> Array:
        """All rows of the cohort."""
        return np.arange(len(self.sweep.context.test))

    def columns(self) -> list[Column]:
        """Return the columns of the audit samples: id, clean quality, and the damage under every attack."""
        ids = self.sweep.context.ids
        of_samples = {"id": ids, "quality": np.array([self.chosen.clean[name] for name in ids])}
        return [*(Column(name, values, {}, AUDIT) for name, values in of_samples.items()), *self.damage]

    def run(self) -> None:
        """Run every attack of the audit."""
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
        self._store(1 - np.array([self.chosen.smallest[name] for name in sweep.context.ids]), size=smallest)
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
        few = np.isin(self.sweep.context.ids.astype(str), self.chosen.ids[:UNMOVED])
        self._attempt(SIZE_0, few, lambda: self.sweep.attacked(self.sweep.attack, self.rows[few], 0.0), AttackError)

    def _doubled(self) -> None:
        """Attack with twice the steps."""
        double = self.sweep.attack.with_double_steps()
        if double is None:
            self.not_run[DOUBLED] = "the attack has no steps to double"
            return
        self._store(self.sweep.attacked(double, self.rows, reference_of(self.sweep.attack)), attack=DOUBLED)

    def _others(self) -> None:
        """Run weaker attacks on the samples where the attack failed."""
        sweep, attack = self.sweep, self.sweep.attack
        images = attack.norm in ("linf", "l2") and sweep.context.model.input.type == "image"
        if not images or not self._is_multi_step_untargeted() or sweep.problem.draws > 1:
            reason = "applies only to untargeted multi-step linf and l2 attacks on images and deterministic models"
            self.not_run |= dict.fromkeys(OTHERS.values(), reason)
        elif sweep.graded:
            self.not_run |= dict.fromkeys(("square", "transfer"), "applies only to samples with one label")
            self._other("fgsm", partial(self._fitted, FGSM(attack.sizes, attack.norm, attack.loss)))
        else:
            self._other("fgsm", partial(self._fitted, FGSM(attack.sizes, attack.norm)))
            self._other("square", partial(self._fitted, Square(attack.sizes, attack.norm, queries=QUERIES)))
            transfer = Transfer(attack.sizes, attack.norm, steps=20, restarts=1)
            self._other("transfer", lambda: transfer.with_surrogate(surrogate_of(sweep), sweep.problem))

    def _fitted(self, other: Attack) -> Attack:
        context = self.sweep.context
        return other.fit(self.sweep.problem, training_of(context), seed=context.seed)

    def _other(self, name: str, fit: Callable[[], Attack]) -> None:
        """Run another attack, which `fit` returns fitted, where the attack failed."""
        sweep = self.sweep
        scratch = {column.params.get("size"): column.values for column in self.damage}
        left = scratch[reference_of(sweep.attack)] <= 0.5

        def damage() -> Array:
            return sweep.attacked(fit(), self.rows[left], reference_of(sweep.attack))

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
        self._store(damage, attack=name)

    def _is_multi_step_untargeted(self) -> bool:
        """Return whether the attack takes several steps and aims at any wrong class."""
        return self.sweep.attack.with_double_steps() is not None and self.sweep.attack.goal is None


def surrogate_of(sweep: AttackSweep) -> State:
    """Return a surrogate of the model, trained once for all cells of the model and only if a check needs it."""
    context = sweep.context
    settings: dict[str, Any] = {**SURROGATE, "seed": context.seed}

    def trained() -> State:
        problem = replace(sweep.problem, passes=Passes())  # the record counts no passes of what cells share
        return surrogate_state(problem, training_of(context), **settings)

    state: State = context.once("surrogate", lambda: context.node("surrogate", settings, trained))
    return state
