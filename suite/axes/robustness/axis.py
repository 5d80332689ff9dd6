"""Adversarial robustness: accuracy under attack, with evidence that the attack was strong.

Sizes are attacked in ascending order, each on the samples that are still classified correctly. An adversarial example
of a small size is valid for every larger size too, so the curve is the worst case up to each size. The evidence comes
from probes of the model and from separate attacks on a small audit set, where every size is attacked from scratch.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, cast

from suite.attacks.constraints import norm_of
from suite.attacks.engine.base import Attack
from suite.axes.base import AxisResult, Context
from suite.axes.registered import entries_of, metrics_of
from suite.axes.robustness.audit import NOT_AUDITED, AuditSet
from suite.axes.robustness.checks import as_facts, judge
from suite.axes.robustness.cohorts import AttackRounds
from suite.axes.robustness.columns import condition
from suite.axes.robustness.inputs import GALLERY, FoundInputs, gallery_arrays
from suite.axes.robustness.setup import check_inputs, check_seeds, check_sizes, draws_of, kind_for_attack, reference_of
from suite.axes.robustness.stored import Stored
from suite.axes.robustness.summary import QUERIES, SUCCESS_RATE, TARGETED_SUCCESS, control_metric, curve, summarised
from suite.axes.rounds import Counts, Round, State
from suite.errors import SpecError, did_you_mean
from suite.kinds.base import Kind, required
from suite.metrics.catalogue import Metric
from suite.metrics.table import Column, Part, Table
from suite.registry import register, resolve
from suite.spec import Spec
from suite.types import Display, Measure

SPACES = ("input", "embedding")
"""What can be perturbed: the input of the model, or the word embeddings of a text model."""

FULL = "full"
"""The audit of all correctly predicted samples."""


@register("axis", name="robustness")
@dataclass(frozen=True)
class Robustness:
    """Accuracy against one attack over a list of sizes.

    Attributes:
        attack: spec of the attack.
        audit: number of correctly predicted samples that the checks run on; ``full`` for all of them. The more there
            are, the smaller a miss of the attack is seen; every size is attacked again on each.
        precision: precision of the gradients, ``float32`` or ``bfloat16``; outcomes are always those of the unchanged
            model.
        compiled: compute gradients with `torch.compile`.
        space: what is perturbed: ``input``, the input of the model; or ``embedding``, the word embeddings of a text.
            Perturbed embeddings belong to no text, so the result bounds what an attack on texts could achieve.
        seeds: how often an attack is trained that has a training, such as a universal patch. With several seeds a
            number is the mean over them, and its interval includes the spread between them.
    """

    attack: Spec | str = "pgd"
    audit: int | str = 64
    precision: str = "float32"
    compiled: bool = False
    space: str = "input"
    seeds: int = 1

    def __post_init__(self) -> None:
        if self.space not in SPACES:
            raise SpecError(f"space={self.space!r}; expected {' or '.join(SPACES)}.")
        if self.audit != FULL and (type(self.audit) is not int or self.audit < 0):
            hint = did_you_mean(self.audit, [FULL]) if isinstance(self.audit, str) else ""
            raise SpecError(f"audit={self.audit!r}; expected a number of samples, at least 0, or {FULL} for all.{hint}")
        if type(self.seeds) is not int or self.seeds < 1:
            raise SpecError(f"seeds={self.seeds!r}; expected a number of trainings, at least 1.")

    def entries(self, kind: Kind) -> Sequence[Metric]:
        """Return the declarations of all metrics: the robust headline first, its control, success, queries, ..."""
        headline, (attack, _) = kind.scoring.headline, self._attack()
        own = headline.under_attack(), control_metric(headline), SUCCESS_RATE, TARGETED_SUCCESS, QUERIES
        return list(dict.fromkeys((*own, *attack.changed_metrics, *entries_of(metrics_of(kind, "robustness")))))

    def check(self, kind: Kind) -> None:
        """Raise SpecError if a size of the attack allows more than every image of a task of this kind."""
        attack, spec = self._attack()
        if self.space == "input" and kind.input.type == "image":
            check_sizes(attack, spec, (0.0, 1.0))

    def measure(self, context: Context) -> AxisResult:
        """Attack every correctly predicted sample at every size, and run the attacks that check the attack."""
        required(context.kind.attacks)
        attack, spec = self._attack()
        if self.space != "input":
            context = context.in_space(self.space)
        check_inputs(attack, spec, context)
        check_seeds(attack, spec, self.seeds)
        context = replace(context, kind=kind_for_attack(attack, spec, context.kind))
        rounds = AttackRounds(attack, self.precision, self.compiled, self.space == "input", self.seeds)
        state, passes = rounds.prepared(context)
        size = attack.cohort(context.test.shape)
        attacked = context.run(Round("attack", rounds.attacked, size), state=state)
        count = None if isinstance(self.audit, str) else self.audit
        chosen = AuditSet.of(Table(tuple(attacked.columns)), condition(attack, attack.sizes[0]), count)
        rows = [row for row, name in enumerate(context.test.ids) if name in chosen.clean]
        audit = context.run(Round("evidence", rounds.audited, size), rows, {**state, "audit": asdict(chosen)})
        for part in (attacked, audit):
            passes += cast(Counts, part.sums.get("passes", Counts()))
        facts = {
            **context.facts,
            **attacked.all_facts,
            "probes": {name: values[:2] for name, values in state["probes"].items()},
            "workarounds": dict(rounds.fitted(context, state).workarounds),
            "audit": {"not_run": audit.facts.get("not_run", {}), "errors": audit.all_facts.get("errors", {})},
            "attack": _facts_of(attack, context, spec, self.space)
            | {"draws": draws_of(state["probes"]), "seeds": self.seeds if attack.trained else None},
            "passes": {**passes, "attacked": _attacked(attacked, context.kind)},
        }
        columns = [*attacked.columns, *(audit.columns or NOT_AUDITED)]
        return self._result(context, facts, columns, (rounds, state, attacked))

    def _result(
        self, context: Context, facts: dict[str, Any], columns: list[Column], run: tuple[AttackRounds, State, Part]
    ) -> AxisResult:
        """Return the result with checks, gallery and stored inputs."""
        rounds, state, attacked = run
        whole = Table(tuple(columns), facts, seed=context.seed)
        stored = [column for column in columns if column.population != GALLERY]
        table, kind = replace(whole, columns=tuple(stored)), context.kind
        facts["checks"] = as_facts(judge(table))
        arrays: dict[str, Display] = {}
        if rounds.shown:
            attack = rounds.fitted(context, state)
            arrays = gallery_arrays(context, whole, attack, reference_of(attack))
            arrays |= cast(FoundInputs, attacked.sums["inputs"]).displays(context.model.input.type)
        stages = [stage for stage in whole["found_by"].tolist() if stage]
        return AxisResult(
            stored,
            facts,
            {"found_by": dict(Counter(stages))},
            arrays,
            lambda measures: {"curve": curve(Stored(table), kind, measures)},
        )

    def summarise(self, table: Table, kind: Kind) -> list[Measure]:
        """Return the headline metric at every size with control and checks, and all further measures of the attack."""
        return summarised(table, kind, self._attack()[0].changed_metrics)

    def _attack(self) -> tuple[Attack, Spec]:
        entry, spec = resolve("attack", self.attack)
        attack: Attack = entry.build(spec)
        return attack, spec


def _attacked(attacked: Part, kind: Kind) -> int:
    """Return how many samples were attacked: those that are right, or of some quality, without an attack."""
    clean = Table(tuple(attacked.columns))["quality"]
    return int((clean > (0 if kind.scoring.outcome.type == "graded" else 0.5)).sum())


def _facts_of(attack: Attack, context: Context, spec: Spec, space: str) -> dict[str, Any]:
    """Return what is known of the attack itself, as JSON values."""
    name = f"{spec.name} {spec.kwargs['loss']}" if "loss" in spec.kwargs else spec.name
    return {
        "name": name if space == "input" else f"{name} on {space}",
        "spec": str(spec),
        **norm_of(attack.norm).to_json(),
        "size_name": attack.size_name,
        "sizes": list(attack.sizes),
        "reference": reference_of(attack),
        "space": space,
        "loss": attack.loss,
        "goal": None if attack.goal is None else context.data.info.classes[attack.goal],
        "outcome": context.kind.scoring.outcome.type,
        "changes_text": attack.changes_text,
        "input": asdict(context.model.input),
    }
