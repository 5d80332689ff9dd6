"""Auditing a model in memory: results belong to exactly this model, and errors name their cause."""

import re

import pytest
import torch
from torch import nn

import suite
from suite.errors import ModelError


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
        (
            "digits",
            {"means": [0.5]},
            r"TorchClassifier cannot wrap the module: .*'means'.* a TorchClassifier instead",
        ),
        ("mnist-codes", {}, "TorchAutoencoder cannot wrap the module: .*'shape'"),
        ("movie-sentiment", {}, "TorchText cannot wrap the module: .*'tokenizer'"),
    ],
)
def test_missing_and_unknown_adapter_arguments_are_named(tmp_path, task, arguments, message):
    with pytest.raises(ModelError, match=message) as caught:
        suite.audit(net(), task=task, store=tmp_path, **arguments)
    assert isinstance(caught.value.__cause__, TypeError)
    assert not list(tmp_path.iterdir())


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
