"""Checks that an attack was applied correctly and is strong; stored with every robust accuracy."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from scipy.stats import binomtest, fisher_exact

from suite.attacks.constraints import NORMS, constraint
from suite.attacks.engine.base import Attack
from suite.attacks.images.gradient import FGSM
from suite.attacks.images.square import Square
from suite.attacks.images.transfer import Transfer
from suite.axes.robustness.sweep import NOTHING_TO_ATTACK, AttackSweep
from suite.errors import AttackError, SpecError
from suite.kinds.base import Array
from suite.types import Check

SIGNIFICANT = 0.01
"""Significance level of the tests on the audit set."""

NOTABLE = 0.1
"""Smallest difference in damage to a sample that counts as a difference between two attacks."""

CHECKS = (
    "eps0_equals_clean",
    "falls_with_eps",
    "chance_at_large_eps",
    "more_steps_never_help",
    "more_steps_find_no_more",
    "single_step_finds_no_more",
    "queries_find_no_more",
    "transfer_finds_no_more",
    "random_does_less",
)
"""Checks of every attack, in addition to the probes of the model (`suite.attacks.diagnostics.probes.PROBES`)."""

UNMOVED = 16
"""Samples attacked at size zero, where every attack uses its whole budget."""

QUERIES = 300
"""Queries per sample of the black-box attack that white-box attacks are compared with."""


@dataclass(frozen=True)
class Evidence:
    """The result of one check, with a sentence that explains it."""

    status: Check
    sentence: str


def audit(sweep: AttackSweep, rows: Array) -> dict[str, Evidence]:
    """Run every check of an attack.

    Args:
        sweep: the finished sweep.
        rows: correctly predicted samples to attack from scratch.
    """
    probes = probe_evidence(sweep)
    if not len(rows):
        return dict.fromkeys(CHECKS, Evidence("n/a", NOTHING_TO_ATTACK)) | probes
    smallest, *larger = sweep.attack.sizes  # the sweep itself attacked the smallest size from scratch
    scratch = {smallest: 1 - sweep.quality[smallest][rows]}
    scratch |= {size: sweep.attacked(sweep.attack, rows, size) for size in larger}
    chance = chance_at_large_eps(sweep, rows)
    return {
        "eps0_equals_clean": eps0_equals_clean(sweep, rows[:UNMOVED]),
        "falls_with_eps": falls_with_eps(sweep, scratch),
        "chance_at_large_eps": chance,
        **twice_the_steps(sweep, rows, scratch),
        **others_find_no_more(sweep, rows, scratch),
        "random_does_less": random_does_less(sweep, works=chance.status == "pass"),
        **probes,
    }


def probe_evidence(sweep: AttackSweep) -> dict[str, Evidence]:
    """Return the probe results; a failed probe passes, with the reason, if the attack handles the problem."""
    handled = dict(getattr(sweep.attack, "workarounds", {}))
    if sweep.problem.draws > 1:
        draws = f"the model is stochastic: an outcome is the share of {sweep.problem.draws} draws"
        handled.setdefault("deterministic", draws)
    return {
        name: Evidence("pass", handled[name]) if name in handled else Evidence(item.status, item.sentence)
        for name, item in sweep.problem.probes.items()
    }


def eps0_equals_clean(sweep: AttackSweep, rows: Array) -> Evidence:
    """Attack at size zero: every correctly predicted sample must stay correct."""
    if sweep.attack.norm == "patch":
        return Evidence("n/a", "there is no patch of size zero")
    try:
        misclassified = int(_newly_wrong(sweep, rows, sweep.attacked(sweep.attack, rows, 0.0)).sum())
    except AttackError as error:
        return Evidence("fail", f"the attack raised an error at size 0: {error}")
    if misclassified:
        return Evidence("fail", f"at size 0, {misclassified} of {len(rows)} correct predictions become wrong; none may")
    return Evidence("pass", f"at size 0 all {len(rows)} correct predictions stay correct")


def falls_with_eps(sweep: AttackSweep, scratch: dict[float, Array]) -> Evidence:
    """Attack every size from scratch: a larger size must not succeed on fewer samples."""
    counts = {size: _misclassified(damage) for size, damage in scratch.items()}
    for small, large in pairwise(scratch):
        if _less_damage(scratch[large], scratch[small]):
            return Evidence(
                "fail",
                f"from scratch, with a larger {sweep.attack.size_name} the attack succeeds on fewer samples "
                f"({counts[large]} at {large:.3g} after {counts[small]} at {small:.3g}): it overshoots",
            )
    total = len(scratch[sweep.reference])
    return Evidence(
        "pass", f"from scratch, {', '.join(map(str, counts.values()))} of {total} are misclassified as the size grows"
    )


def twice_the_steps(sweep: AttackSweep, rows: Array, scratch: dict[float, Array]) -> dict[str, Evidence]:
    """Attack with twice the steps: the damage must not change significantly in either direction."""
    double = sweep.attack.with_double_steps()
    if double is None:
        nothing = Evidence("n/a", "the attack has no steps to double")
        return {"more_steps_never_help": nothing, "more_steps_find_no_more": nothing}
    size = sweep.reference
    once, twice = scratch[size], sweep.attacked(double, rows, size)
    counts = f"{_misclassified(twice)} instead of {_misclassified(once)} of {len(rows)}"
    sentence = f"with twice the steps the attack succeeds on {counts} at {sweep.attack.size_name} {size:.3g}"
    return {
        "more_steps_never_help": Evidence("fail" if _less_damage(twice, once) else "pass", sentence),
        "more_steps_find_no_more": Evidence("fail" if _less_damage(once, twice) else "pass", sentence),
    }


def chance_at_large_eps(sweep: AttackSweep, rows: Array) -> Evidence:
    """Attack with an unlimited size: accuracy must not be significantly above guessing."""
    attack, pixels = sweep.attack, sweep.context.pixels
    if attack.norm not in NORMS or not _is_multi_step_untargeted(attack):
        return Evidence("n/a", "applies only to untargeted multi-step attacks in the ball of a norm")
    low, high = sweep.problem.bounds
    size = float(constraint(attack.norm).size(torch.full_like(pixels[:1], high - low))[0])
    chance = sweep.context.kind.chance_level(len(sweep.context.data.info.classes))
    correct = len(rows) - _misclassified(sweep.attacked(attack, rows, size))
    p_value = binomtest(correct, len(rows), chance, alternative="greater").pvalue
    sentence = f"with unlimited perturbations, {correct} of {len(rows)} stay correct"
    return Evidence("fail" if p_value < SIGNIFICANT else "pass", sentence)


def others_find_no_more(sweep: AttackSweep, rows: Array, scratch: dict[float, Array]) -> dict[str, Evidence]:
    """Run weaker attacks where the attack failed: with one step or less knowledge they must not do much better."""
    attack, size = sweep.attack, sweep.reference
    images = attack.norm in ("linf", "l2") and sweep.context.pixels.ndim == 4
    names = ("single_step_finds_no_more", "queries_find_no_more", "transfer_finds_no_more")
    if not images or not _is_multi_step_untargeted(attack) or sweep.problem.draws > 1:
        reason = "applies only to untargeted multi-step linf and l2 attacks on images and deterministic models"
        return dict.fromkeys(names, Evidence("n/a", reason))
    if not sweep.context.kind.single_label:
        single_step = FGSM(attack.sizes, attack.norm, attack.loss)
        return dict.fromkeys(names, Evidence("n/a", "applies only to samples with one label")) | {
            names[0]: finds_no_more(sweep, single_step, rows, scratch[size])
        }
    others: tuple[Attack, ...] = (
        FGSM(attack.sizes, attack.norm),
        Square(attack.sizes, attack.norm, queries=QUERIES),
        Transfer(attack.sizes, attack.norm, steps=20, restarts=1, samples=256, rounds=1),
    )
    return {name: finds_no_more(sweep, other, rows, scratch[size]) for name, other in zip(names, others, strict=True)}


def _is_multi_step_untargeted(attack: Attack) -> bool:
    """Return whether an attack takes several steps and aims at any wrong class."""
    return attack.with_double_steps() is not None and getattr(attack, "goal", None) is None


def finds_no_more(sweep: AttackSweep, other: Attack, rows: Array, damage: Array) -> Evidence:
    """Run another attack on the rows where the attack failed."""
    left = rows[damage <= 0.5]
    if not len(left):
        return Evidence("pass", "no sample survived the attack")
    try:
        fitted = other.fit(sweep.problem, sweep.training, seed=sweep.context.seed)
        more = sweep.attacked(fitted, left, sweep.reference)
    except (AttackError, SpecError) as error:
        return Evidence("n/a", f"the other attack could not be run: {error}")
    both = damage.copy()
    both[damage <= 0.5] = np.maximum(more, damage[damage <= 0.5])
    sentence = f"{type(other).__name__.lower()} succeeds on {_misclassified(more)} of the {len(left)} remaining samples"
    return Evidence("fail" if _less_damage(damage, both) else "pass", sentence)


def random_does_less(sweep: AttackSweep, *, works: bool) -> Evidence:
    """Compare with random perturbations of equal size, by paired tests at every size.

    Args:
        sweep: the finished sweep.
        works: whether the attack succeeds with unlimited perturbations. If it does, an attack without success at these
            sizes may simply face a robust model.
    """
    name, random, attacked = sweep.attack.size_name, sweep.control["random"], sweep.quality
    if sweep.problem.draws > 1:  # a stochastic model counts as correct if most draws are
        random, attacked = (
            {size: np.asarray(share > 0.5, dtype=np.float64) for size, share in shares.items()}
            for shares in (random, attacked)
        )
    # For graded outcomes many small differences count as much as a few large ones.
    notable = NOTABLE if sweep.context.kind.single_label else 0.0
    pairs = [(size, 1 - quality, 1 - random[size]) for size, quality in attacked.items()]
    if worse := [f"{name} {size:.3g}" for size, damage, control in pairs if _less_damage(damage, control, notable)]:
        return Evidence("fail", f"random perturbations did more damage than the attack at {', '.join(worse)}")
    more = any(_less_damage(control, damage, notable) for _, damage, control in pairs)
    succeeds = any(((sweep.clean > 0.5) & (quality <= 0.5)).any() for quality in attacked.values())
    if not works and not (more and not notable) and not succeeds:
        outcome = "succeeded on no sample" if notable else "did no more damage than random perturbations"
        return Evidence("fail", f"the attack {outcome} at any size, so there is no evidence that it works")
    gaps = ", ".join(f"{100 * float(random[size].mean() - quality.mean()):.1f}" for size, quality in attacked.items())
    sentence = f"at increasing sizes, the attack does {gaps} points more damage than random perturbations of equal size"
    if more:
        return Evidence("pass", sentence)
    return Evidence("n/a", f"{sentence}; at this n the difference is not significant")


def _newly_wrong(sweep: AttackSweep, rows: Array, damage: Array) -> Array:
    """Return which correctly predicted samples become wrong; for a stochastic model, which significantly.

    Draws of a stochastic model are compared by Fisher's exact one-sided test with Bonferroni's correction.
    """
    draws = sweep.problem.draws
    if draws == 1:
        return np.asarray(damage - (1 - sweep.clean[rows]) > NOTABLE)
    wrong = np.rint(draws * np.stack([damage, 1 - sweep.clean[rows]], axis=1)).astype(int)
    p_values = [fisher_exact([pair, draws - pair], alternative="greater").pvalue for pair in wrong]
    return np.array(p_values) < SIGNIFICANT / len(rows)


def _misclassified(damage: Array) -> int:
    """Return how many samples have a damage above 0.5."""
    return int((damage > 0.5).sum())


def _less_damage(damage: Array, before: Array, notable: float = NOTABLE) -> bool:
    """Return whether an attack did significantly less damage than another, by the exact one-sided sign test.

    Only samples with a notable difference count. If damage is 0 or 1, this is McNemar's exact test.
    """
    lost, won = int((before - damage > notable).sum()), int((damage - before > notable).sum())
    return lost > won and bool(binomtest(lost, lost + won, 0.5, alternative="greater").pvalue < SIGNIFICANT)
