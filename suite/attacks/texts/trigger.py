"""The universal trigger: the same few words before every text, or the same characters before what is predicted."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Self

import numpy as np
import torch
from torch import Tensor

from suite.attacks.constraints.edits import distances, stretch_between, words_before
from suite.attacks.engine.base import Training
from suite.attacks.engine.problem import Problem
from suite.attacks.rng import as_seeds, uniform
from suite.attacks.texts.common import CONTROL, TextAttack, scored
from suite.data.text import ROOM
from suite.data.text import codes as points_of
from suite.decorators import attack
from suite.errors import AttackError, SpecError
from suite.kinds.base import Array

TRAINING = 512
"""Training samples, at most, that a trigger is fitted to."""

HELD = 256
"""Training samples, at most, that are held out to choose between the restarts; never more than a third of all."""

TRIED = 96
"""Training samples, at most, that candidates are tried on."""

SPLIT = 0
"""Stream of the random numbers that part the training samples."""

FIRST = "the"
"""The word that every slot begins with, where the model knows it."""

SHORTEST = 4
"""Characters that a word may have at least, however many are to fit."""

Samples = tuple[Tensor, Tensor]
"""Texts and targets."""

Words = tuple[str, ...]
"""What stands in the slots: words, or characters."""


@attack(name="trigger")
@dataclass(frozen=True)
class Trigger(TextAttack):
    """Words put before every text, the same for all, fitted on training samples (Wallace et al. 2019).

    The gradient, summed over samples, proposes words for each slot in turn; those that do most on training samples
    stay, and samples held out choose between restarts: one for all samples, and one for those of each class, since
    what turns one class may confirm another. Where a text grows too long for its array, its end is cut. A model that
    reads characters has the last characters that may be changed replaced instead, by the same ones for all.

    Attributes:
        candidates: words that are tried for each slot.
        rounds: how often all slots are gone through.
        restarts: triggers that are fitted, at most.
        loss: the kind's loss whose gradient is followed.
    """

    edits: tuple[int, ...] = (1, 3)
    candidates: int = 20
    rounds: int = 2
    restarts: int = 3
    loss: str | None = "ce"
    _triggers: tuple[tuple[int, Words], ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.candidates, self.rounds, self.restarts) < 1:
            raise SpecError("trigger needs candidates, rounds and restarts of at least 1.")

    @property
    def norm(self) -> str:
        """What is limited: the words before a text, or the stretch of characters that is replaced."""
        return "trigger"

    def fit(self, problem: Problem, training: Training, *, seed: int) -> Self:
        """Return the attack with one trigger per size.

        Raises:
            AttackError: there are no samples to fit it to.
            SpecError: as many words do not fit before a text.
            NotApplicableError: the model embeds nothing.
        """
        fitted = super().fit(problem, training, seed=seed)
        codes, targets = training()
        if not fitted.lexicon.by_character and self.edits[-1] * SHORTEST > ROOM:
            raise SpecError(
                f"edits={list(self.edits)}: a trigger has room for {ROOM // SHORTEST} words, and more would push the "
                "text out of its array; give fewer."
            )
        if not len(codes):
            raise AttackError("A universal trigger is fitted to training samples, and the task has none.")
        order = uniform(as_seeds([seed], codes.device), SPLIT, (len(codes),))[0].argsort(stable=True)
        held = order[: min(HELD, len(codes) // 3)]
        rest = order[len(held) : len(held) + TRAINING]
        parts = ((codes[rest], targets[rest]), (codes[held], targets[held]) if len(held) else (codes, targets))
        found = [(size, fitted._best(problem, *parts, size)) for size in self.edits]
        return replace(fitted, _triggers=tuple(found))

    def perturb(self, problem: Problem, codes: Tensor, targets: Tensor, size: float, seeds: Tensor) -> Tensor:
        """Return texts (n, characters) with the trigger; size 0 leaves them as they are."""
        if not size:
            return codes.clone()
        trigger = dict(self._triggers).get(int(size))
        if trigger is None:
            raise AttackError(f"There is no trigger of {size:g} words; call fit on training samples first.")
        return self.applied(codes, [trigger] * len(codes))

    def counted(self, clean: Tensor, adversarial: Tensor) -> Array:
        """Return how many words stand before each text, or how long the stretch of changed characters is, (n,)."""
        if self.lexicon.by_character:
            return distances(clean, adversarial, stretch_between)
        return distances(clean, adversarial, partial(words_before, width=clean.shape[1]))

    def applied(self, codes: Tensor, triggers: list[Words]) -> Tensor:
        """Return texts, each with a trigger of its own."""
        if self.lexicon.by_character:
            return self._overwritten(codes, triggers)
        rows, width = codes.cpu().numpy(), codes.shape[1]
        before = [points_of(" ".join((*words, ""))) for words in triggers]
        longer = [np.concatenate([words, row]) for words, row in zip(before, rows, strict=True)]
        return torch.from_numpy(np.stack([row[:width] for row in longer])).to(codes) if longer else codes.clone()

    def random(self, codes: Tensor, size: float, seeds: Tensor) -> Tensor:
        """Return texts with as many random words before them, or with random characters, of each text's own."""
        known, _ = self._spellings(int(size))
        numbers = uniform(seeds, CONTROL, (int(size),)).double().cpu().numpy()
        return self.applied(codes, [tuple(known[int(number * len(known))] for number in row) for row in numbers])

    def _spellings(self, size: int) -> tuple[tuple[str, ...], Array]:
        """Return what may stand in a slot, with its ids: words so short that as many as that fit into the room."""
        lexicon = self.lexicon
        if lexicon.by_character:
            points, ids = lexicon.alphabet
            return tuple(chr(point) for point in points), ids
        short = [place for place, word in enumerate(lexicon.words) if len(word) < max(ROOM // size, SHORTEST)]
        return tuple(lexicon.words[place] for place in short), lexicon.word_ids[short]

    def _overwritten(self, codes: Tensor, triggers: list[Words]) -> Tensor:
        rows = codes.cpu().numpy().copy()
        for row, places, trigger in zip(rows, self._last(codes), triggers, strict=True):
            chosen = places[max(0, len(places) - len(trigger)) :]
            row[chosen] = [ord(character) for character in trigger[len(trigger) - len(chosen) :]]
        return torch.from_numpy(rows).to(codes)

    def _last(self, codes: Tensor) -> list[Array]:
        """Return the places of the characters that may be changed, for each text."""
        return [np.flatnonzero(row) for row in self.allowed(codes)]

    def _spans(self, codes: Tensor, trigger: Words) -> Array:
        """Return from where to where each slot reaches in each text that has the trigger, (n, slots, 2)."""
        if self.lexicon.by_character:
            starts = np.full((len(codes), len(trigger)), codes.shape[1])
            for row, places in zip(starts, self._last(codes), strict=True):
                chosen = places[max(0, len(places) - len(trigger)) :]
                row[len(trigger) - len(chosen) :] = chosen
            return np.stack([starts, starts + 1], axis=2)
        ends = np.cumsum([len(word) + 1 for word in trigger]) - 1
        one = np.stack([ends - [len(word) for word in trigger], ends], axis=1)
        return np.broadcast_to(one, (len(codes), *one.shape))

    def _best(self, problem: Problem, samples: Samples, held: Samples, size: int) -> Words:
        """Return the trigger, of all restarts, that does most on samples held out."""
        triggers = [self._fitted(problem, part, size) for part in self._parts(problem, samples)]
        if len(triggers) == 1:
            return triggers[0]
        worth = [self._worth(problem, held, [trigger])[0] for trigger in triggers]
        return triggers[int(np.argmax(worth))]

    def _parts(self, problem: Problem, samples: Samples) -> list[Samples]:
        """Return all samples, and those of each class where a sample has one, as many parts as there are restarts."""
        codes, targets = samples
        if problem.damage is not None or targets.ndim != 1:
            return [samples]
        labels, counts = np.unique(targets.cpu().numpy(), return_counts=True)
        ranked = labels[np.argsort(-counts, kind="stable")].tolist() if len(labels) > 1 else []
        parts = [(codes[targets == label], targets[targets == label]) for label in ranked]
        return [samples, *parts][: self.restarts]

    def _fitted(self, problem: Problem, samples: Samples, size: int) -> Words:
        known, ids = self._spellings(size)
        if not known:
            raise AttackError("The model's vocabulary has no words that could be put before a text.")
        table, tried = self.lexicon.table[ids], (samples[0][:TRIED], samples[1][:TRIED])
        trigger = (FIRST if FIRST in known else known[0],) * size
        worth = self._worth(problem, tried, [trigger])[0]
        for _ in range(self.rounds):
            before, pulls = trigger, self._pulls(problem, samples, trigger)
            for slot in range(size):
                order = np.argsort(-(table @ pulls[slot]), kind="stable")[: self.candidates]
                options = [(*trigger[:slot], known[place], *trigger[slot + 1 :]) for place in order]
                found = self._worth(problem, tried, options)
                if max(found) > worth:
                    worth, trigger = max(found), options[int(np.argmax(found))]
            if trigger == before:
                break
        return trigger

    def _pulls(self, problem: Problem, samples: Samples, trigger: Words) -> Array:
        """Return the gradient of the summed loss by what stands in each slot, (slots, d)."""
        codes, targets = samples
        moved, spans, parts = self.applied(codes, [trigger] * len(codes)), self._spans(codes, trigger), []
        for rows in problem.chunks(len(codes)):
            told = problem.token_gradient(moved[rows], targets[rows], self.loss or "ce")
            starts, ends = (place[:, :, None] for place in np.moveaxis(told.reading.spans.cpu().numpy(), 2, 0))
            inside = (starts >= spans[rows, None, :, 0]) & (starts < spans[rows, None, :, 1]) & (ends > starts)
            gradient = told.gradient.double().cpu().numpy()  # zero where there is no token
            parts.append(np.einsum("nts,ntd->nsd", inside.astype(np.float64), gradient))
        return np.asarray(np.concatenate(parts).sum(axis=0))

    def _worth(self, problem: Problem, samples: Samples, triggers: list[Words]) -> list[float]:
        """Return how wrong the model is under each trigger: the mean damage, or the share of the fooled, softly."""
        codes, targets = samples
        moved = torch.cat([self.applied(codes, [trigger] * len(codes)) for trigger in triggers])
        scores, _ = scored(problem, moved, targets.repeat(len(triggers), *(1,) * (targets.ndim - 1)))
        soft = scores if problem.damage is not None else torch.sigmoid(scores)
        return [float(part.mean()) for part in soft.cpu().numpy().reshape(len(triggers), -1)]
