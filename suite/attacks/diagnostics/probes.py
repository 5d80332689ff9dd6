"""Questions put to a model before its robustness is believed: each needs a few passes and finds one way of hiding.

A defence that only hides from attacks shows it here: answers that change with the draw, the grad mode or the company;
gradients that are zero, NaN or misleading; scores that tell nothing. No answer is a number of robustness; a failure
says which remedy the attack needs before its result means anything (Athalye et al. 2018; Carlini et al. 2019).
"""

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor

from suite.attacks.diagnostics.gradient_probes import (
    BLIND_SHARE,
    FEWEST,
    Forward,
    gradient_finite,
    gradient_informative,
    gradient_nonzero,
)
from suite.attacks.engine.problem import Probe, Problem
from suite.errors import AttackError

SAMPLES = 64
"""Samples that are asked about; more cost passes and tell little more."""

DRAWS = 4
"""Fresh answers to the same pixels."""

SAME = 1e-5
"""Rounding between two runs of the same computation, relative to the spread of a sample's logits."""

SAME_IN_MODES = 1e-4
"""Rounding between kernels that serve with and without gradients."""

SAME_IN_COMPANY = 1e-3
"""Rounding between kernels that serve small and large batches."""


def deterministic(forward: Forward, pixels: Tensor, targets: Tensor) -> Probe:
    """Ask whether the same samples always get the same answer, clean and, for pixels, with noise as of an attack."""
    source = torch.Generator().manual_seed(0)
    signs = (torch.randint(2, pixels.shape, generator=source) * 2 - 1).to(pixels)
    noisy = (pixels + 8 / 255 * signs).clamp(0, 1)
    both = torch.cat([pixels, noisy]) if pixels.is_floating_point() else pixels  # code points have no noise
    drawn = _draws(forward, both)
    exact = bool((drawn == drawn[:1]).all())
    other = torch.stack([_differs(drawn[0], draw, SAME) for draw in drawn[1:]]).any(dim=0)
    flipped = int((drawn.argmax(dim=2) != drawn[0].argmax(dim=1)).any(dim=0).sum())
    count, numbers = len(both), {"differing": int(other.sum()), "flipped": flipped, "bit_identical": int(exact)}
    if other.any():
        sentence = (
            f"{int(other.sum())} of {count} answers differ between {DRAWS} draws and {flipped} predictions flip: "
            "success is a probability over many fresh draws, and attacks must average"
        )
        return Probe("deterministic", "fail", sentence, numbers)
    how = "bit by bit" if exact else "up to rounding"
    return Probe("deterministic", "pass", f"{DRAWS} draws give the same {count} answers {how}", numbers)


MODES: Mapping[str, tuple[bool, bool]] = MappingProxyType(
    {"grad mode": (True, False), "requires_grad of the pixels": (False, True), "both together": (True, True)}
)
"""What an attack switches on: (grad mode, requires_grad of the pixels)."""


def grad_mode_free(forward: Forward, pixels: Tensor, targets: Tensor) -> Probe:
    """Ask whether the model answers an attacker, who needs gradients, as it answers everybody else."""
    plain, numbers, guilty = _draws(forward, pixels), {}, []
    for name, (grad, watched) in MODES.items():
        try:
            changed = _changed(plain, _draws(forward, pixels, grad=grad, watched=watched), SAME_IN_MODES)
        except Exception as error:  # recorded in the probe: refusing to answer an attacker is a way of hiding
            numbers[name] = len(pixels)
            guilty.append(f"{name} (raises {type(error).__name__})")
            continue
        numbers[name] = int(changed.sum())
        if changed.any() and not (guilty and name == "both together"):
            guilty.append(f"{name} ({int(changed.sum())} of {len(pixels)} answers)")
    if guilty:
        sentence = f"the answers change with {' and with '.join(guilty)}: attack what answers without gradients instead"
        return Probe("grad_mode_free", "fail", sentence, numbers)
    sentence = f"{len(pixels)} answers are the same with and without grad mode and requires_grad"
    return Probe("grad_mode_free", "pass", sentence + _roughly(plain), numbers)


def alone_equals_batch(forward: Forward, pixels: Tensor, targets: Tensor) -> Probe:
    """Ask whether an answer depends on the other samples of its batch, as with a batch norm left in training mode."""
    half = pixels[: (len(pixels) + 1) // 2]
    plain = _draws(forward, pixels)
    try:
        strangers = _draws(forward, torch.cat([half, 1 - half]))[:, : len(half)]
        alone = torch.cat([_draws(forward, one[None]) for one in pixels[:DRAWS]], dim=1)
        turned = _draws(forward, pixels.flip(0)).flip(1)
    except Exception as error:  # recorded in the probe
        sentence = f"the model answers {len(pixels)} samples but raises {type(error).__name__} in other company"
        return Probe("alone_equals_batch", "fail", f"{sentence}: its batches are part of its answer")
    others = {"beside strangers": strangers, "alone": alone, "in reverse order": turned}
    numbers = {
        name: int(_changed(plain[:, : answers.shape[1]], answers, SAME_IN_COMPANY).sum())
        for name, answers in others.items()
    }
    told = ", ".join(f"{numbers[name]} of {answers.shape[1]} {name}" for name, answers in others.items())
    if any(numbers.values()):
        sentence = f"answers change with their company ({told}): a sample has no answer of its own to attack"
        return Probe("alone_equals_batch", "fail", sentence, numbers)
    sentence = f"no answer changes with its company ({told})"
    return Probe("alone_equals_batch", "pass", sentence + _roughly(plain), numbers)


def outputs_are_logits(forward: Forward, pixels: Tensor, targets: Tensor) -> Probe:
    """Ask whether the scores tell how sure the model is: neither probabilities nor a few flat values.

    A softmax that rounds to exactly 0 and 1 is remarked on, not failed: a loss free of scale sees through it.
    """
    with torch.no_grad():
        scores = forward(pixels.detach().clone()).double()
    best = scores.topk(min(2, scores.shape[1]), dim=1).values
    sure = scores.float().softmax(dim=1).amax(dim=1)
    inputs = len(torch.unique(pixels.flatten(1), dim=0))
    numbers = {
        "inputs": inputs,
        "distinct_margins": len(torch.unique(best[:, 0] - best[:, -1])),
        "saturated": int((sure == 1).sum()),
        "uniform": int((sure < 1.01 / scores.shape[1]).sum()),
    }
    if (scores >= 0).all() and (scores <= 1).all() and ((scores.sum(dim=1) - 1).abs() < 1e-3).all():
        sentence = f"all {len(scores)} outputs are probabilities; where they round to 0 and 1, attacks are blind: "
        return Probe("outputs_are_logits", "fail", sentence + "return what comes before the softmax", numbers)
    if inputs >= FEWEST and 4 * numbers["distinct_margins"] <= inputs:
        sentence = f"{inputs} different images get only {numbers['distinct_margins']} different margins between their "
        return Probe("outputs_are_logits", "fail", sentence + "best two classes: the scores are flattened", numbers)
    remark = f"; softmax rounds to exactly 0 and 1 on {numbers['saturated']}" if numbers["saturated"] else ""
    remark += f"; softmax is all but uniform on {numbers['uniform']}" if numbers["uniform"] else ""
    return Probe("outputs_are_logits", "pass", f"the {len(scores)} outputs look like logits{remark}", numbers)


Question = Callable[[Forward, Tensor, Tensor], Probe]

PROBES: Mapping[str, Question] = MappingProxyType(
    {
        "deterministic": deterministic,
        "grad_mode_free": grad_mode_free,
        "alone_equals_batch": alone_equals_batch,
        "gradient_finite": gradient_finite,
        "gradient_nonzero": gradient_nonzero,
        "gradient_informative": gradient_informative,
        "outputs_are_logits": outputs_are_logits,
    }
)
"""Every question by name."""


GENERAL = ("deterministic", "grad_mode_free", "alone_equals_batch")
"""The questions that can be asked of a model whose output is anything but one logit per class."""


def probe(forward: Forward, pixels: Tensor, targets: Tensor, names: Iterable[str] = tuple(PROBES)) -> dict[str, Probe]:
    """Put questions to a model, on its first 64 samples.

    The model must already be held in evaluation mode. Nothing of it is changed, no parameter receives a gradient, and
    the only global random numbers drawn are the model's own.

    Args:
        forward: pixels (n, ...) in [0, 1] to logits (n, classes), or to any output (n, ...) for those in `GENERAL`.
        pixels: clean samples, best of all such that the model is right about.
        targets: their classes (n,).
        names: of the questions.

    Returns:
        One probe per name.
    """
    few = pixels[:SAMPLES].detach(), targets[:SAMPLES]
    return {name: PROBES[name](lambda asked: forward(asked).flatten(1), *few) for name in names}


def gradient_of_loss(problem: Problem, pixels: Tensor, targets: Tensor, loss: str) -> dict[str, Probe]:
    """Ask whether the loss that an attack follows has a gradient on some samples, whatever the model's output is."""
    few = pixels[:SAMPLES].detach(), targets[:SAMPLES]
    try:
        parts = [problem.gradient(few[0][rows], few[1][rows], loss)[0] for rows in problem.chunks(len(few[0]))]
    except AttackError as error:
        return {name: Probe(name, "fail", str(error)) for name in ("gradient_finite", "gradient_nonzero")}
    slopes = torch.cat(parts)
    finite = torch.isfinite(slopes).flatten(1).all(dim=1)
    zero = finite & ~(slopes != 0).flatten(1).any(dim=1)
    broken, blind, count = int((~finite).sum()), int(zero.sum()), len(slopes)
    told = f"the gradient of {loss} is %s on {{}} of {count} samples"
    return {
        name: Probe(name, "fail" if number > BLIND_SHARE * count else "pass", (told % what).format(number))
        for name, what, number in (("gradient_finite", "not finite", broken), ("gradient_nonzero", "zero", blind))
    }


def _draws(forward: Forward, pixels: Tensor, *, grad: bool = False, watched: bool = False) -> Tensor:
    """Return several answers to the same pixels, (draws, n, classes)."""
    drawn = []
    for _ in range(DRAWS):
        with torch.set_grad_enabled(grad):
            drawn.append(forward(pixels.detach().clone().requires_grad_(watched)).detach())
    return torch.nan_to_num(torch.stack(drawn), posinf=1e30, neginf=-1e30)


def _differs(one: Tensor, other: Tensor, limit: float) -> Tensor:
    """Return which answers (n, classes) differ in class, or by more than rounding in a logit; bool (n,)."""
    first, second = one.double(), other.double()
    spread = (first - first.mean(dim=1, keepdim=True)).abs().amax(dim=1)
    allowed = limit * spread + 8 * torch.finfo(one.dtype).eps * first.abs().amax(dim=1)
    return ((first - second).abs().amax(dim=1) > allowed) | (first.argmax(dim=1) != second.argmax(dim=1))


def _random(drawn: Tensor) -> bool:
    """Return whether draws differ by more than rounding."""
    return any(bool(_differs(drawn[0], draw, SAME).any()) for draw in drawn[1:])


def _changed(plain: Tensor, others: Tensor, limit: float) -> Tensor:
    """Return which samples are answered differently under another condition, bool (n,).

    Of random answers the means are compared: all count as changed where these lie further apart than any two draws.
    """
    if not _random(plain):
        return torch.stack([_differs(plain[0], draw, limit) for draw in others]).any(dim=0)
    first, second = plain.double(), others.double()
    between = float((first.mean(dim=0) - second.mean(dim=0)).abs().mean())
    pairs = [(group[i] - group[j]).abs().mean() for group in (first, second) for i in range(DRAWS) for j in range(i)]
    return torch.full((plain.shape[1],), between > float(max(pairs)), device=plain.device)


def _roughly(plain: Tensor) -> str:
    return f" (on average over {DRAWS} draws, because the answers are random)" if _random(plain) else ""
