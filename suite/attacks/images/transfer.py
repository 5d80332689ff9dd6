"""Transfer: attack a surrogate that learned to answer as the attacked model does, and try what is found on the model.

A model that hides its gradient, or flattens its scores, still has to answer; whoever learns its answers has a gradient
(Papernot et al. 2017). The surrogate's own passes are not counted, the questions put to the attacked model are.
"""

import math
from dataclasses import dataclass, field, replace
from typing import Self

import torch
from torch import Tensor, nn

from suite.attacks import rng as random
from suite.attacks.constraints import Constraint, constraint
from suite.attacks.engine.ascent import Budget, Search, maximize
from suite.attacks.engine.base import Training
from suite.attacks.engine.problem import Passes, Problem
from suite.attacks.images.gradient import NormAttack
from suite.attacks.images.square import measured
from suite.decorators import attack
from suite.errors import AttackError, SpecError
from suite.kinds.classification.losses import SPREAD
from suite.models.base import TorchClassifier
from suite.models.networks.image_classifiers import small_cnn
from suite.models.training.trainer import seeded

CHOICE, COPIES, RESTARTS = 1500, 1510, 1550
"""Streams of random numbers: which training samples are used, their perturbed copies, the starts of the attack."""

EPOCHS, BATCH, RATE = 6, 64, 3e-3
"""Of the surrogate's training, in each of its rounds."""

LEARNED_STEPS = 7
"""Gradient steps for the copies that the surrogate is trained on."""


@attack(name="transfer")
@dataclass(frozen=True)
class Transfer(NormAttack):
    """PGD on a surrogate; of several points the one that fools the attacked model best is returned.

    Attributes:
        steps: gradient steps on the surrogate per start.
        restarts: starts, and questions to the attacked model per sample.
        samples: training samples that the surrogate learns from.
        rounds: of perturbed copies; each asks the attacked model once per training sample.
        surrogate: the surrogate's problem; `fit` trains it.
    """

    steps: int = 40
    restarts: int = 4
    samples: int = 1000
    rounds: int = 3
    surrogate: Problem | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.steps, self.restarts, self.samples, self.rounds) < 1:
            raise SpecError(
                "transfer needs steps, restarts, samples and rounds of at least 1; got "
                f"{self.steps}, {self.restarts}, {self.samples} and {self.rounds}."
            )

    def fit(self, problem: Problem, training: Training, *, seed: int) -> Self:
        """Return the attack with a surrogate of the attacked model."""
        pixels, _ = training()
        order = random.integers(random.as_seeds([seed], pixels.device), CHOICE, len(pixels))[0].argsort()
        lesson = TrainingData(constraint(self.norm, problem.bounds), self.eps[-1], self.rounds, seed)
        return replace(self, surrogate=surrogate(problem, pixels[order[: self.samples]], lesson))

    def with_double_steps(self) -> Self:
        """Return the attack with twice the steps."""
        return replace(self, steps=2 * self.steps)

    def perturb(self, problem: Problem, pixels: Tensor, targets: Tensor, size: float, seeds: Tensor) -> Tensor:
        """Return, per sample, the surrogate's adversarial point of the highest margin of the attacked model.

        Raises:
            AttackError: there is no surrogate.
        """
        if self.surrogate is None:
            raise AttackError("Transfer has no surrogate to attack; call fit(problem, training, seed=...) first.")
        copy = replace(self.surrogate, batch_size=problem.batch_size, passes=Passes())
        ball, own = constraint(self.norm, problem.bounds), random.as_seeds(seeds, pixels.device)
        best, highest = pixels.clone(), torch.full_like(own, -math.inf, dtype=torch.float64)
        rows = torch.arange(len(pixels), device=pixels.device)
        for restart in range(self.restarts):
            search = Search.of(pixels[rows], targets[rows], size, own[rows])
            budget = Budget(self.steps, self.loss or "margin", "random" if restart else "clean", stop=False)
            _unstopped(copy, search, ball, budget, RESTARTS + restart)
            with torch.no_grad():
                margin, misclassified = measured(problem, search.best, targets[rows])
            better = (margin > highest[rows]) | misclassified
            best[rows[better]], highest[rows[better]] = search.best[better], margin[better]
            rows = rows[~misclassified]
        return best


@dataclass(frozen=True)
class TrainingData:
    """What a surrogate's training depends on beside the model: copies within eps of a ball, rounds, seed."""

    ball: Constraint
    eps: float
    rounds: int
    seed: int


def surrogate(problem: Problem, pixels: Tensor, lesson: TrainingData) -> Problem:
    """Train a small network on the answers of the attacked model; a few seconds on one thread.

    Round after round it learns from the training samples, from copies with random perturbations, and from copies that
    an attack on the surrogate so far has perturbed, each with what the attacked model says about it.

    Args:
        problem: the attacked model; its output is one logit per class.
        pixels: training images (n, channels, height, width), at least 4 pixels on a side.
        lesson: see `TrainingData`.

    Returns:
        The same questions about the surrogate, with a count of passes of its own.
    """
    if pixels.ndim != 4 or min(pixels.shape[2:]) < 4:
        raise SpecError(f"transfer trains on images of at least 4x4 pixels; got samples of {tuple(pixels.shape[1:])}.")
    if not len(pixels):
        raise AttackError("A surrogate learns from training samples, and the task has none.")
    answers = _Answers.of(problem, pixels)
    with seeded(lesson.seed, pixels.device):
        net = small_cnn(answers.said.shape[1], tuple(pixels.shape[1:]), dropout=0.0).to(pixels.device)
    model = TorchClassifier(net)
    # Neither a guide nor draws: they belong to the attacked model, and the surrogate needs none.
    copy = replace(problem, model=model, guide=None, average=1, draws=1, passes=Passes())
    answers.ask(problem, _noisy(pixels, lesson))
    for number in range(lesson.rounds):
        _learn(net, answers, lesson.seed + number)
        with model.frozen():
            answers.ask(problem, _perturbed(copy, pixels, answers.said[: len(pixels)].argmax(dim=1), lesson, number))
    _learn(net, answers, lesson.seed + lesson.rounds)
    net.eval().requires_grad_(False)
    return copy


@dataclass
class _Answers:
    """What the attacked model said about images so far, as distributions (n, classes).

    Its scores are scaled to the same range in every sample, so that neither tiny nor huge ones are all alike; of a
    model that shows nothing but its choice, the choice remains. Images without a finite answer are not learned from.
    """

    pixels: Tensor
    said: Tensor
    usable: Tensor

    @classmethod
    def of(cls, problem: Problem, pixels: Tensor) -> Self:
        """Ask about images."""
        with torch.no_grad():
            output = torch.cat([problem.forward(pixels[chunk]) for chunk in problem.chunks(len(pixels))]).double()
        low, high = output.aminmax(dim=1, keepdim=True)
        scaled = (output - low) * (SPREAD / (high - low).clamp_min(torch.finfo(output.dtype).tiny))
        return cls(pixels, scaled.softmax(dim=1).to(pixels), torch.isfinite(output).all(dim=1))

    def ask(self, problem: Problem, pixels: Tensor) -> None:
        """Add the answers about more images."""
        more = _Answers.of(problem, pixels)
        self.pixels, self.said = torch.cat([self.pixels, more.pixels]), torch.cat([self.said, more.said])
        self.usable = torch.cat([self.usable, more.usable])


def _noisy(pixels: Tensor, lesson: TrainingData) -> Tensor:
    seeds = _seeds(pixels, lesson)
    return lesson.ball.start(pixels, torch.full((len(pixels),), 2 * lesson.eps).to(pixels), seeds, COPIES)


def _perturbed(copy: Problem, pixels: Tensor, labels: Tensor, lesson: TrainingData, number: int) -> Tensor:
    """Return copies that the surrogate is attacked with, each at an eps of its own up to the largest."""
    seeds = _seeds(pixels, lesson)
    eps = lesson.eps * (0.25 + 0.75 * random.uniform(seeds, COPIES + 2 * number + 1)).to(pixels)
    search = Search.of(pixels, labels, eps, seeds)
    maximize(copy, search, lesson.ball, Budget(LEARNED_STEPS, stop=False), stream=COPIES + 2 * number + 2)
    return search.best


def _unstopped(copy: Problem, search: Search, ball: Constraint, budget: Budget, stream: int) -> None:
    """Climb for all samples, those too that fool the surrogate already: the further beyond its boundary, the better."""
    everyone = torch.arange(len(search.pixels), device=search.pixels.device)
    maximize(copy, search, ball, budget, rows=everyone, stream=stream)


def _seeds(pixels: Tensor, lesson: TrainingData) -> Tensor:
    own = random.as_seeds([lesson.seed], pixels.device)
    return random.integers(own, COPIES, len(pixels))[0]


def _learn(net: nn.Module, answers: _Answers, seed: int) -> None:
    """Train for some epochs on all usable answers so far, each sample as heavy as any other."""
    rows = answers.usable.nonzero()[:, 0]
    optimiser = torch.optim.Adam(net.parameters(), lr=RATE)
    with seeded(seed, answers.pixels.device), torch.enable_grad():
        net.train()
        for _ in range(EPOCHS):
            for chosen in torch.split(rows[torch.randperm(len(rows)).to(rows.device)], BATCH):
                optimiser.zero_grad()
                loss = nn.functional.cross_entropy(net(answers.pixels[chosen]), answers.said[chosen])
                loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
                optimiser.step()
        net.eval()
