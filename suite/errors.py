"""Every error the suite raises on purpose.

    SuiteError
    ├── SpecError           a spec string, or its arguments, cannot be understood
    ├── UnknownNameError    no task, model, attack, ... of that name
    ├── PluginError         a third-party file or package breaks the contract
    ├── DataError           samples cannot be read, or none is usable
    ├── ModelError          a model cannot be built, or answers with something its kind cannot use
    │   ├── NotApplicableError  the model has no use for this question; a skipped row
    │   ├── WeightsError    weights are missing, do not fit, or are not safe to load
    │   └── TrainingError   training diverged
    ├── AttackError         an adversarial input broke the rules of its attack
    ├── MeasureError        a number that must not be reported (not finite, outside its interval)
    └── StoreError          stored results cannot be read or written

A message says what was got, what was expected, and what to do next.
"""

import difflib
from collections.abc import Iterable


class SuiteError(Exception):
    """Base of every error that the suite raises on purpose."""


class SpecError(SuiteError):
    """A spec string, or its arguments, cannot be understood."""


class UnknownNameError(SuiteError):
    """A name is not registered."""


class PluginError(SuiteError):
    """A third-party file or package breaks the contract."""


class DataError(SuiteError):
    """Samples cannot be read, or none of them is usable."""


class ModelError(SuiteError):
    """A model cannot be built, or its output cannot be used."""


class NotApplicableError(ModelError):
    """The model has no use for this question: its row is skipped with the message as the reason, and not failed."""


class WeightsError(ModelError):
    """Weights are missing, do not fit the module, or are not safe to load."""


class TrainingError(ModelError):
    """Training diverged or had nothing to learn from."""


class AttackError(SuiteError):
    """An adversarial input broke the rules of its attack."""


class MeasureError(SuiteError):
    """A number that must not be reported."""


class StoreError(SuiteError):
    """Stored results cannot be read or written."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `` Did you mean 'x'?`` for the nearest known names, or a list of all, or nothing."""
    names = sorted(set(known))
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    if near:
        return " Did you mean " + " or ".join(repr(n) for n in near) + "?"
    return f" Known: {', '.join(names)}." if names else ""
