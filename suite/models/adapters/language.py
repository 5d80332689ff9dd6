"""The adapter of character language models: code points in, logits of each next character out."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from suite.data.text import codes as code_points
from suite.errors import ModelError, NotApplicableError
from suite.models.adapters.language_embedding import ContextEmbedded
from suite.models.adapters.sampling import Sampled, continue_texts
from suite.models.adapters.text import Reading, TorchText
from suite.models.adapters.tokens import Alphabet
from suite.models.base import TorchModel
from suite.models.outputs import Form, numbers_of, refusal
from suite.models.recipe import Recipe
from suite.models.training.language import learn_in_pieces
from suite.types import WINDOW

CHUNK = 512
"""Characters per forward pass where a state is carried over a long text."""


class TorchLanguage(TorchText):
    """A causal language model: its module maps embeddings of characters to logits of the next characters.

    The module has ``embedding``, with a row for each class, and its ``forward`` takes embeddings (n, length, d) and a
    bool mask (n, length) and returns logits (n, length, classes) of the next character at each position, which may
    depend on this and earlier positions only. Two more methods are optional: ``step(ids, state)``, from ids (n,) and
    the state after the text so far, or None, to logits (n, classes) and a new state, speeds up generation;
    ``read(ids, state)``, from ids (n, length) to logits (n, length, classes) and a state, marks a module that carries a
    state over texts of any length.

    Args:
        module: as above.
        classes: class names of the task: ``<unk>`` and the characters.
        length: characters per window, `TaskInfo.input_shape[0]`.
        weights, recipe: as for `TorchModel`.
    """

    input = WINDOW
    output_name = "logits"

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

        Shorter texts are padded on the left, since the last characters are scored.
        """
        rows = codes.detach().cpu().numpy()
        width = rows.shape[1]
        lengths = (rows != 0).sum(axis=1, keepdims=True)
        positions = np.arange(width)[None] - (width - lengths)
        mask = positions >= 0
        shifted = np.take_along_axis(rows, positions.clip(min=0), axis=1)
        ids = np.where(mask, self.alphabet.ids(shifted), self.alphabet.pad)
        spans = np.where(mask[..., None], np.stack([positions, positions + 1], axis=2), 0)
        mask = mask | (~mask.any(axis=1, keepdims=True) & (np.arange(width) == width - 1))
        return Reading(*(torch.from_numpy(part).to(codes.device) for part in (ids, mask, spans)))

    def forward_embedded(self, embedded: Tensor, mask: Tensor) -> Tensor:
        """Return logits (n, length - 1, classes) of all characters but the first, for embeddings (n, length, d).

        The module does not get the last character, whose successor is not scored. Padding is moved from the left to
        the right of a text, where it has no influence on a causal model.
        """
        embedded, mask = embedded[:, :-1], mask[:, :-1]
        padding = (~mask).sum(dim=1)
        if not padding.any():
            return super().forward_embedded(embedded, mask)
        logits = super().forward_embedded(_rolled(embedded, padding), _rolled(mask, padding))
        return _rolled(logits, -padding)

    def shaped(self, output: Any, pixels: Tensor) -> Tensor:
        """Return logits (n, positions, classes) unchanged."""
        expected = (*pixels.shape[:2], len(self.alphabet.vocabulary))
        form = Form(f"logits (texts, positions, classes), {expected}", "texts")
        logits = numbers_of(output, pixels, form)
        if logits.shape != expected:
            raise refusal(logits, pixels, form)
        return logits

    def learn(self, data: Any, device: torch.device) -> dict[str, Any] | None:
        """Train a module that carries a state by truncated backpropagation; return None for the common trainer."""
        if not self.carries_state or self.recipe is None or data.perturb is not None:
            return None
        return learn_in_pieces(self, self.recipe, data, device)

    def in_space(self, space: str) -> TorchModel:
        """Return the model with the embeddings of the context as inputs."""
        return ContextEmbedded(self) if space == "embedding" else super().in_space(space)

    def continue_texts(
        self, prompts: Tensor, length: int, *, seeds: Sequence[int], temperature: float = 1.0
    ) -> Sampled:
        """Return sampled continuations of prompts.

        Args:
            prompts: ids (n, characters), at least one character; a module with a limited context gets the last ones.
            length: characters to sample.
            seeds: one seed per prompt; a text depends only on its own.
            temperature: divisor of the logits, above 0.

        Raises:
            ModelError: an empty prompt or an invalid temperature.
        """
        with self.frozen(), torch.no_grad():
            return continue_texts(
                self.stepper(), prompts, length, seeds=seeds, temperature=temperature, width=self.width
            )

    def generate(self, count: int, length: int, seed: int, *, temperature: float = 1.0, prompt: str = "") -> list[str]:
        """Return sampled texts without the prompt; the i-th uses `seed` + i.

        The default prompt is a line break, or the first character if the alphabet has no line break.

        Raises:
            ModelError: as `continue_texts`.
        """
        known = self.alphabet.vocabulary
        start = prompt or ("\n" if "\n" in known else known[1])
        ids = torch.from_numpy(self.alphabet.ids(code_points(start))).to(self.device).expand(count, -1)
        sampled = self.continue_texts(ids, length, seeds=range(seed, seed + count), temperature=temperature)
        return [self.alphabet.text(row) for row in sampled.ids.cpu().numpy()]

    def stepper(self) -> Any:
        """Return the step function: (ids (n,), state) to logits (n, classes) and a new state."""
        return getattr(self.module, "step", None) or WindowStepper(self)

    @property
    def carries_state(self) -> bool:
        """Whether the module carries a state over a text of any length."""
        return hasattr(self.module, "read")

    def carried_bits(self, text: str) -> npt.NDArray[np.float64]:
        """Return the bits per character of a text, except the first, (characters - 1,), with a carried state.

        Raises:
            NotApplicableError: the module carries no state.
            ModelError: the text has fewer than two characters, or logits are not finite.
        """
        if not self.carries_state:
            raise NotApplicableError("the model reads single windows and carries no state between them")
        ids = torch.from_numpy(self.alphabet.ids(code_points(text))).to(self.device)[None]
        if ids.shape[1] < 2:
            raise ModelError(
                f"a text of {ids.shape[1]} characters; expected at least two, since the first has no context."
            )
        state, parts = None, []
        with self.frozen(), torch.no_grad():
            for start in range(0, ids.shape[1] - 1, CHUNK):
                stop = min(start + CHUNK, ids.shape[1] - 1)
                piece = ids[:, start:stop]
                output, state = self.module.read(piece, state)  # type: ignore[operator]  # see `carries_state`
                logits = self.shaped(output, piece)
                parts.append(
                    nn.functional.cross_entropy(logits[0].double(), ids[0, start + 1 : stop + 1], reduction="none")
                )
        bits = torch.cat(parts).cpu().numpy() / np.log(2)
        if not np.isfinite(bits).all():
            raise ModelError("The model returned NaN or infinite logits on a long text. Check the weights.")
        return np.asarray(bits, np.float64)


def _rolled(rows: Tensor, shifts: Tensor) -> Tensor:
    """Return rows (n, length, ...), each rolled to the left by its shift, (n,)."""
    length = rows.shape[1]
    positions = (torch.arange(length, device=rows.device) + shifts[:, None]) % length
    return rows[torch.arange(len(rows), device=rows.device)[:, None], positions]


class WindowStepper:
    """Step function of a module without `step`: reads the whole window again for each new character."""

    def __init__(self, model: TorchLanguage) -> None:
        self.model = model

    def __call__(self, ids: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return logits (n, classes) after the text so far and one more character (n,), and the text."""
        past = ids[:, None] if state is None else torch.cat([state, ids[:, None]], dim=1)
        past = past[:, -(self.model.length - 1) :]
        window = torch.cat([past, past[:, -1:]], dim=1)  # the last character of a window is not read
        logits = self.model.forward_embedded(self.model.embed(window), torch.ones_like(window, dtype=torch.bool))
        return logits[:, -1], past
