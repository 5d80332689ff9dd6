"""Adversarial robustness: what is left of the accuracy when somebody interferes, and how sure we are that they tried.

The list of sizes is attacked from small to large, and only samples that are still right: an input that was found at a
small size lies inside every larger one, so that the curve is the worst case so far. Evidence comes from questions to
the model, and from runs of their own on a small audit set, where every size is attacked from scratch.
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
from suite.axes.robustness.sweep import AttackSweep, found, gallery_arrays
from suite.axes.robustness.text_metrics import remarks
from suite.data.digests import in_digest_order
from suite.errors import NotApplicableError, SpecError
from suite.kinds.base import Array, Kind
from suite.metrics import stats
from suite.models.training.trainer import seeded
from suite.registry import register, resolve
from suite.spec import Spec
from suite.types import Measure, not_applicable

DRAWS = 32
"""Fresh answers that count for one outcome of a model that answers at random."""


SPACES = ("input", "embedding")
"""What can be changed: what the model is shown, or the embeddings of words."""

ASKED = 256
"""Samples among which right ones are sought to ask about; the probes take the first 64 of them."""


@register("axis", name="robustness")
@dataclass(frozen=True)
class Robustness:
    """Accuracy against one attack over a list of sizes.

    Attributes:
        attack: spec of the attack.
        audit: how many right samples the checks run on.
        precision: of the gradients, ``float32`` or ``bfloat16``; what counts is always judged by the model as it is.
        compiled: take gradients of the model compiled by `torch.compile`.
        space: what is changed: ``input``, what the model is shown; or ``embedding``, the embeddings of a text's words,
            which no text has: a bound on what could be found among texts.
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
        """Attack every right sample at every size, check the attack, and keep what it found."""
        try:
            return self._measured(context)
        except NotApplicableError as error:
            return AxisResult([not_applicable(f"robust_{context.kind.headline}", str(error))])

    def _measured(self, context: Context) -> AxisResult:
        entry, spec = resolve("attack", self.attack)
        attack: Attack = entry.build(spec)
        if self.space != "input":
            context = context.in_space(self.space)
        _refuse_misfit(attack, spec, context)
        context = replace(context, kind=fitting(attack, spec, context.kind))
        # Models that draw their answers draw them from PyTorch's own generator: seeded, two runs give the same row.
        with context.model.frozen(), seeded(context.seed, context.device):
            asked = Problem.of(context.kind, context.model.raw, batch_size=context.batch_size, adapter=context.model)
            problem = probed(asked, context, attack.loss)
            if problem.objective is not None and (self.compiled or self.precision != "float32"):
                raise SpecError(
                    f"precision={self.precision}, compiled={self.compiled}: losses of {context.kind.name} are taken of "
                    "the model as it is; leave both out."
                )
            problem = faster(problem, precision=self.precision, compiled=self.compiled)
            assault = AttackSweep(context, problem, attack)
            assault.run()
            spent = problem.passes.total
            evidence = audit(assault, assault.audited(self.audit))
            name = title(spec) if self.space == "input" else f"{title(spec)} on {self.space}"
            report = _Report(assault, name, evidence)
            successes, extra = report.successes(), [*report.shifts(), *report.remarks()]
            problem.refuse_broken()
        reference = assault.reference
        rates, controls = [report.rate(size, size == reference) for size in attack.sizes], report.control_rates()
        stored = found(assault)
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
            "passes": {"search": assault.spent, "attack": spent, "with checks": problem.passes.total},
            "found_by": dict(Counter(stored["found_rung"].tolist())),
            "stochastic": problem.draws > 1,
            "sha256": hashlib.sha256(stored["found"].tobytes()).hexdigest(),
        }
        arrays = gallery_arrays(assault, reference) | stored if self.space == "input" else {}
        measures = [*rates, *controls, *successes, *report.secondary_metrics(), *extra]
        return AxisResult(measures, report.columns(), details, arrays)


def title(spec: Spec) -> str:
    """Return what readers call an attack: its name, and its loss where that was chosen."""
    return f"{spec.name} {spec.kwargs['loss']}" if "loss" in spec.kwargs else spec.name


def fitting(attack: Attack, spec: Spec, kind: Kind) -> Kind:
    """Return the kind as the attack sees it.

    Raises:
        SpecError: the attack can only make samples of one label wrong, or look like one class.
    """
    if not kind.single_label and not getattr(attack, "supports_graded_outcomes", False):
        raise SpecError(
            f"{spec.name} attacks samples with one label, and those of {kind.name} have many answers. Use fgsm, pgd, "
            "worst_case, patch or image_patch."
        )
    if not kind.single_label and getattr(attack, "goal", None) is not None:
        raise SpecError(f"{spec}: a goal is one class for a sample, and those of {kind.name} have many answers.")
    return kind.for_attack_loss(attack.loss)


def _refuse_misfit(attack: Attack, spec: Spec, context: Context) -> None:
    """Raise SpecError where an attack on texts meets numbers, or the other way round."""
    is_text, wants_text = not context.pixels.is_floating_point(), getattr(attack, "texts", False)
    if is_text and not wants_text:
        raise SpecError(
            f"{spec.name} moves numbers, and the samples of {context.kind.name} are texts. Use hotflip, typos or "
            "trigger, or move the embeddings: robustness(attack=pgd(...), space=embedding)."
        )
    limit = context.model.max_perturbation
    if limit is not None and (attack.norm != "linf" or max(attack.sizes) >= limit):
        raise SpecError(
            f"{spec}: embeddings are moved by norm=linf and eps below {limit:g}, in standard deviations; a larger step "
            "would make words of padding, and another norm would let the random control spend itself on it."
        )
    if wants_text and not is_text:
        raise SpecError(f"{spec.name} changes texts, and the samples of {context.kind.name} are none. Use fgsm or pgd.")


def probed(problem: Problem, context: Context, loss: str | None) -> Problem:
    """Return the problem with what the probes say of the model, and as many draws as its answers need."""
    rows = in_digest_order(context.test.ids)[:ASKED]
    pixels, targets = context.pixels[rows], context.targets[rows]
    right = (problem.outcome(pixels, targets) < 0.5).nonzero()[:, 0]
    if not len(right):
        return problem
    whole, (low, high) = context.kind.single_label, problem.bounds
    if not pixels.is_floating_point():  # between two texts there is nothing that a gradient could lead through
        probes = probe(problem.forward, pixels[right], targets[right], ("deterministic",))
        probes |= gradients_of_texts(context, loss)
        return replace(problem, probes=probes, draws=DRAWS if probes["deterministic"].status == "fail" else 1)

    def answered(asked: Tensor) -> Tensor:
        return context.kind.normalized_output(problem.forward(asked), asked)

    def unscaled(asked: Tensor) -> Tensor:
        return answered(low + asked * (high - low))

    is_unit = problem.bounds == (0.0, 1.0)  # the probes move within that, by steps of the size of an attack on images
    scaled = pixels if is_unit else (pixels - low) / (high - low)
    asked = answered if is_unit else unscaled
    probes = probe(asked, scaled[right], targets[right], PROBES if whole else GENERAL)
    if not whole and loss is not None:
        probes |= gradient_of_loss(problem, pixels[right], targets[right], loss)
    random = probes["deterministic"].status == "fail"
    return replace(problem, probes=probes, draws=DRAWS if random else 1)


def gradients_of_texts(context: Context, loss: str | None) -> dict[str, Probe]:
    """Return what probes say of the gradients that an attack on texts follows: those of the embeddings."""
    if loss is None:
        return {}
    try:
        inside = context.in_space("embedding")
    except NotApplicableError:
        return {}
    problem = Problem.of(inside.kind, inside.model.raw, batch_size=inside.batch_size, adapter=inside.model)
    found = probed(problem, inside, loss).probes
    return {name: item for name, item in found.items() if name.startswith("gradient")}


@dataclass(frozen=True)
class _Report:
    """The rows and columns of an attack."""

    assault: AttackSweep
    name: str
    evidence: dict[str, Evidence]

    def rate(self, size: float, reference: bool) -> Measure:
        """Return the headline measure at a size with its interval, control and checks."""
        assault, params = self.assault, self._params(size)
        failed = [item.sentence for item in self.evidence.values() if item.status == "fail"]
        return self._overall(
            f"robust_{assault.context.kind.headline}",
            assault.tally[size],
            params={**params, "reference": True} if reference else params,
            control=self._value(assault.control_tally["random"][size]),
            checks={check: item.status for check, item in self.evidence.items()},
            reason="; ".join(failed) or None,
        )

    def control_rates(self) -> list[Measure]:
        """Return the headline measure under every control, as rows of their own."""
        return [
            self._overall(
                f"control_{self.assault.context.kind.headline}", tally, params=self._params(size, control=control)
            )
            for control, by_size in self.assault.control_tally.items()
            for size, tally in by_size.items()
        ]

    def secondary_metrics(self) -> list[Measure]:
        """Return what the kind says beside the headline measure: clean, attacked and under the random control."""
        assault, kind = self.assault, self.assault.context.kind
        random, measures = assault.control_tally["random"], []
        for size in (0.0, *assault.attack.sizes):
            held = kind.secondary_metrics(random.get(size, assault.clean_tally), seed=assault.context.seed, params={})
            params = self._params(size) | ({"reference": True} if size == assault.reference else {})
            found = kind.secondary_metrics(
                assault.tally.get(size, assault.clean_tally), seed=assault.context.seed, params=params
            )
            measures += [replace(one, control=other.value) for one, other in zip(found, held, strict=True)]
        return measures

    def curve(self, rates: list[Measure], controls: list[Measure]) -> list[dict[str, float | None]]:
        """Return the headline measure with its interval, and every control's, from size zero on."""
        assault, name_of_size = self.assault, self.assault.attack.size_name
        clean = self._overall("clean", assault.clean_tally)
        parts: dict[str, dict[float, Measure]] = {"accuracy": {m.params[name_of_size]: m for m in rates}}
        for measure in controls:
            parts.setdefault(measure.params["control"], {})[measure.params[name_of_size]] = measure
        points = []
        for size in (0.0, *assault.attack.sizes):
            point: dict[str, float | None] = {"size": float(size)}
            for name, by_size in parts.items():
                found = by_size.get(size, clean)
                lo, hi = (found.value if bound is None else bound for bound in (found.lo, found.hi))
                point |= {name: found.value, f"{name}_lo": lo, f"{name}_hi": hi}
            points.append(point)
        return points

    def _params(self, size: float, **more: Any) -> dict[str, Any]:
        attack = self.assault.attack
        return {"attack": self.name, **more, "norm": attack.norm, attack.size_name: size}

    def _value(self, tally: Array) -> float | None:
        value = float(self.assault.context.kind.statistic(tally)(None)[0])
        return value if np.isfinite(value) else None

    def successes(self) -> list[Measure]:
        """Return how often an attack with a goal reached it: a banana with a sticker that becomes a toaster."""
        attack, seed = self.assault.attack, self.assault.context.seed
        measures = []
        for size in attack.sizes:
            reached, control = self.assault.reached(size), self.assault.reached(size, control=True)
            if reached is None or control is None or not len(reached):
                return []
            params = {"attack": self.name, "norm": attack.norm, attack.size_name: size, "goal": self.goal()}
            fields: dict[str, Any] = {"params": params, "control": float(control.mean()), "higher_is_better": False}
            whole = self.assault.problem.draws == 1
            measures.append(
                stats.rate("targeted_success", reached > 0.5, **fields)
                if whole
                else stats.mean_measure("targeted_success", reached, seed=seed, **fields)
            )
        return measures

    def remarks(self) -> list[Measure]:
        """Return what is said of an attack on texts: its success, its passes, and what it changed."""
        return remarks(self.assault, self._params)

    def shifts(self) -> list[Measure]:
        """Return how far the attack moved what lies behind the answers at its largest size, beside random changes."""
        assault, params = self.assault, self._params(self.assault.attack.sizes[-1])
        found, control = assault.shifts()
        fields: dict[str, Any] = {"seed": assault.context.seed, "unit": "nat", "higher_is_better": False}
        return [
            stats.mean_measure(name, values, params=params, control=float(control[name].mean()), **fields)
            for name, values in found.items()
        ]

    def goal(self) -> str:
        """Return the class that the attack aims at."""
        return self.assault.context.data.info.classes[int(getattr(self.assault.attack, "goal", 0))]

    def columns(self) -> dict[str, Any]:
        """Return the per-sample outcomes on clean input and at every size: right or wrong, or the quality."""
        kept = {"correct_clean": self.assault.clean}
        kept |= {f"robust@{float(size)!r}": held for size, held in self.assault.right.items()}
        whole = self.assault.problem.draws == 1 and self.assault.context.kind.single_label
        columns = {name: np.asarray(held > 0.5) if whole else held for name, held in kept.items()}
        return {"id": list(self.assault.context.test.ids), **columns}

    def _overall(self, metric: str, tally: Array, **fields: Any) -> Measure:
        """Return the headline measure; of random answers it is the mean over samples of the share over draws."""
        draws, kind = self.assault.problem.draws, self.assault.context.kind
        if draws > 1:
            fields["params"] = {**fields.get("params", {}), "draws": draws}
        return kind.headline_measure(metric, tally, seed=self.assault.context.seed, **fields)
