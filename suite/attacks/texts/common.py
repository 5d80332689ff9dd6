"""What all attacks on texts share: numbers of edits as sizes, the rule they keep, and what is said of what they did."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from suite.attacks.constraints.edits import BETWEEN, characters_between, counts, distances, replaced
from suite.attacks.engine.base import Control, Training
from suite.attacks.engine.problem import Problem
from suite.attacks.rng import uniform
from suite.attacks.texts.lexicon import Lexicon, Word
from suite.data.text import WORD, texts_of
from suite.errors import AttackError
from suite.kinds.base import Array

CONTROL = 0x0C07
"""Stream of the random control, apart from those of the attacks."""

Allowed = Callable[[Tensor], Array]
"""Texts (n, characters) to which of their characters may be changed, bool (n, characters)."""

Substitute = Callable[[Word, float, float], str | None]
"""A word and two numbers in [0, 1) to what stands in its place, or None where nothing may."""


@dataclass(frozen=True)
class TextAttack:
    """What every attack on texts has.

    Attributes:
        edits: how many edits are made of each text at most, ascending whole numbers.
    """

    edits: tuple[int, ...] = (1, 2, 4)
    _lexicon: Lexicon | None = None
    _allowed: Allowed | None = None

    texts: ClassVar[bool] = True
    supports_graded_outcomes: ClassVar[bool] = True
    size_name: ClassVar[str] = "edits"

    def __post_init__(self) -> None:
        object.__setattr__(self, "edits", counts(self.edits))

    @property
    def sizes(self) -> tuple[int, ...]:
        """The numbers of edits."""
        return self.edits

    @property
    def norm(self) -> str:
        """What is counted: words or characters."""
        raise NotImplementedError

    @property
    def lexicon(self) -> Lexicon:
        """What the model reads; given by `fit`."""
        if self._lexicon is None:
            raise AttackError("This attack has to know what the model reads; call fit first.")
        return self._lexicon

    def fit(self, problem: Problem, training: Training, *, seed: int) -> Self:
        """Return the attack with the model's vocabulary, and with what of a text may be changed.

        Raises:
            NotApplicableError: the model does not tell what it reads.
        """
        targets = training()[1][:1]

        def allowed(codes: Tensor) -> Array:
            """Controls know no targets; what may be changed follows from their form, which all samples share."""
            example = targets.to(codes.device).expand(len(codes), *targets.shape[1:])
            return np.asarray((problem.editable(codes, example) & (codes != 0)).cpu().numpy())

        return replace(self, _lexicon=Lexicon(problem.adapter), _allowed=allowed if len(targets) else None)

    def allowed(self, codes: Tensor) -> Array:
        """Return which characters of texts may be changed, bool (n, characters)."""
        return np.asarray((codes != 0).cpu().numpy()) if self._allowed is None else self._allowed(codes)

    def counted(self, clean: Tensor, adversarial: Tensor) -> Array:
        """Return how many edits lead from each text to another, float64 (n,); infinity for what is no text."""
        return distances(clean, adversarial, BETWEEN.get(self.norm, characters_between))

    def violation(self, clean: Tensor, adversarial: Tensor, size: float) -> Tensor:
        """Return by how many edits each text exceeds the size, (n,) in float64.

        It is infinite for what is no text, and where a character was changed that may not be. That shows as long as
        the text has kept its length; a text that has not must be one in which all may be changed.
        """
        excess = self.counted(clean, adversarial) - size
        before, after = clean.cpu().numpy(), adversarial.detach().cpu().numpy()
        kept_length = (before != 0).sum(axis=1) == (after != 0).sum(axis=1)
        fixed = ~self.allowed(clean) & (before != 0)
        forbidden = np.where(kept_length, (fixed & (before != after)).any(axis=1), fixed.any(axis=1))
        return torch.from_numpy(np.where(forbidden, np.inf, excess)).to(clean.device)

    def changes(self, clean: Tensor, adversarial: Tensor) -> Mapping[str, Array]:
        """Return what was done to each text, (n,) by name: the share that was changed, and became unknown words."""
        texts = texts_of(clean.cpu().numpy())
        of_words = self.norm != "characters" and not self.lexicon.by_character
        whole = [len(WORD.findall(text)) if of_words else len(text) for text in texts]
        share = self.counted(clean, adversarial) / np.maximum(whole, 1)
        found = {f"{'words' if of_words else 'characters'}_changed": share}
        if not self.lexicon.by_character:
            unknown = self.lexicon.unknown_share
            found["unknown_words_added"] = unknown(adversarial) - unknown(clean)
        return found

    def with_double_steps(self) -> Self | None:
        """Return None: nothing can be doubled."""
        return None

    def controls(self) -> Mapping[str, Control]:
        """Return as many random edits of the same unit and under the same rules."""
        return {"random": self.random}

    def random(self, codes: Tensor, size: float, seeds: Tensor) -> Tensor:
        """Return texts with random edits."""
        raise NotImplementedError


def scored(problem: Problem, codes: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return how far the answers to texts are on the way to wrong ones, (n,) in float64, and which are wrong."""
    scores, misclassified = [], []
    with torch.no_grad():
        for rows in problem.chunks(len(codes)):
            output = problem.forward(codes[rows])
            scores.append(problem.loss(output, targets[rows], problem.selection_loss, None).double())
            misclassified.append(problem.misclassified(output, targets[rows]))
    return torch.cat(scores), torch.cat(misclassified)


def random_characters(codes: Tensor, size: int, seeds: Tensor, attack: TextAttack) -> Tensor:
    """Return texts with other characters of the alphabet at random places that may be changed."""
    rows, allowed = codes.cpu().numpy().copy(), attack.allowed(codes)
    alphabet = attack.lexicon.alphabet[0]
    order, which = uniform(seeds, CONTROL, (2, rows.shape[1])).double().cpu().numpy().transpose(1, 0, 2)
    ranked = np.where(allowed, order, np.inf).argsort(axis=1)
    for row, places, chosen, count in zip(rows, ranked, which, allowed.sum(axis=1), strict=True):
        for place in places[: min(size, int(count))]:
            others = alphabet[alphabet != row[place]]
            row[place] = others[int(chosen[place] * len(others))] if len(others) else row[place]
    return torch.from_numpy(rows).to(codes)


def random_words(codes: Tensor, size: int, seeds: Tensor, attack: TextAttack, substitute: Substitute) -> Tensor:
    """Return texts with substitutes for random words."""
    rows = list(codes.cpu().numpy())
    words, _, _ = attack.lexicon.read_words(codes, attack.allowed(codes))
    numbers = uniform(seeds, CONTROL, (3, codes.shape[1])).double().cpu().numpy()
    by_row: dict[int, list[tuple[float, Word, str]]] = {}
    for word in words:
        rank, first, second = numbers[word.row, :, word.start]
        if (other := substitute(word, float(first), float(second))) is not None:
            by_row.setdefault(word.row, []).append((float(rank), word, other))
    for row, found in by_row.items():
        chosen = sorted(found)[:size]
        for _, word, other in sorted(chosen, key=lambda item: -item[1].start):  # from behind: places before it stay
            changed = replaced(rows[row], word.start, word.end, other)
            rows[row] = rows[row] if changed is None else changed
    return torch.from_numpy(np.stack(rows)).to(codes) if rows else codes.clone()
