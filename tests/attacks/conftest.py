"""A trained network on digits, held still for the attacks."""

import pytest

from tests.attacks import digits


@pytest.fixture
def net():
    """Return the trained network, frozen as the robustness axis holds it."""
    model = digits.trained()
    with model.frozen():
        yield model


@pytest.fixture
def problem(net):
    return digits.problem_of(net)
