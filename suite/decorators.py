"""The decorators for everything that can be added: tasks, models, attacks, metrics, uncertainty methods, ..."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from suite.errors import PluginError
from suite.metrics.catalogue import Metric
from suite.metrics.table import Measurement
from suite.registry import Factory, register


def task(
    *,
    kind: str,
    classes: Sequence[str] | None = None,
    version: str = "1",
    presets: Mapping[str, Sequence[str]] | None = None,
    source: str = "",
    name: str | None = None,
) -> Callable[[Factory], Factory]:
    """Declare a task: a function ``(split, seed, ...)`` that yields `Sample` or `Rejected` values.

    Args:
        kind: the kind of task, for example ``classification``.
        classes: the class names in the order of the model outputs; None for those of the samples, sorted.
        version: version of the samples; increase it when they change. Different versions are never compared.
        presets: axis specs that ``suite run`` measures by default, by axis name; they replace those of the kind.
        source: the origin of the data, as shown on the board.
        name: the registered name; None for that of the function.
    """
    return register(
        "task", name=name, kind=kind, classes=classes, version=version, presets=dict(presets or {}), source=source
    )


def model(
    *,
    task: str | Sequence[str] | None = None,
    kind: str = "classification",
    family: bool = False,
    name: str | None = None,
) -> Callable[[Factory], Factory]:
    """Declare a model: a function that returns an adapter such as `TorchClassifier`.

    Args:
        task: the task or tasks that the model is for; None for any task of its kind. If the function has a parameter
            ``task``, it receives a `suite.data.TaskInfo` (classes, input shape, ...).
        kind: the kind of task that the model is for.
        family: whether the first argument of the function is the name after the colon (``timm:resnet18``).
        name: the registered name; None for that of the function.
    """
    tasks = None if task is None else (task,) if isinstance(task, str) else tuple(task)
    return register("model", name=name, family=family, kind=kind, tasks=tasks)


def kind(*, name: str | None = None) -> Callable[[Factory], Factory]:
    """Declare a kind of task: a function that returns a `suite.kinds.base.Kind`."""
    return register("kind", name=name)


def attack(*, family: bool = False, name: str | None = None) -> Callable[[Factory], Factory]:
    """Declare an attack: a subclass of `suite.attacks.engine.base.Attack`, or a function that returns one."""
    return register("attack", name=name, family=family)


def metric(
    *,
    kind: str,
    entries: Sequence[Metric],
    axis: str = "clean",
    measure: Measurement | None = None,
    per_method: bool = False,
    name: str | None = None,
) -> Callable[[Factory], Factory]:
    """Declare a metric: a function from a `suite.metrics.table.Table` of stored columns to a list of `Measure` values.

    Args:
        kind: the kind of task whose samples it scores.
        entries: the declarations of its measures; they are stored with every record.
        axis: the axis that computes it. On ``clean``, ``corruption``, ``occlusion``, ``attribution`` and ``rationale``
            it gets the columns of the axis under all conditions; on ``calibration`` those of the model, or of one
            uncertainty method; on ``robustness`` those without attack and at every size, one after the other.
        measure: runs the model, and returns the columns and facts that the function needs besides those of the kind.
            It gets the `Outcomes` of the clean samples; on the axis calibration with `per_method` a `Prediction`; on
            the axis robustness the `Outcomes` before and after the attack. None if it needs no more.
        per_method: whether the metric of the axis calibration is about one uncertainty method.
        name: the registered name; None for that of the function.

    Raises:
        PluginError: there are no entries, or they are no declarations.
    """
    declared = tuple(entries) if isinstance(entries, Sequence) else ()
    if not declared or not all(isinstance(entry, Metric) for entry in declared):
        raise PluginError(
            f"@metric got entries={entries!r:.80}; expected a list of suite.Metric, one for each measure."
        )
    if per_method and axis != "calibration":
        raise PluginError(f"@metric got per_method=True and axis={axis!r}; only the axis calibration has methods.")
    return register("metric", name=name, kind=kind, axis=axis, entries=declared, measure=measure, per_method=per_method)


def uncertainty(*, name: str | None = None, label: str | None = None, rank: int = 100) -> Callable[[Factory], Factory]:
    """Declare an uncertainty method: a function from a `suite.axes.base.Context` and the options of the axis.

    It returns a `suite.kinds.base.Prediction`, or raises NotApplicableError with the reason.

    Args:
        name: the registered name; None for that of the function.
        label: how rows call the method; ``{output}`` stands for the method that uses the model's own output.
        rank: methods run in ascending order.
    """
    return register("uncertainty", name=name, label=label, rank=rank)


def attribution(*, name: str | None = None, of: Literal["maps", "features"] = "maps") -> Callable[[Factory], Factory]:
    """Declare an attribution method: a factory of functions.

    Args:
        name: the registered name; None for that of the factory. Methods of maps and of features may share a name.
        of: ``maps`` if the functions return one attribution map per image, see `suite.attributions.maps.base`;
            ``features`` if they return the attributions of a list of features, see
            `suite.attributions.features.methods`.
    """
    return register("feature_attribution" if of == "features" else "attribution", name=name)


def page(
    *, title: str, needs: Literal["nothing", "task", "model"] = "model", name: str | None = None, rank: int = 100
) -> Callable[[Factory], Factory]:
    """Declare a page of the report: a function that gets a `suite.reports.pages.PageContext` and draws with Streamlit.

    Args:
        title: the title in the sidebar.
        needs: what the reader has to select: ``nothing``, a ``task``, or a task and a ``model``.
        name: the registered name; None for that of the function.
        rank: pages are listed in ascending order.
    """
    return register("page", name=name, title=title, needs=needs, rank=rank)
