"""Training hyperparameters as a value, which is part of the model's identity."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Recipe:
    """Hyperparameters of the trainer.

    Attributes:
        epochs: maximum number of passes over the training split.
        batch_size: samples per step.
        learning_rate: peak learning rate of AdamW, annealed to zero along a cosine over `epochs`.
        warmup: fraction of all steps with a linear warm-up of the learning rate.
        weight_decay: decoupled weight decay of AdamW.
        patience: epochs without a lower validation loss after which training stops.
        adversary: spec of an attack to train on instead of the clean images, for example
            ``pgd(eps=[0.2], steps=5)``; its last eps is used.
        least_steps: minimum number of steps; on a small training split `epochs` and `patience` are multiplied by the
            same whole number to reach it.
    """

    epochs: int = 40
    batch_size: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    patience: int = 6
    adversary: str | None = None
    warmup: float = 0.0
    least_steps: int = 0

    def canonical(self) -> dict[str, Any]:
        """Return a JSON value for the model's identity; fields added later are left out at their defaults."""
        return {name: value for name, value in asdict(self).items() if name not in ("warmup", "least_steps") or value}

    def on(self, samples: int) -> Recipe:
        """Return the recipe with enough epochs for `least_steps` on a training split of `samples` samples."""
        steps = math.ceil(samples / self.batch_size) * self.epochs
        times = math.ceil(self.least_steps / steps) if steps else 1
        return replace(self, epochs=self.epochs * times, patience=self.patience * times) if times > 1 else self

    def __str__(self) -> str:
        rise = f" after a rise over {self.warmup:.0%} of the steps" if self.warmup else ""
        extra = f", on images perturbed by {self.adversary}" if self.adversary else ""
        return (
            f"AdamW, learning rate {self.learning_rate:g}{rise}, weight decay {self.weight_decay:g}, batches of "
            f"{self.batch_size}, at most {self.epochs} epochs, patience {self.patience}{extra}"
        )
