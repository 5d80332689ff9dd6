"""What precedes an attack: whether it applies to the kind and the model, and the probes of the model."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from suite.attacks.constraints import norm_of
from suite.attacks.diagnostics.probes import GENERAL, PROBES, gradient_of_loss, probe, probe_texts
from suite.attacks.engine.base import Attack, Training
from suite.attacks.engine.problem import Probe, Problem
from suite.axes.base import Context
from suite.data.digests import in_digest_order
from suite.errors import NotApplicableError, SpecError
from suite.kinds.base import Kind
from suite.spec import Spec

DRAWS = 32
"""Forward passes that are averaged into one outcome of a stochastic model."""

CANDIDATES = 256
"""Test samples from which the probes take correctly predicted ones, at most 64."""


TRAINING, TRAINING_BYTES = 4096, 256 * 2**20
"""Most training samples that an attack may be fitted to, and most bytes of them as float32."""


def reference_of(attack: Attack) -> float:
    """Return the middle size of an attack, at which attacks are compared."""
    return attack.sizes[len(attack.sizes) // 2]


def training_of(context: Context) -> Training:
    """Return a function that returns training inputs and their targets, the first in digest order."""

    def training() -> tuple[Tensor, Tensor]:
        train = context.data.train
        train = train.few(min(TRAINING, max(1, TRAINING_BYTES // (4 * math.prod(train.shape)))))
        inputs = torch.from_numpy(context.model.inputs(train)).to(context.device)
        return inputs, torch.from_numpy(train.targets).to(context.device)

    return training


def problem_of(context: Context) -> Problem:
    """Return the problem of attacking the model, without probes."""
    return Problem.of(context.kind, context.model.raw, adapter=context.model)


def kind_for_attack(attack: Attack, spec: Spec, kind: Kind) -> Kind:
    """Return the kind with the loss of the attack.

    Raises:
        SpecError: the attack needs one label per sample, and the kind has several targets per sample.
    """
    graded = kind.scoring.outcome.type == "graded"
    if graded and not attack.supports_graded_outcomes:
        raise SpecError(
            f"{spec.name} needs one label per sample, but {kind.name} has several targets per sample. Use fgsm, pgd, "
            "worst_case, patch or image_patch."
        )
    if graded and attack.goal is not None:
        raise SpecError(f"{spec}: goal= needs one label per sample, but {kind.name} has several targets per sample.")
    return kind.for_attack_loss(attack.loss)


def check_inputs(attack: Attack, spec: Spec, context: Context) -> None:
    """Raise SpecError if the attack does not work on this kind of input, or aims at a class that the task lacks."""
    classes = context.data.info.classes
    if attack.goal is not None and attack.goal >= len(classes):
        raise SpecError(
            f"{spec}: goal={attack.goal}; expected the index of a class, from 0 to {len(classes) - 1} "
            f"({', '.join(classes[:12])})."
        )
    is_text = context.model.input.discrete
    if is_text and not attack.changes_text:
        raise SpecError(
            f"{spec.name} perturbs numbers, but the samples of {context.kind.name} are texts. Use hotflip, typos or "
            "trigger, or attack the embeddings: robustness(attack=pgd(...), space=embedding)."
        )
    limit = context.model.max_perturbation
    if limit is not None and (attack.norm != "linf" or max(attack.sizes) >= limit):
        raise SpecError(
            f"{spec}: attacks on embeddings need norm=linf and eps below {limit:g} standard deviations. A larger step "
            "could turn padding into words, and in another norm the random control would mostly perturb padding."
        )
    if attack.changes_text and not is_text:
        raise SpecError(
            f"{spec.name} changes texts, but the samples of {context.kind.name} are not texts. Use fgsm or pgd."
        )
    if not is_text and limit is None:
        check_sizes(attack, spec, context.model.limits, context.model.inputs(context.test.take([0])).shape[1:])


def check_sizes(attack: Attack, spec: Spec, limits: tuple[float, float], shape: Sequence[int] | None = None) -> None:
    """Raise SpecError if a size allows more than every input.

    Args:
        attack: the attack; only sizes in the ball of a norm are checked.
        spec: its spec.
        limits: the range of an input.
        shape: the shape of an input; None before it is known, which is enough for linf.
    """
    ball, (low, high) = norm_of(attack.norm).ball, limits
    if ball is None or (shape is None and attack.norm != "linf"):
        return
    largest = float(ball().size(torch.full((1, *(shape or (1,))), high - low, dtype=torch.float64))[0])
    over = [size for size in attack.sizes if size > largest * (1 + 1e-9)]
    if not over:
        return
    bits = 255 * (high - low)
    meant = f" Did you mean {attack.size_name}={over[0]:g}/255?" if attack.norm == "linf" and over[0] < bits else ""
    raise SpecError(
        f"{spec}: {attack.size_name}={over[0]:g} is more than the largest {attack.norm} distance of two inputs, "
        f"{largest:.6g}, since their values lie between {low:g} and {high:g}.{meant}"
    )


def check_seeds(attack: Attack, spec: Spec, seeds: int) -> None:
    """Raise SpecError if an attack without a training is to be trained with several seeds."""
    if seeds > 1 and not attack.trained:
        raise SpecError(
            f"seeds={seeds}: {spec.name} has no training that depends on a seed; leave seeds out, or use patch, "
            "trigger or transfer."
        )


def probed(problem: Problem, context: Context, loss: str | None) -> dict[str, Probe]:
    """Return the results of the probes of the model, on the samples that it predicts correctly; none without any."""
    rows = in_digest_order(context.test.ids)
    pixels, targets = context.pixels[rows], context.targets[rows]
    correct = problem.judged(torch.from_numpy(context.output[rows]).to(context.device), targets)[0] < 0.5
    return _probes(problem, context, (pixels[correct], targets[correct]), loss) if correct.any() else {}


def with_probes(problem: Problem, probes: Mapping[str, Sequence[Any]]) -> Problem:
    """Return the problem with probe results, and with several draws per outcome if the model is stochastic.

    Args:
        problem: the model.
        probes: status, sentence and numbers of every probe, as JSON values.
    """
    known = {name: Probe(name, *values) for name, values in probes.items()}
    return replace(problem, probes=known, draws=draws_of(probes))


def draws_of(probes: Mapping[str, Sequence[Any]]) -> int:
    """Return how many draws an outcome is the mean of."""
    return DRAWS if probes.get("deterministic", ("pass",))[0] == "fail" else 1


def _probes(problem: Problem, context: Context, samples: tuple[Tensor, Tensor], loss: str | None) -> dict[str, Probe]:
    pixels, targets = samples
    low, high = problem.bounds

    def forward(scaled: Tensor) -> Tensor:
        inputs = low + scaled * (high - low)
        return context.model.normalized_output(problem.forward(inputs), inputs)

    if context.model.input.discrete:  # texts are discrete and have no gradient
        return probe_texts(problem.forward, pixels) | _embedding_gradients(context, loss)
    # the probes take steps in [0, 1], of the size of an attack on images
    scaled = (pixels - low) / (high - low)
    if context.kind.scoring.outcome.type == "binary":
        return probe(forward, scaled, targets, PROBES)
    of_loss = {} if loss is None else gradient_of_loss(problem, pixels, targets, loss)
    return probe(forward, scaled, targets, GENERAL) | of_loss


def _embedding_gradients(context: Context, loss: str | None) -> dict[str, Probe]:
    """Return the probes of the embedding gradients, which attacks on texts follow."""
    if loss is None:
        return {}
    try:
        context = context.in_space("embedding")
    except NotApplicableError:
        return {}
    probes = probed(problem_of(context), context, loss)
    return {name: item for name, item in probes.items() if name.startswith("gradient")}
