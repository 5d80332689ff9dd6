"""Settings: impossible values are refused, and deprecated names still work for one version."""

import pytest

from suite.errors import SpecError
from suite.runner.settings import Settings


@pytest.mark.parametrize(("old", "new"), [("tell", "on_cell_done"), ("inform", "on_task_loaded")])
def test_a_deprecated_name_warns_and_sets_the_new_one(old, new):
    calls = []
    with pytest.warns(DeprecationWarning, match=rf"Settings\({old}=...\) is now Settings\({new}=...\)"):
        settings = Settings(**{old: lambda *arguments: calls.append(arguments)})
    getattr(settings, new)("sentence")
    assert calls == [("sentence",)]


@pytest.mark.parametrize("size", [0, -1, 2.5, True])
def test_a_batch_size_below_one_is_refused(size):
    with pytest.raises(SpecError, match=rf"batch_size={size}; expected a number of samples, at least 1"):
        Settings(batch_size=size)
