"""Adversarial robustness: what is left of the accuracy when somebody interferes, and how sure we are that they tried.

The list of sizes is attacked from small to large, and only samples that are still right: an input that was found at a
small size lies inside every larger one, so that the curve is the worst case so far. Evidence comes from runs of their
own on a small audit set, where every size is attacked from scratch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from suite import stats
from suite.attacks.engine import Attack, Problem
from suite.attacks.gate import judged
from suite.axes.audit import Evidence, audit
from suite.axes.base import Context, Finding, in_digest_order
from suite.kinds.base import Array
from suite.registry import register, resolve
from suite.spec import Spec
from suite.types import Measure


@register("axis", name="robustness")
@dataclass(frozen=True)
class Robustness:
    """Accuracy against one attack over a list of sizes.

    Attributes:
        attack: spec of the attack.
        audit: how many right samples the checks run on.
    """

    attack: Spec | str = "pgd"
    audit: int = 64

    def measure(self, context: Context) -> Finding:
        """Attack every right sample at every size, check the attack, and keep a gallery."""
        entry, spec = resolve("attack", self.attack)
        problem = Problem.of(context.kind, context.model)
        with context.model.frozen():
            attack: Attack = fitted(entry.build(spec), problem, context)
            assault = Assault(context, problem, attack)
            assault.run()
            evidence = audit(assault, assault.audited(self.audit))
        reference = attack.sizes[len(attack.sizes) // 2]
        measures = [assault.rate(size, spec.name, evidence, size == reference) for size in attack.sizes]
        details = {
            "attack": spec.name,
            "spec": str(spec),
            "norm": attack.norm,
            "size_name": attack.size_name,
            "curve": assault.curve(),
            "checks": {name: [item.status, item.sentence] for name, item in evidence.items()},
        }
        return Finding(
            [*measures, *assault.control_rates(spec.name)], assault.columns(), details, assault.gallery(reference)
        )


def fitted(attack: Attack, problem: Problem, context: Context) -> Attack:
    """Return the attack, fitted to training samples where it needs them."""

    def training() -> tuple[Tensor, Tensor]:
        train = context.data.train
        return torch.from_numpy(train.pixels()).to(context.device), torch.from_numpy(train.targets).to(context.device)

    return attack.fit(problem, training, seed=context.seed)


class Assault:
    """One attack on one model: which samples still stand at which size."""

    def __init__(self, context: Context, problem: Problem, attack: Attack) -> None:
        self.context, self.problem, self.attack = context, problem, attack
        self.clean = self._in_batches(np.arange(len(context.test)), "clean", problem.outcome)
        self.right: dict[float, Array] = {}
        self.control: dict[str, dict[float, Array]] = {}
        self.adversarial = context.pixels[context.gallery].clone()
        self.found_at = np.full(len(context.gallery), np.nan)

    def run(self) -> None:
        """Attack all sizes in turn, then apply the controls of the same sizes."""
        standing = self.clean.copy()
        for size in self.attack.sizes:
            rows = np.flatnonzero(standing)
            fooled = self.attacked(self.attack, rows, size, keep=True)
            standing[rows[fooled]] = False
            self.right[size] = standing.copy()
        everyone = np.arange(len(self.clean))
        for name, perturb in self.attack.controls().items():
            self.control[name] = {}
            for size in self.attack.sizes:

                def controlled(pixels: Tensor, targets: Tensor, rows: Array, size: float = size) -> Tensor:
                    moved = perturb(pixels.clone(), size, self.seeds(size, rows))  # noqa: B023  # called before the next turn
                    return judged(self.problem, self.attack, pixels, moved, targets, size)

                held = ~self._by_rows(everyone, f"{name} control", controlled)
                # The control faces the same worst case as the attack: all sizes up to this one.
                smaller = list(self.control[name].values())
                self.control[name][size] = held & smaller[-1] if smaller else held & self.clean

    def attacked(self, attack: Attack, rows: Array, size: float, *, keep: bool = False) -> Array:
        """Return which of the rows are fooled at a size, attacked from scratch and checked by the gate, bool."""

        def one(pixels: Tensor, targets: Tensor, chosen: Array) -> Tensor:
            # Copies, so that an attack that works in place cannot move what it is compared with.
            moved = attack.perturb(self.problem, pixels.clone(), targets.clone(), size, self.seeds(size, chosen))
            fooled = judged(self.problem, self.attack, pixels, moved, targets, size)
            if keep:
                self._keep(chosen, moved, fooled, size)
            return fooled

        return self._by_rows(rows, f"{type(attack).__name__} {self.attack.size_name} {size:.3g}", one)

    def audited(self, count: int) -> Array:
        """Return the rows of the right samples that the checks run on."""
        order = [row for row in in_digest_order(self.context.test.ids) if self.clean[row]]
        return np.array(order[:count], dtype=int)

    def seeds(self, size: float, rows: Sequence[int] | Array) -> list[int]:
        """Return the seeds of some samples for one size."""
        return self.context.sample_seeds(f"attack {float(size)!r}", [int(row) for row in rows])

    def rate(self, size: float, name: str, evidence: dict[str, Evidence], reference: bool) -> Measure:
        """Return the accuracy at a size with its interval, control and checks."""
        params: dict[str, Any] = {"attack": name, "norm": self.attack.norm, self.attack.size_name: size}
        failed = [item.sentence for item in evidence.values() if item.status == "fail"]
        return self.context.kind.overall(
            "robust_accuracy",
            self.right[size],
            params={**params, "reference": True} if reference else params,
            control=float(self.control["random"][size].mean()),
            checks={check: item.status for check, item in evidence.items()},
            reason="; ".join(failed) or None,
        )

    def control_rates(self, name: str) -> list[Measure]:
        """Return the accuracy under every control, as rows of their own."""
        return [
            self.context.kind.overall(
                "control_accuracy",
                held,
                params={"attack": name, "control": control, "norm": self.attack.norm, self.attack.size_name: size},
            )
            for control, by_size in self.control.items()
            for size, held in by_size.items()
        ]

    def curve(self) -> list[dict[str, float]]:
        """Return accuracy with interval, and every control's, from size zero on."""
        points = []
        for size in (0.0, *self.attack.sizes):
            point = {"size": float(size), **_band("accuracy", self.right.get(size, self.clean))}
            for name, held in self.control.items():
                point |= _band(name, held.get(size, self.clean))
            points.append(point)
        return points

    def columns(self) -> dict[str, Any]:
        """Return the per-sample outcomes: right on clean input, and right at every size."""
        by_size = {f"robust@{float(size)!r}": held for size, held in self.right.items()}
        return {"id": list(self.context.test.ids), "correct_clean": self.clean, **by_size}

    def gallery(self, reference: float) -> dict[str, Any]:
        """Return images before and after, with what the model said; what was not fooled shows the largest try."""
        context, rows = self.context, self.context.gallery
        small = context.test.take(rows)
        tried = np.where(self.clean[rows], self.attack.sizes[-1], 0.0)  # what was wrong anyway was never attacked
        kind = context.kind
        before = kind.answer(kind.probabilities(context.outcomes.output[rows]))
        with context.model.frozen(), torch.no_grad():
            after = kind.answer(kind.probabilities(context.model(self.adversarial).float().cpu().numpy()))
        arrays = {
            "ids": np.array(small.ids),
            "clean": small.pixels(),
            "adversarial": self.adversarial.cpu().numpy(),
            "eps": np.where(np.isnan(self.found_at), tried, self.found_at),
            "label": small.targets,
            **{f"clean_{name}": values for name, values in before._asdict().items()},
            **{f"adversarial_{name}": values for name, values in after._asdict().items()},
        }
        patches = dict(getattr(self.attack, "_patches", ()))
        return {**arrays, "patch": patches[reference].cpu().numpy()} if patches else arrays

    def _keep(self, rows: Array, moved: Tensor, fooled: Tensor, size: float) -> None:
        for place, row in enumerate(self.context.gallery):
            for where in np.flatnonzero(rows == row):
                self.adversarial[place] = moved[where]
                self.found_at[place] = size if fooled[where] else np.nan

    def _in_batches(self, rows: Array, label: str, outcome: Any) -> Array:
        return ~self._by_rows(rows, label, lambda pixels, targets, _: outcome(pixels, targets))

    def _by_rows(self, rows: Array, label: str, judge: Any) -> Array:
        group = getattr(self.attack, "group", None)
        fooled = np.zeros(len(rows), dtype=bool)
        for places in self.context.batches(np.arange(len(rows)), label, group):
            chosen = torch.from_numpy(rows[places]).to(self.context.device)
            result = judge(self.context.pixels[chosen], self.context.targets[chosen], rows[places])
            fooled[places] = result.cpu().numpy()
        return fooled


def _band(name: str, held: Array) -> dict[str, float]:
    lo, hi = stats.wilson(int(held.sum()), len(held))
    return {name: float(held.mean()), f"{name}_lo": lo, f"{name}_hi": hi}
