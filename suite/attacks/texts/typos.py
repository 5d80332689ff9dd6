"""A gradient-free attack: find the words that matter and add typos to them."""

from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from suite.attacks.constraints.edits import CHARACTERS, replace_span
from suite.attacks.engine.problem import Problem
from suite.attacks.rng import uniform
from suite.attacks.texts.common import TextAttack, another_character, editable_characters, evaluate
from suite.attacks.texts.lexicon import Word
from suite.attacks.texts.spelling import misspellings, typo
from suite.decorators import attack
from suite.errors import SpecError
from suite.kinds.base import Array

UNREAD = "\ua66e"
"""A letter that is in no vocabulary: a word made of it is unknown to every model."""

GO_ON = 2
"""Words that are tried per edit, for the case that typos in some words do not raise the loss."""


@attack(name="typos")
@dataclass(frozen=True)
class Typos(TextAttack):
    """Random typos in the most important words, the worst of several kept (after Gao et al. 2018).

    The importance of a word is the model's loss when that word is unreadable. Only forward passes are used, so rules
    are attacked in the same way as networks. If the model reads characters, random characters are replaced by random
    other ones.

    Attributes:
        tries: typos that are tried per word.
    """

    tries: int = 8

    loss: ClassVar[str | None] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tries < 1:
            raise SpecError(f"tries={self.tries}; expected at least 1.")

    @property
    def norm(self) -> str:
        """The unit that is counted; every typo is one edit of characters."""
        return CHARACTERS.name

    def with_double_steps(self) -> Self | None:
        """Return the attack with twice the tries."""
        return replace(self, tries=2 * self.tries)

    def perturb(self, problem: Problem, codes: Tensor, targets: Tensor, size: float, seeds: Tensor) -> Tensor:
        """Return texts (n, characters) with up to `size` typos, each in a different word."""
        moved = codes.clone()
        for rows in problem.chunks(len(codes)) if size else ():
            search = _Search(self, problem, codes[rows], targets[rows], seeds[rows])
            moved[rows] = search.by_characters(int(size)) if self.lexicon.by_character else search.by_words(int(size))
        return moved

    def _substitute(self, word: Word, first: float, second: float) -> str | None:
        return typo(word.spelling, first, second) if misspellings(word.spelling) else None


class _Search:
    """The texts of one batch and the model's loss on them."""

    def __init__(self, attack: Typos, problem: Problem, codes: Tensor, targets: Tensor, seeds: Tensor) -> None:
        self.attack, self.problem, self.targets, self.seeds = attack, problem, targets, seeds
        self.codes, self.rows = codes, codes.cpu().numpy().copy()
        self.losses, self.misclassified = (part.cpu().numpy() for part in evaluate(problem, codes, targets))
        self.allowed = editable_characters(problem, codes, targets)

    def by_words(self, size: int) -> Tensor:
        """Return the texts with typos in the most important words."""
        ranked = self._ranked()
        edits: list[list[tuple[int, int]]] = [[] for _ in self.rows]  # start of each edited word, and added characters
        for turn in range(GO_ON * size):
            numbers = uniform(self.seeds, turn, (self.attack.tries, 2)).double().cpu().numpy()
            tries: list[tuple[int, Array]] = []
            for row, words in enumerate(ranked):
                if self.misclassified[row] or len(edits[row]) == size or turn >= len(words):
                    continue
                word, text = words[turn], self.rows[row]
                start = word.start + sum(added for place, added in edits[row] if place < word.start)
                spellings = dict.fromkeys(typo(word.spelling, *map(float, pair)) for pair in numbers[row])
                changed = [replace_span(text, start, start + len(word.spelling), spelling) for spelling in spellings]
                tries += [(row, other) for other in changed if other is not None]
            before = (self.rows != 0).sum(axis=1)
            for row in self._keep_worst(tries):
                edits[row].append((ranked[row][turn].start, int((self.rows[row] != 0).sum() - before[row])))
        return torch.from_numpy(self.rows).to(self.codes)

    def by_characters(self, size: int) -> Tensor:
        """Return the texts with other characters at random positions, the worst of several tries for each edit."""
        alphabet, free = self.attack.lexicon.alphabet[0], self.allowed.copy()
        for turn in range(size):
            numbers = uniform(self.seeds, turn, (self.attack.tries, 2)).double().cpu().numpy()
            tries: list[tuple[int, Array]] = []
            for row in np.flatnonzero(~self.misclassified).tolist():
                places = np.flatnonzero(free[row])
                for first, second in numbers[row] if len(places) else ():
                    other, place = self.rows[row].copy(), places[int(first * len(places))]
                    other[place] = another_character(alphabet, other[place], second)
                    tries.append((row, other))
            before = self.rows.copy()
            for row in self._keep_worst(tries):
                free[row] &= self.rows[row] == before[row]
        return torch.from_numpy(self.rows).to(self.codes)

    def _ranked(self) -> list[list[Word]]:
        """Return the words of each text that can have typos, the most important first."""
        words, _ = self.attack.lexicon.read_words(self.codes, self.allowed)
        words = [word for word in words if misspellings(word.spelling) and not self.misclassified[word.row]]
        masked = [(word.row, self.rows[word.row].copy()) for word in words]
        for (_, text), word in zip(masked, words, strict=True):
            text[word.start : word.end] = ord(UNREAD)
        ranked: list[list[Word]] = [[] for _ in self.rows]
        for index in np.argsort(-self._evaluate(masked)[0], kind="stable"):
            ranked[words[index].row].append(words[index])
        return ranked

    def _keep_worst(self, tries: list[tuple[int, Array]]) -> list[int]:
        """Keep the text with the highest loss of each row, if above its present loss; return the changed rows."""
        losses, misclassified = self._evaluate(tries)
        kept = {}
        for index, (row, _) in enumerate(tries):
            if losses[index] > self.losses[row]:
                self.losses[row], self.misclassified[row], kept[row] = losses[index], misclassified[index], index
        for row, index in kept.items():
            self.rows[row] = tries[index][1]
        return list(kept)

    def _evaluate(self, tries: list[tuple[int, Array]]) -> tuple[Array, Array]:
        """Return the loss on each text, infinite if it is misclassified, and which are misclassified."""
        if not tries:
            return np.zeros(0), np.zeros(0, bool)
        codes = torch.from_numpy(np.stack([text for _, text in tries])).to(self.codes)
        targets = self.targets[torch.tensor([row for row, _ in tries], device=self.targets.device)]
        losses, misclassified = (part.cpu().numpy() for part in evaluate(self.problem, codes, targets))
        return np.where(misclassified, np.inf, losses), misclassified
