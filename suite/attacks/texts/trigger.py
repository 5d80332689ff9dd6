"""The universal trigger: the same few words before every text, or the same characters before what is predicted."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from suite.attacks.constraints.edits import TRIGGER, changed_span, distances, prepended_words
from suite.attacks.engine.base import Training
from suite.attacks.engine.problem import Problem
from suite.attacks.rng import as_seeds, uniform
from suite.attacks.texts.common import CONTROL, TextAttack, evaluate
from suite.data.text import ROOM
from suite.data.text import codes as points_of
from suite.decorators import attack
from suite.errors import AttackError, SpecError
from suite.kinds.base import Array

TRAINING = 512
"""Maximum number of training samples to which a trigger is fitted."""

HELD = 256
"""Maximum number of training samples held out to choose among the restarts; never more than a third of all."""

TRIED = 96
"""Maximum number of training samples on which candidates are evaluated."""

SPLIT = 0
"""Stream of the random split of the training samples."""

FIRST = "the"
"""The initial word of every slot, if the model knows it."""

SHORTEST = 4
"""Words shorter than this are allowed in any trigger, however many words it has."""

Samples = tuple[Tensor, Tensor]
"""Texts and targets."""

Words = tuple[str, ...]
"""The contents of the slots: words or characters."""


@attack(name="trigger")
@dataclass(frozen=True)
class Trigger(TextAttack):
    """Universal words, fitted on training samples and prepended to every text (Wallace et al. 2019).

    The gradient, summed over samples, proposes words for each slot in turn, and the words with the highest loss on
    training samples are kept. Held-out samples choose among the restarts: one is fitted to all samples, and one to each
    class, because words that flip one class may support another. A text that gets too long for its array is truncated.
    If the model reads characters, the last editable characters of every text are replaced by the same ones instead.

    Attributes:
        candidates: words that are evaluated for each slot.
        rounds: passes over all slots.
        restarts: maximum number of triggers that are fitted.
        loss: the kind's loss whose gradient is followed.
    """

    edits: tuple[int, ...] = (1, 3)
    candidates: int = 20
    rounds: int = 2
    restarts: int = 3
    loss: str | None = "ce"
    _triggers: tuple[tuple[int, Words], ...] = ()

    trained = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.candidates, self.rounds, self.restarts) < 1:
            raise SpecError("trigger needs candidates, rounds and restarts of at least 1.")

    @property
    def norm(self) -> str:
        """The name of the limit: words before a text, or the length of the span of replaced characters."""
        return TRIGGER.name

    def fit(self, problem: Problem, training: Training, *, seed: int) -> Self:
        """Return the attack with one trigger per size.

        Raises:
            AttackError: there are no training samples.
            SpecError: that many words do not fit before a text.
            NotApplicableError: the model has no embeddings.
        """
        fitted = super().fit(problem, training, seed=seed)
        codes, targets = training()
        if not fitted.lexicon.by_character and self.edits[-1] * SHORTEST > ROOM:
            raise SpecError(
                f"edits={list(self.edits)}: a trigger has room for {ROOM // SHORTEST} words, and more would push the "
                "text out of its array; use fewer."
            )
        if not len(codes):
            raise AttackError("A universal trigger is fitted to training samples, and the task has none.")
        order = uniform(as_seeds([seed], codes.device), SPLIT, (len(codes),))[0].argsort(stable=True)
        held = order[: min(HELD, len(codes) // 3)]
        rest = order[len(held) : len(held) + TRAINING]
        parts = ((codes[rest], targets[rest]), (codes[held], targets[held]) if len(held) else (codes, targets))
        return replace(fitted, _triggers=tuple((size, fitted._best(problem, *parts, size)) for size in self.edits))

    def state(self) -> dict[str, Any]:
        """Return the target of a training sample, and the sizes with the words of their triggers."""
        return super().state() | {"triggers": [[size, list(words)] for size, words in self._triggers]}

    def with_state(self, state: Mapping[str, Any], problem: Problem) -> Self:
        """Return the attack with the vocabulary of the problem's model and its triggers."""
        triggers = tuple((int(size), tuple(words)) for size, words in state["triggers"])
        return replace(super().with_state(state, problem), _triggers=triggers)

    def perturb(self, problem: Problem, codes: Tensor, targets: Tensor, size: float, seeds: Tensor) -> Tensor:
        """Return texts (n, characters) with the trigger; with size 0 they are unchanged."""
        if not size:
            return codes.clone()
        trigger = dict(self._triggers).get(int(size))
        if trigger is None:
            raise AttackError(f"There is no trigger of {size:g} words; call fit on training samples first.")
        return self.applied(codes, [trigger] * len(codes))

    def counted(self, clean: Tensor, adversarial: Tensor) -> Array:
        """Return the number of words before each text, or the length of the span of changed characters, (n,)."""
        if self.lexicon.by_character:
            return distances(clean, adversarial, changed_span)
        return distances(clean, adversarial, partial(prepended_words, width=clean.shape[1]))

    def applied(self, codes: Tensor, triggers: list[Words]) -> Tensor:
        """Return texts, each with its own trigger."""
        if self.lexicon.by_character:
            return self._overwritten(codes, triggers)
        rows, width = codes.cpu().numpy(), codes.shape[1]
        prefixes = [points_of(" ".join((*words, ""))) for words in triggers]
        moved = [np.concatenate([prefix, row])[:width] for prefix, row in zip(prefixes, rows, strict=True)]
        return torch.from_numpy(np.stack(moved)).to(codes) if moved else codes.clone()

    def random(self, codes: Tensor, size: float, seeds: Tensor) -> Tensor:
        """Return texts with equally many random words before them, or random characters, drawn for each text."""
        known, _ = self._spellings(int(size))
        numbers = uniform(seeds, CONTROL, (int(size),)).double().cpu().numpy()
        return self.applied(codes, [tuple(known[int(number * len(known))] for number in row) for row in numbers])

    def _spellings(self, size: int) -> tuple[tuple[str, ...], Array]:
        """Return the words or characters that may fill a slot, and their ids; `size` such words fit before a text."""
        lexicon = self.lexicon
        if lexicon.by_character:
            points, ids = lexicon.alphabet
            return tuple(chr(point) for point in points), ids
        short = [place for place, word in enumerate(lexicon.words) if len(word) < max(ROOM // size, SHORTEST)]
        return tuple(lexicon.words[place] for place in short), lexicon.word_ids[short]

    def _overwritten(self, codes: Tensor, triggers: list[Words]) -> Tensor:
        rows, count = codes.cpu().numpy().copy(), len(triggers[0]) if triggers else 0
        for row, places, trigger in zip(rows, self._last(codes, count), triggers, strict=True):
            row[places] = [ord(character) for character in trigger[count - len(places) :]]
        return torch.from_numpy(rows).to(codes)

    def _last(self, codes: Tensor, count: int) -> list[Array]:
        """Return the positions of the last `count` editable characters, or of all if there are fewer, for each text."""
        return [places[max(0, len(places) - count) :] for places in map(np.flatnonzero, self.allowed(codes))]

    def _spans(self, codes: Tensor, trigger: Words) -> Array:
        """Return the start and the end of each slot in each text with the trigger, (n, slots, 2)."""
        if self.lexicon.by_character:
            starts = np.full((len(codes), len(trigger)), codes.shape[1])
            for row, chosen in zip(starts, self._last(codes, len(trigger)), strict=True):
                row[len(trigger) - len(chosen) :] = chosen
            return np.stack([starts, starts + 1], axis=2)
        ends = np.cumsum([len(word) + 1 for word in trigger]) - 1
        one = np.stack([ends - [len(word) for word in trigger], ends], axis=1)
        return np.broadcast_to(one, (len(codes), *one.shape))

    def _best(self, problem: Problem, samples: Samples, held: Samples, size: int) -> Words:
        """Return the trigger of the restart with the highest loss on held-out samples."""
        triggers = [self._fit_trigger(problem, part, size) for part in self._parts(problem, samples)]
        if len(triggers) == 1:
            return triggers[0]
        return max(triggers, key=lambda trigger: self._scores(problem, held, [trigger])[0])

    def _parts(self, problem: Problem, samples: Samples) -> list[Samples]:
        """Return all samples, then the samples of each class if samples have one, up to one part per restart."""
        codes, targets = samples
        if problem.is_graded:
            return [samples]
        labels, counts = np.unique(targets.cpu().numpy(), return_counts=True)
        ranked = labels[np.argsort(-counts, kind="stable")].tolist() if len(labels) > 1 else []
        parts = [(codes[targets == label], targets[targets == label]) for label in ranked]
        return [samples, *parts][: self.restarts]

    def _fit_trigger(self, problem: Problem, samples: Samples, size: int) -> Words:
        known, ids = self._spellings(size)
        if not known:
            raise AttackError("The model's vocabulary has no words for a trigger.")
        table, tried = self.lexicon.table[ids], (samples[0][:TRIED], samples[1][:TRIED])
        trigger = (FIRST if FIRST in known else known[0],) * size
        best = self._scores(problem, tried, [trigger])[0]
        for _ in range(self.rounds):
            before, gradients = trigger, self._gradients(problem, samples, trigger)
            for slot in range(size):
                order = np.argsort(-(table @ gradients[slot]), kind="stable")[: self.candidates]
                options = [(*trigger[:slot], known[place], *trigger[slot + 1 :]) for place in order]
                scores = self._scores(problem, tried, options)
                if max(scores) > best:
                    best, trigger = max(scores), options[int(np.argmax(scores))]
            if trigger == before:
                break
        return trigger

    def _gradients(self, problem: Problem, samples: Samples, trigger: Words) -> Array:
        """Return the gradient of the summed loss with respect to the embedding in each slot, (slots, d)."""
        codes, targets = samples
        moved, spans, parts = self.applied(codes, [trigger] * len(codes)), self._spans(codes, trigger), []
        for rows in problem.chunks(len(codes)):
            result = problem.token_gradient(moved[rows], targets[rows], self.loss or "ce")
            starts, ends = (place[:, :, None] for place in np.moveaxis(result.reading.spans.cpu().numpy(), 2, 0))
            inside = (starts >= spans[rows, None, :, 0]) & (starts < spans[rows, None, :, 1]) & (ends > starts)
            gradient = result.gradient.double().cpu().numpy()  # zero where there is no token
            parts.append(np.einsum("nts,ntd->nsd", inside.astype(np.float64), gradient))
        return np.asarray(np.concatenate(parts).sum(axis=0))

    def _scores(self, problem: Problem, samples: Samples, triggers: list[Words]) -> list[float]:
        """Return the mean ranking loss under each trigger, or for binary outcomes the mean of its sigmoid."""
        codes, targets = samples
        moved = torch.cat([self.applied(codes, [trigger] * len(codes)) for trigger in triggers])
        losses, _ = evaluate(problem, moved, targets.repeat(len(triggers), *(1,) * (targets.ndim - 1)))
        scores = losses if problem.is_graded else torch.sigmoid(losses)
        return [float(part.mean()) for part in scores.cpu().numpy().reshape(len(triggers), -1)]
