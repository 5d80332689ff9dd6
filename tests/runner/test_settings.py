"""Settings: deprecated names still work for one version."""

import pytest

from suite.runner.settings import Settings


@pytest.mark.parametrize(("old", "new"), [("tell", "on_cell_done"), ("inform", "on_task_loaded")])
def test_a_deprecated_name_warns_and_sets_the_new_one(old, new):
    calls = []
    with pytest.warns(DeprecationWarning, match=rf"Settings\({old}=...\) is now Settings\({new}=...\)"):
        settings = Settings(**{old: lambda *arguments: calls.append(arguments)})
    getattr(settings, new)("sentence")
    assert calls == [("sentence",)]
