"""Fixtures for the robustness tests."""

import pytest

from suite.axes.robustness.axis import Robustness
from suite.registry import REGISTRY, Entry
from tests.axes.contexts import context_of


@pytest.fixture
def measured(monkeypatch):
    """Return a function that evaluates an attack object, registered for the duration of the test."""

    def measure(attack, context=None, **fields):
        entry = Entry("attack", "tested", lambda: attack, "test")
        monkeypatch.setitem(REGISTRY._entries, ("", "attack", "tested"), entry)
        return Robustness("tested", **fields).measure(context or context_of())

    return measure
