"""Fixtures: a trained digits classifier in evaluation mode, and the problem of attacking it."""

import pytest

from tests.attacks import digits


@pytest.fixture
def net():
    """Return the trained network, frozen as in the robustness axis."""
    model = digits.trained()
    with model.frozen():
        yield model


@pytest.fixture
def problem(net):
    return digits.problem_of(net)
