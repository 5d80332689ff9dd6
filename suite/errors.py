"""The errors that the suite raises on purpose.

    SuiteError
    ├── SpecError           a spec string or its arguments are invalid
    ├── UnknownNameError    there is no task, model, attack, ... of this name
    ├── PluginError         a third-party file or package cannot be used
    ├── DataError           samples cannot be read, or none is usable
    ├── ModelError          a model cannot be built, or its output cannot be used
    │   ├── NotApplicableError  a measure does not apply to the model; its row is skipped
    │   ├── WeightsError    weights are missing, do not fit, or are not safe to load
    │   └── TrainingError   training diverged
    ├── AttackError         an adversarial example violates the constraints of its attack
    ├── MeasureError        a number is invalid (not finite, or outside its interval)
    └── StoreError          stored results cannot be read or written
        └── RecordError     a record cannot be stored as it is, for example since a column is too large

A message states the problem, what was expected, and what to do.
"""

import difflib
from collections.abc import Iterable

from suite.escaping import escaped


class SuiteError(Exception):
    """Base class of the errors that the suite raises on purpose; their messages may name anything that files hold."""

    def __str__(self) -> str:
        return escaped(super().__str__())


class SpecError(SuiteError):
    """A spec string or its arguments are invalid."""


class UnknownNameError(SuiteError):
    """A name is not registered."""


class PluginError(SuiteError):
    """A third-party file or package cannot be used."""


class DataError(SuiteError):
    """Samples cannot be read, or none of them is usable."""


class ModelError(SuiteError):
    """A model cannot be built, or its output cannot be used."""


class NotApplicableError(ModelError):
    """A measure does not apply to the model; its row is skipped with the message as reason."""


class UndeterminedError(NotApplicableError):
    """The samples do not determine a value, such as a temperature; its row is inconclusive."""


class WeightsError(ModelError):
    """Weights are missing, do not fit the module, or are not safe to load."""


class TrainingError(ModelError):
    """Training diverged, or there are no training samples."""


class AttackError(SuiteError):
    """An adversarial example violates the constraints of its attack."""


class MeasureError(SuiteError):
    """A number is invalid and must not be reported."""


class StoreError(SuiteError):
    """Stored results cannot be read or written."""


class RecordError(StoreError):
    """A record cannot be stored as it is: a column is too large, or a value is no JSON."""


def described(error: BaseException) -> str:
    """Return the type and the message of an error on one line; errors of third parties may fail to say theirs."""
    try:
        message = " ".join(str(error).split())
    except Exception:
        message = "its message cannot be read"
    return f"{type(error).__name__}: {message}"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `` Did you mean 'x'?`` for similar known names, else a list of all known names."""
    names = sorted(set(known))
    if near := difflib.get_close_matches(name, names, n=3, cutoff=0.5):
        return " Did you mean " + " or ".join(repr(n) for n in near) + "?"
    return f" Known: {', '.join(names)}." if names else ""
