"""Training of models that carry a state: a window in pieces, the state carried from each to the next (Werbos 1990)."""

from typing import Any

import torch
from torch import Tensor, nn

from suite.models.recipe import Recipe
from suite.models.training.trainer import EpochMetrics, Training, TrainingData, epochs_of

PIECE = 64
"""Characters through which gradients flow back; the state behind them is taken as it is."""

LONGEST = 1.0
"""Norm that gradients are cut to: those of recurrent layers explode now and then."""


def learn_in_pieces(model: Any, recipe: Recipe, lesson: TrainingData, device: torch.device) -> dict[str, Any]:
    """Train a language model that carries a state, leave it with the weights of its best epoch, and return the history.

    A step of the optimiser is taken for each piece: that is as many more for the price of one as a window has pieces.

    Raises:
        TrainingError: the loss is not finite.
    """
    epochs, best, stopped = epochs_of(_Pieces(model, recipe, lesson, device), recipe, lesson)
    model.module.load_state_dict(best.state)
    return {"epochs": epochs, "chosen_epoch": best.epoch, "stopped": stopped}


class _Pieces(Training):
    """One training, whose steps are taken piece by piece."""

    def learn(self, epoch: int) -> tuple[float, float | None]:
        """Take one pass over the training split; return the mean loss as it was met."""
        self.model.module.train()
        met = EpochMetrics()
        shuffled = torch.randperm(len(self.lesson.train), generator=self.order)
        for chosen in torch.split(shuffled, self.recipe.batch_size):
            codes, targets = self.train[0][chosen], self.train[1][chosen]
            met.add(self.lesson.objective, self._window(codes), None, targets)
            self.schedule.step()
        return met.means()

    def _window(self, codes: Tensor) -> Tensor:
        """Take the steps of some windows, and return the mean loss of each, (n,)."""
        ids, module = self.model.read(codes).ids, self.model.module  # type: ignore[attr-defined]  # a language model
        total: Tensor = torch.zeros(len(ids), device=ids.device)
        state: Any = None
        for start in range(0, ids.shape[1] - 1, PIECE):
            stop = min(start + PIECE, ids.shape[1] - 1)
            logits, state = module.read(ids[:, start:stop], _cut(state))  # type: ignore[operator]  # it has `read`
            losses = nn.functional.cross_entropy(logits.transpose(1, 2), ids[:, start + 1 : stop + 1], reduction="none")
            self.optimiser.zero_grad()
            losses.mean().backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            nn.utils.clip_grad_norm_(module.parameters(), LONGEST)
            self.optimiser.step()
            total = total + losses.detach().sum(dim=1) / (ids.shape[1] - 1)
        return total


def _cut(state: Any) -> Any:
    """Return a state without its past: a tensor, or several."""
    if state is None or isinstance(state, Tensor):
        return state if state is None else state.detach()
    return tuple(part.detach() for part in state)
