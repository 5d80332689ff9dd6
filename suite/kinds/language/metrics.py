"""Clean metrics of language models: bits, accuracy, and properties of generated text."""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from suite.data.text import WORD, texts_of
from suite.decorators import metric
from suite.kinds.base import Array, Outcomes
from suite.kinds.language.generated_text import LENGTH, SAMPLES, unprompted
from suite.kinds.language.kind import correct_characters
from suite.metrics import stats
from suite.metrics.stats import resampled, sums_ratio
from suite.models.adapters.language import TorchLanguage
from suite.types import Check, Measure, not_applicable

RUN = 8
"""Characters of an n-gram that counts as memorized, or repeated."""

PROBED = 8
"""Windows on which causality is checked."""


@metric(kind="language")
def bits_per_character(outcomes: Outcomes) -> list[Measure]:
    """Bits per character and per byte, and the perplexity, with the state reset before each window."""
    tally, n = outcomes.kind.tally(outcomes.output, outcomes.targets), len(outcomes.ids)
    per_character = sums_ratio(tally[:, 0], tally[:, 1])
    fields: dict[str, Any] = {"seed": outcomes.seed, "higher_is_better": False}
    checks: dict[str, Check] = {"causal": causal(outcomes)}
    reason = None if checks["causal"] == "pass" else "a later character changes the predictions of earlier ones"
    return [
        resampled("bits_per_character", per_character, n, unit="bits", checks=checks, reason=reason, **fields),
        resampled("bits_per_byte", sums_ratio(tally[:, 0], scored_bytes(outcomes)), n, unit="bits", **fields),
        resampled("perplexity", lambda counts: np.exp2(per_character(counts)), n, unit="characters", **fields),
    ]


@metric(kind="language")
def next_character_accuracy(outcomes: Outcomes) -> list[Measure]:
    """Fraction of scored characters that are predicted correctly."""
    correct = correct_characters(outcomes.output, outcomes.targets)
    characters = np.full(len(correct), correct.shape[1], np.float64)
    accuracy = sums_ratio(correct.sum(axis=1).astype(np.float64), characters)
    return [resampled("next_character_accuracy", accuracy, len(correct), seed=outcomes.seed)]


@metric(kind="language")
def bits_per_character_carried(outcomes: Outcomes) -> list[Measure]:
    """Bits per character with the state carried from each window to the one that follows it in the text.

    The model reads all windows of the task's test split; those of the outcomes are scored.
    """
    name, model, test = "bits_per_character_carried", outcomes.model, outcomes.data.test
    if not model.carries_state:
        return [not_applicable(name, "the model carries no state from one window to the next", state="carried")]
    scored, texts = outcomes.targets.shape[1], texts_of(test.inputs)
    evaluated = set(outcomes.ids)
    runs = [run for run in successive(texts, scored) if evaluated & {test.ids[row] for row in run}]
    successors = sum(test.ids[row] in evaluated for run in runs for row in run[1:])
    if 2 * successors < len(evaluated):
        reason = f"{successors} of {len(evaluated)} windows follow another one in the text; expected at least half"
        return [not_applicable(name, reason, state="carried")]
    bits_of = {test.ids[row]: bits for run in runs for row, bits in carried_bits(model, texts, run, scored).items()}
    bits = np.array([bits_of[sample] for sample in outcomes.ids])
    params = {"state": "carried", "runs": len(runs), "longest": max(map(len, runs)), "carried": successors}
    fields: dict[str, Any] = {"unit": "bits", "higher_is_better": False, "params": params}
    return [
        resampled(name, sums_ratio(bits, np.full(len(bits), float(scored))), len(bits), seed=outcomes.seed, **fields)
    ]


@metric(kind="language")
def generated_text(outcomes: Outcomes) -> list[Measure]:
    """Memorized n-grams, distinct words and word pairs, and repetition in generated text.

    The control of each metric is its value on test text of the same length.
    """
    length = min(LENGTH, outcomes.inputs.shape[1])
    generated = unprompted(outcomes, SAMPLES, length)
    real = [text[:length] for text in texts_of(outcomes.inputs.cpu().numpy())]
    train = TrainingNgrams(joined(outcomes.data.train.ids, texts_of(outcomes.data.train.inputs)))
    statistics: dict[str, Callable[[str], float | None]] = {
        "ngram_memorization": train.fraction,
        "distinct_1": partial(distinct_words, size=1),
        "distinct_2": partial(distinct_words, size=2),
        "repetition": repetition,
    }
    if length < RUN:
        del statistics["ngram_memorization"]
    params = {"samples": len(generated), "characters": length, "temperature": 1.0}
    return [
        _text_measure(name, [list(map(statistic, texts)) for texts in (generated, real)], outcomes.seed, params)
        for name, statistic in statistics.items()
    ]


def _text_measure(name: str, values: list[list[float | None]], seed: int, params: dict[str, Any]) -> Measure:
    """Return the mean over generated texts with its interval, and that of real ones as its control."""
    generated, real = ([value for value in part if value is not None] for part in values)
    params = {**params, "run": RUN} if name in ("ngram_memorization", "repetition") else params
    n = len(values[0])
    fields: dict[str, Any] = {"params": params, "higher_is_better": None, "n_failed": n - len(generated)}
    if not generated:
        return Measure(name, None, None, None, n, "none", reason="no text is long enough", **fields)
    control = float(np.mean(real)) if real else None
    return stats.mean_measure(name, generated, seed=seed, control=control, **fields)


def joined(ids: Sequence[str], texts: Sequence[str]) -> list[str]:
    """Return texts, joined where their ids, ``name/position``, show that they are adjacent."""
    groups: list[list[str]] = []
    expected = None
    for name, text in zip(ids, texts, strict=True):
        stem, _, position = name.rpartition("/")
        start = (stem, int(position)) if position.isdecimal() else None
        if start is not None and start == expected:
            groups[-1].append(text)
        else:
            groups.append([text])
        expected = None if start is None else (stem, start[1] + len(text))
    return ["".join(parts) for parts in groups]


class TrainingNgrams:
    """The n-grams of `RUN` characters that occur in training texts."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.hashes: Array = np.unique(np.concatenate([np.zeros(0, np.uint64), *map(_ngram_hashes, texts)]))

    def fraction(self, text: str) -> float | None:
        """Return the fraction of a text's n-grams that occur in training texts; None for a text without any."""
        hashes = _ngram_hashes(text)
        known = np.searchsorted(self.hashes, hashes, "right") > np.searchsorted(self.hashes, hashes)
        return float(known.mean()) if len(hashes) else None


def _ngram_hashes(text: str) -> Array:
    """Return a hash for each n-gram of `RUN` characters of a text, (characters - RUN + 1,).

    With 64 bits, the probability of any collision among a million different n-grams is less than 1e-6.
    """
    points = np.frombuffer(text.encode("utf-32-le"), np.uint32).astype(np.uint64)
    if len(points) < RUN:
        return np.zeros(0, np.uint64)
    windows = np.lib.stride_tricks.sliding_window_view(points, RUN)
    hashes = np.full(len(windows), 0x9E3779B97F4A7C15, np.uint64)
    for column in windows.T:
        hashes = (hashes ^ column) * np.uint64(0xFF51AFD7ED558CCD)
        hashes ^= hashes >> np.uint64(33)
    return hashes


def distinct_words(text: str, size: int) -> float | None:
    """Return the fraction of distinct n-grams of `size` words in a text; None for a text without any."""
    words = WORD.findall(text.lower())
    ngrams = list(zip(*(words[start:] for start in range(size)), strict=False))
    return len(set(ngrams)) / len(ngrams) if ngrams else None


def repetition(text: str) -> float | None:
    """Return the fraction of a text's n-grams of `RUN` characters that repeat earlier ones; None without any."""
    hashes = _ngram_hashes(text)
    return 1 - len(np.unique(hashes)) / len(hashes) if len(hashes) else None


def scored_bytes(outcomes: Outcomes) -> Array:
    """Return the number of bytes of the scored characters of each window in UTF-8, (n,)."""
    points = outcomes.inputs[:, -outcomes.targets.shape[1] :].cpu().numpy()
    return np.asarray((1 + (points > 0x7F) + (points > 0x7FF) + (points > 0xFFFF)).sum(axis=1), np.float64)


def causal(outcomes: Outcomes) -> Check:
    """Return whether logits are unchanged when all later characters are replaced.

    Each window is cut at another position, so that a model that looks ahead only within blocks is detected too.
    """
    inputs = outcomes.inputs[:PROBED]
    length, device = inputs.shape[1], inputs.device
    cuts = (length // 2 + torch.arange(len(inputs), device=device)).clamp(1, length - 1)[:, None]
    positions = torch.arange(length, device=device)
    first, last = (ord(outcomes.classes[index]) for index in (1, -1))
    others = torch.where(inputs == last, first, last)
    before, after = (outcomes.model(codes) for codes in (inputs, torch.where(positions < cuts, inputs, others)))
    unaffected = (positions[:-1] < cuts)[..., None]  # logits at a position predict the next character from this one
    equal = torch.isclose(before, after, rtol=1e-3, atol=1e-3) | ~unaffected
    return "pass" if bool(equal.all()) else "fail"


def successive(texts: Sequence[str], scored: int) -> list[list[int]]:
    """Return windows in runs: the context of each window equals the end of the previous one.

    Args:
        texts: windows of one length.
        scored: number of scored characters per window.
    """
    starts: dict[str, list[int]] = {}
    for row, text in enumerate(texts):
        starts.setdefault(text[:-scored], []).append(row)
    after = {row: rows[0] for row, text in enumerate(texts) if len(rows := starts.get(text[scored:], [])) == 1}
    claims = Counter(after.values())
    after = {row: follower for row, follower in after.items() if follower != row and claims[follower] == 1}
    heads = [row for row in range(len(texts)) if row not in set(after.values())]
    seen: set[int] = set()
    runs = []
    for head in [*heads, *range(len(texts))]:  # windows without a head form cycles
        run, row = [], head
        while row not in seen:
            seen.add(row)
            run.append(row)
            row = after.get(row, row)
        runs += [run] if run else []
    return runs


def carried_bits(model: TorchLanguage, texts: Sequence[str], run: Sequence[int], scored: int) -> dict[int, float]:
    """Return the bits of the scored characters of each window of a run, which is read as one text."""
    whole = texts[run[0]] + "".join(texts[row][-scored:] for row in run[1:])
    bits = model.carried_bits(whole)[-scored * len(run) :].reshape(len(run), scored).sum(axis=1)
    return dict(zip(run, bits.tolist(), strict=True))
