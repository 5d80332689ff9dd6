"""Adversarial robustness: accuracy under attack, with evidence that the attack was strong.

Sizes are attacked in ascending order, each on the samples that are still classified correctly. An adversarial example
of a small size is valid for every larger size too, so the curve is the worst case up to each size. The evidence comes
from probes of the model and from separate attacks on a small audit set, where every size is attacked from scratch.
"""

import hashlib
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

from suite.attacks.diagnostics.probes import GENERAL, PROBES, gradient_of_loss, probe
from suite.attacks.engine.base import Attack
from suite.attacks.engine.precision import faster
from suite.attacks.engine.problem import Probe, Problem
from suite.axes.base import AxisResult, Context
from suite.axes.robustness.checks import Evidence, audit
from suite.axes.robustness.sweep import AttackSweep, adversarial_arrays, gallery_arrays
from suite.axes.robustness.text_metrics import text_measures
from suite.data.digests import in_digest_order
from suite.errors import NotApplicableError, SpecError
from suite.kinds.base import Array, Kind
from suite.metrics import stats
from suite.models.training.trainer import seeded
from suite.registry import register, resolve
from suite.spec import Spec
from suite.types import Measure, not_applicable

DRAWS = 32
"""Forward passes that are averaged into one outcome of a stochastic model."""

SPACES = ("input", "embedding")
"""What can be perturbed: the input of the model, or the word embeddings of a text model."""

CANDIDATES = 256
"""Test samples from which the probes take correctly predicted ones, at most 64."""


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

    def measure(self, context: Context) -> AxisResult:
        """Attack every correctly predicted sample at every size, and check the attack."""
        try:
            return self._measured(context)
        except NotApplicableError as error:
            return AxisResult([not_applicable(f"robust_{context.kind.headline}", str(error))])

    def _measured(self, context: Context) -> AxisResult:
        entry, spec = resolve("attack", self.attack)
        attack: Attack = entry.build(spec)
        if self.space != "input":
            context = context.in_space(self.space)
        _check_inputs(attack, spec, context)
        context = replace(context, kind=kind_for_attack(attack, spec, context.kind))
        # Stochastic models use PyTorch's global generator; with a seed, two runs give the same row.
        with context.model.frozen(), seeded(context.seed, context.device):
            problem = with_probes(_problem(context), context, attack.loss)
            if problem.objective is not None and (self.compiled or self.precision != "float32"):
                raise SpecError(
                    f"precision={self.precision}, compiled={self.compiled}: attack losses of {context.kind.name} need "
                    "the unchanged model; leave both arguments out."
                )
            problem = faster(problem, precision=self.precision, compiled=self.compiled)
            sweep = AttackSweep(context, problem, attack)
            sweep.run()
            attack_passes = problem.passes.total
            evidence = audit(sweep, sweep.audit_rows(self.audit))
            name = f"{spec.name} {spec.kwargs['loss']}" if "loss" in spec.kwargs else spec.name
            report = _Report(sweep, name if self.space == "input" else f"{name} on {self.space}", evidence)
            successes, extra = report.successes(), [*report.shifts(), *text_measures(sweep, report.params)]
            problem.refuse_nonfinite_outputs()
        rates, controls = [report.rate(size) for size in attack.sizes], report.control_rates()
        stored = adversarial_arrays(sweep)
        details = {
            "attack": report.name,
            "spec": str(spec),
            "space": self.space,
            "norm": attack.norm,
            "size_name": attack.size_name,
            "loss": attack.loss,
            "headline": context.kind.headline,
            "quality": context.kind.quality,
            "unit": context.kind.unit,
            "curve": report.curve(rates, controls),
            "checks": {name: [item.status, item.sentence] for name, item in evidence.items()},
            "passes": {"search": sweep.spent, "attack": attack_passes, "with checks": problem.passes.total},
            "found_by": dict(Counter(stored["found_rung"].tolist())),
            "stochastic": problem.draws > 1,
            "sha256": hashlib.sha256(stored["found"].tobytes()).hexdigest(),
        }
        arrays = gallery_arrays(sweep) | stored if self.space == "input" else {}
        measures = [*rates, *controls, *successes, *report.secondary_metrics(), *extra]
        return AxisResult(measures, report.columns(), details, arrays)


def _problem(context: Context) -> Problem:
    return Problem.of(context.kind, context.model.raw, batch_size=context.batch_size, adapter=context.model)


def kind_for_attack(attack: Attack, spec: Spec, kind: Kind) -> Kind:
    """Return the kind with the loss of the attack.

    Raises:
        SpecError: the attack needs one label per sample, and the kind has several targets per sample.
    """
    if not kind.single_label and not getattr(attack, "supports_graded_outcomes", False):
        raise SpecError(
            f"{spec.name} needs one label per sample, but {kind.name} has several targets per sample. Use fgsm, pgd, "
            "worst_case, patch or image_patch."
        )
    if not kind.single_label and getattr(attack, "goal", None) is not None:
        raise SpecError(f"{spec}: goal= needs one label per sample, but {kind.name} has several targets per sample.")
    return kind.for_attack_loss(attack.loss)


def _check_inputs(attack: Attack, spec: Spec, context: Context) -> None:
    """Raise SpecError if the attack does not work on this kind of input."""
    is_text, wants_text = not context.pixels.is_floating_point(), getattr(attack, "texts", False)
    if is_text and not wants_text:
        raise SpecError(
            f"{spec.name} perturbs numbers, but the samples of {context.kind.name} are texts. Use hotflip, typos or "
            "trigger, or attack the embeddings: robustness(attack=pgd(...), space=embedding)."
        )
    limit = context.model.max_perturbation
    if limit is not None and (attack.norm != "linf" or max(attack.sizes) >= limit):
        raise SpecError(
            f"{spec}: attacks on embeddings need norm=linf and eps below {limit:g} standard deviations. A larger step "
            "could turn padding into words, and in another norm the random control would mostly perturb padding."
        )
    if wants_text and not is_text:
        raise SpecError(
            f"{spec.name} changes texts, but the samples of {context.kind.name} are not texts. Use fgsm or pgd."
        )


def with_probes(problem: Problem, context: Context, loss: str | None) -> Problem:
    """Return the problem with the probe results, and with several draws per outcome if the model is stochastic."""
    rows = in_digest_order(context.test.ids)[:CANDIDATES]
    pixels, targets = context.pixels[rows], context.targets[rows]
    correct = problem.outcome(pixels, targets) < 0.5
    if not correct.any():
        return problem
    pixels, targets = pixels[correct], targets[correct]
    low, high = problem.bounds

    def forward(scaled: Tensor) -> Tensor:
        inputs = low + scaled * (high - low)
        return context.kind.normalized_output(problem.forward(inputs), inputs)

    if not pixels.is_floating_point():  # texts are discrete and have no gradient
        probes = probe(problem.forward, pixels, targets, ("deterministic",)) | _embedding_gradients(context, loss)
    else:  # the probes take steps in [0, 1], of the size of an attack on images
        names = PROBES if context.kind.single_label else GENERAL
        probes = probe(forward, (pixels - low) / (high - low), targets, names)
        if not context.kind.single_label and loss is not None:
            probes |= gradient_of_loss(problem, pixels, targets, loss)
    return replace(problem, probes=probes, draws=DRAWS if probes["deterministic"].status == "fail" else 1)


def _embedding_gradients(context: Context, loss: str | None) -> dict[str, Probe]:
    """Return the probes of the embedding gradients, which attacks on texts follow."""
    if loss is None:
        return {}
    try:
        context = context.in_space("embedding")
    except NotApplicableError:
        return {}
    probes = with_probes(_problem(context), context, loss).probes
    return {name: item for name, item in probes.items() if name.startswith("gradient")}


@dataclass(frozen=True)
class _Report:
    """Turns an attack sweep into rows and per-sample columns."""

    sweep: AttackSweep
    name: str
    evidence: dict[str, Evidence]

    def rate(self, size: float) -> Measure:
        """Return the headline measure at a size with its interval, control and checks."""
        sweep = self.sweep
        failed = [item.sentence for item in self.evidence.values() if item.status == "fail"]
        return self._headline(
            f"robust_{sweep.context.kind.headline}",
            sweep.tally[size],
            params=self._params_under_attack(size),
            control=self._value(sweep.control_tally["random"][size]),
            checks={check: item.status for check, item in self.evidence.items()},
            reason="; ".join(failed) or None,
        )

    def control_rates(self) -> list[Measure]:
        """Return the headline measure under every control, one row each."""
        return [
            self._headline(
                f"control_{self.sweep.context.kind.headline}", tally, params=self.params(size, control=control)
            )
            for control, by_size in self.sweep.control_tally.items()
            for size, tally in by_size.items()
        ]

    def secondary_metrics(self) -> list[Measure]:
        """Return the secondary metrics of the kind on clean and attacked samples, with the random control."""
        sweep, kind = self.sweep, self.sweep.context.kind
        random, measures = sweep.control_tally["random"], []
        for size in (0.0, *sweep.attack.sizes):
            controls = kind.secondary_metrics(random.get(size, sweep.clean_tally), seed=sweep.context.seed, params={})
            attacked = kind.secondary_metrics(
                sweep.tally.get(size, sweep.clean_tally),
                seed=sweep.context.seed,
                params=self._params_under_attack(size),
            )
            measures += [replace(one, control=other.value) for one, other in zip(attacked, controls, strict=True)]
        return measures

    def curve(self, rates: list[Measure], controls: list[Measure]) -> list[dict[str, float | None]]:
        """Return the headline measure and its controls with intervals, by size; the first point is size 0."""
        sweep, name_of_size = self.sweep, self.sweep.attack.size_name
        clean = self._headline("clean", sweep.clean_tally)
        parts: dict[str, dict[float, Measure]] = {"accuracy": {m.params[name_of_size]: m for m in rates}}
        for measure in controls:
            parts.setdefault(measure.params["control"], {})[measure.params[name_of_size]] = measure
        points = []
        for size in (0.0, *sweep.attack.sizes):
            point: dict[str, float | None] = {"size": float(size)}
            for name, by_size in parts.items():
                measure = by_size.get(size, clean)
                lo, hi = (measure.value if bound is None else bound for bound in (measure.lo, measure.hi))
                point |= {name: measure.value, f"{name}_lo": lo, f"{name}_hi": hi}
            points.append(point)
        return points

    def params(self, size: float, **more: Any) -> dict[str, Any]:
        """Return what identifies a row of some size."""
        attack = self.sweep.attack
        return {"attack": self.name, **more, "norm": attack.norm, attack.size_name: size}

    def _params_under_attack(self, size: float) -> dict[str, Any]:
        return self.params(size) | ({"reference": True} if size == self.sweep.reference else {})

    def _value(self, tally: Array) -> float | None:
        value = float(self.sweep.context.kind.statistic(tally)(None)[0])
        return value if np.isfinite(value) else None

    def successes(self) -> list[Measure]:
        """Return the success rate of a targeted attack by size; an empty list for an untargeted one."""
        sweep, attack, measures = self.sweep, self.sweep.attack, list[Measure]()
        for size in attack.sizes:
            reached, control = sweep.reached(size), sweep.reached(size, control=True)
            if reached is None or control is None or not len(reached):
                return []
            params = self.params(size, goal=sweep.context.data.info.classes[getattr(attack, "goal", 0)])
            fields: dict[str, Any] = {"params": params, "control": float(control.mean()), "higher_is_better": False}
            measures.append(
                stats.rate("targeted_success", reached > 0.5, **fields)
                if sweep.problem.draws == 1
                else stats.mean_measure("targeted_success", reached, seed=sweep.context.seed, **fields)
            )
        return measures

    def shifts(self) -> list[Measure]:
        """Return how far the attack at its largest size shifts the latent distribution; the control is random."""
        sweep, params = self.sweep, self.params(self.sweep.attack.sizes[-1])
        shifts, control = sweep.shifts()
        fields: dict[str, Any] = {"seed": sweep.context.seed, "unit": "nat", "higher_is_better": False}
        return [
            stats.mean_measure(name, values, params=params, control=float(control[name].mean()), **fields)
            for name, values in shifts.items()
        ]

    def columns(self) -> dict[str, Any]:
        """Return the per-sample outcomes, clean and at every size: correct or not, or the quality in [0, 1]."""
        columns = {"correct_clean": self.sweep.clean}
        columns |= {f"robust@{float(size)!r}": quality for size, quality in self.sweep.quality.items()}
        if self.sweep.problem.draws == 1 and self.sweep.context.kind.single_label:
            columns = {name: np.asarray(quality > 0.5) for name, quality in columns.items()}
        return {"id": list(self.sweep.context.test.ids), **columns}

    def _headline(self, metric: str, tally: Array, **fields: Any) -> Measure:
        """Return the headline measure; for a stochastic model, the mean over samples of the share over draws."""
        draws, kind = self.sweep.problem.draws, self.sweep.context.kind
        if draws > 1:
            fields["params"] = {**fields.get("params", {}), "draws": draws}
        return kind.headline_measure(metric, tally, seed=self.sweep.context.seed, **fields)
