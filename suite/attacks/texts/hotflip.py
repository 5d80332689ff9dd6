"""HotFlip: the gradient tells which words or letters to change, and the model itself which of them to keep."""

from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from suite.attacks.constraints.edits import replaced
from suite.attacks.engine.base import Training
from suite.attacks.engine.problem import Problem, TokenGradient
from suite.attacks.texts.common import TextAttack, random_characters, random_words, scored
from suite.attacks.texts.lexicon import NONE, Options, Word
from suite.attacks.texts.spelling import typo
from suite.decorators import attack
from suite.errors import NotApplicableError, SpecError
from suite.kinds.base import Array

UNITS = {"word": "words", "character": "characters"}


class Proposal(NamedTuple):
    """A text that may be worse for the model.

    Attributes:
        row: which sample it was made from.
        place: what was changed: the number of a word, or of a character.
        text: its code points (characters,).
    """

    row: int
    place: int
    text: Array


@attack(name="hotflip")
@dataclass(frozen=True)
class HotFlip(TextAttack):
    """The most promising replacement by the gradient, again and again (Ebrahimi et al. 2018).

    One gradient estimates what every replacement would do, to first order; the most promising are tried on the model,
    and the best is kept if it is better than none. A word is changed once at most. Characters are changed as people
    mistype them (Pruthi et al. 2019); for a model that reads characters, to any other one of its alphabet.

    Which words are alike is the model's own view, as in the original: one that was trained on little may hold words
    alike that no person would, so that a text can change its meaning, and two models are not attacked by one rule.

    Attributes:
        unit: ``word``: a word becomes one that the model embeds nearby; ``character``: a letter inside a word of four
            or more is swapped, left out, added, or mistaken for one nearby on the keyboard.
        candidates: replacements that are tried on the model for each edit.
        neighbours: how many words are near enough to stand in for another.
        similarity: the least cosine of their embeddings.
        loss: the kind's loss whose gradient is followed.
    """

    unit: str = "word"
    candidates: int = 8
    neighbours: int = 50
    similarity: float = 0.5
    loss: str | None = "ce"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.unit not in UNITS:
            raise SpecError(f"unit={self.unit!r}; expected one of {', '.join(UNITS)}.")
        if min(self.candidates, self.neighbours) < 1 or not -1 <= self.similarity <= 1:
            raise SpecError(
                f"hotflip got candidates={self.candidates}, neighbours={self.neighbours}, similarity={self.similarity};"
                " expected at least 1, at least 1, and a cosine from -1 to 1."
            )

    @property
    def norm(self) -> str:
        """What is counted: words or characters."""
        return UNITS[self.unit]

    def fit(self, problem: Problem, training: Training, *, seed: int) -> Self:
        """Return the attack with the model's vocabulary.

        Raises:
            NotApplicableError: the model embeds nothing, or reads no words where words are to be changed.
        """
        fitted = super().fit(problem, training, seed=seed)
        if not len(fitted.lexicon.table):
            raise NotApplicableError("the model has an empty vocabulary")
        if self.unit == "word" and fitted.lexicon.by_character:
            raise NotApplicableError("the model reads characters and no words; use unit=character")
        return fitted

    def with_double_steps(self) -> Self | None:
        """Return the attack with twice the candidates."""
        return replace(self, candidates=2 * self.candidates)

    def perturb(self, problem: Problem, codes: Tensor, targets: Tensor, size: float, seeds: Tensor) -> Tensor:
        """Return texts (n, characters) with up to `size` edits; nothing is random."""
        moved = codes.clone()
        for rows in problem.chunks(len(codes)):
            moved[rows] = self._flipped(problem, codes[rows], targets[rows], int(size))
        return moved

    def _flipped(self, problem: Problem, codes: Tensor, targets: Tensor, size: int) -> Tensor:
        moved = codes.clone()
        alive, used = torch.arange(len(codes), device=codes.device), [set[int]() for _ in codes]
        for _ in range(size):
            if not len(alive):
                break
            told = problem.token_gradient(moved[alive], targets[alive], self.loss or "ce")
            score = problem.loss(told.output, targets[alive], problem.selection_loss, None).double()
            standing = ~problem.misclassified(told.output, targets[alive])
            allowed = _changeable(problem, moved[alive], targets[alive])
            proposals = self._proposals(moved[alive], allowed, told, [used[int(row)] for row in alive])
            proposals = [one for one in proposals if standing[one.row]]
            if not proposals:
                break
            kept = _best(problem, proposals, targets[alive], score)
            for one, _ in kept:
                moved[alive[one.row]] = torch.from_numpy(one.text).to(moved)
                used[int(alive[one.row])].add(one.place)
            alive = alive[[one.row for one, misclassified in kept if not misclassified]]
        return moved

    def _proposals(self, codes: Tensor, allowed: Array, told: TokenGradient, used: list[set[int]]) -> list[Proposal]:
        """Return the most promising replacements of each text, at most `candidates` each."""
        if self.lexicon.by_character:
            return self._of_characters(codes, allowed, told, used)
        words, owner, _ = self.lexicon.read_words(codes, allowed)
        pulls, present = _by_word(told, owner, len(words))
        estimated: list[list[tuple[Word, tuple[str, ...], Array]]] = [[] for _ in used]
        for place, word in enumerate(words):
            options = self._options(word) if word.number not in used[word.row] else NONE
            if options.spellings:
                gains = options.vectors @ pulls[place] - present[place]
                estimated[word.row].append((word, options.spellings, gains))
        texts = codes.cpu().numpy()
        return [one for text, row in zip(texts, estimated, strict=True) if row for one in self._spliced(text, row)]

    def _spliced(self, text: Array, estimated: list[tuple[Word, tuple[str, ...], Array]]) -> list[Proposal]:
        """Return the replacements of the highest estimates that fit into the text."""
        found: list[Proposal] = []
        ends = np.cumsum([len(gains) for _, _, gains in estimated])
        for index in np.argsort(-np.concatenate([gains for _, _, gains in estimated]), kind="stable"):
            if len(found) == self.candidates:
                break
            which = int(np.searchsorted(ends, index, side="right"))
            word, spellings, _ = estimated[which]
            changed = replaced(text, word.start, word.end, spellings[int(index) - int(ends[which])])
            if changed is not None:
                found.append(Proposal(word.row, word.number, changed))
        return found

    def _of_characters(
        self, codes: Tensor, allowed: Array, told: TokenGradient, used: list[set[int]]
    ) -> list[Proposal]:
        points, ids = self.lexicon.alphabet
        table, rows = self.lexicon.table[ids], codes.cpu().numpy()
        gradients, embedded, read, mask, spans = (
            part.cpu().numpy() for part in (told.gradient.double(), told.embedded.double(), *told.reading)
        )
        found = []
        for row, text in enumerate(rows):
            starts = spans[row, :, 0]
            taken = np.isin(starts, list(used[row]))
            free = mask[row] & (spans[row, :, 1] > starts) & allowed[row, starts] & ~taken
            places, gradient = starts[free], gradients[row][free]
            gains = gradient @ table.T - (gradient * embedded[row][free]).sum(axis=1)[:, None]
            gains[ids[None] == read[row][free][:, None]] = -np.inf
            for index in np.argsort(-gains, axis=None, kind="stable")[: self.candidates]:
                where, which = divmod(int(index), len(points))
                if np.isfinite(gains[where, which]):
                    changed = text.copy()
                    changed[places[where]] = points[which]
                    found.append(Proposal(row, int(places[where]), changed))
        return found

    def _options(self, word: Word) -> Options:
        if self.unit == "character":
            return self.lexicon.typos(word.spelling)
        return self.lexicon.neighbours(word.spelling, self.neighbours, self.similarity)

    def random(self, codes: Tensor, size: float, seeds: Tensor) -> Tensor:
        """Return texts with random neighbours for random words, or random typos, or random characters."""
        if self.lexicon.by_character:
            return random_characters(codes, int(size), seeds, self)
        return random_words(codes, int(size), seeds, self, self._substitute)

    def _substitute(self, word: Word, first: float, second: float) -> str | None:
        spellings = self._options(word).spellings
        if self.unit == "word":
            return spellings[int(first * len(spellings))] if spellings else None
        return typo(word.spelling, first, second) if spellings else None


def _changeable(problem: Problem, codes: Tensor, targets: Tensor) -> Array:
    """Return which characters of texts may be changed, bool (n, characters)."""
    return np.asarray((problem.editable(codes, targets) & (codes != 0)).cpu().numpy())


def _by_word(told: TokenGradient, owner: Array, count: int) -> tuple[Array, Array]:
    """Return each word's gradient, summed over its tokens, (words, d), and its product with what is there (words,)."""
    gradients, embedded = (part.double().cpu().numpy() for part in (told.gradient, told.embedded))
    pulls, present, owned = np.zeros((count, gradients.shape[2])), np.zeros(count), owner >= 0
    np.add.at(pulls, owner[owned], gradients[owned])
    np.add.at(present, owner[owned], (gradients[owned] * embedded[owned]).sum(axis=1))
    return pulls, present


def _best(problem: Problem, proposals: list[Proposal], targets: Tensor, score: Tensor) -> list[tuple[Proposal, bool]]:
    """Return of each sample the proposal that is worst for the model, where it is worse than what is there.

    Beside each stands whether it fools the model.
    """
    rows = torch.tensor([one.row for one in proposals], device=targets.device)
    texts = torch.from_numpy(np.stack([one.text for one in proposals])).to(targets.device)
    tried, misclassified = (part.cpu().numpy() for part in scored(problem, texts, targets[rows]))
    worth, least = np.where(misclassified, np.inf, tried), score.cpu().numpy()
    best: dict[int, int] = {}
    for place, one in enumerate(proposals):
        if worth[place] > worth[best[one.row]] if one.row in best else worth[place] > least[one.row]:
            best[one.row] = place
    return [(proposals[place], bool(misclassified[place])) for place in best.values()]
