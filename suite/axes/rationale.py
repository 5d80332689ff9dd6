"""Rationales: whether a method highlights the words, or other features, that the model uses."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from suite.attributions.features.faithfulness import BETTER, CONTROLS, Rationales, evaluate, rationale_measures
from suite.attributions.features.methods import METHODS, Features
from suite.axes.attribution import NOTHING_TO_EXPLAIN, rows_to_explain
from suite.axes.base import GALLERY, AxisResult, Context
from suite.data.digests import seed_of
from suite.errors import NotApplicableError, SpecError, did_you_mean
from suite.kinds.base import Rationale
from suite.registry import register
from suite.spec import Spec
from suite.types import not_applicable

FEWEST_FEATURES = 2
"""Fewest features of a sample that is explained: a single feature cannot be ranked."""


@register("axis", name="rationale")
@dataclass(frozen=True)
class RationaleAxis:
    """Comprehensiveness and sufficiency of feature attributions (DeYoung et al. 2020), with two control rankings.

    The controls rank features at random and by recency.

    Attributes:
        explainers: gradient_x_input, layer_integrated_gradients, occlusion; or a single one.
        samples: number of test samples to explain; those with fewer than two features are skipped and counted.
        fractions: fractions of the features that are deleted, ascending, above 0 and at most 1.
        batch_size: inputs per forward pass; results do not depend on it.
    """

    explainers: Spec | str | tuple[Spec | str, ...] = tuple(METHODS)
    samples: int = 100
    fractions: tuple[float, ...] = (0.01, 0.05, 0.1, 0.2, 0.5)
    batch_size: int = 256

    def __post_init__(self) -> None:
        names = self._names
        for name in names:
            if name not in METHODS:
                raise SpecError(f"There is no explainer {name!r}.{did_you_mean(name, METHODS)}")
        fractions = tuple(self.fractions)
        if not names or not fractions or list(fractions) != sorted(set(fractions)) or not 0 < fractions[0]:
            raise SpecError(f"got {self}; expected at least one explainer, and ascending fractions above 0.")
        if fractions[-1] > 1 or self.samples < 1 or self.batch_size < 1:
            raise SpecError(f"got {self}; expected fractions up to 1, and samples and batch_size of at least 1.")
        object.__setattr__(self, "fractions", fractions)

    @property
    def _names(self) -> tuple[str, ...]:
        explainers = (self.explainers,) if isinstance(self.explainers, Spec | str) else self.explainers
        return tuple(dict.fromkeys(str(method) for method in explainers))

    def measure(self, context: Context) -> AxisResult:
        """Explain some samples and track the score while features are deleted.

        Inputs that cannot be explained by features give a skipped row.
        """
        rows = rows_to_explain(context, self.samples)
        if not rows:
            return AxisResult([not_applicable("comprehensiveness", NOTHING_TO_EXPLAIN)])
        with context.model.frozen():
            inputs = context.pixels[rows]
            outputs = torch.from_numpy(context.outcomes.output[rows]).to(context.device)
            try:
                rationale = context.kind.rationale(context.model, inputs, outputs)
            except NotApplicableError as error:
                return AxisResult([not_applicable("comprehensiveness", str(error))])
            enough = rationale.present.sum(dim=1) >= FEWEST_FEATURES
            if not enough.any():
                return AxisResult([not_applicable("comprehensiveness", "no sample has two or more features")])
            return self._measured(context, rows, rationale, enough.nonzero()[:, 0])

    def _measured(self, context: Context, rows: list[int], rationale: Rationale, chosen: Tensor) -> AxisResult:
        kept = [rows[place] for place in chosen.tolist()]
        features = Features(rationale, chosen, context.sample_seeds("rationale", kept), self.batch_size)
        result = evaluate(
            features,
            self._names,
            fractions=self.fractions,
            watch=lambda names: context.track(names, "rationale", len(names)),
        )
        measures = rationale_measures(
            result,
            seed=seed_of(*context.names) % 2**32,
            ends_matter=rationale.ends_matter,
            params={"deletion": rationale.deletion, **({"proxy": True} if rationale.proxy else {})},
        )
        skipped = [not_applicable("comprehensiveness", reason, method=name) for name, reason in result.skipped.items()]
        return AxisResult(
            [*measures, *skipped],
            _columns(context, kept, result),
            self._details(result, rationale, len(rows) - len(kept)),
            _gallery(context, kept, features, result),
        )

    def _details(self, result: Rationales, rationale: Rationale, short: int) -> dict[str, Any]:
        return {
            "rationale": {
                method: {metric: values.mean(axis=0).tolist() for metric, values in drops._asdict().items()}
                for method, drops in result.drops.items()
            },
            "fractions": list(self.fractions),
            "deletion": rationale.deletion,
            "too_short": short,
            "controls": list(CONTROLS),
            "skipped": dict(result.skipped),
            "steps": {method: int(steps.max()) for method, steps in result.steps.items()},
        }


def _columns(context: Context, rows: list[int], result: Rationales) -> dict[str, Any]:
    return {
        "id": [context.test.ids[row] for row in rows],
        **{f"{metric}@{method}": result.values(method, metric) for method in result.drops for metric in BETTER},
        "emptied": result.emptied,
    }


def _gallery(context: Context, rows: list[int], features: Features, result: Rationales) -> dict[str, Any]:
    """Return the first samples with their predictions, their features and the attribution of each feature."""
    rows, places = rows[:GALLERY], features.rows[:GALLERY].tolist()
    split, rationale = context.test.take(rows), features.rationale
    return {
        "ids": np.array(split.ids),
        "label": split.targets,
        **context.kind.output_arrays(context.outcomes.output[rows]),
        "names": np.array([list(rationale.names[place]) for place in places], dtype=np.str_),
        "present": rationale.present[features.rows[:GALLERY]].cpu().numpy(),
        **_pictures(context, rows, places, rationale),
        **{f"attribution_{name}": values[:GALLERY] for name, values in result.attributions.items()},
    }


def _pictures(context: Context, rows: list[int], places: list[int], rationale: Rationale) -> dict[str, Any]:
    """Return the arrays of the kind, else the texts, else the generated images."""
    if rationale.arrays:
        return {name: np.asarray(values)[places] for name, values in rationale.arrays.items()}
    inputs, output = context.pixels[rows].cpu().numpy(), context.outcomes.output[rows]
    if not np.issubdtype(inputs.dtype, np.floating) and inputs.ndim == 2:
        return {"codes": inputs}
    return {"images": output} if output.ndim == 4 else {}
