"""Checks run on a model before its robustness is measured: each takes a few passes and detects one way of hiding.

A defense that only hides from attacks fails here: its outputs change with the draw, the grad mode or the batch; its
gradients are zero, NaN or misleading; its scores carry no information. None of the checks measures robustness; a
failure says which workaround the attack needs before its result means anything (Athalye et al. 2018; Carlini et al.
2019).
"""

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor

from suite.attacks.constraints.base import all_finite
from suite.attacks.diagnostics.gradient_probes import (
    BLIND_SHARE,
    FEWEST,
    gradient_finite,
    gradient_informative,
    gradient_nonzero,
)
from suite.attacks.diagnostics.straight_through import Forward
from suite.attacks.engine.problem import Probe, Problem
from suite.errors import AttackError
from suite.kinds.logits import Scale

SAMPLES = 64
"""Number of samples that the checks use; more would add cost and little information."""

DRAWS = 4
"""Number of passes over the same pixels."""

SAME = 1e-5
"""Rounding between two runs of the same computation, relative to the spread of a sample's logits."""

SAME_IN_MODES = 1e-4
"""Rounding between kernels for passes with and without gradients."""

SAME_IN_BATCHES = 1e-3
"""Rounding between kernels for small and large batches."""


def deterministic(forward: Forward, pixels: Tensor, targets: Tensor) -> Probe:
    """Check that repeated passes give equal outputs for clean and for noisy samples."""
    generator = torch.Generator().manual_seed(0)
    signs = (torch.randint(2, pixels.shape, generator=generator) * 2 - 1).to(pixels)
    noisy = (pixels + 8 / 255 * signs).clamp(0, 1)
    return _deterministic_on(forward, torch.cat([pixels, noisy]))


def _deterministic_on(forward: Forward, inputs: Tensor) -> Probe:
    """Check that repeated passes give equal outputs for some inputs."""
    outputs = _outputs(forward, inputs)
    exact = bool((outputs == outputs[:1]).all())
    differing = int(torch.stack([_differs(outputs[0], draw, SAME) for draw in outputs[1:]]).any(dim=0).sum())
    flipped = int((outputs.argmax(dim=2) != outputs[0].argmax(dim=1)).any(dim=0).sum())
    count, numbers = len(inputs), {"differing": differing, "flipped": flipped, "bit_identical": int(exact)}
    if differing:
        sentence = (
            f"{differing} of {count} outputs differ between {DRAWS} draws and {flipped} predictions flip: success is a "
            "probability over many fresh draws, and attacks must average gradients"
        )
        return Probe("deterministic", "fail", sentence, numbers)
    how = "bit for bit" if exact else "up to rounding"
    return Probe("deterministic", "pass", f"{DRAWS} draws give the same {count} outputs {how}", numbers)


MODES: Mapping[str, tuple[bool, bool]] = MappingProxyType(
    {"grad mode": (True, False), "requires_grad of the pixels": (False, True), "both together": (True, True)}
)
"""What an attack turns on: (grad mode, requires_grad of the pixels)."""


def grad_mode_free(forward: Forward, pixels: Tensor, targets: Tensor) -> Probe:
    """Check that the outputs are the same when gradients are computed, as an attacker does, and when they are not."""
    plain, numbers, changes = _outputs(forward, pixels), {}, []
    for name, (grad, requires_grad) in MODES.items():
        try:
            outputs = _outputs(forward, pixels, grad=grad, requires_grad=requires_grad)
            changed = int(_changed(plain, outputs, SAME_IN_MODES).sum())
        except Exception as error:  # part of the result: a model that raises an exception hides from attacks
            numbers[name] = len(pixels)
            changes.append(f"{name} (raises {type(error).__name__})")
            continue
        numbers[name] = changed
        if changed and not (changes and name == "both together"):
            changes.append(f"{name} ({changed} of {len(pixels)} outputs)")
    if changes:
        sentence = f"the outputs change with {' and with '.join(changes)}: attack the model without gradients instead"
        return Probe("grad_mode_free", "fail", sentence, numbers)
    sentence = f"{len(pixels)} outputs are the same with and without grad mode and requires_grad"
    return Probe("grad_mode_free", "pass", sentence + _averaged(plain), numbers)


def alone_equals_batch(forward: Forward, pixels: Tensor, targets: Tensor) -> Probe:
    """Check that no output depends on the rest of the batch, as it does with a batch norm left in training mode."""
    half = pixels[: (len(pixels) + 1) // 2]
    plain = _outputs(forward, pixels)
    try:
        batches = {
            "with other samples": _outputs(forward, torch.cat([half, 1 - half]))[:, : len(half)],
            "alone": torch.cat([_outputs(forward, one[None]) for one in pixels[:DRAWS]], dim=1),
            "in reverse order": _outputs(forward, pixels.flip(0)).flip(1),
        }
    except Exception as error:  # part of the result
        sentence = (
            f"the model accepts a batch of {len(pixels)} samples but raises {type(error).__name__} on other batches"
        )
        return Probe("alone_equals_batch", "fail", f"{sentence}: its outputs depend on the batch")
    numbers = {
        name: int(_changed(plain[:, : outputs.shape[1]], outputs, SAME_IN_BATCHES).sum())
        for name, outputs in batches.items()
    }
    counts = ", ".join(f"{numbers[name]} of {outputs.shape[1]} {name}" for name, outputs in batches.items())
    if any(numbers.values()):
        sentence = f"outputs depend on the rest of the batch ({counts}): a sample has no output of its own to attack"
        return Probe("alone_equals_batch", "fail", sentence, numbers)
    sentence = f"no output depends on the rest of the batch ({counts})"
    return Probe("alone_equals_batch", "pass", sentence + _averaged(plain), numbers)


def outputs_are_logits(forward: Forward, pixels: Tensor, targets: Tensor) -> Probe:
    """Check that the scores are graded confidences: neither probabilities nor a few flat values.

    A softmax that rounds to exactly 0 and 1 is mentioned but does not fail, since scale-invariant losses handle it.
    """
    with torch.no_grad():
        scores = forward(pixels.detach().clone()).double()
    best = scores.topk(min(2, scores.shape[1]), dim=1).values
    confidence = scores.float().softmax(dim=1).amax(dim=1)
    inputs = len(torch.unique(pixels.flatten(1), dim=0))
    numbers = {
        "inputs": inputs,
        "distinct_margins": len(torch.unique(best[:, 0] - best[:, -1])),
        "saturated": int((confidence == 1).sum()),
        "uniform": int((confidence < 1.01 / scores.shape[1]).sum()),
    }
    if Scale.of(scores.cpu().numpy()).are_probabilities:
        sentence = f"all {len(scores)} outputs are probabilities; where they round to 0 and 1, gradients vanish: "
        return Probe("outputs_are_logits", "fail", sentence + "return the logits before the softmax", numbers)
    if inputs >= FEWEST and 4 * numbers["distinct_margins"] <= inputs:
        sentence = f"{inputs} different inputs have only {numbers['distinct_margins']} different margins between their "
        return Probe("outputs_are_logits", "fail", sentence + "top two classes: the scores are flattened", numbers)
    remark = f"; softmax rounds to exactly 0 and 1 on {numbers['saturated']}" if numbers["saturated"] else ""
    remark += f"; softmax is almost uniform on {numbers['uniform']}" if numbers["uniform"] else ""
    return Probe("outputs_are_logits", "pass", f"the {len(scores)} outputs look like logits{remark}", numbers)


PROBES: Mapping[str, Callable[[Forward, Tensor, Tensor], Probe]] = MappingProxyType(
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
"""All checks by name."""


GENERAL = ("deterministic", "grad_mode_free", "alone_equals_batch")
"""The checks that apply to any output, not only to one logit per class."""


def probe(forward: Forward, pixels: Tensor, targets: Tensor, names: Iterable[str] = tuple(PROBES)) -> dict[str, Probe]:
    """Run checks of a model on the first 64 samples.

    The model must already be in evaluation mode. It is not changed, no parameter receives a gradient, and global random
    numbers are drawn by the model only.

    Args:
        forward: maps pixels (n, ...) in [0, 1] to logits (n, classes), or to any output (n, ...) for `GENERAL`.
        pixels: clean samples, preferably ones that the model classifies correctly.
        targets: their classes (n,).
        names: names of the checks.

    Returns:
        One probe per name.
    """
    few = pixels[:SAMPLES].detach(), targets[:SAMPLES]
    return {name: PROBES[name](lambda batch: forward(batch).flatten(1), *few) for name in names}


def probe_texts(forward: Forward, codes: Tensor) -> dict[str, Probe]:
    """Run the check that applies to texts (n, characters), on the first 64; they have neither noise nor a gradient."""
    return {"deterministic": _deterministic_on(lambda batch: forward(batch).flatten(1), codes[:SAMPLES])}


def gradient_of_loss(problem: Problem, pixels: Tensor, targets: Tensor, loss: str) -> dict[str, Probe]:
    """Check that the loss an attack follows has a finite, nonzero gradient, for any kind of output."""
    few = pixels[:SAMPLES].detach(), targets[:SAMPLES]
    try:
        parts = [problem.gradient(few[0][rows], few[1][rows], loss)[0] for rows in problem.chunks(len(few[0]))]
    except AttackError as error:
        return {name: Probe(name, "fail", str(error)) for name in ("gradient_finite", "gradient_nonzero")}
    gradients = torch.cat(parts)
    finite, count = all_finite(gradients), len(gradients)
    zero = finite & ~(gradients != 0).flatten(1).any(dim=1)
    return {
        name: Probe(
            name,
            "fail" if int(bad.sum()) > BLIND_SHARE * count else "pass",
            f"the gradient of {loss} is {what} on {int(bad.sum())} of {count} samples",
        )
        for name, what, bad in (("gradient_finite", "not finite", ~finite), ("gradient_nonzero", "zero", zero))
    }


def _outputs(forward: Forward, pixels: Tensor, *, grad: bool = False, requires_grad: bool = False) -> Tensor:
    """Return the outputs of several passes over the same pixels, (draws, n, classes)."""
    outputs = []
    for _ in range(DRAWS):
        with torch.set_grad_enabled(grad):
            outputs.append(forward(pixels.detach().clone().requires_grad_(requires_grad)).detach())
    return torch.nan_to_num(torch.stack(outputs), posinf=1e30, neginf=-1e30)


def _differs(one: Tensor, other: Tensor, limit: float) -> Tensor:
    """Return which outputs (n, classes) differ in the class, or in a logit by more than rounding; bool (n,)."""
    first, second = one.double(), other.double()
    spread = (first - first.mean(dim=1, keepdim=True)).abs().amax(dim=1)
    allowed = limit * spread + 8 * torch.finfo(one.dtype).eps * first.abs().amax(dim=1)
    return ((first - second).abs().amax(dim=1) > allowed) | (first.argmax(dim=1) != second.argmax(dim=1))


def _random(outputs: Tensor) -> bool:
    """Return whether draws differ by more than rounding."""
    return any(bool(_differs(outputs[0], draw, SAME).any()) for draw in outputs[1:])


def _changed(plain: Tensor, others: Tensor, limit: float) -> Tensor:
    """Return which samples have other outputs under another condition, bool (n,).

    For a randomized model the means are compared: all samples count as changed if the means differ more than any two
    draws.
    """
    if not _random(plain):
        return torch.stack([_differs(plain[0], draw, limit) for draw in others]).any(dim=0)
    first, second = plain.double(), others.double()
    between = float((first.mean(dim=0) - second.mean(dim=0)).abs().mean())
    pairs = [(group[i] - group[j]).abs().mean() for group in (first, second) for i in range(DRAWS) for j in range(i)]
    return torch.full((plain.shape[1],), between > float(max(pairs)), device=plain.device)


def _averaged(plain: Tensor) -> str:
    return f" (on average over {DRAWS} draws, because the model is randomized)" if _random(plain) else ""
