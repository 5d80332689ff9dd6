"""Clean measures of language models: bits, first choices, and what the model makes up."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from suite.data.text import WORD, texts_of
from suite.decorators import metric
from suite.kinds.base import Array, Outcomes
from suite.kinds.language.generated_text import LENGTH, SAMPLES, invented
from suite.kinds.language.kind import first_choice
from suite.metrics import stats
from suite.metrics.stats import resampled, sums_ratio
from suite.models.adapters.language import TorchLanguage
from suite.types import Check, Measure, not_applicable

RUN = 8
"""Characters of a run that counts as memorised, or repeated."""

PROBED = 8
"""Windows in which the model is asked whether what comes later changes what it said before."""


@metric(kind="language")
def bits_per_character(outcomes: Outcomes) -> list[Measure]:
    """Bits per character and per byte, and the perplexity, with the state reset before each window."""
    tally, n = outcomes.kind.tally(outcomes.output, outcomes.targets), len(outcomes.ids)
    spent, characters = tally[:, 0], tally[:, 1]
    per_character = sums_ratio(spent, characters)
    fields: dict[str, Any] = {"seed": outcomes.seed, "higher_is_better": False}
    checks: dict[str, Check] = {"causal": causal(outcomes)}
    why = None if checks["causal"] == "pass" else "a later character changes what the model says of earlier ones"
    return [
        resampled("bits_per_character", per_character, n, unit="bits", checks=checks, reason=why, **fields),
        resampled("bits_per_byte", sums_ratio(spent, scored_bytes(outcomes)), n, unit="bits", **fields),
        resampled("perplexity", lambda counts: np.exp2(per_character(counts)), n, unit="characters", **fields),
    ]


@metric(kind="language")
def next_character_accuracy(outcomes: Outcomes) -> list[Measure]:
    """Share of scored characters that were the model's first choice."""
    right = first_choice(outcomes.output, outcomes.targets)
    characters = np.full(len(right), right.shape[1], np.float64)
    share = sums_ratio(right.sum(axis=1).astype(np.float64), characters)
    return [resampled("next_character_accuracy", share, len(right), seed=outcomes.seed)]


@metric(kind="language")
def bits_per_character_carried(outcomes: Outcomes) -> list[Measure]:
    """Bits per character where the state is carried from each window to the one that follows it in the text.

    Read are all windows of the task's test split, and scored those that were asked about.
    """
    name, model, test = "bits_per_character_carried", outcomes.model, outcomes.data.test
    if not model.carries:
        return [not_applicable(name, "the model carries no state from one window to the next", state="carried")]
    scored, texts = outcomes.targets.shape[1], texts_of(test.inputs)
    asked = set(outcomes.ids)
    runs = [run for run in successive(texts, scored) if asked & {test.ids[row] for row in run}]
    behind = sum(test.ids[row] in asked for run in runs for row in run[1:])
    if 2 * behind < len(asked):
        reason = f"{behind} of {len(asked)} windows follow another one in the text; expected at least half"
        return [not_applicable(name, reason, state="carried")]
    spent = {test.ids[row]: bits for run in runs for row, bits in carried_bits(model, texts, run, scored).items()}
    bits = np.array([spent[sample] for sample in outcomes.ids])
    params = {"state": "carried", "runs": len(runs), "longest": max(map(len, runs)), "carried": behind}
    fields: dict[str, Any] = {"unit": "bits", "higher_is_better": False, "params": params}
    return [
        resampled(name, sums_ratio(bits, np.full(len(bits), float(scored))), len(bits), seed=outcomes.seed, **fields)
    ]


@metric(kind="language")
def generated_text(outcomes: Outcomes) -> list[Measure]:
    """What the model makes up: runs it has memorised, words and pairs of words that differ, repetition.

    The control of each measure is that of the test text, in pieces as long.
    """
    length = min(LENGTH, outcomes.inputs.shape[1])
    texts = invented(outcomes, SAMPLES, length)
    real = [text[:length] for text in texts_of(outcomes.inputs.cpu().numpy())]
    told = {"samples": len(texts), "characters": length, "temperature": 1.0}
    known = Known(joined(outcomes.data.train.ids, texts_of(outcomes.data.train.inputs)))
    measures = (
        [] if length < RUN else [_made("ngram_memorization", known.shares(texts), known.shares(real), outcomes, told)]
    )
    for size in (1, 2):
        made, control = ([distinct_words(text, size) for text in part] for part in (texts, real))
        measures.append(_made(f"distinct_{size}", made, control, outcomes, told))
    made, control = ([repetition(text) for text in part] for part in (texts, real))
    return [*measures, _made("repetition", made, control, outcomes, told)]


def _made(
    name: str, made: Sequence[float | None], real: Sequence[float | None], outcomes: Outcomes, told: dict[str, Any]
) -> Measure:
    """Return the mean over made-up texts with its interval, and that of real ones as its control."""
    values, controls = ([value for value in part if value is not None] for part in (made, real))
    params = {**told, "run": RUN} if name in ("ngram_memorization", "repetition") else told
    fields: dict[str, Any] = {"params": params, "higher_is_better": None, "n_failed": len(made) - len(values)}
    if not values:
        return Measure(name, None, None, None, len(made), "none", reason="no text is long enough to count", **fields)
    control = float(np.mean(controls)) if controls else None
    return stats.mean_measure(name, values, seed=outcomes.seed, control=control, **fields)


def joined(ids: Sequence[str], texts: Sequence[str]) -> list[str]:
    """Return texts as one where an id, ``name/position``, says that they stand side by side; else as they are."""
    found: list[list[str]] = []
    expected = None
    for name, text in zip(ids, texts, strict=True):
        stem, _, place = name.rpartition("/")
        at = (stem, int(place)) if place.isdecimal() else None
        if at is not None and at == expected:
            found[-1].append(text)
        else:
            found.append([text])
        expected = None if at is None else (stem, at[1] + len(text))
    return ["".join(parts) for parts in found]


class Known:
    """The runs of `RUN` characters that occur in training texts."""

    def __init__(self, texts: Sequence[str]) -> None:
        found = [np.zeros(0, np.uint64), *(_runs(text) for text in texts)]
        self.runs: Array = np.unique(np.concatenate(found))

    def shares(self, texts: Sequence[str]) -> list[float | None]:
        """Return which share of each text's runs is known; None for a text without any."""
        return [float(self._has(runs).mean()) if len(runs := _runs(text)) else None for text in texts]

    def _has(self, runs: Array) -> Array:
        if not len(self.runs):
            return np.zeros(len(runs), dtype=bool)
        places = np.searchsorted(self.runs, runs).clip(max=len(self.runs) - 1)
        return np.asarray(self.runs[places] == runs)


def _runs(text: str) -> Array:
    """Return a number for each run of `RUN` characters of a text, (characters - RUN + 1,).

    They are hashes of 64 bits: that any two of a million different runs agree has a chance of less than 1e-6.
    """
    points = np.frombuffer(text.encode("utf-32-le"), np.uint32).astype(np.uint64)
    if len(points) < RUN:
        return np.zeros(0, np.uint64)
    views = np.lib.stride_tricks.sliding_window_view(points, RUN)
    found = np.full(len(views), 0x9E3779B97F4A7C15, np.uint64)
    for column in views.T:
        found = (found ^ column) * np.uint64(0xFF51AFD7ED558CCD)
        found ^= found >> np.uint64(33)
    return found


def distinct_words(text: str, size: int) -> float | None:
    """Return which share of a text's runs of `size` words are different ones; None where there is no run."""
    words = WORD.findall(text.lower())
    runs = list(zip(*(words[start:] for start in range(size)), strict=False))
    return len(set(runs)) / len(runs) if runs else None


def repetition(text: str) -> float | None:
    """Return which share of a text's runs of `RUN` characters has occurred before in it; None where there is no run."""
    runs = _runs(text)
    return 1 - len(np.unique(runs)) / len(runs) if len(runs) else None


def scored_bytes(outcomes: Outcomes) -> Array:
    """Return how many bytes the scored characters of each window have in UTF-8, (n,)."""
    points = outcomes.inputs[:, -outcomes.targets.shape[1] :].cpu().numpy()
    return np.asarray((1 + (points > 0x7F) + (points > 0x7FF) + (points > 0xFFFF)).sum(axis=1), np.float64)


def causal(outcomes: Outcomes) -> Check:
    """Return whether logits stay as they are where all that comes later is replaced by other characters.

    Each window is cut elsewhere, so that a model that looks ahead within blocks does not escape at their borders.
    """
    shown = outcomes.inputs[:PROBED]
    length, device = shown.shape[1], shown.device
    cuts = (length // 2 + torch.arange(len(shown), device=device)).clamp(1, length - 1)[:, None]
    places = torch.arange(length, device=device)
    first, last = (ord(outcomes.classes[place]) for place in (1, -1))
    others = torch.where(shown == last, first, last)
    before, after = (outcomes.model(codes) for codes in (shown, torch.where(places < cuts, shown, others)))
    settled = (places[:-1] < cuts)[..., None]  # the logits at a place are of the next character, and know this one
    alike = torch.isclose(before, after, rtol=1e-3, atol=1e-3) | ~settled
    return "pass" if bool(alike.all()) else "fail"


def successive(texts: Sequence[str], scored: int) -> list[list[int]]:
    """Return windows in runs: in a run each begins with the last characters of the one before, as long as its context.

    Args:
        texts: windows of one length.
        scored: characters of a window that are scored.
    """
    starts: dict[str, list[int]] = {}
    for row, text in enumerate(texts):
        starts.setdefault(text[:-scored], []).append(row)
    after = {row: found[0] for row, text in enumerate(texts) if len(found := starts.get(text[scored:], [])) == 1}
    claims = Counter(after.values())
    after = {row: follower for row, follower in after.items() if follower != row and claims[follower] == 1}
    heads = [row for row in range(len(texts)) if row not in set(after.values())]
    seen: set[int] = set()
    runs = []
    for head in [*heads, *range(len(texts))]:  # whatever is left goes round in a circle
        run, row = [], head
        while row not in seen:
            seen.add(row)
            run.append(row)
            row = after.get(row, row)
        runs += [run] if run else []
    return runs


def carried_bits(model: TorchLanguage, texts: Sequence[str], run: Sequence[int], scored: int) -> dict[int, float]:
    """Return the bits of the scored characters of each window of a run, read from the first window's beginning on."""
    whole = texts[run[0]] + "".join(texts[row][-scored:] for row in run[1:])
    bits = model.carried(whole)[-scored * len(run) :].reshape(len(run), scored).sum(axis=1)
    return dict(zip(run, bits.tolist(), strict=True))
