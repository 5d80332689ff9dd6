"""Common parts of the attacks on texts: the number of edits, its check, statistics of the edits and random controls."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from suite.attacks.constraints import norm_of
from suite.attacks.constraints.edits import CHARACTERS, character_edits, distances, edit_counts, replace_span
from suite.attacks.engine.base import Attack, Control, Training, restored, stored
from suite.attacks.engine.problem import Problem
from suite.attacks.rng import uniform
from suite.attacks.texts.lexicon import Lexicon, Word
from suite.data.text import WORD, texts_of
from suite.errors import AttackError
from suite.kinds.base import Array
from suite.metrics.catalogue import Metric

CONTROL = 0x0C07
"""Stream of the random control, apart from those of the attacks."""

WORDS_CHANGED = Metric(
    "words_changed",
    "words changed",
    "share of words changed in the texts that became misclassified",
    higher_is_better=None,
    bounds=(0.0, None),  # words added to a short text can be more than it had
)
CHARACTERS_CHANGED = Metric(
    "characters_changed",
    "characters changed",
    "share of characters changed in the texts that became misclassified",
    higher_is_better=None,
    bounds=(0.0, None),
)
UNKNOWN_WORDS_ADDED = Metric(
    "unknown_words_added",
    "unknown words added",
    "share of words that became unknown: the edit hid these words from the model",
    higher_is_better=None,
    bounds=(-1.0, 1.0),
)


@dataclass(frozen=True)
class TextAttack(Attack):
    """Base class of the attacks on texts.

    Attributes:
        edits: maximum numbers of edits per text, ascending whole numbers.
    """

    edits: tuple[int, ...] = (1, 2, 4)
    _lexicon: Lexicon | None = None
    _example: Tensor | None = field(default=None, repr=False, compare=False)
    _allowed: Callable[[Tensor], Array] | None = None

    changes_text: ClassVar[bool] = True
    supports_graded_outcomes: ClassVar[bool] = True
    changed_metrics: ClassVar[tuple[Metric, ...]] = (WORDS_CHANGED, CHARACTERS_CHANGED, UNKNOWN_WORDS_ADDED)

    def __post_init__(self) -> None:
        object.__setattr__(self, "edits", edit_counts(self.edits))

    @property
    def sizes(self) -> tuple[int, ...]:
        """The numbers of edits."""
        return self.edits

    @property
    def lexicon(self) -> Lexicon:
        """The vocabulary of the model; set by `fit`."""
        if self._lexicon is None:
            raise AttackError("This attack needs the model's vocabulary; call fit first.")
        return self._lexicon

    def fit(self, problem: Problem, training: Training, *, seed: int) -> Self:
        """Return the attack with the model's vocabulary and the rule for which characters may be changed.

        Raises:
            NotApplicableError: the model does not expose its tokens.
        """
        targets = training()[1][:1]
        return self._with_vocabulary(problem, targets if len(targets) else None)

    def state(self) -> dict[str, Any]:
        """Return the target of a training sample, whose form tells which characters may be changed."""
        return {"example": stored(self._example)}

    def with_state(self, state: Mapping[str, Any], problem: Problem) -> Self:
        """Return the attack with the vocabulary of the problem's model."""
        return self._with_vocabulary(problem, restored(state["example"], problem))

    def _with_vocabulary(self, problem: Problem, example: Tensor | None) -> Self:
        def allowed(codes: Tensor) -> Array:
            """Controls get no targets; editable characters follow from the targets' form, the same for all samples."""
            if example is None:
                return np.asarray((codes != 0).cpu().numpy())
            targets = example.to(codes.device).expand(len(codes), *example.shape[1:])
            return editable_characters(problem, codes, targets)

        return replace(self, _lexicon=Lexicon(problem.text_model), _example=example, _allowed=allowed)

    def allowed(self, codes: Tensor) -> Array:
        """Return which characters of texts may be changed, bool (n, characters)."""
        return np.asarray((codes != 0).cpu().numpy()) if self._allowed is None else self._allowed(codes)

    def counted(self, clean: Tensor, adversarial: Tensor) -> Array:
        """Return the number of edits between each pair of texts, float64 (n,); infinity where a row is not a text."""
        count = norm_of(self.norm).edits
        return distances(clean, adversarial, character_edits) if count is None else count(clean, adversarial)

    def violation(self, clean: Tensor, adversarial: Tensor, size: float) -> Tensor:
        """Return by how many edits each text exceeds the size, (n,) in float64.

        It is infinite for a row that is not a text, and where a protected character was changed. Protected characters
        are compared at their positions if the length is unchanged; if it changed, no character may be protected.
        """
        excess = self.counted(clean, adversarial) - size
        before, after = clean.cpu().numpy(), adversarial.detach().cpu().numpy()
        same_length = (before != 0).sum(axis=1) == (after != 0).sum(axis=1)
        protected = ~self.allowed(clean) & (before != 0)
        forbidden = np.where(same_length, (protected & (before != after)).any(axis=1), protected.any(axis=1))
        return torch.from_numpy(np.where(forbidden, np.inf, excess)).to(clean.device)

    def changes(self, clean: Tensor, adversarial: Tensor) -> Mapping[str, Array]:
        """Return statistics of the edits by name, (n,): the changed share, and the added share of unknown words."""
        texts = texts_of(clean.cpu().numpy())
        of_words = self.norm != CHARACTERS.name and not self.lexicon.by_character
        totals = [len(WORD.findall(text)) if of_words else len(text) for text in texts]
        share = self.counted(clean, adversarial) / np.maximum(totals, 1)
        statistics = {(WORDS_CHANGED if of_words else CHARACTERS_CHANGED).name: share}
        if not self.lexicon.by_character:
            unknown = self.lexicon.unknown_share
            statistics[UNKNOWN_WORDS_ADDED.name] = unknown(adversarial) - unknown(clean)
        return statistics

    def controls(self) -> Mapping[str, Control]:
        """Return the control: equally many random edits of the same unit under the same rules."""
        return {"random": self.random}

    def random(self, codes: Tensor, size: float, seeds: Tensor) -> Tensor:
        """Return texts with random edits: of words, or of characters if the model reads characters."""
        return (self._random_characters if self.lexicon.by_character else self._random_words)(codes, int(size), seeds)

    def _substitute(self, word: Word, first: float, second: float) -> str | None:
        """Return a replacement of a word chosen by two numbers in [0, 1), or None if there is none."""
        raise NotImplementedError

    def _random_characters(self, codes: Tensor, size: int, seeds: Tensor) -> Tensor:
        """Return texts with other characters of the alphabet at random editable positions."""
        rows, allowed, alphabet = codes.cpu().numpy().copy(), self.allowed(codes), self.lexicon.alphabet[0]
        order, which = uniform(seeds, CONTROL, (2, rows.shape[1])).double().cpu().numpy().transpose(1, 0, 2)
        ranked = np.where(allowed, order, np.inf).argsort(axis=1)
        for row, places, chosen, count in zip(rows, ranked, which, allowed.sum(axis=1), strict=True):
            for place in places[: min(size, int(count))]:
                row[place] = another_character(alphabet, row[place], chosen[place])
        return torch.from_numpy(rows).to(codes)

    def _random_words(self, codes: Tensor, size: int, seeds: Tensor) -> Tensor:
        """Return texts with replacements of random words."""
        rows = list(codes.cpu().numpy())
        words, _ = self.lexicon.read_words(codes, self.allowed(codes))
        numbers = uniform(seeds, CONTROL, (3, codes.shape[1])).double().cpu().numpy()
        by_row: dict[int, list[tuple[float, Word, str]]] = {}
        for word in words:
            rank, first, second = numbers[word.row, :, word.start]
            if (other := self._substitute(word, float(first), float(second))) is not None:
                by_row.setdefault(word.row, []).append((float(rank), word, other))
        for row, candidates in by_row.items():
            chosen = sorted(candidates)[:size]
            for _, word, other in sorted(chosen, key=lambda item: -item[1].start):  # last first: starts stay valid
                changed = replace_span(rows[row], word.start, word.end, other)
                rows[row] = rows[row] if changed is None else changed
        return torch.from_numpy(np.stack(rows)).to(codes) if rows else codes.clone()


def editable_characters(problem: Problem, codes: Tensor, targets: Tensor) -> Array:
    """Return which characters of texts may be changed, bool (n, characters)."""
    return np.asarray((problem.editable(codes, targets) & (codes != 0)).cpu().numpy())


def another_character(alphabet: Array, character: int, which: float) -> int:
    """Return another character of the alphabet, chosen by a number in [0, 1), or the same one if there is no other."""
    others = alphabet[alphabet != character]
    return int(others[int(which * len(others))]) if len(others) else character


def evaluate(problem: Problem, codes: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return the ranking loss of texts, (n,) in float64, and which the model misclassifies, bool (n,)."""
    losses, misclassified = [], []
    with torch.no_grad():
        for rows in problem.chunks(len(codes)):
            output = problem.forward(codes[rows])
            losses.append(problem.loss(output, targets[rows], problem.ranking_loss, None).double())
            misclassified.append(problem.misclassified(output, targets[rows]))
    return torch.cat(losses), torch.cat(misclassified)
