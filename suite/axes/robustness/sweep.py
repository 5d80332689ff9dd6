"""One attack on the samples of one cohort at every size, with its random controls."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from suite.attacks.engine.base import Attack
from suite.attacks.engine.problem import Problem
from suite.attacks.engine.validation import validate, validate_and_score
from suite.attacks.rng import as_seeds
from suite.axes.base import Context
from suite.kinds.base import Array, Outcomes


class AttackSweep:
    """One attack on one cohort: on which samples it succeeds at which size.

    Attributes:
        attack: the attack, fitted if it needs to be.
        graded: whether predictions are better or worse, instead of right or wrong.
        quality: by size, the share of draws in which each sample is predicted correctly under attack, or the quality
            of its prediction, (n,) in [0, 1].
        tally: by size, what each sample contributes to the headline measure under attack, (n, ...).
        control, control_tally: the same by name and size, under perturbations that do not depend on the model.
        adversarial: for each sample the adversarial example of the smallest size, or the one of the most damage; the
            last attempt where the attack failed, and the clean input where it was not attacked.
        found_at: the size of the adversarial example, (n,); NaN where there is none.
        found_by: the stage of the attack that found it, (n,).
        spent: passes of the attack, without controls and checks.
    """

    def __init__(self, context: Context, problem: Problem, attack: Attack) -> None:
        self.context, self.problem, self.attack = context, problem, attack
        self.graded = context.kind.scoring.outcome.type == "graded"
        self.spent = 0
        self.clean, self.clean_tally = self._without_attack()
        self.quality: dict[float, Array] = {}
        self.tally: dict[float, Array] = {}
        self.control: dict[str, dict[float, Array]] = {}
        self.control_tally: dict[str, dict[float, Array]] = {}
        count = len(self.clean)
        self.adversarial = context.pixels.clone()
        self.found_at = np.full(count, np.nan)
        self.found_by = np.full(count, "", dtype=object)
        self._nearest: tuple[Tensor, Tensor] | None = None

    def _without_attack(self) -> tuple[Array, Array]:
        """Return quality and tally of the clean samples; a deterministic model has been run on them before."""
        context, problem = self.context, self.problem
        if problem.draws > 1:
            damage, tally = problem.outcome_and_tally(context.pixels, context.targets)
        else:
            damage, tally = problem.judged(torch.from_numpy(context.output).to(context.device), context.targets)
        return 1 - damage.double().cpu().numpy(), tally

    def run(self) -> None:
        """Attack all sizes in turn, then apply the controls of the same sizes."""
        self.attack_all()
        for name in self.attack.controls():
            self.control[name], self.control_tally[name] = self._controlled(name)

    def attack_all(self) -> None:
        """Attack all sizes in turn.

        A sample that is always misclassified is not attacked at larger sizes; one that is misclassified in some draws
        only is attacked at every size.
        """
        quality, tally = self.clean.copy(), self.clean_tally.copy()
        before = self.problem.passes.total
        self._nearest = self._find_nearest(np.flatnonzero(quality > 0))
        self.spent += self.problem.passes.total - before
        for size in self.attack.sizes:
            rows = np.flatnonzero(quality > 0)
            damage, tallies, moved, stages = self._attacked(self.attack, rows, size, keep=True)
            worse = self._worse(1 - damage, quality[rows])
            quality[rows[worse]], tally[rows[worse]] = (1 - damage)[worse], tallies[worse]
            self.quality[size], self.tally[size] = quality.copy(), tally.copy()
            # An adversarial example stays, even if the model happens to be correct at a larger size. For graded
            # outcomes the example of the most damage is kept.
            fresh = worse if self.graded else (damage > 0.5) & np.isnan(self.found_at[rows])
            self.found_at[rows[fresh]], self.found_by[rows[fresh]] = size, stages[fresh]
            kept = fresh | np.isnan(self.found_at[rows])
            chosen = torch.from_numpy(rows[kept]).to(moved.device)
            self.adversarial[chosen] = moved[torch.from_numpy(kept).to(moved.device)]

    def attacked(self, attack: Attack, rows: Array, size: float) -> Array:
        """Return the damage to each row at a size, (k,) in [0, 1], attacked from scratch and validated."""
        return self._attacked(attack, rows, size)[0]

    def _worse(self, quality: Array, before: Array) -> Array:
        """Return which outcomes replace those of a smaller size: worse ones, or all for a stochastic model."""
        return np.asarray(quality < before) if self.problem.draws == 1 else np.ones(len(quality), dtype=bool)

    def outcomes(self, *, control: bool = False) -> Outcomes:
        """Return the outcomes under the attack of the largest size, or under the random control."""
        points = self.adversarial
        if control:
            points = self._changed("random", np.arange(len(self.clean)), self.attack.sizes[-1])
        with torch.no_grad():
            parts = [
                self.problem.forward(points[rows]).float().cpu().numpy() for rows in self.problem.chunks(len(points))
            ]
        return replace(self.context.outcomes, output=np.concatenate(parts), read=lambda: points)

    def pixels(self, rows: Array) -> tuple[Tensor, Tensor]:
        """Return pixels and targets of some rows, as copies that an attack may modify."""
        chosen = torch.from_numpy(rows).to(self.context.device)
        return self.context.pixels[chosen], self.context.targets[chosen]

    def seeds(self, purpose: str, rows: Sequence[int] | Array) -> Tensor:
        """Return the seeds of some samples for one purpose."""
        return as_seeds(self.context.sample_seeds(purpose, rows), self.context.device)

    def reached(self, size: float, *, control: bool = False) -> Array:
        """Return how often each sample is predicted as the target class, (n,); NaN for samples of this class."""
        rows = np.flatnonzero(self.context.targets.cpu().numpy() != self.attack.goal)
        pixels, targets = self.pixels(rows)
        if control:
            moved = self._changed("random", rows, size)
        else:
            seeds = self.seeds(f"attack {float(size)!r}", rows)
            moved = self.attack.perturb(self.problem, pixels, targets, size, seeds)
        validate(self.problem, self.attack, pixels, moved, targets, size)  # raises if a constraint is violated
        shares = np.full(len(self.clean), np.nan)
        succeeded = self.attack.succeeded(self.problem, moved, targets)
        if succeeded is not None:
            shares[rows] = succeeded.double().cpu().numpy()
        return shares

    @property
    def found(self) -> Array:
        """The rows with an adversarial example, ascending."""
        return np.flatnonzero(~np.isnan(self.found_at))

    def _attacked(
        self, attack: Attack, rows: Array, size: float, *, keep: bool = False
    ) -> tuple[Array, Array, Tensor, Array]:
        """Return the damage to each row, its tally, its perturbed input, and the stage that found it."""
        pixels, targets = self.pixels(rows)
        if not len(rows):
            return np.zeros(0), self.clean_tally[:0], pixels, np.zeros(0, dtype=object)
        before = self.problem.passes.total
        if keep and self._nearest is not None:
            moved, found_by = self._within(rows, size)
        else:
            moved, found_by = self._moved(attack, rows, size)
        self.spent += keep * (self.problem.passes.total - before)
        damage, tally = validate_and_score(self.problem, self.attack, pixels, moved, targets, size)
        return damage.double().cpu().numpy(), tally, moved, found_by

    def _moved(self, attack: Attack, rows: Array, size: float) -> tuple[Tensor, Array]:
        pixels, targets = self.pixels(rows)
        seeds = self.seeds(f"attack {float(size)!r}", rows)
        explored = attack.explored(self.problem, pixels, targets, size, seeds)
        if explored is None:
            name = np.full(len(rows), type(attack).__name__.lower(), dtype=object)
            return attack.perturb(self.problem, pixels, targets, size, seeds).detach(), name
        search, names = explored
        stages = np.array([*names, ""], dtype=object)
        return search.best, stages[search.rung.cpu().numpy()]

    def _find_nearest(self, rows: Array) -> tuple[Tensor, Tensor] | None:
        """Return the nearest adversarial examples (n, ...) and their distances (n,), if the attack minimizes these."""
        pixels, targets = self.pixels(rows)
        smallest = self.attack.smallest(self.problem, pixels, targets, self.seeds("smallest", rows))
        if smallest is None:
            return None
        chosen = torch.from_numpy(rows).to(pixels.device)
        nearest = self.context.pixels.clone()
        distance = torch.full((len(nearest),), torch.inf, dtype=torch.float64, device=pixels.device)
        nearest[chosen], distance[chosen] = smallest
        return nearest, distance

    def _within(self, rows: Array, size: float) -> tuple[Tensor, Array]:
        """Return the nearest adversarial examples where they lie within a size, else the clean inputs."""
        chosen = torch.from_numpy(rows).to(self.context.device)
        nearest, distance = (part[chosen] for part in self._nearest or ())
        clean = self.pixels(rows)[0]
        inside = (distance <= size).view(-1, *(1,) * (clean.ndim - 1))
        return torch.where(inside, nearest, clean), np.full(len(rows), type(self.attack).__name__.lower(), dtype=object)

    def _controlled(self, name: str) -> tuple[dict[float, Array], dict[float, Array]]:
        """Return quality and tally by size under a control: the worst case over all sizes up to each one."""
        quality, tallies = self.clean.copy(), self.clean_tally.copy()
        # What is wrong without a perturbation stays wrong: the outcome is the worst case up to each size.
        rows = np.flatnonzero(quality > 0) if self.problem.draws == 1 else np.arange(len(quality))
        pixels, targets = self.pixels(rows)
        quality_by_size: dict[float, Array] = {}
        tally_by_size: dict[float, Array] = {}
        for size in self.attack.sizes:
            moved = self._changed(name, rows, size)
            damage, tally = validate_and_score(self.problem, self.attack, pixels, moved, targets, size)
            current = 1 - damage.double().cpu().numpy()
            worse = self._worse(current, quality[rows])
            quality[rows[worse]], tallies[rows[worse]] = current[worse], tally[worse]
            quality_by_size[size], tally_by_size[size] = quality.copy(), tallies.copy()
        return quality_by_size, tally_by_size

    def _changed(self, control: str, rows: Array, size: float) -> Tensor:
        """Return some rows under a control, in batches to limit memory."""
        perturb, parts = self.attack.controls()[control], [self.context.pixels[:0]]
        for batch in self.problem.chunks(len(rows)):
            seeds = self.seeds(f"attack {float(size)!r}", rows[batch])
            parts.append(perturb(self.pixels(rows[batch])[0], size, seeds))
        return torch.cat(parts)
