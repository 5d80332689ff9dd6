"""Fixtures for the robustness tests."""

import pytest

from suite.axes.robustness.axis import Robustness
from suite.registry import REGISTRY, Entry
from tests.axes.contexts import context_of, finding_of


@pytest.fixture
def measured(monkeypatch):
    """Return a function that evaluates an attack object, which stays registered until the test ends."""

    def measure(attack, context=None, **fields):
        entry = Entry("attack", "tested", lambda: attack, "test")
        monkeypatch.setitem(REGISTRY._entries, ("", "attack", "tested"), entry)
        return finding_of(Robustness("tested", **fields), context or context_of())

    return measure
