"""Common corruptions: performance under noise, blur, weather and compression.

These measures have no random control. A control shows whether an attack is better than chance, but a corruption is not
an attack: its strength is its severity, and severity 0 is the clean image.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from suite.attacks.constraints.patch import covered
from suite.axes.answers import answers
from suite.axes.base import AxisResult, Context, in_role
from suite.axes.registered import entries_of, headline_value, metrics_of, more_measured, summaries
from suite.axes.rounds import Round, State
from suite.corruptions.catalogue import COMMON, SEVERITIES, checked, corrupt
from suite.data.digests import seed_of
from suite.errors import NotApplicableError, SpecError
from suite.kinds.base import Array, Kind, required
from suite.kinds.logits import checked_headline
from suite.metrics.catalogue import BoardColumn, Metric
from suite.metrics.stats import WORST_AND_BEST, mean_of, ratio, sums_ratio
from suite.metrics.table import Column, Part, Table, collected, combined
from suite.registry import register
from suite.types import Display, Measure

CORRUPTED_GALLERY = 4
"""Samples of the gallery that are stored under every corruption."""

MEAN_ERROR = Metric(
    "mean_corruption_error",
    "mean corruption error",
    "1 minus the mean of the headline metric over all corruptions and severities",
    higher_is_better=False,
)
RETENTION = Metric(
    "corruption_retention",
    "corruption retention",
    "mean of the headline metric under corruption, relative to clean images",
    unit="ratio",
    columns=(BoardColumn("corruption retained"),),
)
GROWTH = Metric(
    "corruption_growth",
    "corruption growth",
    "mean of the headline metric under corruption, relative to clean images; 1 is the clean level, more is worse",
    unit="ratio",
    higher_is_better=False,
    columns=(BoardColumn("corruption growth"),),
)

Change = Callable[[Tensor, Array], Tensor]
"""Takes images (k, c, h, w) and their rows among the test samples (k,); returns the changed images."""


@register("axis", name="corruption")
@dataclass(frozen=True)
class Corruption:
    """The headline measure under common corruptions (Hendrycks and Dietterich 2019), with two summaries.

    ``mean_corruption_error`` is 1 minus the mean of the measure over all corruptions and severities. It is not
    comparable with the mCE of the paper, which divides the error of each corruption by that of AlexNet before
    averaging. ``corruption_retention`` is the mean measure under corruption divided by the clean one.

    Attributes:
        names: names of corruptions; all fifteen by default.
        severities: severities from 1 to 5, in ascending order.
    """

    names: tuple[str, ...] = tuple(COMMON)
    severities: tuple[int, ...] = SEVERITIES

    def __post_init__(self) -> None:
        names, severities = tuple(self.names), tuple(self.severities)
        for name, severity in itertools.product(names, severities):
            checked(name, severity)
        if not names or len(set(names)) < len(names):
            raise SpecError(f"names={list(names)}; expected distinct corruptions, for example names=[fog, snow].")
        if not severities or 0 in severities or list(severities) != sorted(set(severities)):
            raise SpecError(
                f"severities={list(severities)}; expected ascending numbers from 1 to 5, for example [1, 3, 5]."
            )
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "severities", severities)

    def entries(self, kind: Kind) -> Sequence[Metric]:
        """Return the declarations of the summaries, and of the headline metric under corruption."""
        headline = kind.scoring.headline
        own = MEAN_ERROR, RETENTION, mean_corrupted(headline), GROWTH, corrupted(headline)
        return [*own, *entries_of(metrics_of(kind, "corruption"))]

    def measure(self, context: Context) -> AxisResult:
        """Evaluate the model under every corruption.

        Raises:
            NotApplicableError: the samples are not images.
        """
        require_images(context)
        corrupted = context.run(Round("corruptions", self._corrupted, context.cohort))
        measured = combined([corrupted, more_measured(context, "corruption")])
        table = Table(tuple(corrupted.columns), context.facts, seed=context.seed)
        return AxisResult(
            [Column("id", context.ids), *measured.columns],
            {**measured.all_facts, **context.facts},
            {"corruptions": self._curves(table, context.kind)},
            self._gallery(context),
        )

    def _corrupted(self, context: Context, state: State) -> Part:
        """Evaluate one cohort without a change, then under every corruption."""
        known = collected([context.kind.scoring.measured(context.outcomes)])
        with context.model.frozen():
            columns = evaluate(context, lambda pixels, rows: pixels, {})
            for name, severity in itertools.product(self.names, self.severities):
                params = {"corruption": name, "severity": severity}
                columns += evaluate(context, _corruption(context, name, severity), params)
        return Part(columns, known.facts, known.sums)

    def summarise(self, table: Table, kind: Kind) -> list[Measure]:
        """Compute the summaries, and the headline metric under every corruption."""
        metric, parts = corrupted(kind.scoring.headline), _parts(table)
        measures = [
            *_summary(table, parts, kind),
            *(kind.scoring.headline_measure(part, metric, tally_of(part)) for part in parts),
            *summaries(metrics_of(kind, "corruption"), table),
        ]
        return checked_headline(measures, table.facts, kind.logits)

    def _curves(self, table: Table, kind: Kind) -> dict[str, list[dict[str, float | None]]]:
        """Return the headline metric by severity for every corruption; severity 0 is clean."""
        start = {"severity": 0, "value": headline_value(kind, tally_of(table))}
        curves: dict[str, list[dict[str, float | None]]] = {name: [{**start}] for name in self.names}
        for part in _parts(table):
            point = {"severity": part.params["severity"], "value": headline_value(kind, tally_of(part))}
            curves[part.params["corruption"]].append(point)
        return curves

    def _gallery(self, context: Context) -> dict[str, Display]:
        """Return a few images under every corruption at the middle severity, with the predictions."""
        shown, severity = context.of(context.gallery[:CORRUPTED_GALLERY]), self.severities[len(self.severities) // 2]
        split, pixels, rows = shown.test, shown.pixels, np.arange(len(shown.test))
        arrays = {
            "ids": Display(np.array(split.ids), "id", "ids"),
            "label": Display(split.targets, context.kind.showing.truth, "truth"),
            "severity": Display(np.array(severity), "number", "size", per_sample=False),
            **_shown(context, "clean", pixels, ("input", "prediction")),
        }
        roles = "changed", "changed_prediction"
        for name in self.names:
            images = _corruption(shown, name, severity)(pixels, rows)
            arrays |= _shown(context, name, images, roles, corruption=name, severity=severity)
        return arrays


def corrupted(headline: Metric) -> Metric:
    """Return the declaration of the headline metric under a corruption."""
    return headline.renamed(
        "corrupted",
        f"{headline.title} under corruption",
        meaning=f"{headline.title} of images under one corruption of one severity",
        outcome="quality" if headline.outcome else "",
    )


def mean_corrupted(headline: Metric) -> Metric:
    """Return the declaration of the mean of the headline metric over all corruptions and severities."""
    return headline.renamed(
        "mean_corrupted",
        f"mean {headline.title} under corruption",
        meaning=f"mean of the {headline.title} over all corruptions and severities",
        higher_is_better=False,
    )


def require_images(context: Context) -> None:
    """Raise NotApplicableError unless the samples are images of one or three channels."""
    shape, input_ = tuple(context.data.info.input_shape), context.model.input
    if input_.type == "image" and len(shape) == 3 and shape[0] in (1, 3):
        return
    given = f"has shape {shape}" if input_.type == "image" else f"is a {input_.noun}"
    raise NotApplicableError(f"a sample {given}; expected an image of one or three channels")


def evaluate(context: Context, change: Change, params: Mapping[str, Any], *, hides: bool = False) -> list[Column]:
    """Evaluate the model on the samples of a cohort after a change.

    Args:
        context: gives the model and the samples.
        change: applied to every batch.
        params: the condition of the columns.
        hides: whether the change covers parts of the image; targets that it covers are not scored.

    Returns:
        The column ``quality``, 1 - damage, (n,), bool where outcomes are binary; where they are graded, also ``tally``,
        what each sample contributes to the headline metric, (n, ...).
    """
    kind, quality, tallies = context.kind, np.zeros(len(context.test)), []
    attacks = required(kind.attacks)
    for rows in context.batches(np.arange(len(context.test)), context.model.width):
        chosen = torch.from_numpy(rows).to(context.device)
        pixels, targets = context.pixels[chosen], context.targets[chosen]
        changed = change(pixels, rows)
        targets = kind.scoring.mask_covered_targets(targets, covered(pixels, changed)) if hides else targets
        with torch.no_grad():
            output, _ = answers(context.model, changed, targets, kind)
        quality[rows] = 1 - attacks.damage(output, targets).double().cpu().numpy()
        tallies.append(kind.scoring.tally(output.float().cpu().numpy(), targets.cpu().numpy()))
    if kind.scoring.outcome.type == "binary":
        return [Column("quality", quality > 0.5, params)]
    return [Column("quality", quality, params), Column("tally", np.concatenate(tallies), params)]


def tally_of(table: Table) -> Array:
    """Return what each sample contributes to the headline metric, (n, ...), under the condition of a table."""
    return table["tally" if "tally" in table else "quality"]


def _parts(table: Table) -> list[Table]:
    """Return the table of every corruption and severity."""
    return [table.at(**params) for params in table.conditions("quality") if "corruption" in params]


def _corruption(context: Context, name: str, severity: int) -> Change:
    purpose = f"corruption {name} {severity}"
    return lambda pixels, rows: corrupt(pixels, name, severity, context.sample_seeds(purpose, rows))


def _shown(context: Context, name: str, images: Tensor, roles: tuple[str, str], **params: Any) -> dict[str, Display]:
    """Return images (k, c, h, w) and their predictions in their roles, under names that end in `name`."""
    pixels = images.mul(255).round().to(torch.uint8).cpu().numpy()
    return {
        f"image_{name}": Display(pixels, "image", roles[0], params),
        **in_role(context.output_arrays(images), roles[1], f"{{}}_{name}", **params),
    }


def _summary(table: Table, parts: Sequence[Table], kind: Kind) -> list[Measure]:
    """Return mean corruption error and retention.

    If lower values of the headline measure are better, return its mean under corruption and the ratio of that to the
    clean value. Intervals resample images: all corrupted versions of an image stay together, because their outcomes
    are correlated.
    """
    statistic, headline = kind.scoring.statistic, kind.scoring.headline
    under_corruption, clean = mean_of([statistic(tally_of(part)) for part in parts]), statistic(tally_of(table))
    fields: dict[str, Any] = {
        "seed": seed_of(*table.facts["names"]) % 2**32,
        "params": {"conditions": len(parts)},
    }

    def values(counts: Array | None) -> Array:
        mean = under_corruption(counts)
        return np.stack([1 - mean if headline.higher_is_better else mean, ratio(mean, clean(counts))], axis=1)

    if kind.scoring.outcome.type == "binary":
        return _error_and_retention(table, parts, fields)
    if headline.higher_is_better:
        metrics, why = [MEAN_ERROR, RETENTION], "the model predicts no clean sample correctly"
    else:
        metrics, why = [mean_corrupted(headline), GROWTH], "the clean measure is zero"
    return table.resampled_together(metrics, values, each=[{}, {"why": why}], **fields)


def _error_and_retention(table: Table, parts: Sequence[Table], fields: Mapping[str, Any]) -> list[Measure]:
    """Return mean corruption error and retention of a kind whose headline is a mean over samples.

    Beside the real samples there may be others that are correct without a corruption and wrong, or correct, with any.
    """
    clean, corrupted = tally_of(table).astype(np.float64), mean_tally(parts)
    kept = sums_ratio(np.append(corrupted, [0.0, 1.0]), np.append(clean, [1.0, 1.0]))
    why = "the model predicts no clean sample correctly"
    return [
        table.mean(MEAN_ERROR, 1 - corrupted, **fields),
        table.resampled(RETENTION, kept, added=WORST_AND_BEST, why=why, **fields),
    ]


def mean_tally(parts: Sequence[Table]) -> Array:
    """Return the mean over conditions of what each sample contributes to a headline that is a mean, (n,)."""
    return np.asarray(np.mean([tally_of(part) for part in parts], axis=0, dtype=np.float64))
