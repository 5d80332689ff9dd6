"""GAN training with selection of the best checkpoint.

The last checkpoint is often not the best one, since training can diverge at any time. So samples are scored against
validation images at regular intervals, and the checkpoint with the best score is kept.
"""

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from suite.errors import SpecError, TrainingError
from suite.models.recipe import Recipe
from suite.models.training.gan_losses import OBJECTIVES, PENALTIES

Score = Callable[[Tensor], float]
"""Generated images (m, c, h, w) to a score; lower is better."""


@dataclass(frozen=True)
class GanRecipe(Recipe):
    """Hyperparameters of GAN training; `epochs`, `patience` and `warmup` are not used.

    Attributes:
        objective: ``bce``, ``hinge`` or ``wasserstein``.
        penalty: gradient penalty: ``none``, ``between`` real and generated images (WGAN-GP), or ``around`` real ones
            (DRAGAN).
        weight: weight of the gradient penalty in the loss of the critic.
        steps: generator steps.
        critic_steps: critic steps per generator step.
        critic_rate: learning rate of the critic; `learning_rate` is that of the generator.
        momentum: beta1 and beta2 of Adam.
        inertia: decay of the exponential moving average (EMA) of the generator's weights, which is the result.
        checkpoints: number of checkpoints at which samples are scored.
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
            raise SpecError(
                "A GanRecipe needs steps, critic_steps and checkpoints of at least 1 and a batch_size of at least 2."
            )

    def __str__(self) -> str:
        penalty = "" if self.penalty == "none" else f", gradient penalty {self.penalty} ({self.weight:g})"
        return (
            f"Adam, {self.objective} loss{penalty}, learning rates {self.learning_rate:g} and {self.critic_rate:g} "
            f"(critic, {self.critic_steps} steps each), batches of {self.batch_size}, {self.steps} steps, weights "
            f"averaged with {self.inertia:g}, best of {self.checkpoints} checkpoints"
        )


class GenerativeModel(Protocol):
    """A generative model, as far as training uses it."""

    module: nn.Module

    def sample(self, count: int, seed: int) -> Tensor:
        """Return images of random latents."""


SAMPLED = 1000
"""Maximum number of images that score a checkpoint."""


def train_gan(model: GenerativeModel, recipe: GanRecipe, data: Any, device: torch.device) -> dict[str, Any]:
    """Train a model in place; it keeps the weights of its best checkpoint.

    Args:
        model: its module has ``generator``, ``critic`` and ``latent``.
        recipe: hyperparameters.
        data: samples, objective, seed and progress bar, see `TrainingData`; the objective has a `scorer`.
        device: device of the module.

    Returns:
        The history: epochs, one per checkpoint, with the critic's mean loss as train_loss and the score as
        validation_loss; chosen_epoch; stopped.

    Raises:
        TrainingError: a loss or a score is not finite.
    """
    score = data.objective.scorer(data.train, data.validation)
    trainer = GanTrainer(model.module, recipe, data, device)
    checkpoints = min(recipe.checkpoints, recipe.steps)
    ends = [math.ceil(recipe.steps * (index + 1) / checkpoints) for index in range(checkpoints)]
    epochs: list[dict[str, Any]] = []
    best: tuple[float, int, Any] = (math.inf, 0, None)
    count = min(SAMPLED, len(data.validation))
    for epoch, last in data.track(list(enumerate(ends, 1)), "training", len(ends)):
        losses, state = trainer.train_until(last), trainer.averaged_state()
        with _loaded_state(model.module, state):
            value = score(model.sample(count, data.seed))
        if not math.isfinite(value):
            raise TrainingError(f"The score of samples is {value} after {last} steps; try lower learning rates.")
        epochs.append({"epoch": epoch, "step": last, **losses, "validation_loss": value})
        if value < best[0]:
            best = (value, epoch, state)
    model.module.load_state_dict(best[2])
    return {"epochs": epochs, "chosen_epoch": best[1], "stopped": "limit"}


@contextmanager
def _loaded_state(module: nn.Module, state: dict[str, Tensor]) -> Iterator[None]:
    """Load a state into a module in evaluation mode; restore the old state and training mode afterwards."""
    before = {name: value.detach().clone() for name, value in module.state_dict().items()}
    module.load_state_dict(state)
    module.eval()
    try:
        yield
    finally:
        module.load_state_dict(before)
        module.train()


class GanTrainer:
    """The images and the optimizers of one training run.

    All random numbers are drawn on the CPU from one seed, so that they do not depend on the device.
    """

    def __init__(self, module: Any, recipe: GanRecipe, data: Any, device: torch.device) -> None:
        self.module, self.recipe, self.device = module.train(), recipe, device
        self.real = data.train
        self.rng = torch.Generator().manual_seed(data.seed)
        self.step = 0
        self.generator, self.critic = module.generator, module.critic
        self.mean = copy.deepcopy(module.generator)
        adam: dict[str, Any] = {"betas": recipe.momentum, "weight_decay": recipe.weight_decay}
        self.optimizers = (
            torch.optim.AdamW(self.generator.parameters(), lr=recipe.learning_rate, **adam),
            torch.optim.AdamW(self.critic.parameters(), lr=recipe.critic_rate, **adam),
        )

    def train_until(self, last: int) -> dict[str, float]:
        """Train up to a step; return the mean losses of these steps."""
        losses = []
        while self.step < last:
            self.step += 1
            critic = [self._critic_step() for _ in range(self.recipe.critic_steps)]
            losses.append((sum(critic) / len(critic), self._generator_step()))
        means = [sum(part) / len(losses) for part in zip(*losses, strict=True)]
        return {"train_loss": means[0], "generator_loss": means[1]}

    def averaged_state(self) -> dict[str, Tensor]:
        """Return a copy of the state with the averaged generator."""
        state = {name: value.detach().clone() for name, value in self.module.state_dict().items()}
        mean = {f"generator.{name}": value.detach().clone() for name, value in self.mean.state_dict().items()}
        return {**state, **mean}

    def _critic_step(self) -> float:
        """Take one critic step; return its loss."""
        recipe = self.recipe
        chosen = torch.randint(len(self.real), (recipe.batch_size,), generator=self.rng)
        real = torch.from_numpy(self.real.take(chosen.numpy()).pixels()).to(self.device)
        with torch.no_grad():
            generated = self.generator(self._latents())
        scores = self.critic(torch.cat([real, generated])).chunk(2)
        loss = OBJECTIVES[recipe.objective].critic(*scores).mean()
        penalty = PENALTIES[recipe.penalty]
        if penalty is not None:
            loss = loss + recipe.weight * penalty(self.critic, real, generated, self.rng).mean()
        return self._optimize(loss, 1)

    def _generator_step(self) -> float:
        """Take one generator step and update the average; return the loss."""
        self.critic.requires_grad_(False)
        loss = OBJECTIVES[self.recipe.objective].generator(self.critic(self.generator(self._latents()))).mean()
        value = self._optimize(loss, 0)
        self.critic.requires_grad_(True)
        inertia = min(self.recipe.inertia, self.step / (self.step + 10))  # the first states hardly count
        with torch.no_grad():
            pairs = zip(self.mean.state_dict().values(), self.generator.state_dict().values(), strict=True)
            for mean, now in pairs:
                if mean.is_floating_point():
                    mean.lerp_(now, 1 - inertia)
                else:
                    mean.copy_(now)
        return value

    def _optimize(self, loss: Tensor, which: int) -> float:
        optimizer = self.optimizers[which]
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        optimizer.step()
        value = float(loss.detach())
        if not math.isfinite(value):
            raise TrainingError(
                f"The loss of the {('generator', 'critic')[which]} is {value} in step {self.step}; try lower learning "
                "rates."
            )
        return value

    def _latents(self) -> Tensor:
        drawn = torch.randn(self.recipe.batch_size, self.module.latent, generator=self.rng)
        return drawn.to(self.device)
