"""Adversarial robustness: accuracy under attack, with evidence that the attack was strong.

Sizes are attacked in ascending order, each on the samples that are still classified correctly. An adversarial example
of a small size is valid for every larger size too, so the curve is the worst case up to each size. The evidence comes
from probes of the model and from separate attacks on a small audit set, where every size is attacked from scratch.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from suite.attacks.constraints import norm_of
from suite.attacks.engine.base import Attack
from suite.attacks.engine.precision import faster
from suite.axes.base import AxisResult, Context
from suite.axes.registered import entries_of, metrics_of
from suite.axes.robustness.audit import Audit
from suite.axes.robustness.checks import as_facts, judge
from suite.axes.robustness.columns import outcome_columns, reached_columns, shift_columns, text_columns
from suite.axes.robustness.inputs import gallery_arrays, stored_inputs
from suite.axes.robustness.setup import check_inputs, kind_for_attack, problem_of, with_probes
from suite.axes.robustness.stored import Stored
from suite.axes.robustness.summary import QUERIES, SUCCESS_RATE, TARGETED_SUCCESS, control_metric, curve, summarised
from suite.axes.robustness.sweep import AttackSweep
from suite.errors import SpecError
from suite.kinds.base import Kind, required
from suite.metrics.catalogue import Metric
from suite.metrics.table import Column, Table
from suite.models.training.trainer import seeded
from suite.registry import register, resolve
from suite.spec import Spec
from suite.types import Display, Measure

SPACES = ("input", "embedding")
"""What can be perturbed: the input of the model, or the word embeddings of a text model."""


@register("axis", name="robustness")
@dataclass(frozen=True)
class Robustness:
    """Accuracy against one attack over a list of sizes.

    Attributes:
        attack: spec of the attack.
        audit: number of correctly predicted samples that the checks run on.
        precision: precision of the gradients, ``float32`` or ``bfloat16``; outcomes are always those of the unchanged
            model.
        compiled: compute gradients with `torch.compile`.
        space: what is perturbed: ``input``, the input of the model; or ``embedding``, the word embeddings of a text.
            Perturbed embeddings belong to no text, so the result bounds what an attack on texts could achieve.
    """

    attack: Spec | str = "pgd"
    audit: int = 64
    precision: str = "float32"
    compiled: bool = False
    space: str = "input"

    def __post_init__(self) -> None:
        if self.space not in SPACES:
            raise SpecError(f"space={self.space!r}; expected {' or '.join(SPACES)}.")

    def entries(self, kind: Kind) -> Sequence[Metric]:
        """Return the declarations of all metrics: the robust headline first, its control, success, queries, ..."""
        headline, (attack, _) = kind.scoring.headline, self._attack()
        own = headline.under_attack(), control_metric(headline), SUCCESS_RATE, TARGETED_SUCCESS, QUERIES
        return list(dict.fromkeys((*own, *attack.changed_metrics, *entries_of(metrics_of(kind, "robustness")))))

    def measure(self, context: Context) -> AxisResult:
        """Attack every correctly predicted sample at every size, and run the attacks that check the attack."""
        required(context.kind.attacks)
        attack, spec = self._attack()
        if self.space != "input":
            context = context.in_space(self.space)
        check_inputs(attack, spec, context)
        context = replace(context, kind=kind_for_attack(attack, spec, context.kind))
        run = self._run(attack, context)
        sweep = run.sweep
        inputs, counts = stored_inputs(sweep, shown=self.space == "input")
        arrays: dict[str, Display] = gallery_arrays(sweep) | inputs if self.space == "input" else {}
        facts = {
            **context.facts,
            **context.kind.scoring.measured(context.outcomes).facts,
            **run.facts,
            "attack": _facts_of(sweep, spec, self.space),
            "inputs": counts,
        }
        table = Table(tuple(run.columns), facts, seed=context.seed)
        facts["checks"] = as_facts(judge(table))
        details = {"found_by": dict(Counter(sweep.found_by[sweep.found].tolist()))}
        kind = context.kind
        return AxisResult(
            run.columns, facts, details, arrays, lambda measures: {"curve": curve(Stored(table), kind, measures)}
        )

    def summarise(self, table: Table, kind: Kind) -> list[Measure]:
        """Return the headline metric at every size with control and checks, and all further measures of the attack."""
        return summarised(table, kind, self._attack()[0].changed_metrics)

    def _attack(self) -> tuple[Attack, Spec]:
        entry, spec = resolve("attack", self.attack)
        attack: Attack = entry.build(spec)
        return attack, spec

    def _run(self, attack: Attack, context: Context) -> "_Run":
        """Run the attack, its controls and the audit; the order matters to the random draws of stochastic models."""
        # Stochastic models use PyTorch's global generator; with a seed, two runs give the same row.
        with context.model.frozen(), seeded(context.seed, context.device):
            problem = with_probes(problem_of(context), context, attack.loss)
            if problem.objective is not None and (self.compiled or self.precision != "float32"):
                raise SpecError(
                    f"precision={self.precision}, compiled={self.compiled}: attack losses of {context.kind.name} need "
                    "the unchanged model; leave both arguments out."
                )
            problem = faster(problem, precision=self.precision, compiled=self.compiled)
            sweep = AttackSweep(context, problem, attack)
            sweep.run()
            attack_passes = problem.passes.total
            audit = Audit(sweep, sweep.audit_rows(self.audit))
            audit.run()
            reached = list(reached_columns(sweep))
            shifts, shift_facts = shift_columns(sweep)
            problem.refuse_nonfinite_outputs()
        columns = [*outcome_columns(sweep), *reached, *shifts, *text_columns(sweep), *audit.columns()]
        facts = {
            **shift_facts,
            "probes": {name: [item.status, item.sentence] for name, item in problem.probes.items()},
            "workarounds": dict(sweep.attack.workarounds),
            "audit": audit.facts(),
            "passes": {
                "search": sweep.spent,
                "attack": attack_passes,
                "with checks": problem.passes.total,
                "attacked": int((sweep.clean > (0 if sweep.graded else 0.5)).sum()),
            },
        }
        return _Run(sweep, columns, facts)


@dataclass(frozen=True)
class _Run:
    """A finished run: the sweep, its columns, and what else is known."""

    sweep: AttackSweep
    columns: list[Column]
    facts: dict[str, Any]


def _facts_of(sweep: AttackSweep, spec: Spec, space: str) -> dict[str, Any]:
    """Return what is known of the attack itself, as JSON values."""
    attack, context = sweep.attack, sweep.context
    name = f"{spec.name} {spec.kwargs['loss']}" if "loss" in spec.kwargs else spec.name
    return {
        "name": name if space == "input" else f"{name} on {space}",
        "spec": str(spec),
        **norm_of(attack.norm).to_json(),
        "size_name": attack.size_name,
        "sizes": list(attack.sizes),
        "reference": sweep.reference,
        "space": space,
        "loss": attack.loss,
        "goal": None if attack.goal is None else context.data.info.classes[attack.goal],
        "draws": sweep.problem.draws,
        "outcome": context.kind.scoring.outcome.type,
        "changes_text": attack.changes_text,
        "input": asdict(context.model.input),
    }
