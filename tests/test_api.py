"""Auditing a model in memory: results belong to exactly this model, and errors name their cause."""

import re

import numpy as np
import pytest
import torch
from torch import nn

import suite
from suite.errors import ModelError, SuiteError


def net(activation=nn.ReLU):
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), activation(), nn.Linear(16, 10))


def audit(tmp_path, model, **options):
    return suite.audit(model, task="digits", axes=["clean"], n=40, store=tmp_path, **options)


def test_an_audit_returns_the_rows_of_this_model_and_prints_its_board(tmp_path):
    first = audit(tmp_path, net(), name="mine")
    assert (len(first.outcome.ran), len(first.outcome.stored)) == (1, 0)
    assert set(first.rows["model"]) == {"mine"} and (first.rows["n"] <= 40).all()
    assert "mine" in str(first)
    again = audit(tmp_path, net(), name="mine")
    assert (len(again.outcome.ran), len(again.outcome.stored)) == (0, 1)
    assert again.rows["value"].equals(first.rows["value"])


CHANGES = {
    "normalization": lambda: suite.TorchClassifier(net(), mean=[0.9], std=[0.1]),
    "bounds": lambda: suite.TorchClassifier(net(), bounds=(0, 255)),
    "architecture": lambda: net(nn.Tanh),
    "weights": lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 10)),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_different_model_of_the_same_name_is_measured_again(tmp_path, change):
    audit(tmp_path, net())
    assert len(audit(tmp_path, change()).outcome.ran) == 1


def test_an_untrained_model_is_rejected():
    with pytest.raises(ModelError, match="Declare it with @model"):
        suite.audit(suite.TorchClassifier(net(), recipe=suite.Recipe()), task="digits")


class ExtraArgument(nn.Linear):
    """Requires a second argument besides the images."""

    def __init__(self):
        super().__init__(64, 10)

    def forward(self, images, lengths):
        return super().forward(images.flatten(1)) / lengths


class WrongInnerCall(nn.Module):
    """Calls one of its layers with too many arguments."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(64, 10)

    def forward(self, images):
        return self.head(images.flatten(1), 3)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (ExtraArgument, r"TypeError: ExtraArgument\.forward\(\) missing 1 required positional argument: 'lengths'"),
        (WrongInnerCall, r"TypeError: Linear\.forward\(\) takes 2 positional arguments but 3 were given"),
    ],
)
def test_a_module_with_a_wrong_signature_fails_on_every_axis(tmp_path, build, message):
    axes = ["clean", "robustness(attack=fgsm(eps=[0.1]))", "calibration(members=1)"]
    result = suite.audit(build(), task="digits", axes=axes, n=10, store=tmp_path)
    assert len(result.outcome.failed) == 3 and set(result.rows["status"]) == {"failed"}
    assert result.rows["value"].isna().all()
    for reason in (*result.rows["reason"], *(reason for _, reason in result.outcome.failed)):
        assert re.fullmatch(message, reason)
    assert "mine" in str(result) and re.search(r" failed: TypeError: \w+\.forward\(\) ", str(result))


@pytest.mark.parametrize(
    ("task", "arguments", "message"),
    [
        ("digits", {"means": [0.5]}, "Neither audit nor TorchClassifier has an argument 'means'. Did you mean 'mean'"),
        ("digits", {"axs": ["clean"]}, "Neither audit nor TorchClassifier has an argument 'axs'. Did you mean 'axes'"),
        ("mnist-codes", {}, "TorchAutoencoder cannot wrap the module: .*'shape'"),
        ("movie-sentiment", {}, "TorchText cannot wrap the module: .*'tokenizer'"),
    ],
)
def test_missing_and_unknown_adapter_arguments_are_named(tmp_path, task, arguments, message):
    with pytest.raises(ModelError, match=message):
        suite.audit(net(), task=task, store=tmp_path, **arguments)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"axes": ()}, r"axes=\(\); expected a list of axes, such as \['clean', "),
        ({"axes": "clean"}, "axes='clean'; expected a list of axes"),
        ({"name": ""}, "name=''; expected a text"),
        ({"name": 3}, "name=3; expected a text"),
        ({"name": "a\x1b[31m"}, r"name='a\\x1b\[31m'; expected a text without control characters"),
        ({"task": 3}, "3 is not a spec; expected a text"),
        ({"settings": suite.Settings(device=None)}, "Device None cannot be used"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(tmp_path, arguments, message):
    with pytest.raises(SuiteError, match=message):
        suite.audit(net(), **{"task": "digits", "store": tmp_path, "n": 10, **arguments})


def test_numbers_of_numpy_are_taken_as_numbers(tmp_path):
    result = suite.audit(net(), task="digits", axes=["clean"], n=np.int64(10), seed=np.int64(3), store=tmp_path)
    assert set(result.rows["n"].iloc[:1]) == {10} and set(result.rows["seed"]) == {3}


class Unspeakable(Exception):
    def __str__(self):
        raise RuntimeError("no text")


class Raising(nn.Module):
    """Raises an error for bright images, or for all."""

    def __init__(self, error, above):
        super().__init__()
        self.inner, self.error, self.above = net(), error, above

    def forward(self, images):
        if images.mean((1, 2, 3)).max() > self.above:
            raise self.error
        return self.inner(images)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (SystemExit(3), "SystemExit: 3"),
        (Unspeakable(), "Unspeakable: its message cannot be read"),
        (ValueError("\x1b[31m red \u202e"), "ValueError: \\x1b[31m red \\u202e"),
    ],
)
def test_whatever_a_model_raises_becomes_a_failed_row(tmp_path, error, reason):
    result = suite.audit(Raising(error, -1.0), task="digits", axes=["clean"], n=10, store=tmp_path)
    assert result.rows[["status", "reason"]].values.tolist() == [["failed", reason]]


def test_samples_for_which_a_model_raises_count_as_wrong_wherever_they_are(tmp_path):
    few = suite.load("digits").test.take(range(8)).pixels().mean((1, 2, 3))
    model = Raising(Unspeakable(), float(np.sort(few)[4]))  # it fails for some of the samples that are looked at first
    row = suite.audit(model, task="digits", axes=["clean"], n=40, store=tmp_path).rows.iloc[0]
    assert row.status == "ok" and row.n_failed > 0 and "Unspeakable: its message cannot be read" in row.reason


def test_a_model_that_draws_random_numbers_has_one_identity(tmp_path):
    class Noisy(nn.Module):
        def forward(self, images):
            return torch.randn(len(images), 10)

    axes = ["clean", "calibration(members=1)"]
    results = [suite.audit(Noisy(), task="digits", axes=axes, n=10, store=tmp_path) for _ in range(2)]
    assert len(results[1].outcome.stored) == 2 and results[0].outcome.keys == results[1].outcome.keys


def test_an_audit_restores_the_number_of_threads(tmp_path):
    torch.set_num_threads(2)
    audit(tmp_path, net())
    assert torch.get_num_threads() == 2


def test_load_separates_training_and_test_samples():
    data = suite.load("digits")
    assert not set(data.train.ids) & set(data.test.ids)
    assert data.train.pixels().shape == (len(data.train), 1, 8, 8)


def test_the_name_of_a_registered_model_is_rejected(tmp_path):
    with pytest.raises(ModelError, match="name='cnn' is the name of a registered model"):
        suite.audit(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), task="digits", name="cnn", store=tmp_path)


def test_auditing_again_under_one_name_shows_the_model_audited_now(tmp_path):
    good, bad = net(), net()
    nn.init.constant_(bad[3].bias[8:9], 1e3)  # always the digit 8
    found = [audit(tmp_path, model) for model in (good, bad, good)]
    shown = [str(found[0]), str(found[1]), str(found[2])]
    lines = [next(line for line in text.splitlines() if "mine" in line) for text in shown]
    assert lines[0] == lines[2] != lines[1]


def test_an_audit_shows_its_own_samples_and_not_the_largest_stored_number(tmp_path):
    audit(tmp_path, net())
    few = suite.audit(net(), task="digits", axes=["clean"], n=20, store=tmp_path)
    assert few._board().n == 20 and set(few.rows["cell_n"]) == {20}


def test_the_name_of_a_model_changes_no_number(tmp_path):
    axes = ["clean", "robustness(attack=pgd(eps=[0.1], steps=3, restarts=2), audit=8)", "calibration(members=1)"]
    axes.append("corruption(names=[gaussian_noise], severities=[3])")
    found = {
        name: suite.audit(net(), task="digits", axes=axes, n=40, store=tmp_path / name, name=name).rows
        for name in ("first", "second")
    }
    columns = ["metric", "params", "value", "lo", "hi", "control", "checks"]
    numbers = [rows[columns].sort_values(["metric", "params"], ignore_index=True) for rows in found.values()]
    assert numbers[0].equals(numbers[1])
    assert set(numbers[0]["metric"]) >= {"accuracy", "robust_accuracy", "control_accuracy", "ece"}
    assert set(found["first"]["key"]).isdisjoint(found["second"]["key"])
