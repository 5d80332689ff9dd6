"""The adapter round a language model: code points in, the logits of each next character out."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from suite.data.text import codes as code_points
from suite.errors import ModelError, NotApplicableError
from suite.models.adapters.alphabet import Alphabet
from suite.models.adapters.language_embedding import ContextEmbedded
from suite.models.adapters.sampling import Sampled, continued
from suite.models.adapters.text import Reading, TorchText
from suite.models.base import TorchModel
from suite.models.recipe import Recipe
from suite.models.training.language import learn_in_pieces

CHUNK = 512
"""Characters that are read at once where a state is carried over a long text."""


class TorchLanguage(TorchText):
    """A language model: its module maps embeddings of characters to logits of the characters behind them.

    The module has ``embedding``, with a row for each class, and its ``forward`` takes embeddings (n, length, d) and a
    bool mask (n, length) and returns logits (n, length, classes), those at a position being of the character behind it;
    nothing but what stands before may move them. Two more methods are used where they are there:
    ``step(ids, state)`` with ids (n,) and None or the state behind the text so far, to logits (n, classes) and a new
    state, makes generating fast; ``read(ids, state)`` with ids (n, length), to logits (n, length, classes) and a state,
    says that the module carries a state over a text of any length.

    Args:
        module: as above.
        classes: of the task: ``<unk>`` and the characters.
        length: characters of a window, `TaskInfo.input_shape[0]`.
        weights, recipe: as for `TorchModel`.
    """

    answers = "logits"

    def __init__(
        self,
        module: nn.Module,
        classes: Sequence[str],
        *,
        length: int = 256,
        weights: str | Path | None = None,
        recipe: Recipe | None = None,
    ) -> None:
        self.alphabet = Alphabet(classes)
        super().__init__(module, self.alphabet, length=length, weights=weights, recipe=recipe)

    def read(self, codes: Tensor) -> Reading:
        """Return the characters of texts given as code points (n, length).

        A text that is shorter is read as if it ended where the others do: what is scored are its last characters.
        """
        rows = codes.detach().cpu().numpy()
        width = rows.shape[1]
        lengths = (rows != 0).sum(axis=1, keepdims=True)
        places = np.arange(width)[None] - (width - lengths)
        mask = places >= 0
        shifted = np.take_along_axis(rows, places.clip(min=0), axis=1)
        ids = np.where(mask, self.alphabet.ids(shifted), self.alphabet.pad)
        spans = np.where(mask[..., None], np.stack([places, places + 1], axis=2), 0)
        mask = mask | (~mask.any(axis=1, keepdims=True) & (np.arange(width) == width - 1))
        return Reading(*(torch.from_numpy(part).to(codes.device) for part in (ids, mask, spans)))

    def answer(self, embedded: Tensor, mask: Tensor) -> Tensor:
        """Return logits (n, length - 1, classes) of all characters but the first, for embeddings (n, length, d).

        The module never sees the last character: nothing behind it is scored. What a shorter text lacks stands before
        it, and is shown behind it, where it has no influence: the text is read as it is alone.
        """
        embedded, mask = embedded[:, :-1], mask[:, :-1]
        lacking = (~mask).sum(dim=1)
        if not lacking.any():
            return super().answer(embedded, mask)
        logits = super().answer(_turned(embedded, lacking), _turned(mask, lacking))
        return _turned(logits, -lacking)

    def shaped(self, output: Any, pixels: Tensor) -> Tensor:
        """Return logits (n, positions, classes) as they are."""
        expected = (*pixels.shape[:2], len(self.alphabet.vocabulary))
        if not isinstance(output, Tensor) or output.shape != expected:
            shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise ModelError(f"The model returned {shape}; expected logits (texts, positions, classes), {expected}.")
        return output

    def learn(self, lesson: Any, device: torch.device) -> dict[str, Any] | None:
        """Train a module that carries a state piece by piece; others are trained as most models are."""
        if not self.carries or self.recipe is None or lesson.perturb is not None:
            return None
        return learn_in_pieces(self, self.recipe, lesson, device)

    def in_space(self, space: str) -> TorchModel:
        """Return the model as it is seen from the embeddings of the characters that are not scored."""
        return ContextEmbedded(self) if space == "embedding" else super().in_space(space)

    def continued(self, prompts: Tensor, length: int, *, seeds: Sequence[int], temperature: float = 1.0) -> Sampled:
        """Return how the model goes on behind prompts.

        Args:
            prompts: ids (n, characters), at least one character; a module with a table of positions is shown the last
                ones where they are more than it has room for.
            length: characters to draw.
            seeds: one a prompt; a text depends on its own alone.
            temperature: what logits are divided by, above 0.

        Raises:
            ModelError: no prompt, or no such temperature.
        """
        with self.frozen(), torch.no_grad():
            return continued(self.stepper(), prompts, length, seeds=seeds, temperature=temperature)

    def generate(self, count: int, length: int, seed: int, *, temperature: float = 1.0, prompt: str = "") -> list[str]:
        """Return texts that the model makes up, without the prompt; the i-th is drawn from `seed` + i.

        Without a prompt the model begins as behind a line break, or behind its first character where it knows none.

        Raises:
            ModelError: as `continued`.
        """
        known = self.alphabet.vocabulary
        start = prompt or ("\n" if "\n" in known else known[1])
        ids = torch.from_numpy(self.alphabet.ids(code_points(start))).to(self.device).expand(count, -1)
        found = self.continued(ids, length, seeds=range(seed, seed + count), temperature=temperature)
        return [self.alphabet.text(row) for row in found.ids.cpu().numpy()]

    def stepper(self) -> Any:
        """Return what takes a step behind a text: (ids (n,), state) to logits (n, classes) and a new state."""
        return getattr(self.module, "step", None) or Rereading(self)

    @property
    def device(self) -> torch.device:
        """Where the module is."""
        held = [*self.module.parameters(), *self.module.buffers()]
        return held[0].device if held else torch.device("cpu")

    @property
    def carries(self) -> bool:
        """Whether the module carries a state over a text of any length."""
        return hasattr(self.module, "read")

    def carried(self, text: str) -> npt.NDArray[np.float64]:
        """Return the bits of each character of a text but the first, (characters - 1,), with a carried state.

        Raises:
            NotApplicableError: the module carries no state.
            ModelError: the text has fewer than two characters, or logits are not finite.
        """
        if not self.carries:
            raise NotApplicableError("the model reads a window and carries no state from one to the next")
        ids = torch.from_numpy(self.alphabet.ids(code_points(text))).to(self.device)[None]
        if ids.shape[1] < 2:
            raise ModelError(
                f"a text of {ids.shape[1]} characters; expected at least two, since the first has no past."
            )
        state, parts = None, []
        with self.frozen(), torch.no_grad():
            for start in range(0, ids.shape[1] - 1, CHUNK):
                stop = min(start + CHUNK, ids.shape[1] - 1)
                logits, state = self.module.read(ids[:, start:stop], state)  # type: ignore[operator]  # see `carries`
                parts.append(
                    nn.functional.cross_entropy(logits[0].double(), ids[0, start + 1 : stop + 1], reduction="none")
                )
        bits = torch.cat(parts).cpu().numpy() / np.log(2)
        if not np.isfinite(bits).all():
            raise ModelError("The model returned NaN or infinite logits on a long text. Check the weights.")
        return np.asarray(bits, np.float64)


def _turned(rows: Tensor, by: Tensor) -> Tensor:
    """Return rows (n, length, ...) turned to the left by some places each, (n,): what falls out enters at the end."""
    length = rows.shape[1]
    places = (torch.arange(length, device=rows.device) + by[:, None]) % length
    return rows[torch.arange(len(rows), device=rows.device)[:, None], places]


class Rereading:
    """Steps of a module without any of its own: the last characters are read again for each new one."""

    def __init__(self, model: TorchLanguage) -> None:
        self.model = model

    def __call__(self, ids: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return logits (n, classes) behind the text so far and one more character (n,), and the text."""
        past = ids[:, None] if state is None else torch.cat([state, ids[:, None]], dim=1)
        past = past[:, -(self.model.length - 1) :]
        behind = torch.cat([past, past[:, -1:]], dim=1)  # the last character of a window is not read
        logits = self.model.answer(self.model.embed(behind), torch.ones_like(behind, dtype=torch.bool))
        return logits[:, -1], past
