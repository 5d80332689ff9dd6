"""A store of small records to verify and to manipulate."""

import pytest

from suite.runner.harness import Harness, plan
from suite.runner.preparation import prepare_task
from suite.runner.settings import Settings
from suite.store import Store
from suite.verify.records import RecordFilter
from tests.verify.tampering import AXES


@pytest.fixture(scope="session")
def measured(tmp_path_factory, toy):
    """Return a store with attacks in three norms on the tiny model, and a record of every other kind of axis."""
    store = Store(tmp_path_factory.mktemp("verify") / "store")
    outcome = Harness(store, Settings(device="cpu")).run(plan([toy("toy")], [toy("quick")], list(AXES)))
    assert outcome.failed == []
    return store


@pytest.fixture(scope="session")
def record_filter(toy):
    return RecordFilter((toy("toy"),), (toy("quick"),))


@pytest.fixture(scope="session")
def clean(toy):
    """Return the clean test pixels and targets by sample id."""
    test = prepare_task(toy("toy"), 0).data.test
    return {name: (test.pixels()[row], test.targets[row]) for row, name in enumerate(test.ids)}
