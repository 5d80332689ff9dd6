"""Evidence that an attack was applied properly and tried hard: stored with every robust accuracy."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from scipy.stats import binomtest

from suite.errors import AttackError
from suite.kinds.base import Array
from suite.types import Check

if TYPE_CHECKING:
    from suite.axes.robustness import Assault

SIGNIFICANT = 0.01
"""A difference on the audit set counts against the attack when chance would show it less often than this."""


CHECKS = (
    "eps0_equals_clean",
    "falls_with_eps",
    "more_steps_never_help",
    "more_steps_find_no_more",
    "gradient_is_not_zero",
    "random_does_less",
)
"""What is checked of every attack."""


@dataclass(frozen=True)
class Evidence:
    """The result of one check, with a sentence for the reader."""

    status: Check
    sentence: str


def audit(assault: Assault, rows: Array) -> dict[str, Evidence]:
    """Run every check of an attack.

    Args:
        assault: the attack on the model, already run.
        rows: right samples to attack from scratch.
    """
    if not len(rows):
        nothing = Evidence("n/a", "the model is right about no sample, so there is nothing to attack")
        return dict.fromkeys(CHECKS, nothing)
    scratch = {size: assault.attacked(assault.attack, rows, size) for size in assault.attack.sizes}
    return {
        "eps0_equals_clean": eps0_equals_clean(assault, rows),
        "falls_with_eps": falls_with_eps(assault, scratch),
        **twice_the_steps(assault, rows, scratch),
        "gradient_is_not_zero": gradient_is_not_zero(assault, rows),
        "random_does_less": random_does_less(assault),
    }


def eps0_equals_clean(assault: Assault, rows: Array) -> Evidence:
    """Attack at size zero: every right sample must stay right."""
    if assault.attack.norm == "patch":
        return Evidence("n/a", "a patch of size zero does not exist")
    try:
        fooled = int(assault.attacked(assault.attack, rows, 0.0).sum())
    except AttackError as error:
        return Evidence("fail", f"at size 0 the attack broke down: {error}")
    if fooled:
        return Evidence("fail", f"at size 0, {fooled} of {len(rows)} right samples turned wrong; they must not change")
    return Evidence("pass", f"at size 0 all {len(rows)} right samples stay right")


def falls_with_eps(assault: Assault, scratch: dict[float, Array]) -> Evidence:
    """Attack every size from scratch: a larger size must not find fewer."""
    sizes = list(scratch)
    for small, large in pairwise(sizes):
        if _fewer(scratch[large], scratch[small]):
            counts = f"{int(scratch[large].sum())} at {large:.3g} after {int(scratch[small].sum())} at {small:.3g}"
            name = assault.attack.size_name
            return Evidence("fail", f"from scratch, a larger {name} fooled fewer samples ({counts}): it overshoots")
    fooled = ", ".join(f"{int(found.sum())}" for found in scratch.values())
    return Evidence("pass", f"from scratch, {fooled} of {len(scratch[sizes[0]])} are fooled as the size grows")


def twice_the_steps(assault: Assault, rows: Array, scratch: dict[float, Array]) -> dict[str, Evidence]:
    """Attack with twice the steps: the model must not come out better, and not much worse either."""
    longer = assault.attack.longer()
    if longer is None:
        nothing = Evidence("n/a", "the attack has no steps to double")
        return {"more_steps_never_help": nothing, "more_steps_find_no_more": nothing}
    size = assault.attack.sizes[len(assault.attack.sizes) // 2]
    once, twice = scratch[size], assault.attacked(longer, rows, size)
    where = f"of {len(rows)} at {assault.attack.size_name} {size:.3g}"
    sentence = f"twice the steps fool {int(twice.sum())} instead of {int(once.sum())} {where}"
    return {
        "more_steps_never_help": Evidence("fail" if _fewer(twice, once) else "pass", sentence),
        "more_steps_find_no_more": Evidence("fail" if _fewer(once, twice) else "pass", sentence),
    }


def gradient_is_not_zero(assault: Assault, rows: Array) -> Evidence:
    """Look at the gradient on right samples: where it is exactly zero, a gradient attack is blind."""
    loss = assault.attack.loss
    if loss is None:
        return Evidence("n/a", "the attack is not known to follow a gradient")
    blind = 0
    for batch in assault.context.batches(rows, "gradient check"):
        pixels, targets = assault.context.pixels[batch], assault.context.targets[batch]
        gradient, _, _ = assault.problem.gradient(pixels, targets, loss)
        blind += int((gradient.flatten(1).abs().amax(dim=1) == 0).sum())
    sentence = f"the gradient is exactly zero on {blind} of {len(rows)} right samples"
    return Evidence("fail" if blind else "pass", sentence)


def random_does_less(assault: Assault) -> Evidence:
    """Compare with random perturbations of equal size, by paired tests at every size."""
    name, random = assault.attack.size_name, assault.control["random"]
    worse = [f"{name} {size:.3g}" for size, held in assault.right.items() if _fewer(~held, ~random[size])]
    if worse:
        return Evidence("fail", f"random perturbations did more damage than the attack at {', '.join(worse)}")
    if not any((assault.clean & ~held).any() for held in assault.right.values()):
        return Evidence("fail", "the attack fooled no sample at any size, so that nothing shows that it works")
    gaps = [100 * float(random[size].mean() - held.mean()) for size, held in assault.right.items()]
    sentence = f"against random perturbations of equal size the attack fools {_listed(gaps)} points more, size by size"
    if any(_fewer(~random[size], ~held) for size, held in assault.right.items()):
        return Evidence("pass", sentence)
    return Evidence("n/a", f"{sentence}; at this n that is not told apart from chance")


def _listed(numbers: list[float]) -> str:
    return ", ".join(f"{number:.1f}" for number in numbers)


def _fewer(found: Array, before: Array) -> bool:
    """Return whether an attack found significantly fewer than another, by the exact one-sided McNemar test."""
    lost, won = int((before & ~found).sum()), int((found & ~before).sum())
    return lost > won and bool(binomtest(lost, lost + won, 0.5, alternative="greater").pvalue < SIGNIFICANT)
