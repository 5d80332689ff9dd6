"""Typos without a gradient: ask which words matter, and mistype them."""

from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from suite.attacks.constraints.edits import replaced
from suite.attacks.engine.problem import Problem
from suite.attacks.rng import uniform
from suite.attacks.texts.common import TextAttack, random_characters, random_words, scored
from suite.attacks.texts.lexicon import Word
from suite.attacks.texts.spelling import misspelt, typo
from suite.decorators import attack
from suite.errors import SpecError
from suite.kinds.base import Array

UNREAD = "\ua66e"
"""A letter that stands in no vocabulary: a word of nothing else is unknown to every model."""

GO_ON = 2
"""Words that are tried for each edit, where some of them cannot be made worse."""


@attack(name="typos")
@dataclass(frozen=True)
class Typos(TextAttack):
    """Random typos of the words that matter most, the worst of several kept (after Gao et al. 2018).

    A word matters as much as the model loses when it cannot read it. It needs answers alone, so that rules are
    attacked as networks are. Of a model that reads characters, random ones become random others.

    Attributes:
        tries: typos of a word that are tried.
    """

    tries: int = 8

    loss: ClassVar[str | None] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tries < 1:
            raise SpecError(f"tries={self.tries}; expected at least 1.")

    @property
    def norm(self) -> str:
        """Every typo is one edit of characters."""
        return "characters"

    def with_double_steps(self) -> Self | None:
        """Return the attack with twice the tries."""
        return replace(self, tries=2 * self.tries)

    def perturb(self, problem: Problem, codes: Tensor, targets: Tensor, size: float, seeds: Tensor) -> Tensor:
        """Return texts (n, characters) with up to `size` typos, in as many words."""
        moved = codes.clone()
        for rows in problem.chunks(len(codes)) if size else ():
            search = _Search(self, problem, codes[rows], targets[rows], seeds[rows])
            moved[rows] = search.by_characters(int(size)) if self.lexicon.by_character else search.by_words(int(size))
        return moved

    def random(self, codes: Tensor, size: float, seeds: Tensor) -> Tensor:
        """Return texts with random typos of random words, or random characters."""
        if self.lexicon.by_character:
            return random_characters(codes, int(size), seeds, self)
        return random_words(codes, int(size), seeds, self, _mistyped)


class _Search:
    """The texts of one batch, and how wrong the model is about them."""

    def __init__(self, attack: Typos, problem: Problem, codes: Tensor, targets: Tensor, seeds: Tensor) -> None:
        self.attack, self.problem, self.targets, self.seeds = attack, problem, targets, seeds
        self.codes, self.rows = codes, codes.cpu().numpy().copy()
        score, misclassified = scored(problem, codes, targets)
        self.score, self.misclassified = score.cpu().numpy(), misclassified.cpu().numpy()
        self.allowed = np.asarray((problem.editable(codes, targets) & (codes != 0)).cpu().numpy())

    def by_words(self, size: int) -> Tensor:
        """Return the texts with typos in the words that matter most."""
        ranked = self._ranked()
        grown: list[list[tuple[int, int]]] = [[] for _ in self.rows]  # where a text was edited, and by how much it grew
        for turn in range(GO_ON * size):
            numbers = uniform(self.seeds, turn, (self.attack.tries, 2)).double().cpu().numpy()
            tries: list[tuple[int, Array]] = []
            for row, words in enumerate(ranked):
                if self.misclassified[row] or len(grown[row]) == size or turn >= len(words):
                    continue
                word, text = words[turn], self.rows[row]
                start = word.start + sum(more for place, more in grown[row] if place < word.start)
                spellings = dict.fromkeys(typo(word.spelling, *map(float, pair)) for pair in numbers[row])
                changed = [replaced(text, start, start + len(word.spelling), spelling) for spelling in spellings]
                tries += [(row, other) for other in changed if other is not None]
            before = (self.rows != 0).sum(axis=1)
            for row in self._keep(tries):
                grown[row].append((ranked[row][turn].start, int((self.rows[row] != 0).sum() - before[row])))
        return torch.from_numpy(self.rows).to(self.codes)

    def by_characters(self, size: int) -> Tensor:
        """Return the texts with other characters at random places, the worst of several each time."""
        alphabet = self.attack.lexicon.alphabet[0]
        free = self.allowed.copy()
        for turn in range(size):
            numbers = uniform(self.seeds, turn, (self.attack.tries, 2)).double().cpu().numpy()
            tries: list[tuple[int, Array]] = []
            for row in np.flatnonzero(~self.misclassified).tolist():
                places = np.flatnonzero(free[row])
                for first, second in numbers[row] if len(places) else ():
                    other, place = self.rows[row].copy(), places[int(first * len(places))]
                    choice = alphabet[alphabet != other[place]]
                    other[place] = choice[int(second * len(choice))] if len(choice) else other[place]
                    tries.append((row, other))
            before = self.rows.copy()
            for row in self._keep(tries):
                free[row] &= self.rows[row] == before[row]
        return torch.from_numpy(self.rows).to(self.codes)

    def _ranked(self) -> list[list[Word]]:
        """Return the words of each text that can be mistyped, the one that matters most first."""
        words, _, _ = self.attack.lexicon.read_words(self.codes, self.allowed)
        words = [word for word in words if misspelt(word.spelling) and not self.misclassified[word.row]]
        blanked = [(word.row, self.rows[word.row].copy()) for word in words]
        for (_, text), word in zip(blanked, words, strict=True):
            text[word.start : word.end] = ord(UNREAD)
        ranked: list[list[tuple[float, Word]]] = [[] for _ in self.rows]
        for word, score in zip(words, self._scored(blanked)[0].tolist(), strict=True):
            ranked[word.row].append((score, word))
        return [[word for _, word in sorted(found, key=lambda item: -item[0])] for found in ranked]

    def _keep(self, tries: list[tuple[int, Array]]) -> list[int]:
        """Keep of each row the worst text for the model, if it is worse than what is there; return these rows."""
        score, misclassified = self._scored(tries)
        kept = {}
        for place, (row, _) in enumerate(tries):
            if score[place] > self.score[row]:
                self.score[row], self.misclassified[row], kept[row] = score[place], misclassified[place], place
        for row, place in kept.items():
            self.rows[row] = tries[place][1]
        return list(kept)

    def _scored(self, tries: list[tuple[int, Array]]) -> tuple[Array, Array]:
        if not tries:
            return np.zeros(0), np.zeros(0, bool)
        codes = torch.from_numpy(np.stack([text for _, text in tries])).to(self.codes)
        targets = self.targets[torch.tensor([row for row, _ in tries], device=self.targets.device)]
        score, misclassified = scored(self.problem, codes, targets)
        fell = misclassified.cpu().numpy()
        return np.where(fell, np.inf, score.cpu().numpy()), fell


def _mistyped(word: Word, first: float, second: float) -> str | None:
    return typo(word.spelling, first, second) if misspelt(word.spelling) else None
