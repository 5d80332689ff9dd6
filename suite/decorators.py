"""The decorators that tasks, models, attacks, metrics and attributions are declared with."""

from collections.abc import Callable, Mapping, Sequence

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
    """Declare a benchmark: a function ``(split, seed, ...)`` that yields `Sample` (or `Rejected`) values.

    Args:
        kind: what it asks of a model, for example ``classification``.
        classes: the class names in the order of the model's outputs; None to take them from the samples, sorted.
        version: raise it whenever the samples change; results of different versions are never compared.
        presets: axis name to the axis specs that a plain ``suite run`` measures, where the kind's own do not fit.
        source: where the data come from, for the reader of the board.
        name: the registered name, where it is not the function's.
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
        task: the task or tasks it was made for; None for any task of its kind. A parameter named ``task`` receives
            what there is to know about the task (`suite.data.TaskInfo`: classes, input shape).
        kind: the kind of task it can be asked about.
        family: the function's first argument is the name after the colon (``timm:resnet18``).
        name: the registered name, where it is not the function's.
    """
    tasks = None if task is None else (task,) if isinstance(task, str) else tuple(task)
    return register("model", name=name, family=family, kind=kind, tasks=tasks)


def attack(*, family: bool = False, name: str | None = None) -> Callable[[Factory], Factory]:
    """Declare an attack: a factory whose values have a ``norm``, a list ``eps`` and ``perturb(problem, ...)``."""
    return register("attack", name=name, family=family)


def metric(*, kind: str, axis: str = "clean", name: str | None = None) -> Callable[[Factory], Factory]:
    """Declare a metric: a function from the kind's outcomes to a list of `Measure` values, asked by an axis."""
    return register("metric", name=name, kind=kind, axis=axis)


def attribution(*, name: str | None = None) -> Callable[[Factory], Factory]:
    """Declare an attribution method: a factory whose values map what is explained to one map per sample."""
    return register("attribution", name=name)
