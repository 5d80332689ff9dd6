"""Evidence that an attack was applied properly and tried hard: stored with every robust accuracy."""

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
from suite.axes.robustness.sweep import AttackSweep
from suite.errors import AttackError, SpecError
from suite.kinds.base import Array
from suite.types import Check

SIGNIFICANT = 0.01
"""A difference on the audit set counts against the attack when chance would show it less often than this."""


NOTABLE = 0.1
"""Difference in damage to a sample from which on two attacks, or an attack and none, are told apart on it."""

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
"""What is checked of every attack, beside the probes of the model (`suite.attacks.diagnostics.probes.PROBES`)."""

UNMOVED = 16
"""Samples attacked at size zero, where no attack finds anything and every one spends all it has."""

QUERIES = 300
"""Queries per sample of the search that white-box attacks are compared with."""


@dataclass(frozen=True)
class Evidence:
    """The result of one check, with a sentence for the reader."""

    status: Check
    sentence: str


def audit(assault: AttackSweep, rows: Array) -> dict[str, Evidence]:
    """Run every check of an attack.

    Args:
        assault: the attack on the model, already run.
        rows: right samples to attack from scratch.
    """
    known = probed(assault)
    if not len(rows):
        nothing = Evidence("n/a", "the model is right about no sample, so there is nothing to attack")
        return dict.fromkeys(CHECKS, nothing) | known
    smallest, *larger = assault.attack.sizes  # at the smallest size the attack itself began from scratch
    scratch = {smallest: 1 - assault.right[smallest][rows]}
    scratch |= {size: assault.attacked(assault.attack, rows, size) for size in larger}
    chance = chance_at_large_eps(assault, rows)
    return {
        "eps0_equals_clean": eps0_equals_clean(assault, rows[:UNMOVED]),
        "falls_with_eps": falls_with_eps(assault, scratch),
        "chance_at_large_eps": chance,
        **twice_the_steps(assault, rows, scratch),
        **others_find_no_more(assault, rows, scratch),
        "random_does_less": random_does_less(assault, works=chance.status == "pass"),
        **known,
    }


def probed(assault: AttackSweep) -> dict[str, Evidence]:
    """Return what the probes say of the model; a flag that the attack has a way round passes, and says so."""
    cures = dict(getattr(assault.attack, "cures", {}))
    if assault.problem.draws > 1:
        cures.setdefault(
            "deterministic",
            f"the model answers at random: an outcome is the share of {assault.problem.draws} fresh draws",
        )
    return {
        name: Evidence("pass", cures[name]) if name in cures else Evidence(item.status, item.sentence)
        for name, item in assault.problem.probes.items()
    }


def eps0_equals_clean(assault: AttackSweep, rows: Array) -> Evidence:
    """Attack at size zero: every right sample must stay right."""
    if assault.attack.norm == "patch":
        return Evidence("n/a", "a patch of size zero does not exist")
    try:
        misclassified = int(_turned(assault, rows, assault.attacked(assault.attack, rows, 0.0)).sum())
    except AttackError as error:
        return Evidence("fail", f"at size 0 the attack broke down: {error}")
    if misclassified:
        return Evidence(
            "fail", f"at size 0, {misclassified} of {len(rows)} right samples turned wrong; they must not change"
        )
    return Evidence("pass", f"at size 0 all {len(rows)} right samples stay right")


def falls_with_eps(assault: AttackSweep, scratch: dict[float, Array]) -> Evidence:
    """Attack every size from scratch: a larger size must not find fewer."""
    sizes = list(scratch)
    for small, large in pairwise(sizes):
        if _fewer(scratch[large], scratch[small]):
            counts = f"{_fell(scratch[large])} at {large:.3g} after {_fell(scratch[small])} at {small:.3g}"
            name = assault.attack.size_name
            return Evidence("fail", f"from scratch, a larger {name} fooled fewer samples ({counts}): it overshoots")
    fell = ", ".join(f"{_fell(damage)}" for damage in scratch.values())
    return Evidence("pass", f"from scratch, {fell} of {len(scratch[sizes[0]])} are fooled as the size grows")


def twice_the_steps(assault: AttackSweep, rows: Array, scratch: dict[float, Array]) -> dict[str, Evidence]:
    """Attack with twice the steps: the model must not come out better, and not much worse either."""
    longer = assault.attack.with_double_steps()
    if longer is None:
        nothing = Evidence("n/a", "the attack has no steps to double")
        return {"more_steps_never_help": nothing, "more_steps_find_no_more": nothing}
    size = assault.attack.sizes[len(assault.attack.sizes) // 2]
    once, twice = scratch[size], assault.attacked(longer, rows, size)
    where = f"of {len(rows)} at {assault.attack.size_name} {size:.3g}"
    sentence = f"twice the steps fool {_fell(twice)} instead of {_fell(once)} {where}"
    return {
        "more_steps_never_help": Evidence("fail" if _fewer(twice, once) else "pass", sentence),
        "more_steps_find_no_more": Evidence("fail" if _fewer(once, twice) else "pass", sentence),
    }


def chance_at_large_eps(assault: AttackSweep, rows: Array) -> Evidence:
    """Attack with every image allowed: no more may stay right than guessing would."""
    attack, pixels = assault.attack, assault.context.pixels
    if attack.norm not in NORMS or not _tries_all(attack):
        return Evidence("n/a", "asked only of attacks in several steps inside the ball of a norm, for any wrong class")
    low, high = assault.problem.bounds
    everything = constraint(attack.norm).size(torch.full_like(pixels[:1], high - low))
    size, guessing = float(everything[0]), assault.context.kind.guessing(len(assault.context.data.info.classes))
    held = len(rows) - _fell(assault.attacked(attack, rows, size))
    sentence = f"with every image allowed, {held} of {len(rows)} stay right"
    chance = binomtest(held, len(rows), guessing, alternative="greater").pvalue
    return Evidence("fail" if chance < SIGNIFICANT else "pass", sentence)


def others_find_no_more(assault: AttackSweep, rows: Array, scratch: dict[float, Array]) -> dict[str, Evidence]:
    """Try weaker attacks where the attack failed: who needs less knowledge, or one step, must not find much more."""
    attack, size = assault.attack, assault.reference
    images = attack.norm in ("linf", "l2") and assault.context.pixels.ndim == 4
    if not images or not _tries_all(attack) or assault.problem.draws > 1:
        reason = (
            "asked only of linf and l2 attacks in several steps, for any wrong class, on images and models that answer "
            "the same again"
        )
        nothing = Evidence("n/a", reason)
        return dict.fromkeys(("single_step_finds_no_more", "queries_find_no_more", "transfer_finds_no_more"), nothing)
    if not assault.context.kind.single_label:
        nothing = Evidence("n/a", "asked only where a sample has one label")
        return {
            "single_step_finds_no_more": finds_no_more(
                assault, FGSM(attack.sizes, attack.norm, attack.loss), rows, scratch[size]
            ),
            "queries_find_no_more": nothing,
            "transfer_finds_no_more": nothing,
        }
    others: dict[str, Attack] = {
        "single_step": FGSM(attack.sizes, attack.norm),
        "queries": Square(attack.sizes, attack.norm, queries=QUERIES),
        "transfer": Transfer(attack.sizes, attack.norm, steps=20, restarts=1, samples=256, rounds=1),
    }
    return {
        f"{name}_finds_no_more".replace("queries_finds", "queries_find"): finds_no_more(
            assault, other, rows, scratch[size]
        )
        for name, other in others.items()
    }


def _tries_all(attack: Attack) -> bool:
    """Return whether an attack means to leave nothing standing: not in one step, and not towards one class alone."""
    return attack.with_double_steps() is not None and getattr(attack, "goal", None) is None


def finds_no_more(assault: AttackSweep, other: Attack, rows: Array, damage: Array) -> Evidence:
    """Run another attack on the rows that an attack did not find."""
    left = rows[damage <= 0.5]
    if not len(left):
        return Evidence("pass", "nothing was left standing to try it on")
    try:
        fitted = other.fit(assault.problem, assault.training, seed=assault.context.seed)
        more = assault.attacked(fitted, left, assault.reference)
    except (AttackError, SpecError) as error:
        return Evidence("n/a", f"it could not be run: {error}")
    both = damage.copy()
    both[damage <= 0.5] = np.maximum(more, damage[damage <= 0.5])
    sentence = f"{type(other).__name__.lower()} fools {_fell(more)} of {len(left)} that were left standing"
    return Evidence("fail" if _fewer(damage, both) else "pass", sentence)


def random_does_less(assault: AttackSweep, *, works: bool) -> Evidence:
    """Compare with random perturbations of equal size, by paired tests at every size.

    Args:
        assault: the attack on the model, already run.
        works: whether the attack fools the model where every image is allowed; then one that fools nobody at these
            sizes may have met a model that withstands them.
    """
    name, random, right = assault.attack.size_name, assault.control["random"], assault.right
    if assault.problem.draws > 1:
        random, right = ({size: _whole(held) for size, held in shares.items()} for shares in (random, right))
    # One label is right or wrong, and so notable; where answers are graded many small differences say as much as a few.
    notable = NOTABLE if assault.context.kind.single_label else 0.0
    worse = [f"{name} {size:.3g}" for size, held in right.items() if _fewer(1 - held, 1 - random[size], notable)]
    if worse:
        return Evidence("fail", f"random perturbations did more damage than the attack at {', '.join(worse)}")
    more = any(_fewer(1 - random[size], 1 - held, notable) for size, held in right.items())
    clean = assault.clean > 0.5
    if not works and not (more and not notable) and not any((clean & (held <= 0.5)).any() for held in right.values()):
        did = "fooled no sample" if notable else "did no more damage than random changes"
        return Evidence("fail", f"the attack {did} at any size, so that nothing shows that it works")
    gaps = [100 * float(random[size].mean() - held.mean()) for size, held in right.items()]
    sentence = f"against random perturbations of equal size the attack fools {_listed(gaps)} points more, size by size"
    if more:
        return Evidence("pass", sentence)
    return Evidence("n/a", f"{sentence}; at this n that is not told apart from chance")


def _turned(assault: AttackSweep, rows: Array, share: Array) -> Array:
    """Return which right samples turned wrong; of random answers, which more often than chance explains.

    Random answers are compared draw by draw, by Fisher's exact one-sided test shared out over the samples (Bonferroni).
    """
    draws = assault.problem.draws
    if draws == 1:
        return np.asarray(share - (1 - assault.clean[rows]) > NOTABLE)
    wrong = np.rint(draws * np.stack([share, 1 - assault.clean[rows]], axis=1)).astype(int)
    chances = [fisher_exact([pair, draws - pair], alternative="greater").pvalue for pair in wrong]
    return np.array(chances) < SIGNIFICANT / len(rows)


def _listed(numbers: list[float]) -> str:
    return ", ".join(f"{number:.1f}" for number in numbers)


def _fell(damage: Array) -> int:
    """Return how many samples are answered more wrongly than rightly."""
    return int((damage > 0.5).sum())


def _whole(share: Array) -> Array:
    """Return 1 where random answers are more often right than not, else 0."""
    return np.asarray(share > 0.5, dtype=np.float64)


def _fewer(damage: Array, before: Array, notable: float = NOTABLE) -> bool:
    """Return whether an attack did significantly less damage than another, by the exact one-sided sign test.

    A sample counts where the two differ notably; where damage is 0 or 1 this is McNemar's exact test.
    """
    lost, won = int((before - damage > notable).sum()), int((damage - before > notable).sum())
    return lost > won and bool(binomtest(lost, lost + won, 0.5, alternative="greater").pvalue < SIGNIFICANT)
