"""Clean metrics of language models on real text: bits and accuracy."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from suite.data.text import texts_of
from suite.decorators import metric
from suite.kinds.base import Array, Outcomes
from suite.kinds.language.kind import BITS_PER_CHARACTER, NEXT_CHARACTER_ACCURACY
from suite.metrics.catalogue import BoardColumn, Metric
from suite.metrics.stats.clusters import influences
from suite.metrics.table import Measured, Table
from suite.models.adapters.language import TorchLanguage
from suite.types import Check, Measure, not_applicable

PROBED = 8
"""Windows on which causality is checked."""

BITS_PER_BYTE = Metric(
    "bits_per_byte",
    "bits per byte",
    "bits per byte of text, comparable across alphabets",
    unit="bits",
    higher_is_better=False,
)
PERPLEXITY = Metric(
    "perplexity",
    "perplexity",
    "effective number of equally likely next characters",
    unit="characters",
    higher_is_better=False,
)

BITS_CARRIED = Metric(
    "bits_per_character_carried",
    "bits per character, state carried",
    "bits per character if the model keeps its state across the text",
    unit="bits",
    higher_is_better=False,
    columns=(BoardColumn("bits carried"),),
    descriptive=("runs", "longest", "carried"),
)
NOT_CARRIED = "not_carried"
"""The fact that says why there are no bits with a carried state."""


def bytes_and_causality(outcomes: Outcomes) -> Measured:
    """Return the bytes of the scored characters of each window, and whether the model ignores later characters."""
    return Measured({"bytes": scored_bytes(outcomes)}, {"causal": causal(outcomes)})


@metric(kind="language", entries=[BITS_PER_CHARACTER, BITS_PER_BYTE, PERPLEXITY], measure=bytes_and_causality)
def bits_per_character(table: Table) -> list[Measure]:
    """Bits per character and per byte, and the perplexity, with the state reset before each window."""
    checks: dict[str, Check] = {"causal": table.facts["causal"]}
    reason = None if checks["causal"] == "pass" else "a later character changes the predictions of earlier ones"
    bits = _ratio(table, BITS_PER_CHARACTER, "bits", "characters", checks=checks, reason=reason)
    return [bits, _ratio(table, BITS_PER_BYTE, "bits", "bytes"), _perplexity(table, bits)]


def _ratio(table: Table, metric: Metric, part: str, whole: str, **fields: Any) -> Measure:
    """Return the ratio of the sums of two columns as the mean of what each window adds to it.

    Texts are few groups, for which the interval of a mean covers and a bootstrap of the groups does not.
    """
    numerator, denominator = table[part].astype(np.float64), table[whole].astype(np.float64)
    return table.mean(metric, influences(numerator, denominator, None), **fields)


def _perplexity(table: Table, bits: Measure) -> Measure:
    """Return two to the power of the bits per character, and of the ends of their interval."""
    value, lo, hi = (None if bit is None else float(np.exp2(bit)) for bit in (bits.value, bits.lo, bits.hi))
    fields = {"level": table.level, "groups": bits.groups, **table.fields(PERPLEXITY)}
    return Measure(PERPLEXITY.name, value, lo, hi, bits.n, bits.method, **fields)


@metric(kind="language", entries=[NEXT_CHARACTER_ACCURACY])
def next_character_accuracy(table: Table) -> list[Measure]:
    """Fraction of scored characters that are predicted correctly."""
    return [_ratio(table, NEXT_CHARACTER_ACCURACY, "correct_characters", "characters")]


def carried(outcomes: Outcomes) -> Measured:
    """Return the bits of each window if the state is carried from the one before it, and its run of windows.

    The model reads all windows of the task's test split; those of the outcomes are scored.

    Returns:
        ``carried_bits``, those of the scored characters; ``run``, the number of its run of successive windows, and
        ``run_length``; ``follows``, whether another window comes before it. Or the fact ``not_carried``: the reason.
    """
    model, test = outcomes.model, outcomes.data.test
    if not model.carries_state:
        return Measured(facts={NOT_CARRIED: "the model carries no state from one window to the next"})
    scored, texts = outcomes.targets.shape[1], texts_of(test.inputs)
    evaluated = set(outcomes.ids)
    runs = [run for run in successive(texts, scored) if evaluated & {test.ids[row] for row in run}]
    place = {
        test.ids[row]: (number, len(run), start > 0) for number, run in enumerate(runs) for start, row in enumerate(run)
    }
    number, lengths, follows = map(np.array, zip(*(place[sample] for sample in outcomes.ids), strict=True))
    if reason := _too_few(follows):
        return Measured(facts={NOT_CARRIED: reason})
    bits_of = {test.ids[row]: bits for run in runs for row, bits in carried_bits(model, texts, run, scored).items()}
    bits = np.array([bits_of[sample] for sample in outcomes.ids])
    return Measured({"carried_bits": bits, "run": number, "run_length": lengths, "follows": follows})


def _too_few(follows: Array) -> str | None:
    """Return the reason if fewer than half of some windows follow another one."""
    if 2 * follows.sum() >= len(follows):
        return None
    return f"{follows.sum()} of {len(follows)} windows follow another one in the text; expected at least half"


@metric(kind="language", entries=[BITS_CARRIED], measure=carried)
def bits_per_character_carried(table: Table) -> list[Measure]:
    """Bits per character with the state carried from each window to the one that follows it in the text."""
    if reason := table.facts.get(NOT_CARRIED) or _too_few(table["follows"]):
        return [not_applicable(BITS_CARRIED.name, reason, state="carried")]
    params = {
        "state": "carried",
        "runs": len(np.unique(table["run"])),
        "longest": int(table["run_length"].max()),
        "carried": int(table["follows"].sum()),
    }
    return [_ratio(table, BITS_CARRIED, "carried_bits", "characters", params=params)]


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
