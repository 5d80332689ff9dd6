"""A small deterministic trainer with early stopping on the validation split."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from suite.data import Split
from suite.errors import ModelError, TrainingError
from suite.models.base import TorchModel
from suite.models.recipe import Recipe

Track = Callable[[Iterable[int], str, int], Iterator[int]]
"""Wraps an iterable of known length with a progress bar."""

Perturb = Callable[[TorchModel, Tensor, Tensor, int], Tensor]
"""Replaces a batch of images by adversarial ones: (model, pixels, targets, seed) to pixels."""


class Learns(Protocol):
    """What the trainer asks of a kind."""

    def training_loss(self, model: TorchModel, pixels: Tensor, targets: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the loss per sample, and the output where that costs little."""

    def damage(self, output: Tensor, targets: Tensor) -> Tensor:
        """Return how wrong the output is about each sample, in [0, 1]."""


@dataclass(frozen=True)
class TrainingData:
    """Everything a training depends on beside the model and its recipe."""

    train: Split
    validation: Split
    objective: Learns
    seed: int
    track: Track
    perturb: Perturb | None = None


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed PyTorch's own generators (initialisation, dropout) and restore them afterwards."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


def train(model: TorchModel, recipe: Recipe, lesson: TrainingData, *, device: torch.device) -> dict[str, Any]:
    """Train a model in place and leave it with the weights of its best epoch.

    Returns:
        The history: epochs (loss and accuracy on both splits), chosen_epoch, stopped, recipe, seed, seconds.

    Raises:
        TrainingError: no training or validation samples, or the loss is not finite.
    """
    if not len(lesson.train) or not len(lesson.validation):
        raise TrainingError(
            f"Training needs samples to learn from and samples to choose on; got {len(lesson.train)} for training and "
            f"{len(lesson.validation)} for validation."
        )
    began = time.perf_counter()
    with seeded(lesson.seed, device):
        history = model.learn(lesson, device)
    if history is not None:
        model.module.eval()
        seconds = round(time.perf_counter() - began, 2)
        return {**history, "recipe": str(recipe), "seed": lesson.seed, "seconds": seconds}
    recipe = recipe.on(len(lesson.train))
    with seeded(lesson.seed, device):
        epochs, best, stopped = epochs_of(Training(model, recipe, lesson, device), recipe, lesson)
    model.module.load_state_dict(best.state)
    model.module.eval()
    seconds = round(time.perf_counter() - began, 2)
    chosen = {"chosen_epoch": best.epoch, "stopped": stopped, "recipe": str(recipe), "seed": lesson.seed}
    return {"epochs": epochs, **chosen, "seconds": seconds}


@dataclass
class Best:
    """The epoch of the lowest validation loss so far, that loss, and the weights."""

    epoch: int = 0
    loss: float = math.inf
    state: Any = None


def epochs_of(run: Training, recipe: Recipe, lesson: TrainingData) -> tuple[list[dict[str, float | None]], Best, str]:
    """Train until the validation loss has not fallen for a while; return the epochs, the best, and why it ended.

    Raises:
        TrainingError: a loss or an output is not finite.
    """
    best, epochs = Best(), []
    for epoch in lesson.track(range(1, recipe.epochs + 1), "training", recipe.epochs):
        try:
            loss, accuracy = run.learn(epoch)
            validation_loss, validation_accuracy = run.judge()
        except ModelError as error:
            raise TrainingError(f"Training failed in epoch {epoch}: {error} Try a lower learning rate.") from error
        if not (math.isfinite(loss) and math.isfinite(validation_loss)):
            raise TrainingError(f"The loss is not finite in epoch {epoch}; try a lower learning rate.")
        epochs.append(
            {
                "epoch": epoch,
                "train_loss": loss,
                "train_accuracy": accuracy,
                "validation_loss": validation_loss,
                "validation_accuracy": validation_accuracy,
            }
        )
        if validation_loss < best.loss:
            best = Best(epoch, validation_loss, copy.deepcopy(run.model.module.state_dict()))
        elif epoch - best.epoch >= recipe.patience:
            return epochs, best, "early"
    return epochs, best, "limit"


class Training:
    """The tensors and the optimiser of one training."""

    def __init__(self, model: TorchModel, recipe: Recipe, lesson: TrainingData, device: torch.device) -> None:
        self.model, self.recipe, self.lesson = model, recipe, lesson
        self.train = _tensors(model, lesson.train, device)
        self.validation = _tensors(model, lesson.validation, device)
        self.order = torch.Generator().manual_seed(lesson.seed)
        parameters = [p for p in model.module.parameters() if p.requires_grad]
        self.optimiser = torch.optim.AdamW(parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
        steps = math.ceil(len(lesson.train) / recipe.batch_size) * recipe.epochs
        self.schedule = _schedule(self.optimiser, steps, round(recipe.warmup * steps))

    def learn(self, epoch: int) -> tuple[float, float | None]:
        """Take one pass over the training split; return mean loss and quality as they were met."""
        self.model.module.train()
        met = EpochMetrics()
        shuffled = torch.randperm(len(self.lesson.train), generator=self.order)
        for index, chosen in enumerate(torch.split(shuffled, self.recipe.batch_size)):
            pixels, targets = self.train[0][chosen], self.train[1][chosen]
            if self.lesson.perturb is not None:
                pixels = self.lesson.perturb(self.model, pixels, targets, hash((self.lesson.seed, epoch, index)))
            losses, output = self.lesson.objective.training_loss(self.model, pixels, targets)
            self.optimiser.zero_grad()
            losses.mean().backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            self.optimiser.step()
            self.schedule.step()
            met.add(self.lesson.objective, losses, output, targets)
        return met.means()

    def judge(self) -> tuple[float, float | None]:
        """Return mean loss and quality on the validation split, perturbed if training is."""
        met = EpochMetrics()
        with self.model.frozen():
            for start in range(0, len(self.lesson.validation), 256):
                pixels, targets = (part[start : start + 256] for part in self.validation)
                if self.lesson.perturb is not None:
                    pixels = self.lesson.perturb(self.model, pixels, targets, hash((self.lesson.seed, 0, start)))
                with torch.no_grad():
                    losses, output = self.lesson.objective.training_loss(self.model, pixels, targets)
                met.add(self.lesson.objective, losses, output, targets)
        return met.means()


def _schedule(optimiser: torch.optim.Optimizer, steps: int, rising: int) -> torch.optim.lr_scheduler.LRScheduler:
    """Return a rate that rises over some steps, where there are any, and then falls to zero along a cosine."""
    schedules = torch.optim.lr_scheduler
    if not rising:
        return schedules.CosineAnnealingLR(optimiser, steps)
    rise = schedules.LinearLR(optimiser, 1 / rising, total_iters=rising)
    fall = schedules.CosineAnnealingLR(optimiser, steps - rising)
    return schedules.SequentialLR(optimiser, [rise, fall], [rising])


@dataclass
class EpochMetrics:
    """Sums over the samples that were met."""

    loss: float = 0.0
    quality: float | None = 0.0
    samples: int = 0

    def add(self, objective: Learns, losses: Tensor, output: Tensor | None, targets: Tensor) -> None:
        """Add a batch; without an output nothing is known of its quality."""
        self.loss += float(losses.detach().sum())
        self.samples += len(losses)
        if output is None or self.quality is None:
            self.quality = None
        else:
            self.quality += float((1 - objective.damage(output.detach(), targets).double()).sum())

    def means(self) -> tuple[float, float | None]:
        """Return mean loss and mean quality."""
        return self.loss / self.samples, None if self.quality is None else self.quality / self.samples


def _tensors(model: TorchModel, split: Split, device: torch.device) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(model.inputs(split)).to(device), torch.from_numpy(split.targets).to(device)
