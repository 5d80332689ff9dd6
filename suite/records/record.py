"""Everything that is stored for one cell."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from suite.metrics.catalogue import Metric
from suite.metrics.table import Column
from suite.types import Capabilities, Display, Input, Measure, Provenance, RunInfo, Status


@dataclass(frozen=True)
class LabelSpace:
    """How the outputs of a model belong to the classes of the data.

    Attributes:
        outputs: names of the model's outputs.
        classes: names of the data's classes.
        join: how they were joined; ``same`` if they are the same names in the same order.
    """

    outputs: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    join: str = "same"


@dataclass(frozen=True)
class About:
    """What a record says about its task and model, so that readers need neither.

    Attributes:
        headline: name of the kind's headline metric.
        outcome: ``binary`` if a prediction is right or wrong, ``graded`` if it is better or worse.
        quality: the display name of 1 - damage.
        input: what the samples are.
        capabilities: what the model can do; None if it was not built.
        labels: the outputs of the model and the classes of the data.
    """

    headline: str
    outcome: str
    quality: str
    input: Input
    capabilities: Capabilities | None = None
    labels: LabelSpace = field(default_factory=LabelSpace)


@dataclass(frozen=True)
class Record:
    """Everything that is stored for one cell.

    Attributes:
        measures: the rows; for a failed or skipped cell one undefined measure with the reason.
        about: the kind, the input and the model; None if the task could not be read.
        catalogue: the declaration of every metric of the rows.
        columns: per-sample columns; ``id`` contains the sample ids.
        facts: JSON values that summaries need besides the columns.
        details: JSON values for the report only.
        arrays: what the report shows of some samples.
    """

    provenance: Provenance
    run_info: RunInfo
    status: Status
    measures: tuple[Measure, ...]
    about: About | None = None
    catalogue: tuple[Metric, ...] = ()
    columns: Sequence[Column] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, Display] = field(default_factory=dict)
