"""One attack on one model at every size: who still stands, who fell to what, and what a random change would do."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from suite.attacks.engine.base import Attack
from suite.attacks.engine.problem import Problem
from suite.attacks.engine.validation import validate, validate_and_score
from suite.attacks.rng import as_seeds
from suite.axes.base import Context
from suite.data.digests import in_digest_order
from suite.errors import AttackError
from suite.kinds.base import Array

TRAINING = 4096
"""Training samples at most that an attack may learn from."""


class AttackSweep:
    """One attack on one model: which samples still stand at which size.

    Attributes:
        right: by size, how often the model is still right about each sample, or how well it answers, (n,) in [0, 1].
        tally: by size, what each sample then contributes to the headline measure, (n, ...).
        control, control_tally: the same by name and size, under perturbations that know nothing of the model.
        adversarial: the input that fooled the model about each sample in its first size, or of the most damage;
            the clean one elsewhere.
        found_at: the size of that input, (n,); NaN where there is none.
        found_by: the stage of the attack that found it, (n,).
        spent: passes of the attack itself and of fitting it, without its controls and checks.
    """

    def __init__(self, context: Context, problem: Problem, attack: Attack) -> None:
        """Fit the attack, to training samples where it needs them, and ask for the clean answers."""
        self.context, self.problem = context, problem
        before = problem.passes.total
        self.attack = attack.fit(problem, self.training, seed=context.seed)
        self.spent = problem.passes.total - before
        damage, self.clean_tally = problem.outcome_and_tally(context.pixels, context.targets)
        self.clean = 1 - damage.double().cpu().numpy()
        self.right: dict[float, Array] = {}
        self.tally: dict[float, Array] = {}
        self.control: dict[str, dict[float, Array]] = {}
        self.control_tally: dict[str, dict[float, Array]] = {}
        count = len(self.clean)
        self.adversarial = context.pixels.clone()
        self.found_at = np.full(count, np.nan)
        self.found_by = np.full(count, "", dtype=object)
        self._nearest: tuple[Tensor, Tensor] | None = None

    def run(self) -> None:
        """Attack all sizes in turn, then apply the controls of the same sizes.

        A sample that always falls needs no larger size; one that falls by chance is attacked at every size.
        """
        standing, tally = self.clean.copy(), self.clean_tally.copy()
        self._nearest = self._measured_once(np.flatnonzero(standing > 0))
        for size in self.attack.sizes:
            rows = np.flatnonzero(standing > 0)
            share, tallies, moved, stages = self._attacked(self.attack, rows, size, keep=True)
            worse = self._worse(1 - share, standing[rows])
            standing[rows[worse]], tally[rows[worse]] = (1 - share)[worse], tallies[worse]
            self.right[size], self.tally[size] = standing.copy(), tally.copy()
            # What fooled the model in its first size stays, also where chance lets a larger one fail; where answers are
            # better or worse, what did the most damage does.
            graded = not self.context.kind.single_label
            fresh = worse if graded else (share > 0.5) & np.isnan(self.found_at[rows])
            self.found_at[rows[fresh]], self.found_by[rows[fresh]] = size, stages[fresh]
            shown = fresh | np.isnan(self.found_at[rows])
            tried = torch.from_numpy(rows[shown]).to(moved.device)
            self.adversarial[tried] = moved[torch.from_numpy(shown).to(moved.device)]
        for name in self.attack.controls():
            self.control[name], self.control_tally[name] = self._controlled(name)

    def attacked(self, attack: Attack, rows: Array, size: float) -> Array:
        """Return how wrong the model is about each row at a size, attacked from scratch and checked by the gate."""
        return self._attacked(attack, rows, size)[0]

    def _worse(self, quality: Array, before: Array) -> Array:
        """Return where an answer replaces one from a smaller size: of answers that are not random the worst counts."""
        return np.asarray(quality < before) if self.problem.draws == 1 else np.ones(len(quality), dtype=bool)

    def shifts(self) -> tuple[dict[str, Array], dict[str, Array]]:
        """Return how far the attack at its largest size, and the random control, moved what lies behind the answers."""
        kind, output = self.context.kind, self.context.outcomes.output
        if not kind.latent_shift(output[:1], output[:1]):
            return {}, {}
        everyone = np.arange(len(self.clean))
        moved = (self.adversarial, self._changed("random", everyone, self.attack.sizes[-1]))
        found = [dict(kind.latent_shift(output, self._answers(points))) for points in moved]
        return found[0], found[1]

    def _answers(self, points: Tensor) -> Array:
        with torch.no_grad():
            parts = [
                self.problem.forward(points[rows]).float().cpu().numpy() for rows in self.problem.chunks(len(points))
            ]
        return np.concatenate(parts)

    def audited(self, count: int) -> Array:
        """Return the rows of the right samples that the checks run on."""
        order = [row for row in in_digest_order(self.context.test.ids) if self.clean[row] > 0.5]
        return np.array(order[:count], dtype=int)

    def pixels(self, rows: Array) -> tuple[Tensor, Tensor]:
        """Return pixels and targets of some rows; copies, so that nobody can move what they are compared with."""
        chosen = torch.from_numpy(rows).to(self.context.device)
        return self.context.pixels[chosen], self.context.targets[chosen]

    def seeds(self, purpose: str, rows: Sequence[int] | Array) -> Tensor:
        """Return the seeds of some samples for one purpose."""
        return as_seeds(self.context.sample_seeds(purpose, [int(row) for row in rows]), self.context.device)

    def reached(self, size: float, *, control: bool = False) -> Array | None:
        """Return how often each sample that is not of the attack's goal is taken for it, (k,); None without a goal."""
        goal, succeeded = getattr(self.attack, "goal", None), getattr(self.attack, "succeeded", None)
        if goal is None or succeeded is None:
            return None
        if not self.context.kind.single_label:
            raise AttackError(f"goal={goal}: only samples with one label can be made to look like one class.")
        rows = np.flatnonzero(self.context.targets.cpu().numpy() != goal)
        pixels, targets = self.pixels(rows)
        if control:
            moved = self._changed("random", rows, size)
        else:
            seeds = self.seeds(f"attack {float(size)!r}", rows)
            moved = self.attack.perturb(self.problem, pixels, targets, size, seeds)
        validate(self.problem, self.attack, pixels, moved, targets, size)  # refuses what breaks the rules
        return np.asarray(succeeded(self.problem, moved, targets).double().cpu().numpy())

    @property
    def reference(self) -> float:
        """The size in the middle, at which attacks are compared."""
        return self.attack.sizes[len(self.attack.sizes) // 2]

    def training(self) -> tuple[Tensor, Tensor]:
        """Return training pixels and targets, at most `TRAINING` of them."""
        train, device = self.context.data.train, self.context.device
        train = train.take(in_digest_order(train.ids)[:TRAINING]) if len(train) > TRAINING else train
        shown = torch.from_numpy(self.context.model.inputs(train)).to(device)
        return shown, torch.from_numpy(train.targets).to(device)

    def _attacked(
        self, attack: Attack, rows: Array, size: float, *, keep: bool = False
    ) -> tuple[Array, Array, Tensor, Array]:
        """Return the damage to each row, its tally, its point, and the stage that found it."""
        shares, tallies, stages = [np.zeros(0)], [self.clean_tally[:0]], [np.zeros(0, dtype=object)]
        points = [torch.zeros_like(self.context.pixels[:0])]
        label = f"{type(attack).__name__} {self.attack.size_name} {size:.3g}"
        # The whole set at once, because what an attack spends on a sample may depend on how the others stand.
        for chosen in self.context.batches(rows, label, getattr(attack, "group", None) or max(1, len(rows))):
            before = self.problem.passes.total
            if keep and self._nearest is not None:
                moved, found_by = self._within(chosen, size)
            else:
                moved, found_by = self._moved(attack, chosen, size)
            self.spent += keep * (self.problem.passes.total - before)
            pixels, targets = self.pixels(chosen)
            damage, tally = validate_and_score(self.problem, self.attack, pixels, moved, targets, size)
            shares.append(damage.double().cpu().numpy())
            tallies.append(tally)
            points.append(moved)
            stages.append(found_by)
        return np.concatenate(shares), np.concatenate(tallies), torch.cat(points), np.concatenate(stages)

    def _moved(self, attack: Attack, rows: Array, size: float) -> tuple[Tensor, Array]:
        pixels, targets = self.pixels(rows)
        seeds = self.seeds(f"attack {float(size)!r}", rows)
        explored = getattr(attack, "explored", None)
        if explored is None:
            name = np.full(len(rows), type(attack).__name__.lower(), dtype=object)
            return attack.perturb(self.problem, pixels, targets, size, seeds).detach(), name
        search, names = explored(self.problem, pixels, targets, size, seeds)
        told = np.array([*names, ""], dtype=object)
        return search.best, told[search.rung.cpu().numpy()]

    def _measured_once(self, rows: Array) -> tuple[Tensor, Tensor] | None:
        """Return the nearest points (n, ...) that fool the model and their distances, if the attack looks for those."""
        smallest = getattr(self.attack, "smallest", None)
        if smallest is None:
            return None
        pixels, targets = self.pixels(rows)
        chosen = torch.from_numpy(rows).to(pixels.device)
        nearest = self.context.pixels.clone()
        distance = torch.full((len(nearest),), torch.inf, dtype=torch.float64, device=pixels.device)
        nearest[chosen], distance[chosen] = smallest(self.problem, pixels, targets, self.seeds("smallest", rows))
        return nearest, distance

    def _within(self, rows: Array, size: float) -> tuple[Tensor, Array]:
        """Return the nearest points where they lie within a size, the clean ones elsewhere."""
        chosen = torch.from_numpy(rows).to(self.context.device)
        nearest, distance = (part[chosen] for part in self._nearest or ())
        clean = self.pixels(rows)[0]
        inside = (distance <= size).view(-1, *(1,) * (clean.ndim - 1))
        return torch.where(inside, nearest, clean), np.full(len(rows), type(self.attack).__name__.lower(), dtype=object)

    def _controlled(self, name: str) -> tuple[dict[float, Array], dict[float, Array]]:
        """Return what a control of each size leaves right; it faces the same worst case: all sizes up to this one."""
        everyone = np.arange(len(self.clean))
        pixels, targets = self.pixels(everyone)
        held, tallies = self.clean.copy(), self.clean_tally.copy()
        by_size: dict[float, Array] = {}
        tally_by_size: dict[float, Array] = {}
        for size in self.attack.sizes:
            moved = self._changed(name, everyone, size)
            damage, tally = validate_and_score(self.problem, self.attack, pixels, moved, targets, size)
            right = 1 - damage.double().cpu().numpy()
            worse = self._worse(right, held)
            held[worse], tallies[worse] = right[worse], tally[worse]
            by_size[size], tally_by_size[size] = held.copy(), tallies.copy()
        return by_size, tally_by_size

    def _changed(self, control: str, rows: Array, size: float) -> Tensor:
        """Return some rows under a control, batch by batch: it takes several times the memory of its samples."""
        perturb, parts = self.attack.controls()[control], [self.context.pixels[:0]]
        for batch in self.problem.chunks(len(rows)):
            seeds = self.seeds(f"attack {float(size)!r}", rows[batch])
            parts.append(perturb(self.pixels(rows[batch])[0], size, seeds))
        return torch.cat(parts)


def gallery_arrays(assault: AttackSweep, reference: float) -> dict[str, Any]:
    """Return images before and after, with what the model said; what was not fooled shows the largest try."""
    context, rows = assault.context, assault.context.gallery
    small, kind = context.test.take(rows), context.kind
    tried = np.where(assault.clean[rows] > 0, assault.attack.sizes[-1], 0.0)  # what was wrong anyway was not attacked
    moved = assault.adversarial[torch.tensor(rows, device=context.device)]
    with context.model.frozen(), torch.no_grad():
        after = kind.output_arrays(context.model(moved).float().cpu().numpy())
    found_at = assault.found_at[rows]
    arrays = {
        "ids": np.array(small.ids),
        "clean": context.pixels[torch.tensor(rows, device=context.device)].cpu().numpy(),
        "adversarial": moved.cpu().numpy(),
        "eps": np.where(np.isnan(found_at), tried, found_at),
        "label": small.targets,
        **{f"clean_{name}": values for name, values in kind.output_arrays(context.outcomes.output[rows]).items()},
        **{f"adversarial_{name}": values for name, values in after.items()},
    }
    patches = dict(getattr(assault.attack, "_patches", ()))
    return {**arrays, "patch": patches[reference].cpu().numpy()} if patches else arrays


def found(assault: AttackSweep) -> dict[str, Any]:
    """Return every input that fooled the model, with its sample, its size and what found it, for `suite verify`."""
    rows = np.flatnonzero(~np.isnan(assault.found_at))
    return {
        "found": assault.adversarial[torch.from_numpy(rows).to(assault.context.device)].cpu().numpy(),
        "found_id": np.array([assault.context.test.ids[row] for row in rows], dtype=str),
        "found_size": assault.found_at[rows],
        "found_rung": assault.found_by[rows].astype(str),
    }
