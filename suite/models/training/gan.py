"""How a generator and its critic are trained against each other, and which of its states is kept.

The last state is often not the best one, for the two may drift apart at any time. So samples are scored every so many
steps against validation images, and the state of the best score is kept.
"""

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from suite.data import Split
from suite.errors import SpecError, TrainingError
from suite.models.recipe import Recipe
from suite.models.training.gan_losses import OBJECTIVES, PENALTIES

Score = Callable[[Tensor], float]
"""Generated images (m, c, h, w) to a number, the lower the better."""


@dataclass(frozen=True)
class GanRecipe(Recipe):
    """How a generator is trained; `epochs`, `patience` and `warmup` of the ordinary trainer have no use here.

    Attributes:
        objective: ``bce``, ``hinge`` or ``wasserstein``.
        penalty: on the critic's gradient: ``none``, ``between`` real and generated images, or ``around`` real ones.
        weight: of the penalty.
        steps: of the generator.
        critic_steps: of the critic, for each of the generator.
        critic_rate: learning rate of the critic; `learning_rate` is the generator's.
        momentum: first and second moment of Adam.
        inertia: how much of the averaged generator, which is what is kept, is left after a step.
        checkpoints: how often samples are scored on the way.
    """

    batch_size: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    objective: str = "hinge"
    penalty: str = "none"
    weight: float = 10.0
    steps: int = 1000
    critic_steps: int = 1
    critic_rate: float = 2e-3
    momentum: tuple[float, float] = (0.0, 0.9)
    inertia: float = 0.99
    checkpoints: int = 10

    def __post_init__(self) -> None:
        if self.objective not in OBJECTIVES or self.penalty not in PENALTIES:
            raise SpecError(
                f"objective={self.objective!r}, penalty={self.penalty!r}; expected one of {', '.join(OBJECTIVES)} and "
                f"one of {', '.join(PENALTIES)}."
            )
        if min(self.steps, self.critic_steps, self.checkpoints, self.batch_size - 1) < 1:
            raise SpecError("A GanRecipe needs steps, critic_steps and checkpoints of at least 1, and batch_size of 2.")

    def __str__(self) -> str:
        penalty = "" if self.penalty == "none" else f", gradient penalty {self.penalty} ({self.weight:g})"
        return (
            f"Adam, {self.objective} loss{penalty}, learning rates {self.learning_rate:g} and {self.critic_rate:g} "
            f"(critic, {self.critic_steps} steps each), batches of {self.batch_size}, {self.steps} steps, weights "
            f"averaged with {self.inertia:g}, best of {self.checkpoints} checkpoints"
        )


class Scores(Protocol):
    """What training asks of a kind of generators."""

    def scorer(self, train: Split, validation: Split) -> Score:
        """Return what says how unlike validation images generated ones are."""


class Generates(Protocol):
    """What training asks of a model."""

    module: nn.Module

    def sample(self, count: int, seed: int) -> Tensor:
        """Return images of random latents."""


SAMPLED = 1000
"""Images that a checkpoint is scored by at most."""


def trained(model: Generates, recipe: GanRecipe, lesson: Any, device: torch.device) -> dict[str, Any]:
    """Train a model in place and leave it with the weights of its best checkpoint.

    Args:
        model: its module has ``generator``, ``critic`` and ``latent``.
        recipe: how.
        lesson: samples, kind, seed and progress, see `TrainingData`; the kind has a `scorer`.
        device: where the module is.

    Returns:
        The history: epochs, one per checkpoint, with the critic's mean loss as train_loss and the score as
        validation_loss; chosen_epoch; stopped.

    Raises:
        TrainingError: a loss or a score is not finite.
    """
    score = lesson.objective.scorer(lesson.train, lesson.validation)
    contest = GanTrainer(model.module, recipe, lesson, device)
    wanted = min(recipe.checkpoints, recipe.steps)
    chosen = [math.ceil(recipe.steps * (place + 1) / wanted) for place in range(wanted)]
    epochs: list[dict[str, Any]] = []
    best: tuple[float, int, Any] = (math.inf, 0, None)
    count = min(SAMPLED, len(lesson.validation))
    for epoch, last in lesson.track(list(enumerate(chosen, 1)), "training", len(chosen)):
        losses, state = contest.until(last), contest.averaged()
        with _shown(model.module, state):
            value = score(model.sample(count, lesson.seed))
        if not math.isfinite(value):
            raise TrainingError(f"The score of samples is {value} after {last} steps; try lower learning rates.")
        epochs.append({"epoch": epoch, "step": last, **losses, "validation_loss": value})
        if value < best[0]:
            best = (value, epoch, state)
    model.module.load_state_dict(best[2])
    return {"epochs": epochs, "chosen_epoch": best[1], "stopped": "limit"}


@contextmanager
def _shown(module: nn.Module, state: dict[str, Tensor]) -> Iterator[None]:
    """Put a state into a module in evaluation mode for a while."""
    before = {name: value.detach().clone() for name, value in module.state_dict().items()}
    module.load_state_dict(state)
    module.eval()
    try:
        yield
    finally:
        module.load_state_dict(before)
        module.train()


class GanTrainer:
    """The tensors and the optimisers of one training.

    Everything random is drawn on the processor from one seed, so that it does not depend on the device.
    """

    def __init__(self, module: Any, recipe: GanRecipe, lesson: Any, device: torch.device) -> None:
        self.module, self.recipe, self.device = module.train(), recipe, device
        self.real = torch.from_numpy(lesson.train.pixels()).to(device)
        self.numbers = torch.Generator().manual_seed(lesson.seed)
        self.step = 0
        self.generator, self.critic = module.generator, module.critic
        self.mean = copy.deepcopy(module.generator)
        adam: dict[str, Any] = {"betas": recipe.momentum, "weight_decay": recipe.weight_decay}
        self.optimisers = (
            torch.optim.AdamW(self.generator.parameters(), lr=recipe.learning_rate, **adam),
            torch.optim.AdamW(self.critic.parameters(), lr=recipe.critic_rate, **adam),
        )

    def until(self, last: int) -> dict[str, float]:
        """Train up to a step; return the mean losses on the way."""
        losses = []
        while self.step < last:
            self.step += 1
            critic = [self._criticise() for _ in range(self.recipe.critic_steps)]
            losses.append((sum(critic) / len(critic), self._generate()))
        means = [sum(part) / len(losses) for part in zip(*losses, strict=True)]
        return {"train_loss": means[0], "generator_loss": means[1]}

    def averaged(self) -> dict[str, Tensor]:
        """Return a copy of the state with the averaged generator in place of the last one."""
        state = {name: value.detach().clone() for name, value in self.module.state_dict().items()}
        kept = {f"generator.{name}": value.detach().clone() for name, value in self.mean.state_dict().items()}
        return {**state, **kept}

    def _criticise(self) -> float:
        """Take one step of the critic; return its loss."""
        recipe = self.recipe
        chosen = torch.randint(len(self.real), (recipe.batch_size,), generator=self.numbers)
        real = self.real[chosen.to(self.device)]
        with torch.no_grad():
            generated = self.generator(self._latents())
        scores = self.critic(torch.cat([real, generated])).chunk(2)
        loss = OBJECTIVES[recipe.objective].critic(*scores).mean()
        penalty = PENALTIES[recipe.penalty]
        if penalty is not None:
            loss = loss + recipe.weight * penalty(self.critic, real, generated, self.numbers).mean()
        return self._stepped(loss, 1)

    def _generate(self) -> float:
        """Take one step of the generator and one of its average; return its loss."""
        self.critic.requires_grad_(False)
        loss = OBJECTIVES[self.recipe.objective].generator(self.critic(self.generator(self._latents()))).mean()
        value = self._stepped(loss, 0)
        self.critic.requires_grad_(True)
        inertia = min(self.recipe.inertia, self.step / (self.step + 10))  # the first states are nobody's average
        with torch.no_grad():
            pairs = zip(self.mean.state_dict().values(), self.generator.state_dict().values(), strict=True)
            for mean, now in pairs:
                if mean.is_floating_point():
                    mean.lerp_(now, 1 - inertia)
                else:
                    mean.copy_(now)
        return value

    def _stepped(self, loss: Tensor, which: int) -> float:
        optimiser = self.optimisers[which]
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        optimiser.step()
        value = float(loss.detach())
        if not math.isfinite(value):
            raise TrainingError(
                f"The loss of the {('generator', 'critic')[which]} is {value} in step {self.step}; try lower learning "
                "rates."
            )
        return value

    def _latents(self) -> Tensor:
        drawn = torch.randn(self.recipe.batch_size, self.module.latent, generator=self.numbers)
        return drawn.to(self.device)
