"""Checks that an attack was applied correctly and is strong; stored with every robust accuracy.

Every check is a pure function of stored columns and facts: `suite.axes.robustness.audit` runs the attacks on the audit
samples, and the functions here judge their results.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.stats import binomtest, fisher_exact

from suite.axes.robustness.misses import SIGNIFICANT, fewest_losses, is_significant, smallest_miss
from suite.axes.robustness.stored import RANDOM, Stored
from suite.kinds.base import Array
from suite.kinds.logits import CHECK as OUTPUTS_ARE_LOGITS
from suite.kinds.logits import NOT_LOGITS
from suite.metrics.table import Table
from suite.types import Check

NOTABLE = 0.1
"""Smallest difference in damage to a sample that counts as a difference between two attacks."""

GRADED_CHANCE = 0.1
"""Share of samples that may stay mostly correct under an attack with every input allowed, where outcomes are graded."""

CHECKS = (
    "eps0_equals_clean",
    "falls_with_eps",
    "chance_at_large_eps",
    "more_steps_never_help",
    "more_steps_find_no_more",
    "single_step_finds_no_more",
    "queries_find_no_more",
    "transfer_finds_no_more",
    "misses_seen",
    "random_does_less",
)
"""Checks of every attack, in addition to the probes of the model (`suite.attacks.diagnostics.probes.PROBES`)."""

NOTHING_TO_ATTACK = "the model predicts no sample correctly, so there is nothing to attack"
"""Reason of checks and measures without a sample to attack."""

NOTHING_AUDITED = "no sample was audited, so a miss of any size went unseen"
"""Reason of checks without an audit sample."""

SIZE_0, DOUBLED, UNLIMITED = "size 0", "twice the steps", "unlimited"
"""Conditions of the attack itself on the audit samples, besides its sizes."""

OTHERS = {
    "single_step_finds_no_more": "fgsm",
    "queries_find_no_more": "square",
    "transfer_finds_no_more": "transfer",
}
"""The checks that compare with another attack, and its name."""


@dataclass(frozen=True)
class Evidence:
    """The result of one check, with a sentence that explains it."""

    status: Check
    sentence: str


def judge(table: Table) -> dict[str, Evidence]:
    """Return every check of an attack, from its columns and facts alone."""
    stored = Stored(table)
    audited, probes = _Audit(stored), probe_evidence(stored) | scale_evidence(stored)
    if not len(audited.clean):
        reason = NOTHING_AUDITED if table.facts["passes"]["attacked"] else NOTHING_TO_ATTACK
        return dict.fromkeys(CHECKS, Evidence("n/a", reason)) | probes | training_evidence(stored)
    chance = audited.chance_at_large_eps()
    return {
        "eps0_equals_clean": audited.eps0_equals_clean(),
        "falls_with_eps": audited.falls_with_eps(),
        "chance_at_large_eps": chance,
        **audited.twice_the_steps(),
        **{check: audited.finds_no_more(other) for check, other in OTHERS.items()},
        "misses_seen": audited.misses_seen(),
        "random_does_less": random_does_less(stored, works=chance.status == "pass"),
        **probes,
        **training_evidence(stored),
    }


def training_evidence(stored: Stored) -> dict[str, Evidence]:
    """Return what is known of how far the seed of a training moves the numbers; nothing for attacks without one."""
    if stored.seeds is None:
        return {}
    if stored.seeds == 1:
        unknown = "trained with one seed; how far another seed moves the numbers is not known, seeds=3 measures it"
        return {"training_seeds": Evidence("n/a", unknown)}
    sentence = (
        f"numbers are means over {stored.seeds} seeds of the training, and their intervals include the spread between "
        "these; checks and stored inputs are those of the first seed"
    )
    return {"training_seeds": Evidence("pass", sentence)}


def miss_seen(stored: Stored) -> float | None:
    """Return the smallest miss that the comparisons with other attacks see nine times in ten, in [0, 1].

    It is None if nothing was audited, no comparison was made, or the audit samples are too few.
    """
    return _Audit(stored).smallest_miss()


def probe_evidence(stored: Stored) -> dict[str, Evidence]:
    """Return the probe results; a failed probe passes, with the reason, if the attack handles the problem."""
    handled = dict(stored.table.facts["workarounds"])
    if stored.draws > 1:
        draws = f"the model is stochastic: an outcome is the share of {stored.draws} draws"
        handled.setdefault("deterministic", draws)
    return {
        name: Evidence("pass", handled[name]) if name in handled else Evidence(status, sentence)
        for name, (status, sentence) in stored.table.facts["probes"].items()
    }


def scale_evidence(stored: Stored) -> dict[str, Evidence]:
    """Return that the outputs are no logits, unless they are or the attack handles it."""
    sentence = stored.table.facts.get(NOT_LOGITS)
    if sentence is None or OUTPUTS_ARE_LOGITS in stored.table.facts["workarounds"]:
        return {}
    return {OUTPUTS_ARE_LOGITS: Evidence("fail", sentence)}


class _Audit:
    """The damage that attacks do to the audit samples, all of which the model predicts correctly."""

    def __init__(self, stored: Stored) -> None:
        facts = stored.table.facts["audit"]
        self.stored, self.not_run, self.errors = stored, facts["not_run"], facts["errors"]
        self.clean = stored.audit("quality")
        self.size_name, self.reference = stored.attack["size_name"], stored.attack["reference"]

    def damage(self, attack: str) -> Array:
        """Return the damage of an attack, float64 (n,); NaN where it was not run."""
        return self.stored.audit("damage", attack=attack)

    def scratch(self, size: float) -> Array:
        """Return the damage of the attack itself from scratch at a size, float64 (n,)."""
        return self.stored.audit("damage", size=size)

    def skipped(self, attack: str) -> Evidence | None:
        """Return why an attack was not run; None if it was."""
        return Evidence("n/a", self.not_run[attack]) if attack in self.not_run else None

    def eps0_equals_clean(self) -> Evidence:
        """Judge the attack at size zero: every correctly predicted sample must stay correct."""
        if skipped := self.skipped(SIZE_0):
            return skipped
        if SIZE_0 in self.errors:
            return Evidence("fail", f"the attack raised an error at size 0: {self.errors[SIZE_0]}")
        damage = self.damage(SIZE_0)
        run = ~np.isnan(damage)
        total = int(run.sum())
        misclassified = int(newly_wrong(damage[run], self.clean[run], self.stored.draws).sum())
        if misclassified:
            return Evidence("fail", f"at size 0, {misclassified} of {total} correct predictions become wrong; none may")
        return Evidence("pass", f"at size 0 all {total} correct predictions stay correct")

    def falls_with_eps(self) -> Evidence:
        """Judge the attack from scratch at every size: a larger size must not succeed on fewer samples."""
        scratch = {size: self.scratch(size) for size in self.stored.sizes}
        counts = {size: misclassified(damage) for size, damage in scratch.items()}
        for small, large in pairwise(scratch):
            if less_damage(scratch[large], scratch[small]):
                return Evidence(
                    "fail",
                    f"from scratch, with a larger {self.size_name} the attack succeeds on fewer samples "
                    f"({counts[large]} at {large:.3g} after {counts[small]} at {small:.3g}): it overshoots",
                )
        found, total = ", ".join(map(str, counts.values())), len(self.clean)
        return Evidence("pass", f"from scratch, {found} of {total} are misclassified as the size grows")

    def chance_at_large_eps(self) -> Evidence:
        """Judge the attack with an unlimited size: accuracy must not be significantly above guessing."""
        if skipped := self.skipped(UNLIMITED):
            return skipped
        total = len(self.clean)
        correct = total - misclassified(self.damage(UNLIMITED))
        chance = GRADED_CHANCE if self.stored.graded else 1 / len(self.stored.table.facts["classes"])
        p_value = binomtest(correct, total, chance, alternative="greater").pvalue
        sentence = f"with unlimited perturbations, {correct} of {total} stay correct"
        return Evidence("fail" if p_value < SIGNIFICANT else "pass", sentence)

    def twice_the_steps(self) -> dict[str, Evidence]:
        """Judge the attack with twice the steps: the damage must not change significantly in either direction."""
        if skipped := self.skipped(DOUBLED):
            return {"more_steps_never_help": skipped, "more_steps_find_no_more": skipped}
        once, twice = self.scratch(self.reference), self.damage(DOUBLED)
        counts = f"{misclassified(twice)} instead of {misclassified(once)} of {len(once)}"
        sentence = f"with twice the steps the attack succeeds on {counts} at {self.size_name} {self.reference:.3g}"
        return {
            "more_steps_never_help": Evidence("fail" if less_damage(twice, once) else "pass", sentence),
            "more_steps_find_no_more": Evidence("fail" if less_damage(once, twice) else "pass", sentence),
        }

    def finds_no_more(self, other: str) -> Evidence:
        """Judge a weaker attack where the attack failed: with less knowledge it must not do much better."""
        if skipped := self.skipped(other):
            return skipped
        damage = self.scratch(self.reference)
        left = damage <= 0.5
        if not left.any():
            return Evidence("pass", "no sample survived the attack")
        if other in self.errors:
            return Evidence("n/a", f"the other attack could not be run: {self.errors[other]}")
        more, both = self.damage(other)[left], damage.copy()
        both[left] = np.maximum(more, damage[left])
        sentence = f"{other} succeeds on {misclassified(more)} of the {int(left.sum())} remaining samples"
        return Evidence("fail" if less_damage(damage, both) else "pass", sentence)

    def smallest_miss(self) -> float | None:
        """Return the smallest miss that a comparison sees nine times in ten; None if none can see any."""
        won = self._won()
        return None if won is None else smallest_miss(len(self.clean), won)

    def misses_seen(self) -> Evidence:
        """Say how large a miss the comparisons with other attacks would have seen."""
        total, won, share = len(self.clean), self._won(), self.smallest_miss()
        at = f"at {self.size_name} {self.reference:.3g}"
        if misclassified(self.scratch(self.reference)) == total:
            return Evidence(
                "pass", f"{at} the attack succeeded on all {total} audited samples, so it missed none of them"
            )
        if won is None:
            return Evidence("n/a", "no check compares the attack with another one, so a miss of any size went unseen")
        if share is None:
            few = f"{total} audited samples are too few to see a miss; at least {fewest_losses(won)} are needed"
            return Evidence("n/a", few)
        return Evidence(
            "pass",
            f"{at}, a miss of {100 * share:.1f} points or more would have been seen nine times in ten, with {total} "
            "audited samples; a miss is the share of samples on which the attack fails although another one succeeds",
        )

    def _won(self) -> int | None:
        """Return on how many samples the attack does more than the one it is compared with; None without a comparison.

        Attacks that run where the attack failed cannot do less; twice the steps can.
        """
        if any(other not in self.not_run and other not in self.errors for other in OTHERS.values()):
            return 0
        if DOUBLED in self.not_run:
            return None
        return _differences(self.damage(DOUBLED), self.scratch(self.reference), NOTABLE)[0]


def random_does_less(stored: Stored, *, works: bool) -> Evidence:
    """Compare with random perturbations of equal size, by paired tests at every size.

    Args:
        stored: the attack.
        works: whether the attack succeeds with unlimited perturbations. If it does, an attack without success at these
            sizes may simply face a robust model.
    """
    name, sizes = stored.attack["size_name"], stored.sizes
    random, attacked = ({size: _outcomes(stored, size, control) for size in sizes} for control in (RANDOM, ""))
    # For graded outcomes many small differences count as much as a few large ones.
    notable = 0.0 if stored.graded else NOTABLE
    pairs = [(size, 1 - attacked[size], 1 - random[size]) for size in sizes]
    if worse := [f"{name} {size:.3g}" for size, damage, control in pairs if less_damage(damage, control, notable)]:
        return Evidence("fail", f"random perturbations did more damage than the attack at {', '.join(worse)}")
    more = any(less_damage(control, damage, notable) for _, damage, control in pairs)
    clean = stored.quality(0)
    succeeds = any(((clean > 0.5) & (quality <= 0.5)).any() for quality in attacked.values())
    if not works and not (more and not notable) and not succeeds:
        outcome = "succeeded on no sample" if notable else "did no more damage than random perturbations"
        return Evidence("fail", f"the attack {outcome} at any size, so there is no evidence that it works")
    gaps = ", ".join(f"{100 * float(random[size].mean() - attacked[size].mean()):.1f}" for size in sizes)
    sentence = f"at increasing sizes, the attack does {gaps} points more damage than random perturbations of equal size"
    if more:
        return Evidence("pass", sentence)
    return Evidence("n/a", f"{sentence}; at this n the difference is not significant")


def _outcomes(stored: Stored, size: float, control: str) -> Array:
    """Return the quality of each sample; a stochastic model counts as correct if most draws are."""
    quality = stored.quality(size, control)
    return np.asarray(quality > 0.5, np.float64) if stored.draws > 1 else quality


def newly_wrong(damage: Array, clean: Array, draws: int) -> Array:
    """Return which correctly predicted samples become wrong, bool (n,); for a stochastic model, which significantly.

    Draws of a stochastic model are compared by Fisher's exact one-sided test with Bonferroni's correction.

    Args:
        damage: share of wrong draws under attack, (n,).
        clean: share of correct draws without attack, (n,).
        draws: number of draws.
    """
    if draws == 1:
        return np.asarray(damage - (1 - clean) > NOTABLE)
    wrong = np.rint(draws * np.stack([damage, 1 - clean], axis=1)).astype(int)
    p_values = [fisher_exact([pair, draws - pair], alternative="greater").pvalue for pair in wrong]
    return np.array(p_values) < SIGNIFICANT / len(damage)


def misclassified(damage: Array) -> int:
    """Return how many samples have a damage above 0.5."""
    return int((damage > 0.5).sum())


def less_damage(damage: Array, before: Array, notable: float = NOTABLE) -> bool:
    """Return whether an attack did significantly less damage than another, by the exact one-sided sign test.

    Only samples with a notable difference count. If damage is 0 or 1, this is McNemar's exact test.
    """
    return is_significant(*_differences(damage, before, notable))


def _differences(damage: Array, before: Array, notable: float) -> tuple[int, int]:
    """Return on how many samples an attack did notably less damage than another, and notably more."""
    return int((before - damage > notable).sum()), int((damage - before > notable).sum())


def as_facts(evidence: dict[str, Evidence]) -> dict[str, Any]:
    """Return checks as JSON values: status and sentence by name."""
    return {name: [item.status, item.sentence] for name, item in evidence.items()}
