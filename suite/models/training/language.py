"""Truncated backpropagation through time for models that carry a state (Werbos 1990)."""

from typing import Any

import torch
from torch import Tensor, nn

from suite.models.recipe import Recipe
from suite.models.training.trainer import Training, TrainingData, fit

PIECE = 64
"""Characters through which gradients flow back; the state before them is detached."""

MAX_NORM = 1.0
"""Norm at which gradients are clipped, since those of recurrent layers may explode."""


def learn_in_pieces(model: Any, recipe: Recipe, data: TrainingData, device: torch.device) -> dict[str, Any]:
    """Train a language model that carries a state; it keeps the weights of its best epoch. Return the history.

    Every piece of a window is one optimizer step, so a window gives several steps at the cost of one.

    Raises:
        TrainingError: the loss is not finite.
    """
    return fit(_TruncatedTraining(model, recipe, data, device))


class _TruncatedTraining(Training):
    """A training with one optimizer step per piece of a window."""

    def optimize(self, pixels: Tensor, targets: Tensor) -> tuple[Tensor, Tensor | None]:
        """Take the steps of some windows; return the mean loss of each, (n,)."""
        ids, module = self.model.read(pixels).ids, self.model.module  # type: ignore[attr-defined]  # a language model
        total: Tensor = torch.zeros(len(ids), device=ids.device)
        state: Any = None
        for start in range(0, ids.shape[1] - 1, PIECE):
            stop = min(start + PIECE, ids.shape[1] - 1)
            logits, state = module.read(ids[:, start:stop], _detached(state))  # type: ignore[operator]  # it has `read`
            losses = nn.functional.cross_entropy(logits.transpose(1, 2), ids[:, start + 1 : stop + 1], reduction="none")
            self.optimizer.zero_grad()
            losses.mean().backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            nn.utils.clip_grad_norm_(module.parameters(), MAX_NORM)
            self.optimizer.step()
            total = total + losses.detach().sum(dim=1) / (ids.shape[1] - 1)
        return total, None


def _detached(state: Any) -> Any:
    """Return a detached state: None, a tensor, or a tuple of tensors."""
    if state is None or isinstance(state, Tensor):
        return state if state is None else state.detach()
    return tuple(part.detach() for part in state)
