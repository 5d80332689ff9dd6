"""Transfer attack: train a surrogate on the model's predictions, attack it, and evaluate the points on the model.

A model that masks its gradient or flattens its scores still returns predictions, and a surrogate that imitates them has
a useful gradient (Papernot et al. 2017). Passes of the surrogate are not counted, queries to the attacked model are.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn

from suite.attacks import rng as random
from suite.attacks.constraints import Constraint, constraint
from suite.attacks.engine.ascent import Budget, Search, maximize
from suite.attacks.engine.base import Training
from suite.attacks.engine.problem import Passes, Problem
from suite.attacks.images.gradient import NormAttack, require_images
from suite.attacks.images.square import evaluate
from suite.decorators import attack
from suite.errors import AttackError, SpecError
from suite.kinds.scaling import to_spread
from suite.models.base import TorchClassifier
from suite.models.networks.image_classifiers import small_cnn
from suite.models.training.trainer import seeded

CHOICE, COPIES, RESTARTS = 1500, 1510, 1550
"""Streams of random numbers: the choice of training samples, their perturbed copies, and the attack's starts."""

EPOCHS, BATCH, RATE = 6, 64, 3e-3
"""Epochs, batch size and learning rate of the surrogate's training, in each round."""

STANDARD_NORM, STANDARD_EPS = "linf", 8 / 255
"""Ball of a surrogate that several attacks share; eps is a share of the input range. On digits with hidden gradients
(one-hot outputs, 8 levels) it finds as many samples as a surrogate for the attack's own ball, from linf 0.03 to 0.2 and
l2 0.5 to 1: 10, 34 and 12 samples of 64, against 8, 38 and 12."""

LEARNED_STEPS = 7
"""Gradient steps for the perturbed copies that the surrogate is trained on."""


@attack(name="transfer")
@dataclass(frozen=True)
class Transfer(NormAttack):
    """PGD on a surrogate; the point with the highest margin of the attacked model is returned.

    Attributes:
        steps: gradient steps on the surrogate per start.
        restarts: starts, and queries to the attacked model per sample.
        samples: maximum number of training samples for the surrogate.
        rounds: rounds of perturbed copies; each queries the attacked model once per training sample.
        surrogate: the surrogate's problem; `fit` trains it.
    """

    steps: int = 40
    restarts: int = 4
    samples: int = 1000
    rounds: int = 3
    surrogate: Problem | None = field(default=None, repr=False, compare=False)
    _learned: Mapping[str, Any] | None = field(default=None, repr=False, compare=False)
    budget_field: ClassVar[str | None] = "steps"
    trained: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.steps, self.restarts, self.samples, self.rounds) < 1:
            raise SpecError(
                "transfer needs steps, restarts, samples and rounds of at least 1; got "
                f"{self.steps}, {self.restarts}, {self.samples} and {self.rounds}."
            )

    def fit(self, problem: Problem, training: Training, *, seed: int) -> Self:
        """Return the attack with a surrogate of the attacked model."""
        own = {"samples": self.samples, "rounds": self.rounds, "seed": seed}
        learned = surrogate_state(problem, training, norm=self.norm, eps=self.eps[-1], **own)
        return super().fit(problem, training, seed=seed).with_surrogate(learned, problem)

    def state(self) -> dict[str, Any]:
        """Return the range of the inputs, and the surrogate as `surrogate_state` returned it."""
        return super().state() | {"surrogate": self._learned}

    def with_state(self, state: Mapping[str, Any], problem: Problem) -> Self:
        """Return the attack with its surrogate."""
        bounded, learned = super().with_state(state, problem), state["surrogate"]
        return bounded if learned is None else bounded.with_surrogate(learned, problem)

    def with_surrogate(self, learned: Mapping[str, Any], problem: Problem) -> Self:
        """Return the attack with a surrogate from `surrogate_state`, which may have another norm and eps."""
        surrogate = surrogate_of(learned, problem)
        return replace(self, _bounds=problem.bounds, surrogate=surrogate, _learned=learned)

    def perturb(self, problem: Problem, pixels: Tensor, targets: Tensor, size: float, seeds: Tensor) -> Tensor:
        """Return, for each sample, the adversarial example of the surrogate with the attacked model's highest margin.

        Raises:
            AttackError: `fit` was not called.
        """
        if self.surrogate is None:
            raise AttackError("Transfer has no surrogate to attack; call fit(problem, training, seed=...) first.")
        copy = replace(self.surrogate, passes=Passes())
        ball, own = constraint(self.norm, problem.bounds), random.as_seeds(seeds, pixels.device)
        best, highest = pixels.clone(), torch.full_like(own, -math.inf, dtype=torch.float64)
        rows = torch.arange(len(pixels), device=pixels.device)
        for restart in range(self.restarts):
            search = Search.of(pixels[rows], targets[rows], size, own[rows])
            budget = Budget(self.steps, self.loss or "margin", "random" if restart else "clean", stop=False)
            # No row is left out: points further beyond the surrogate's boundary transfer better.
            everyone = torch.arange(len(rows), device=pixels.device)
            maximize(copy, search, ball, budget, rows=everyone, stream=RESTARTS + restart)
            with torch.no_grad():
                margin, misclassified = evaluate(problem, search.best, targets[rows])
            better = (margin > highest[rows]) | misclassified
            best[rows[better]], highest[rows[better]] = search.best[better], margin[better]
            rows = rows[~misclassified]
        return best


@dataclass(frozen=True)
class SurrogateTraining:
    """Settings of the training of a surrogate: the ball and eps of the perturbed copies, the rounds and the seed."""

    ball: Constraint
    eps: float
    rounds: int
    seed: int


def surrogate_state(
    problem: Problem, training: Training, *, norm: str, eps: float, samples: int, rounds: int, seed: int
) -> dict[str, Any]:
    """Train a surrogate of the attacked model, and return it as numpy arrays, numbers and lists.

    Args:
        problem: the attacked model; its output is one logit per class.
        training: returns the training samples.
        norm: the ball of the perturbed copies that the surrogate learns from.
        eps: its radius.
        samples: maximum number of training samples.
        rounds: rounds of perturbed copies; each queries the attacked model once per training sample.
        seed: seed of the choice of samples, the copies and the training.

    Raises:
        AttackError: there are no training samples.
        SpecError: the inputs are not images of at least 4x4 pixels.
    """
    pixels, _ = training()
    order = random.integers(random.as_seeds([seed], pixels.device), CHOICE, len(pixels))[0].argsort()
    settings = SurrogateTraining(constraint(norm, problem.bounds), eps, rounds, seed)
    copy = train_surrogate(problem, pixels[order[:samples]], settings)
    weights = {} if copy.adapter is None else copy.adapter.module.state_dict()
    arrays = {name: value.cpu().numpy().copy() for name, value in weights.items()}
    with torch.no_grad():
        classes = copy.model(pixels[:1]).shape[1]
    return {"weights": arrays, "classes": classes, "shape": list(pixels.shape[1:])}


def surrogate_of(learned: Mapping[str, Any], problem: Problem) -> Problem:
    """Return the problem of attacking a surrogate that `surrogate_state` trained, on the device of the model."""
    net = small_cnn(learned["classes"], tuple(learned["shape"]), dropout=0.0)
    net.load_state_dict({name: torch.from_numpy(np.array(values)) for name, values in learned["weights"].items()})
    return _attackable(problem, net.to(problem.device).eval().requires_grad_(False))[1]


def train_surrogate(problem: Problem, pixels: Tensor, settings: SurrogateTraining) -> Problem:
    """Train a small network to imitate the attacked model; this takes a few seconds on one thread.

    It learns from the training samples, from copies with random perturbations, and, round by round, from copies
    perturbed by an attack on the current surrogate, each with the predictions of the attacked model.

    Args:
        problem: the attacked model; its output is one logit per class.
        pixels: training images (n, channels, height, width), at least 4 pixels on a side.
        settings: see `SurrogateTraining`.

    Returns:
        The same problem for the surrogate, with its own count of passes.
    """
    require_images(problem, "transfer")
    if min(pixels.shape[2:]) < 4:
        raise SpecError(f"transfer trains on images of at least 4x4 pixels; got samples of {tuple(pixels.shape[1:])}.")
    if not len(pixels):
        raise AttackError("A surrogate learns from training samples, and the task has none.")
    labels = _SoftLabels.of(problem, pixels)
    with seeded(settings.seed, pixels.device):
        net = small_cnn(labels.probabilities.shape[1], tuple(pixels.shape[1:]), dropout=0.0).to(pixels.device)
    model, copy = _attackable(problem, net)
    classes = labels.probabilities.argmax(dim=1)
    labels.extend(problem, _noisy(pixels, settings))
    for number in range(settings.rounds):
        _fit(net, labels, settings.seed + number)
        with model.frozen():
            labels.extend(problem, _perturbed(copy, pixels, classes, settings, number))
    _fit(net, labels, settings.seed + settings.rounds)
    net.eval().requires_grad_(False)
    return copy


def _attackable(problem: Problem, net: nn.Module) -> tuple[TorchClassifier, Problem]:
    """Return the adapter of a surrogate, and the problem of attacking it with a count of passes of its own."""
    model = TorchClassifier(net)
    # The guide and the draws belong to the attacked model; the surrogate needs neither.
    copy = replace(problem, model=model, adapter=model, batch_size=model.width, passes=Passes())
    return model, replace(copy, guide=None, average=1, draws=1)


@dataclass
class _SoftLabels:
    """Images with the attacked model's predictions as probabilities (n, classes).

    The outputs are scaled to the same range for every sample, so that both tiny and huge scores give useful
    probabilities, and a model that outputs only a decision gives its decision. Images without a finite output are not
    used for training.
    """

    pixels: Tensor
    probabilities: Tensor
    usable: Tensor

    @classmethod
    def of(cls, problem: Problem, pixels: Tensor) -> Self:
        """Query the attacked model."""
        with torch.no_grad():
            output = problem.forward(pixels).double()
        low, high = output.aminmax(dim=1, keepdim=True)
        scaled = (output - low) * to_spread(high - low)
        return cls(pixels, scaled.softmax(dim=1).to(pixels), torch.isfinite(output).all(dim=1))

    def extend(self, problem: Problem, pixels: Tensor) -> None:
        """Add more images and the predictions for them."""
        more = _SoftLabels.of(problem, pixels)
        self.pixels = torch.cat([self.pixels, more.pixels])
        self.probabilities = torch.cat([self.probabilities, more.probabilities])
        self.usable = torch.cat([self.usable, more.usable])


def _noisy(pixels: Tensor, settings: SurrogateTraining) -> Tensor:
    seeds = _seeds(pixels, settings)
    return settings.ball.start(pixels, torch.full((len(pixels),), 2 * settings.eps).to(pixels), seeds, COPIES)


def _perturbed(copy: Problem, pixels: Tensor, labels: Tensor, settings: SurrogateTraining, number: int) -> Tensor:
    """Return adversarial examples of the surrogate, each at a random eps up to the largest."""
    seeds = _seeds(pixels, settings)
    eps = settings.eps * (0.25 + 0.75 * random.uniform(seeds, COPIES + 2 * number + 1)).to(pixels)
    search = Search.of(pixels, labels, eps, seeds)
    maximize(copy, search, settings.ball, Budget(LEARNED_STEPS, stop=False), stream=COPIES + 2 * number + 2)
    return search.best


def _seeds(pixels: Tensor, settings: SurrogateTraining) -> Tensor:
    own = random.as_seeds([settings.seed], pixels.device)
    return random.integers(own, COPIES, len(pixels))[0]


def _fit(net: nn.Module, data: _SoftLabels, seed: int) -> None:
    """Train for `EPOCHS` epochs on all usable images so far, with equal weights."""
    rows = data.usable.nonzero()[:, 0]
    optimizer = torch.optim.Adam(net.parameters(), lr=RATE)
    with seeded(seed, data.pixels.device), torch.enable_grad():
        net.train()
        for _ in range(EPOCHS):
            for chosen in torch.split(rows[torch.randperm(len(rows)).to(rows.device)], BATCH):
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(net(data.pixels[chosen]), data.probabilities[chosen])
                loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
                optimizer.step()
        net.eval()
    if not all(bool(torch.isfinite(weights).all()) for weights in net.state_dict().values()):
        raise AttackError(
            "The training of the surrogate diverged; the attacked model is not at fault. Use another seed."
        )
