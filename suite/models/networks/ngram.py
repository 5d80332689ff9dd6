"""An n-gram language model of characters with Witten-Bell smoothing."""

from typing import Any

import torch
from torch import Tensor, nn

from suite.errors import ModelError
from suite.models.adapters.language import TorchLanguage

EMPTY = torch.iinfo(torch.int64).max
"""Key of empty entries of the table; the largest number, so that the keys stay sorted."""

EVALUATED = 256
"""Windows per split on which the loss is computed after counting."""


class NGram(nn.Module):
    """Counts of all n-grams of up to `order` characters, in one table of fixed size, sorted by key.

    The probability of a character w after a history h of up to order - 1 characters is smoothed as in Witten and Bell
    (1991): (c(hw) + t(h) p(w | h')) / (c(h) + t(h)), where c counts, t(h) is the number of different characters seen
    after h, and h' is h without its first character; the recursion ends in a uniform distribution. Histories are
    shorter at the beginning of a text.

    Args:
        classes: size of the alphabet.
        order: length of the longest n-grams, including the next character.
        room: entries of the table; the rarest of the longest n-grams are dropped if it is full.
    """

    keys: Tensor
    counts: Tensor

    def __init__(self, classes: int, *, order: int = 5, room: int = 2**20) -> None:
        super().__init__()
        if order < 1 or order * torch.tensor(float(classes + 1)).log2() > 62:
            raise ModelError(f"got order={order} for {classes} characters; expected 1 or more, and keys below 2^62.")
        self.classes, self.order, self.room = classes, order, room
        self.register_buffer("keys", torch.full((room,), EMPTY))
        self.register_buffer("counts", torch.zeros(room, dtype=torch.int32))

    def count(self, ids: Tensor) -> int:
        """Count the n-grams of texts, ids (n, length), and return how many different ones were dropped."""
        tables = [torch.unique(self._runs(ids, length), return_counts=True) for length in range(1, self.order + 1)]
        keys, counts = (torch.cat(parts) for parts in zip(*tables, strict=True))
        dropped = max(0, len(keys) - self.room)
        if dropped:
            shorter = sum(len(part[0]) for part in tables[:-1])
            priority = counts + (torch.arange(len(keys), device=keys.device) < shorter) * counts.max()
            kept = priority.argsort(descending=True, stable=True)[: self.room].sort().values
            keys, counts = keys[kept], counts[kept]
        self.keys.fill_(EMPTY)
        self.counts.zero_()
        self.keys[: len(keys)], self.counts[: len(keys)] = keys, counts.int()
        return dropped

    def forward(self, ids: Tensor) -> Tensor:
        """Return the log-probability of the character after each of ids (n, length), (n, length, classes)."""
        probability = torch.full((*ids.shape, self.classes), 1 / self.classes, dtype=torch.float64, device=ids.device)
        probability = probability.flatten(0, 1)
        for history in range(self.order):
            probability = self._smoothed(ids, history, probability)
        return probability.log().float().view(*ids.shape, self.classes)

    def _smoothed(self, ids: Tensor, history: int, lower: Tensor) -> Tensor:
        """Return the probabilities given histories of one length, smoothed with those given shorter histories."""
        codes = self._code(ids, history)
        first = codes * self.classes + self._offset(history + 1)
        start, stop = (torch.searchsorted(self.keys, first + past) for past in (0, self.classes))
        types = stop - start
        rows = torch.repeat_interleave(torch.arange(len(codes), device=ids.device), types)
        steps = torch.arange(len(rows), device=ids.device) - torch.repeat_interleave(types.cumsum(0) - types, types)
        entries = start[rows] + steps
        seen = torch.zeros_like(lower)
        seen[rows, self.keys[entries] - first[rows]] = self.counts[entries].double()
        short = torch.arange(ids.shape[1], device=ids.device) + 1 < history
        known = (types > 0) & ~short.repeat(len(ids))
        total, weight = seen.sum(dim=1, keepdim=True), types[:, None].double()
        smoothed = (seen + weight * lower) / (total + weight).clamp_min(1)
        return torch.where(known[:, None], smoothed, lower)

    def _code(self, ids: Tensor, history: int) -> Tensor:
        """Return the last `history` characters up to and including each position as one number, (n x length,)."""
        code = torch.zeros_like(ids)
        for back in range(min(history, ids.shape[1]) - 1, -1, -1):
            shifted = torch.zeros_like(ids)
            shifted[:, back:] = ids[:, : ids.shape[1] - back]
            code = code * self.classes + shifted
        return code.flatten()

    def _runs(self, ids: Tensor, length: int) -> Tensor:
        """Return the keys of all n-grams of a length in texts."""
        complete = self._code(ids, length).view_as(ids)[:, length - 1 :]
        return complete.flatten() + self._offset(length)

    def _offset(self, length: int) -> int:
        """Return the smallest key of n-grams of a length; shorter ones have smaller keys."""
        return sum(self.classes**shorter for shorter in range(1, length))

    def step(self, ids: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return log-probabilities (n, classes) after one more character (n,), and the last characters."""
        past = ids[:, None] if state is None else torch.cat([state, ids[:, None]], dim=1)
        past = past[:, -max(1, self.order - 1) :]
        return self(past)[:, -1], past


class TorchNGram(TorchLanguage):
    """An n-gram model as a language model: trained by counting, without gradients; its recipe is not used."""

    module: NGram

    def raw(self, pixels: Tensor) -> Tensor:
        """Return log-probabilities (n, length - 1, classes) for code points (n, length)."""
        logs: Tensor = self.in_full_batches(self.module, self.read(pixels).ids[:, :-1])
        return logs

    def learn(self, data: Any, device: torch.device) -> dict[str, Any]:
        """Count the n-grams of the training windows, and return the loss on both splits in nats per character."""
        splits = {"train": data.train, "validation": data.validation}
        codes = {name: torch.from_numpy(self.inputs(split)).to(device) for name, split in splits.items()}
        dropped = self.module.count(self.read(codes["train"]).ids)
        epoch: dict[str, float | None] = {"epoch": 1}
        for name, inputs in codes.items():
            targets = torch.from_numpy(splits[name].targets[:EVALUATED]).to(device)
            with torch.no_grad():
                losses, output = data.objective.training_loss(self, inputs[:EVALUATED], targets)
            known = output is not None and data.damage is not None
            damage = float(data.damage(output, targets).mean()) if known else None
            epoch |= {f"{name}_loss": float(losses.mean()), f"{name}_accuracy": None if damage is None else 1 - damage}
        return {"epochs": [epoch], "chosen_epoch": 1, "stopped": "counted", "runs_forgotten": dropped}
