"""Adversarial robustness: what is left of the accuracy when somebody interferes, and how sure we are that they tried.

The list of sizes is attacked from small to large, and only samples that are still right: an input that was found at a
small size lies inside every larger one, so that the curve is the worst case so far. Evidence comes from questions to
the model, and from runs of their own on a small audit set, where every size is attacked from scratch.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from suite import stats
from suite.attacks.probes import probe
from suite.attacks.problem import Problem
from suite.attacks.speed import faster
from suite.axes.assault import Assault, found, shown
from suite.axes.audit import Evidence, audit
from suite.axes.base import Context, Finding, in_digest_order
from suite.kinds.base import Array
from suite.models.trainer import seeded
from suite.registry import register, resolve
from suite.spec import Spec
from suite.types import Measure

DRAWS = 32
"""Fresh answers that count for one outcome of a model that answers at random."""


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
    """

    attack: Spec | str = "pgd"
    audit: int = 64
    precision: str = "float32"
    compiled: bool = False

    def measure(self, context: Context) -> Finding:
        """Attack every right sample at every size, check the attack, and keep what it found."""
        entry, spec = resolve("attack", self.attack)
        # Models that draw their answers draw them from PyTorch's own generator: seeded, two runs give the same row.
        with context.model.frozen(), seeded(context.seed, context.device):
            problem = probed(Problem.of(context.kind, context.model.raw, batch_size=context.batch_size), context)
            problem = faster(problem, precision=self.precision, compiled=self.compiled)
            assault = Assault(context, problem, entry.build(spec))
            assault.run()
            spent = problem.passes.total
            evidence = audit(assault, assault.audited(self.audit))
            report = _Report(assault, spec.name, evidence)
            successes = report.successes()
            problem.refuse_broken()
        attack, reference = assault.attack, assault.reference
        stored = found(assault)
        details = {
            "attack": spec.name,
            "spec": str(spec),
            "norm": attack.norm,
            "size_name": attack.size_name,
            "curve": assault.curve(),
            "checks": {name: [item.status, item.sentence] for name, item in evidence.items()},
            "passes": {"attack": spent, "with checks": problem.passes.total},
            "found_by": dict(Counter(stored["found_rung"].tolist())),
            "stochastic": problem.draws > 1,
            "sha256": hashlib.sha256(stored["found"].tobytes()).hexdigest(),
        }
        measures = [report.rate(size, size == reference) for size in attack.sizes]
        arrays = shown(assault, reference) | stored
        measures += [*report.control_rates(), *successes]
        return Finding(measures, report.columns(), details, arrays)


def probed(problem: Problem, context: Context) -> Problem:
    """Return the problem with what the probes say of the model, and as many draws as its answers need."""
    rows = in_digest_order(context.test.ids)[:ASKED]
    pixels, targets = context.pixels[rows], context.targets[rows]
    right = (problem.outcome(pixels, targets) < 0.5).nonzero()[:, 0]
    if not len(right):
        return problem
    probes = probe(problem.forward, pixels[right], targets[right])
    random = probes["deterministic"].status == "fail"
    return replace(problem, probes=probes, draws=DRAWS if random else 1)


@dataclass(frozen=True)
class _Report:
    """The rows and columns of an attack."""

    assault: Assault
    name: str
    evidence: dict[str, Evidence]

    def rate(self, size: float, reference: bool) -> Measure:
        """Return the accuracy at a size with its interval, control and checks."""
        attack = self.assault.attack
        params: dict[str, Any] = {"attack": self.name, "norm": attack.norm, attack.size_name: size}
        failed = [item.sentence for item in self.evidence.values() if item.status == "fail"]
        return self._accuracy(
            "robust_accuracy",
            self.assault.right[size],
            params={**params, "reference": True} if reference else params,
            control=float(self.assault.control["random"][size].mean()),
            checks={check: item.status for check, item in self.evidence.items()},
            reason="; ".join(failed) or None,
        )

    def control_rates(self) -> list[Measure]:
        """Return the accuracy under every control, as rows of their own."""
        attack = self.assault.attack
        return [
            self._accuracy(
                "control_accuracy",
                held,
                params={"attack": self.name, "control": control, "norm": attack.norm, attack.size_name: size},
            )
            for control, by_size in self.assault.control.items()
            for size, held in by_size.items()
        ]

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

    def goal(self) -> str:
        """Return the class that the attack aims at."""
        return self.assault.context.data.info.classes[int(getattr(self.assault.attack, "goal", 0))]

    def columns(self) -> dict[str, Any]:
        """Return the per-sample outcomes: right on clean input, and right at every size."""
        kept = {"correct_clean": self.assault.clean}
        kept |= {f"robust@{float(size)!r}": held for size, held in self.assault.right.items()}
        whole = self.assault.problem.draws == 1
        columns = {name: np.asarray(held > 0.5) if whole else held for name, held in kept.items()}
        return {"id": list(self.assault.context.test.ids), **columns}

    def _accuracy(self, metric: str, held: Array, **fields: Any) -> Measure:
        """Return the share of right answers; of random answers the mean over samples of the share over draws."""
        context = self.assault.context
        if self.assault.problem.draws == 1:
            return context.kind.overall(metric, held > 0.5, **fields)
        fields["params"] = {**fields["params"], "draws": self.assault.problem.draws}
        return stats.mean_measure(metric, held, seed=context.seed, **fields)
