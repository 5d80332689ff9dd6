"""The decorators for tasks, models, attacks, metrics and attributions."""

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


def attack(*, family: bool = False, name: str | None = None) -> Callable[[Factory], Factory]:
    """Declare an attack: a factory of objects with the interface of `suite.attacks.engine.base.Attack`."""
    return register("attack", name=name, family=family)


def metric(*, kind: str, axis: str = "clean", name: str | None = None) -> Callable[[Factory], Factory]:
    """Declare a metric: a function that takes the outcomes of a kind and returns a list of `Measure` values."""
    return register("metric", name=name, kind=kind, axis=axis)


def attribution(*, name: str | None = None) -> Callable[[Factory], Factory]:
    """Declare an attribution method: a factory of functions that return one attribution map per sample."""
    return register("attribution", name=name)
