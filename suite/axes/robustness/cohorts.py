"""The rounds of an attack: probes of the model, the attack itself, and the attacks that check it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from suite.attacks.engine.base import Attack
from suite.attacks.engine.precision import faster
from suite.attacks.engine.problem import Passes, Problem
from suite.axes.context import Context
from suite.axes.robustness.audit import Audit, AuditSet
from suite.axes.robustness.columns import outcome_columns, reached_columns, shift_columns, text_columns
from suite.axes.robustness.inputs import FoundInputs, gallery_columns
from suite.axes.robustness.setup import CANDIDATES, probed, problem_of, training_of, with_probes
from suite.axes.robustness.sweep import AttackSweep
from suite.axes.robustness.trainings import training_columns
from suite.axes.rounds import Counts, FirstOf, Round, State
from suite.data.digests import in_digest_order, seed_of
from suite.errors import SpecError
from suite.metrics.table import Part, Sum, collected
from suite.models.training.trainer import seeded


@dataclass(frozen=True)
class AttackRounds:
    """The rounds of one attack; their state holds the probe results and what was fitted.

    Attributes:
        attack: as its spec says, not fitted.
        precision, compiled: how gradients are computed, see `suite.attacks.engine.precision.faster`.
        shown: whether perturbed inputs can be shown and stored.
        seeds: how often the attack is trained, each time with another seed.
    """

    attack: Attack
    precision: str = "float32"
    compiled: bool = False
    shown: bool = True
    seeds: int = 1

    def prepared(self, context: Context) -> tuple[State, Counts]:
        """Probe the model and fit the attack to training samples; return the state of the rounds, and the passes."""
        first = in_digest_order(context.test.ids)[:CANDIDATES]
        probes = context.run(Round("probes", self.probes, len(first)), first)
        found = probes.facts["probes"]
        problem = self._problem(context, found)
        fitted = [self._fit(context, problem, number) for number in range(self.seeds)]
        passes = cast(Counts, probes.sums["passes"]) + Counts(_passes(problem, "attack"), search=problem.passes.total)
        return {"probes": found, "fitted": fitted}, passes

    def _fit(self, context: Context, problem: Problem, number: int) -> State:
        """Return what the attack learned in one training; the first has the seed of the cell."""
        own = context.seed if not number else seed_of("training", str(number), str(context.seed)) % 2**32
        with context.model.frozen(), seeded(seed_of(*context.names, "fit", str(own)), context.device):
            return self.attack.fit(problem, training_of(context), seed=own).state()

    def probes(self, context: Context, state: State) -> Part:
        """Run the probes of the model."""
        problem = problem_of(context)
        if problem.objective is not None and (self.compiled or self.precision != "float32"):
            raise SpecError(
                f"precision={self.precision}, compiled={self.compiled}: attack losses of {context.kind.name} need "
                "the unchanged model; leave both arguments out."
            )
        with context.model.frozen():
            found = probed(problem, context, self.attack.loss)
        facts = {name: [item.status, item.sentence, dict(item.numbers)] for name, item in found.items()}
        return Part(facts={"probes": facts}, sums={"passes": Counts(_passes(problem, "attack"))})

    def attacked(self, context: Context, state: State) -> Part:
        """Attack one cohort at every size, and apply the controls."""
        with context.model.frozen():
            sweep = self._sweep(context, state)
            sweep.run()
            others = [self._sweep(context, state, number) for number in range(1, self.seeds)]
            for other in others:
                other.attack_all()
            sweeps = (sweep, *others)
            attack = sum(one.problem.passes.total for one in sweeps)
            columns = [*outcome_columns(sweep), *reached_columns(sweep), *text_columns(sweep)]
            columns += training_columns(sweep, others)
            shifts = shift_columns(sweep)
            for one in sweeps:
                one.problem.refuse_nonfinite_outputs()
        known = collected([context.kind.scoring.measured(context.outcomes)])
        passes = Counts(attack=attack, search=sum(one.spent for one in sweeps))
        for one in sweeps:
            passes += _passes(one.problem)
        sums: dict[str, Sum] = {"passes": passes, "inputs": FoundInputs.of(sweep, shown=self.shown)}
        columns += [*shifts.columns, *(gallery_columns(sweep) if self.shown else ())]
        return Part(columns, {**known.facts, **shifts.facts}, {**known.sums, **shifts.sums, **sums})

    def audited(self, context: Context, state: State) -> Part:
        """Run the attacks that check the attack on one cohort of the audit."""
        with context.model.frozen():
            sweep = self._sweep(context, state)
            audit = Audit(sweep, AuditSet(**state["audit"]))
            audit.run()
            sweep.problem.refuse_nonfinite_outputs()
        sums: dict[str, Sum] = {"errors": FirstOf(audit.errors), "passes": Counts(_passes(sweep.problem))}
        return Part(audit.columns(), {"not_run": audit.not_run}, sums)

    def fitted(self, context: Context, state: State, number: int = 0) -> Attack:
        """Return the attack with what one training fitted."""
        problem = self._problem(context, state["probes"])
        attack: Attack = context.once(
            f"attack {number}", lambda: self.attack.with_state(state["fitted"][number], problem)
        )
        return attack

    def _sweep(self, context: Context, state: State, number: int = 0) -> AttackSweep:
        return AttackSweep(context, self._problem(context, state["probes"]), self.fitted(context, state, number))

    def _problem(self, context: Context, probes: Mapping[str, Any]) -> Problem:
        """Return the problem with the probe results, and its own count of passes."""

        def made() -> Problem:
            return faster(with_probes(problem_of(context), probes), precision=self.precision, compiled=self.compiled)

        problem: Problem = context.once("problem", made)
        return replace(problem, passes=Passes())


def _passes(problem: Problem, *more: str) -> dict[str, int]:
    """Return the passes so far under the names ``with checks`` and `more`, and the padding among them."""
    return {**dict.fromkeys(("with checks", *more), problem.passes.total), "padding": problem.passes.padding}
