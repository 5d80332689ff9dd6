"""A language model that counts: what followed the last few characters in the training text."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from suite.errors import ModelError, NotApplicableError
from suite.models.adapters.language import TorchLanguage
from suite.models.recipe import Recipe

EMPTY = torch.iinfo(torch.int64).max
"""The key of an entry of the table that holds nothing; the largest, so that the keys stay sorted."""


class NGram(nn.Module):
    """Counts of all runs of up to `order` characters, in one table of a fixed size, sorted by key.

    The probability of a character w behind a history h of up to order - 1 characters is smoothed as Witten and Bell
    (1991) do: (c(hw) + t(h) p(w | h')) / (c(h) + t(h)), where c counts, t(h) is the number of different characters seen
    behind h, and h' is h without its first character; below the empty history all characters are equally likely. What
    stands at the beginning of a text has a shorter history.

    Args:
        classes: size of the alphabet.
        order: characters of the longest run that is counted, history and next character.
        room: entries of the table; what does not fit, the rarest of the longest runs, is forgotten.
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
        """Count the runs within texts, ids (n, length), and return how many different ones had to be forgotten."""
        found = [torch.unique(self._runs(ids, length), return_counts=True) for length in range(1, self.order + 1)]
        keys, counts = (torch.cat(parts) for parts in zip(*found, strict=True))
        forgotten = max(0, len(keys) - self.room)
        if forgotten:
            shorter = sum(len(part[0]) for part in found[:-1])
            worth = counts + (torch.arange(len(keys), device=keys.device) < shorter) * counts.max()
            kept = worth.argsort(descending=True, stable=True)[: self.room].sort().values
            keys, counts = keys[kept], counts[kept]
        self.keys.fill_(EMPTY)
        self.counts.zero_()
        self.keys[: len(keys)], self.counts[: len(keys)] = keys, counts.int()
        return forgotten

    def forward(self, ids: Tensor) -> Tensor:
        """Return the log-probability of every character behind each of ids (n, length), (n, length, classes)."""
        chance = torch.full((*ids.shape, self.classes), 1 / self.classes, dtype=torch.float64, device=ids.device)
        chance = chance.flatten(0, 1)
        for history in range(self.order):
            chance = self._smoothed(ids, history, chance)
        return chance.log().float().view(*ids.shape, self.classes)

    def _smoothed(self, ids: Tensor, history: int, lower: Tensor) -> Tensor:
        """Return the probabilities by histories of one length, where there are any, from those by shorter ones."""
        codes = self._code(ids, history)
        first = codes * self.classes + self._offset(history + 1)
        start, stop = (torch.searchsorted(self.keys, first + past) for past in (0, self.classes))
        kinds = stop - start
        rows = torch.repeat_interleave(torch.arange(len(codes), device=ids.device), kinds)
        steps = torch.arange(len(rows), device=ids.device) - torch.repeat_interleave(kinds.cumsum(0) - kinds, kinds)
        entries = start[rows] + steps
        seen = torch.zeros_like(lower)
        seen[rows, self.keys[entries] - first[rows]] = self.counts[entries].double()
        short = torch.arange(ids.shape[1], device=ids.device) + 1 < history
        known = (kinds > 0) & ~short.repeat(len(ids))
        total, types = seen.sum(dim=1, keepdim=True), kinds[:, None].double()
        mixed = (seen + types * lower) / (total + types).clamp_min(1)
        return torch.where(known[:, None], mixed, lower)

    def _code(self, ids: Tensor, history: int) -> Tensor:
        """Return the last `history` characters up to and with each as one number, (n x length,)."""
        code = torch.zeros_like(ids)
        for back in range(min(history, ids.shape[1]) - 1, -1, -1):
            moved = torch.zeros_like(ids)
            moved[:, back:] = ids[:, : ids.shape[1] - back]
            code = code * self.classes + moved
        return code.flatten()

    def _runs(self, ids: Tensor, length: int) -> Tensor:
        """Return the keys of all runs of a length within texts."""
        whole = self._code(ids, length).view_as(ids)[:, length - 1 :]
        return whole.flatten() + self._offset(length)

    def _offset(self, length: int) -> int:
        """Return the smallest key of runs of a length: those of shorter ones lie below."""
        return sum(self.classes**shorter for shorter in range(1, length))

    def step(self, ids: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return log-probabilities (n, classes) behind one more character (n,), and the last few characters."""
        past = ids[:, None] if state is None else torch.cat([state, ids[:, None]], dim=1)
        past = past[:, -max(1, self.order - 1) :]
        return self(past)[:, -1], past


class TorchNGram(TorchLanguage):
    """A model that counts, as a language model: it is trained by counting, and has no gradients.

    Args:
        module: counts.
        classes, length, weights, recipe: as for `TorchLanguage`; of the recipe nothing is used.
    """

    module: NGram

    def __init__(
        self,
        module: NGram,
        classes: Sequence[str],
        *,
        length: int = 256,
        weights: str | Path | None = None,
        recipe: Recipe | None = None,
    ) -> None:
        super().__init__(module, classes, length=length, weights=weights, recipe=recipe)

    @property
    def table(self) -> Tensor:
        """Refuse: there is no embedding."""
        raise NotApplicableError(
            "the model counts characters and embeds none, so that no gradient leads back to a text"
        )

    def embed(self, ids: Tensor) -> Tensor:
        """Refuse: there is no embedding."""
        return self.table

    def raw(self, pixels: Tensor) -> Tensor:
        """Return log-probabilities (n, length - 1, classes) for code points (n, length)."""
        logs: Tensor = self.module(self.read(pixels).ids[:, :-1])
        return logs

    def learn(self, lesson: Any, device: torch.device) -> dict[str, Any]:
        """Count the training windows, and return the loss on both splits in nats per character, as others have it."""
        splits = {"train": lesson.train, "validation": lesson.validation}
        codes = {name: torch.from_numpy(self.inputs(split)).to(device) for name, split in splits.items()}
        forgotten = self.module.count(self.read(codes["train"]).ids)
        epoch: dict[str, float | None] = {"epoch": 1}
        for name, shown in codes.items():
            few = shown[:JUDGED]
            targets = torch.from_numpy(splits[name].targets[:JUDGED]).to(device)
            with torch.no_grad():
                losses, output = lesson.objective.training_loss(self, few, targets)
            damage = None if output is None else float(lesson.objective.damage(output, targets).mean())
            epoch |= {f"{name}_loss": float(losses.mean()), f"{name}_accuracy": None if damage is None else 1 - damage}
        return {"epochs": [epoch], "chosen_epoch": 1, "stopped": "counted", "runs_forgotten": forgotten}


JUDGED = 256
"""Windows of a split whose loss is told after counting."""
