"""A deterministic trainer with early stopping on the validation split."""

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

VALIDATION_BATCH = 256
"""Samples per batch of the validation loss."""

Track = Callable[[Iterable[int], str, int], Iterator[int]]
"""Wraps an iterable of known length with a progress bar."""

Perturb = Callable[[TorchModel, Tensor, Tensor, int], Tensor]
"""Replaces a batch by adversarial examples: (model, pixels, targets, seed) to pixels."""


class TrainingObjective(Protocol):
    """A kind, as far as the trainer uses it."""

    def training_loss(self, model: TorchModel, pixels: Tensor, targets: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the loss per sample, and the output where it costs little."""


Damage = Callable[[Tensor, Tensor], Tensor]
"""(output, targets) to how wrong the output for each sample is, (n,) in [0, 1]."""


@dataclass(frozen=True)
class TrainingData:
    """Everything that training depends on, except the model and its recipe.

    Attributes:
        damage: what 1 minus the accuracy of an epoch is; None for kinds without an accuracy.
    """

    train: Split
    validation: Split
    objective: TrainingObjective
    seed: int
    track: Track
    perturb: Perturb | None = None
    damage: Damage | None = None


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed PyTorch's global generators (initialization, dropout) and restore them afterwards."""
    devices = [] if device.type == "cpu" else [device]
    with torch.random.fork_rng(devices=devices, device_type=device.type):
        torch.manual_seed(seed)
        yield


def train(model: TorchModel, recipe: Recipe, data: TrainingData, *, device: torch.device) -> dict[str, Any]:
    """Train a model in place; it keeps the weights of its best epoch.

    Returns:
        The history: epochs (loss and accuracy on both splits), chosen_epoch, stopped, recipe, seed, seconds.

    Raises:
        TrainingError: no training or validation samples, or the loss is not finite.
    """
    if not len(data.train) or not len(data.validation):
        raise TrainingError(
            f"Training needs training and validation samples; got {len(data.train)} for training and "
            f"{len(data.validation)} for validation."
        )
    start = time.perf_counter()
    with seeded(data.seed, device):
        history = model.learn(data, device)
    if history is None:
        recipe = recipe.on(len(data.train))
        with seeded(data.seed, device):
            history = fit(Training(model, recipe, data, device))
    model.module.eval()
    seconds = round(time.perf_counter() - start, 2)
    return {**history, "recipe": str(recipe), "seed": data.seed, "seconds": seconds}


def fit(run: Training) -> dict[str, Any]:
    """Train until the validation loss stops falling, load the weights of the best epoch and return the history.

    Raises:
        TrainingError: a loss or an output is not finite.
    """
    recipe, epochs, stopped = run.recipe, [], "limit"
    best_epoch, best_loss = 0, math.inf
    best_state: dict[str, Any] = {}
    for epoch in run.data.track(range(1, recipe.epochs + 1), "training", recipe.epochs):
        metrics = _run_epoch(run, epoch)
        epochs.append(metrics)
        if metrics["validation_loss"] < best_loss:
            best_epoch, best_loss = epoch, metrics["validation_loss"]
            best_state = copy.deepcopy(run.model.module.state_dict())
        elif epoch - best_epoch >= recipe.patience:
            stopped = "early"
            break
    run.model.module.load_state_dict(best_state)
    return {"epochs": epochs, "chosen_epoch": best_epoch, "stopped": stopped}


def _run_epoch(run: Training, epoch: int) -> dict[str, Any]:
    try:
        loss, accuracy = run.learn(epoch)
        validation_loss, validation_accuracy = run.validate()
    except ModelError as error:
        raise TrainingError(f"Training failed in epoch {epoch}: {error} Try a lower learning rate.") from error
    if not (math.isfinite(loss) and math.isfinite(validation_loss)):
        raise TrainingError(f"The loss is not finite in epoch {epoch}; try a lower learning rate.")
    return {
        "epoch": epoch,
        "train_loss": loss,
        "train_accuracy": accuracy,
        "validation_loss": validation_loss,
        "validation_accuracy": validation_accuracy,
    }


class Training:
    """The samples and the optimizer of one training run; batches are read and put on the device one by one."""

    def __init__(self, model: TorchModel, recipe: Recipe, data: TrainingData, device: torch.device) -> None:
        self.model, self.recipe, self.data = model, recipe, data
        self.device = device
        self.order = torch.Generator().manual_seed(data.seed)
        parameters = [p for p in model.module.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
        steps = math.ceil(len(data.train) / recipe.batch_size) * recipe.epochs
        self.schedule = _schedule(self.optimizer, steps, round(recipe.warmup * steps))

    def learn(self, epoch: int) -> tuple[float, float | None]:
        """Train on the training split once; return mean loss and quality during the epoch."""
        self.model.module.train()
        metrics = EpochMetrics()
        shuffled = torch.randperm(len(self.data.train), generator=self.order)
        groups = [chosen.numpy() for chosen in torch.split(shuffled, self.recipe.batch_size)]
        for index, batch in enumerate(self.data.train.ahead(groups)):
            pixels, targets = self._tensors(batch)
            pixels = self._perturbed(pixels, targets, hash((self.data.seed, epoch, index)))
            losses, output = self.optimize(pixels, targets)
            self.schedule.step()
            metrics.add(self.data.damage, losses, output, targets)
        return metrics.means()

    def optimize(self, pixels: Tensor, targets: Tensor) -> tuple[Tensor, Tensor | None]:
        """Take one step of the optimizer on a batch; return losses (n,), and the output where it costs little."""
        losses, output = self.data.objective.training_loss(self.model, pixels, targets)
        self.optimizer.zero_grad()
        losses.mean().backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self.optimizer.step()
        return losses, output

    def validate(self) -> tuple[float, float | None]:
        """Return mean loss and quality on the validation split, perturbed if training is adversarial."""
        metrics = EpochMetrics()
        with self.model.frozen():
            for index, batch in enumerate(self.data.validation.batches(VALIDATION_BATCH)):
                pixels, targets = self._tensors(batch)
                pixels = self._perturbed(pixels, targets, hash((self.data.seed, 0, index * VALIDATION_BATCH)))
                with torch.no_grad():
                    losses, output = self.data.objective.training_loss(self.model, pixels, targets)
                metrics.add(self.data.damage, losses, output, targets)
        return metrics.means()

    def _tensors(self, batch: Split) -> tuple[Tensor, Tensor]:
        inputs, targets = torch.from_numpy(self.model.inputs(batch)), torch.from_numpy(batch.targets)
        return inputs.to(self.device), targets.to(self.device)

    def _perturbed(self, pixels: Tensor, targets: Tensor, seed: int) -> Tensor:
        return pixels if self.data.perturb is None else self.data.perturb(self.model, pixels, targets, seed)


def _schedule(optimizer: torch.optim.Optimizer, steps: int, warmup: int) -> torch.optim.lr_scheduler.LRScheduler:
    """Return a learning rate schedule: linear warm-up, if any, then a cosine to zero."""
    schedules = torch.optim.lr_scheduler
    if not warmup:
        return schedules.CosineAnnealingLR(optimizer, steps)
    rise = schedules.LinearLR(optimizer, 1 / warmup, total_iters=warmup)
    fall = schedules.CosineAnnealingLR(optimizer, steps - warmup)
    return schedules.SequentialLR(optimizer, [rise, fall], [warmup])


@dataclass
class EpochMetrics:
    """Sums of loss and quality over samples."""

    loss: float = 0.0
    quality: float | None = 0.0
    samples: int = 0

    def add(self, damage: Damage | None, losses: Tensor, output: Tensor | None, targets: Tensor) -> None:
        """Add a batch; without an output the quality is unknown."""
        self.loss += float(losses.detach().sum())
        self.samples += len(losses)
        if output is None or damage is None or self.quality is None:
            self.quality = None
        else:
            self.quality += float((1 - damage(output.detach(), targets).double()).sum())

    def means(self) -> tuple[float, float | None]:
        """Return mean loss and mean quality."""
        return self.loss / self.samples, None if self.quality is None else self.quality / self.samples
