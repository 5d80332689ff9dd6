"""Rationales: whether the words, or numbers, that a method points at are those the model used."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from suite.attributions.features.faithfulness import CONTROLS, Rationales, evaluate, rationale_measures
from suite.attributions.features.methods import METHODS, Features
from suite.axes.base import GALLERY, AxisResult, Context
from suite.data.digests import in_digest_order, seed_of
from suite.errors import NotApplicableError, SpecError, did_you_mean
from suite.kinds.base import Rationale
from suite.registry import register
from suite.spec import Spec
from suite.types import not_applicable

FEWEST_FEATURES = 2
"""Features that a sample needs: of a single one every order is the same."""


@register("axis", name="rationale")
@dataclass(frozen=True)
class RationaleAxis:
    """Comprehensiveness and sufficiency of attributions of features (DeYoung et al. 2020), beside chance and recency.

    Attributes:
        explainers: gradient_x_input, layer_integrated_gradients, occlusion; or a single one.
        samples: how many test samples are explained; those with fewer than two features are left out and counted.
        fractions: shares of the features whose deletion is followed, ascending, above 0 up to 1.
        batch_size: inputs in one call of the model; results do not depend on it.
    """

    explainers: Spec | str | tuple[Spec | str, ...] = tuple(METHODS)
    samples: int = 100
    fractions: tuple[float, ...] = (0.01, 0.05, 0.1, 0.2, 0.5)
    batch_size: int = 256

    def __post_init__(self) -> None:
        names = self._names
        for name in names:
            if name not in METHODS:
                raise SpecError(f"got explainers={name!r} for a rationale.{did_you_mean(name, METHODS)}")
        fractions = tuple(self.fractions)
        if not names or not fractions or list(fractions) != sorted(set(fractions)) or not 0 < fractions[0]:
            raise SpecError(f"got {self}; expected one explainer or more, and ascending fractions above 0.")
        if fractions[-1] > 1 or self.samples < 1 or self.batch_size < 1:
            raise SpecError(f"got {self}; expected fractions up to 1, and samples and batch_size of 1 or more.")
        object.__setattr__(self, "fractions", fractions)

    @property
    def _names(self) -> tuple[str, ...]:
        given = (self.explainers,) if isinstance(self.explainers, Spec | str) else self.explainers
        return tuple(dict.fromkeys(str(method) for method in given))

    def measure(self, context: Context) -> AxisResult:
        """Explain some samples and follow the score while features are deleted; other inputs are a skipped row."""
        rows = self._rows(context)
        if not rows:
            return AxisResult(
                [not_applicable("comprehensiveness", "the model says nothing about any sample to explain")]
            )
        with context.model.frozen():
            inputs = context.pixels[torch.tensor(rows, device=context.device, dtype=torch.int64)]
            outputs = torch.from_numpy(context.outcomes.output[rows]).to(context.device)
            try:
                rationale = context.kind.rationale(context.model, inputs, outputs)
            except NotApplicableError as error:
                return AxisResult([not_applicable("comprehensiveness", str(error))])
            fit = rationale.present.sum(dim=1) >= FEWEST_FEATURES
            if not fit.any():
                return AxisResult([not_applicable("comprehensiveness", "no sample has two features or more")])
            return self._measured(context, rows, rationale, fit.nonzero()[:, 0])

    def _rows(self, context: Context) -> list[int]:
        """Return the samples to explain: the first in which there is something to explain, the gallery's among them."""
        order = in_digest_order(context.test.ids)
        fit = context.kind.explainable(context.outcomes.output)
        return [row for row in order if fit[row]][: self.samples]

    def _measured(self, context: Context, rows: list[int], rationale: Rationale, chosen: Tensor) -> AxisResult:
        kept = [rows[place] for place in chosen.tolist()]
        features = Features(rationale, chosen, context.sample_seeds("rationale", kept), self.batch_size)
        found = evaluate(
            features,
            self._names,
            fractions=self.fractions,
            watch=lambda names: context.track(names, "rationale", len(names)),
        )
        measures = rationale_measures(
            found,
            seed=seed_of(*context.names) % 2**32,
            ends_matter=rationale.ends_matter,
            params={"deletion": rationale.deletion, **({"proxy": True} if rationale.proxy else {})},
        )
        skipped = [not_applicable("comprehensiveness", reason, method=name) for name, reason in found.skipped.items()]
        return AxisResult(
            [*measures, *skipped],
            _columns(context, kept, found),
            self._details(found, rationale, len(rows) - len(kept)),
            _gallery(context, kept, features, found),
        )

    def _details(self, found: Rationales, rationale: Rationale, short: int) -> dict[str, Any]:
        curves = {
            method: {part: values.mean(axis=0).tolist() for part, values in followed._asdict().items()}
            for method, followed in found.followed.items()
        }
        return {
            "rationale": curves,
            "fractions": list(self.fractions),
            "deletion": rationale.deletion,
            "too_short": short,
            "controls": list(CONTROLS),
            "skipped": dict(found.skipped),
            "steps": {method: int(steps.max()) for method, steps in found.steps.items()},
        }


def _columns(context: Context, rows: list[int], found: Rationales) -> dict[str, Any]:
    by_key = {
        f"{metric}@{method}": found.values(method, metric)
        for method in found.followed
        for metric in ("comprehensiveness", "sufficiency")
    }
    return {"id": [context.test.ids[row] for row in rows], **by_key, "emptied": found.emptied}


def _gallery(context: Context, rows: list[int], features: Features, found: Rationales) -> dict[str, Any]:
    """Return the first samples: what was said about them, their features, and what each of these is worth."""
    shown, places = rows[:GALLERY], features.rows[:GALLERY].tolist()
    small, rationale = context.test.take(shown), features.rationale
    return {
        "ids": np.array(small.ids),
        "label": small.targets,
        **context.kind.output_arrays(context.outcomes.output[shown]),
        "names": np.array([list(rationale.names[place]) for place in places], dtype=np.str_),
        "present": rationale.present[features.rows[:GALLERY]].cpu().numpy(),
        **_pictures(context, shown, places, rationale),
        **{f"attribution_{name}": values[:GALLERY] for name, values in found.shares.items()},
    }


def _pictures(context: Context, rows: list[int], places: list[int], rationale: Rationale) -> dict[str, Any]:
    """Return what the kind shows of the samples; else the texts themselves, or the images made of latents."""
    if rationale.arrays:
        return {name: np.asarray(values)[places] for name, values in rationale.arrays.items()}
    shown, output = context.pixels[rows].cpu().numpy(), context.outcomes.output[rows]
    if not np.issubdtype(shown.dtype, np.floating) and shown.ndim == 2:
        return {"codes": shown}
    return {"images": output} if output.ndim == 4 else {}
