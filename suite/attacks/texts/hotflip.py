"""HotFlip: the gradient proposes replacements of words or characters, and forward passes choose among them."""

from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from suite.attacks.constraints.edits import CHARACTERS, WORDS, replace_span
from suite.attacks.engine.base import Training
from suite.attacks.engine.problem import Problem, TokenGradient
from suite.attacks.texts.common import TextAttack, editable_characters, evaluate
from suite.attacks.texts.lexicon import NONE, Options, Word
from suite.attacks.texts.spelling import typo
from suite.decorators import attack
from suite.errors import NotApplicableError, SpecError
from suite.kinds.base import Array

BATCHES = 8
"""Batches of texts that are attacked at once, so that batches stay full as texts are misclassified."""

UNITS = {norm.unit: norm.name for norm in (WORDS, CHARACTERS)}


class Proposal(NamedTuple):
    """A candidate text with one more edit.

    Attributes:
        row: index of the sample it was made from.
        place: what was changed: the index of a word or of a character.
        text: its code points (characters,).
    """

    row: int
    place: int
    text: Array


@attack(name="hotflip")
@dataclass(frozen=True)
class HotFlip(TextAttack):
    """Repeatedly apply the most promising replacement by the gradient (Ebrahimi et al. 2018).

    One gradient gives a first-order estimate of the effect of every replacement. The most promising ones are evaluated
    on the model, and the best is kept if it raises the loss. Each word is changed at most once. Characters are changed
    by human-like typos (Pruthi et al. 2019), or, if the model reads characters, to any other one of its alphabet.

    Similar words are those that the model itself embeds nearby, as in the original. A model trained on little data may
    embed words nearby that differ in meaning, so a replacement can change the meaning of a text, and the candidates
    differ between models.

    Attributes:
        unit: ``word``: replace words by words with similar embeddings; ``character``: swap, delete, insert or replace
            (by an adjacent key) a letter inside a word of four letters or more.
        candidates: replacements that are evaluated on the model for each edit.
        neighbours: maximum number of similar words for each word.
        similarity: minimum cosine similarity of their embeddings.
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
        """The unit that is counted: words or characters."""
        return UNITS[self.unit]

    def fit(self, problem: Problem, training: Training, *, seed: int) -> Self:
        """Return the attack with the model's vocabulary.

        Raises:
            NotApplicableError: the model has no embeddings, or reads characters while the unit is a word.
        """
        fitted = super().fit(problem, training, seed=seed)
        if not len(fitted.lexicon.table):
            raise NotApplicableError("the model has an empty vocabulary")
        if self.unit == "word" and fitted.lexicon.by_character:
            raise NotApplicableError("the model reads characters, not words; use unit=character")
        return fitted

    def with_double_steps(self) -> Self | None:
        """Return the attack with twice the candidates."""
        return replace(self, candidates=2 * self.candidates)

    def perturb(self, problem: Problem, codes: Tensor, targets: Tensor, size: float, seeds: Tensor) -> Tensor:
        """Return texts (n, characters) with up to `size` edits; the attack is deterministic."""
        moved = codes.clone()
        for rows in problem.chunks(len(codes), batches=BATCHES):
            moved[rows] = self._attack_batch(problem, codes[rows], targets[rows], int(size))
        return moved

    def _attack_batch(self, problem: Problem, codes: Tensor, targets: Tensor, size: int) -> Tensor:
        moved = codes.clone()
        alive, used = torch.arange(len(codes), device=codes.device), [set[int]() for _ in codes]
        for _ in range(size):
            gradient = problem.token_gradient(moved[alive], targets[alive], self.loss or "ce")
            losses = problem.loss(gradient.output, targets[alive], problem.ranking_loss, None).double()
            correct = ~problem.misclassified(gradient.output, targets[alive])
            allowed = editable_characters(problem, moved[alive], targets[alive])
            proposals = self._proposals(moved[alive], allowed, gradient, [used[int(row)] for row in alive])
            proposals = [proposal for proposal in proposals if correct[proposal.row]]
            if not proposals:
                break
            best = _best(problem, proposals, targets[alive], losses)
            for proposal, _ in best:
                moved[alive[proposal.row]] = torch.from_numpy(proposal.text).to(moved)
                used[int(alive[proposal.row])].add(proposal.place)
            alive = alive[[proposal.row for proposal, misclassified in best if not misclassified]]
            if not len(alive):
                break
        return moved

    def _proposals(
        self, codes: Tensor, allowed: Array, gradient: TokenGradient, used: list[set[int]]
    ) -> list[Proposal]:
        """Return the most promising replacements of each text, at most `candidates` each."""
        if self.lexicon.by_character:
            return self._character_proposals(codes, allowed, gradient, used)
        words, owner = self.lexicon.read_words(codes, allowed, gradient.reading)
        gradients, products = _by_word(gradient, owner, len(words))
        estimates: list[list[tuple[Word, tuple[str, ...], Array]]] = [[] for _ in used]
        for place, word in enumerate(words):
            options = self._options(word) if word.number not in used[word.row] else NONE
            if options.spellings:
                gains = options.vectors @ gradients[place] - products[place]
                estimates[word.row].append((word, options.spellings, gains))
        texts = codes.cpu().numpy()
        return [one for text, row in zip(texts, estimates, strict=True) if row for one in self._replaced(text, row)]

    def _replaced(self, text: Array, estimates: list[tuple[Word, tuple[str, ...], Array]]) -> list[Proposal]:
        """Return the replacements with the highest estimates that fit into the text's array."""
        proposals: list[Proposal] = []
        options = [(word, spelling) for word, spellings, _ in estimates for spelling in spellings]
        for index in np.argsort(-np.concatenate([gains for _, _, gains in estimates]), kind="stable"):
            if len(proposals) == self.candidates:
                break
            word, spelling = options[index]
            changed = replace_span(text, word.start, word.end, spelling)
            if changed is not None:
                proposals.append(Proposal(word.row, word.number, changed))
        return proposals

    def _character_proposals(
        self, codes: Tensor, allowed: Array, gradient: TokenGradient, used: list[set[int]]
    ) -> list[Proposal]:
        points, ids = self.lexicon.alphabet
        table, rows = self.lexicon.table[ids], codes.cpu().numpy()
        gradients, embedded, read, mask, spans = (
            part.cpu().numpy() for part in (gradient.gradient.double(), gradient.embedded.double(), *gradient.reading)
        )
        proposals = []
        for row, text in enumerate(rows):
            starts = spans[row, :, 0]
            taken = np.isin(starts, list(used[row]))
            free = mask[row] & (spans[row, :, 1] > starts) & allowed[row, starts] & ~taken
            places, slopes = starts[free], gradients[row][free]
            gains = slopes @ table.T - (slopes * embedded[row][free]).sum(axis=1)[:, None]
            gains[ids[None] == read[row][free][:, None]] = -np.inf
            for index in np.argsort(-gains, axis=None, kind="stable")[: self.candidates]:
                where, which = divmod(int(index), len(points))
                if np.isfinite(gains[where, which]):
                    changed = text.copy()
                    changed[places[where]] = points[which]
                    proposals.append(Proposal(row, int(places[where]), changed))
        return proposals

    def _options(self, word: Word) -> Options:
        if self.unit == "character":
            return self.lexicon.typos(word.spelling)
        return self.lexicon.neighbours(word.spelling, self.neighbours, self.similarity)

    def _substitute(self, word: Word, first: float, second: float) -> str | None:
        spellings = self._options(word).spellings
        if self.unit == "word":
            return spellings[int(first * len(spellings))] if spellings else None
        return typo(word.spelling, first, second) if spellings else None


def _by_word(gradient: TokenGradient, owner: Array, count: int) -> tuple[Array, Array]:
    """Return each word's gradient, summed over tokens, (words, d), and its product with the embeddings, (words,)."""
    gradients, embedded = (part.double().cpu().numpy() for part in (gradient.gradient, gradient.embedded))
    sums, products, owned = np.zeros((count, gradients.shape[2])), np.zeros(count), owner >= 0
    np.add.at(sums, owner[owned], gradients[owned])
    np.add.at(products, owner[owned], (gradients[owned] * embedded[owned]).sum(axis=1))
    return sums, products


def _best(problem: Problem, proposals: list[Proposal], targets: Tensor, losses: Tensor) -> list[tuple[Proposal, bool]]:
    """Return each sample's proposal of highest loss, if above the present loss, and whether it is misclassified."""
    rows = torch.tensor([proposal.row for proposal in proposals], device=targets.device)
    texts = torch.from_numpy(np.stack([proposal.text for proposal in proposals])).to(targets.device)
    reached, misclassified = (part.cpu().numpy() for part in evaluate(problem, texts, targets[rows]))
    scores, present = np.where(misclassified, np.inf, reached), losses.cpu().numpy()
    best: dict[int, int] = {}
    for index, (row, _, _) in enumerate(proposals):
        if scores[index] > (scores[best[row]] if row in best else present[row]):
            best[row] = index
    return [(proposals[index], bool(misclassified[index])) for index in best.values()]
