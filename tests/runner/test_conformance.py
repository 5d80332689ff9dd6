"""The conformance kit explains each fault of a third-party file in one sentence."""

import pytest

from suite.cli import main
from suite.errors import PluginError
from suite.runner.conformance import check_file

HEAD = """
import numpy as np
import torch
from torch import nn

from suite import Recipe, Rejected, Sample, TorchClassifier, model, stratified, task

LABELS = [place % 3 for place in range(60)]


def pixels(place):
    return np.random.default_rng(place).random((6, 6)).astype("float32")
"""

GOOD_TASK = '''
@task(kind="classification", classes=("a", "b", "c"))
def things(split, seed):
    """Random things."""
    for place in stratified(LABELS, split, seed=seed):
        yield Sample(f"thing-{place}", pixels(place), LABELS[place])
'''

GOOD_MODEL = '''
@model(task="things")
def net():
    """A linear model."""
    return TorchClassifier(nn.Sequential(nn.Flatten(), nn.Linear(36, 3)), recipe=Recipe())
'''


def net(body, init=""):
    """Return the source of a model with a faulty forward pass."""
    return f'''
class Faulty(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(36, 3)
        {init}

    def forward(self, x):
        {body}

    def logits(self, x):
        return self.linear(x.flatten(1))

@model(task="things")
def net():
    """A faulty model."""
    return TorchClassifier(Faulty(), recipe=Recipe())
'''


def things(body, classes='("a", "b", "c")'):
    """Return the source of a task that yields invalid samples."""
    return f'''
@task(kind="classification", classes={classes})
def things(split, seed):
    """Invalid things."""
    for place in stratified(LABELS, split, seed=seed):
        {body}
'''


@pytest.fixture
def findings(tmp_path):
    """Return a function that checks the text of a file and returns its failures (as text) and all findings."""

    def check(text):
        path = tmp_path / "acme.py"
        path.write_text(HEAD + text)
        results = check_file(str(path))
        return [f"{f.subject} {f.sentence}" for f in results if not f.passed], results

    return check


FAULTY_MODELS = {
    "wrong class count": (
        net("return self.logits(x)[:, :2]"),
        "model net on things output: The model returns 2 logits per image, but the task has 3 classes",
    ),
    "probabilities": (
        net("return self.logits(x).softmax(dim=1)"),
        "scale: the outputs are probabilities, not logits: none is negative, and those of every prediction add up to 1",
    ),
    "sigmoid": (
        net("return (9 * self.logits(x)).sigmoid()"),
        "scale: the outputs look like those of a sigmoid, not like logits",
    ),
    "decisions": (net("return self.logits(x) > 0"), "These are class numbers or decisions instead of scores"),
    "black images": (
        net("return self.logits(x / x.amax(dim=(1, 2, 3), keepdim=True))"),
        "blank images: a black or a white image has an output that is NaN or infinite",
    ),
    "NaN": (net("return self.logits(x) * float('nan')"), "NaN or infinite logits for 16 of 16 images"),
    "wrong shape": (
        net("return self.logits(x)[:, 0]"),
        "The model returned (64,) for 64 images; expected (images, classes)",
    ),
    "raises an error": (net("raise KeyError('no such layer')"), "model net raised KeyError: 'no such layer'"),
    "random outputs": (
        net("return self.logits(x) + torch.rand(len(x), 3)"),
        "determinism: two calls give different outputs for the same samples; seed everything random",
    ),
    "dropout stays on": (
        net("return nn.functional.dropout(self.logits(x), 0.5, training=True)"),
        "turn dropout off in eval()",
    ),
    "BatchNorm stays in train mode": (
        net(
            "return self.norm(self.logits(x))",
            "self.norm = nn.BatchNorm1d(3)\n        self.norm.eval = lambda: self.norm",
        )
        + "\nFaulty.eval = lambda self: self\n",
        "batch: an output depends on the other samples of its batch; is every BatchNorm in eval mode?",
    ),
    "no gradient": (
        net("return self.logits(x.detach())"),
        "gradient: the input gradient is NaN, zero or absent",
    ),
    "zero gradient": (
        net("return self.logits(x.round() + 0 * x)"),
        "is NaN, zero or absent, so attacks cannot use it",
    ),
    "exit": (net("raise SystemExit(3)"), "model net raised SystemExit: 3"),
    "NaN gradient": (net("return self.logits(x) + 0 * (x - x).sqrt().sum()"), "is NaN, zero or absent"),
    "no adapter": (
        "\n@model(task='things')\ndef net():\n    'A bare module.'\n    return nn.Linear(36, 3)\n",
        "model net returns Linear; wrap it: TorchClassifier(module)",
    ),
    "untrained": (
        "\n@model(task='things')\ndef net():\n    'Forgot.'\n"
        "    return TorchClassifier(nn.Sequential(nn.Flatten(), nn.Linear(36, 3)))\n",
        "has neither weights= nor recipe=",
    ),
    "no weights": (
        "\n@model(task='things')\ndef net():\n    'Lost.'\n"
        "    return TorchClassifier(nn.Linear(36, 3), weights='lost.safetensors')\n",
        "There are no weights at 'lost.safetensors'",
    ),
    "no docstring": (
        "\n@model(task='things')\ndef net():\n"
        "    return TorchClassifier(nn.Sequential(nn.Flatten(), nn.Linear(36, 3)), recipe=Recipe())\n",
        "model net has no docstring; `suite list`",
    ),
    "unknown task": (GOOD_MODEL.replace('"things"', '"thinks"'), "There is no task 'thinks'"),
}


@pytest.mark.parametrize(("text", "sentence"), FAULTY_MODELS.values(), ids=FAULTY_MODELS)
def test_a_faulty_model_gets_an_explanation(findings, text, sentence):
    failures, _ = findings(GOOD_TASK + text)
    assert any(sentence in line for line in failures), failures
    assert all(line.startswith("model net") for line in failures), "a failure names the task"


FAULTY_TASKS = {
    "no docstring": (GOOD_TASK.replace('    """Random things."""\n', ""), "task things has no docstring"),
    "not a sample": (things("yield pixels(place)"), "Task things yielded ndarray; expected suite.Sample"),
    "returns None": (
        '\n@task(kind="classification")\ndef things(split, seed):\n    "Nothing."\n    return None\n',
        "Task things returned NoneType; it must yield Sample values",
    ),
    "no samples": (things("if False: yield"), "has no usable test sample"),
    "same id": (
        things("yield Sample('thing', pixels(place), LABELS[place])"),
        "the id 'thing' is used in test and again in test; ids must be unique",
    ),
    "same id in every split": (
        things("yield Sample(str(LABELS[place]) + str(place % 4), pixels(place), LABELS[place])"),
        "ids must be unique across splits",
    ),
    "NaN": (
        things("yield Sample(str(place), pixels(place) * (np.nan if place == 7 else 1), LABELS[place])"),
        "1 of 60 dropped, unusable (7: 36 pixels are NaN or infinite)",
    ),
    "range": (
        things("yield Sample(str(place), pixels(place) * 255, LABELS[place])"),
        "expected 0..1 (divide 8-bit values by 255)",
    ),
    "channels last": (
        things("yield Sample(str(place), np.stack([pixels(place)] * 3, axis=-1), LABELS[place])"),
        "has its channels last; expected (channels, height, width)",
    ),
    "inputs of two shapes": (
        things("yield Sample(str(place), pixels(place)[: 5 + place % 2], LABELS[place])"),
        "has inputs of 2 shapes",
    ),
    "label out of range": (
        things("yield Sample(str(place), pixels(place), LABELS[place] + (place == 4) * 9)"),
        "1 of 60 dropped, unusable (4: the label 10; expected a class name or an index from 0 to 2)",
    ),
    "unknown class": (
        things("yield Sample(str(place), pixels(place), 'abcd'[LABELS[place] + (place == 5)])"),
        "the class 'd' is not one of a, b, c",
    ),
    "not reproducible": (
        things("yield Sample(str(place), np.random.default_rng().random((6, 6)), LABELS[place])"),
        "task things yields different samples twice; use the seed",
    ),
    "test samples in train": (
        things("yield Sample(f'{split}-{place}', pixels(place), LABELS[place])").replace(
            "LABELS, split", "LABELS, 'test'"
        ),
        "has 36 samples in two splits",
    ),
    "missing class in test": (
        things("yield Sample(str(place), pixels(place), LABELS[place])", '("a", "b", "c", "d")'),
        "task things has no test sample of d",
    ),
    "no train": (
        things("if split == 'test': yield Sample(str(place), pixels(place), LABELS[place])"),
        "has no train and no validation samples: it can neither train models",
    ),
    "raises an error": (things("yield 1 / 0"), "task things raised ZeroDivisionError"),
    "unknown kind": (
        GOOD_TASK.replace('"classification"', '"clasification"'),
        "There is no kind 'clasification'. Did you mean 'classification'?",
    ),
}


@pytest.mark.parametrize(("text", "sentence"), FAULTY_TASKS.values(), ids=FAULTY_TASKS)
def test_a_faulty_task_gets_an_explanation(findings, text, sentence):
    failures, _ = findings(text)
    assert any(sentence in line for line in failures), failures


def test_a_model_of_a_task_that_cannot_be_loaded_is_not_checked(findings):
    for text in (GOOD_MODEL, GOOD_MODEL.replace('task="things"', "")):
        failures, _ = findings(things("yield 1") + text)
        assert "model net was not checked, because the task things cannot be loaded; correct the task first" in failures


def test_a_good_file_passes_everything(findings, tmp_path, capsys):
    failures, results = findings(GOOD_TASK + GOOD_MODEL)
    assert failures == []
    assert len(results) == 13
    assert main(["check", str(tmp_path / "acme.py")]) == 0
    assert capsys.readouterr().out.endswith("13 checks, all passed.\n")


ORDERED = """
@task(kind="classification", classes=("dark", "grey", "bright"))
def things(split, seed):
    "Things of three brightnesses."
    for place in stratified(LABELS, split, seed=seed):
        yield Sample(f"thing-{{place}}", pixels(place) / 6 + LABELS[place] / 3, LABELS[place])

@model(task="things")
def net():
    "Decides by the mean brightness."
    linear = nn.Linear(1, 3)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[0.0], [20.0], [40.0]])[{order}])
        linear.bias.copy_(torch.tensor([0.0, -5.0, -16.7])[{order}])
    mean = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), linear)
    torch.save(mean.state_dict(), "{file}")
    return TorchClassifier(mean, weights="{file}")
"""


@pytest.mark.parametrize(("order", "suspicions"), [([0, 1, 2], 0), ([2, 0, 1], 1)], ids=str)
def test_outputs_in_another_order_than_the_classes_are_a_suspicion(findings, tmp_path, order, suspicions):
    failures, _ = findings(ORDERED.format(order=order, file=tmp_path / "w.pt"))
    said = "order: another order of the classes would give 100 % instead of 0 %: outputs 0, 1, 2 look like bright, dark"
    assert len(failures) == suspicions and all(said in failure for failure in failures)


def test_a_model_for_any_task_is_checked_on_the_task_of_its_file_or_on_digits(findings):
    model_for_any_task = GOOD_MODEL.replace('task="things"', "").replace("36, 3", "64, 10")
    _, results = findings(model_for_any_task)
    assert {finding.subject for finding in results} == {"model net", "model net on digits"}


def test_exit_status_is_1_for_a_failed_check_and_2_for_an_unusable_file(findings, tmp_path, capsys):
    findings(GOOD_TASK + FAULTY_MODELS["probabilities"][0])
    assert main(["check", str(tmp_path / "acme.py")]) == 1
    output = capsys.readouterr().out
    assert "FAIL model net on things: scale: the outputs are probabilities" in output
    assert output.endswith("checks, 1 failed.\n")
    (tmp_path / "empty.py").write_text("")
    assert main(["check", str(tmp_path / "empty.py")]) == 2
    assert "registers nothing. Decorate a function with @task" in capsys.readouterr().err
    assert main(["check", str(tmp_path / "absent.py")]) == 2


def test_other_roles_are_listed_but_not_checked(findings):
    failures, results = findings("\nfrom suite import attack\n@attack()\ndef push(): 'Push.'\n")
    assert (failures, [finding.sentence for finding in results]) == ([], ["is registered; other roles are not checked"])


def test_a_path_with_spaces_is_a_path(tmp_path):
    folder = tmp_path / "my files"
    folder.mkdir()
    (folder / "acme.py").write_text(HEAD + GOOD_TASK + GOOD_MODEL)
    assert all(finding.passed for finding in check_file(str(folder / "acme.py")))


def test_a_file_that_cannot_be_loaded_is_an_error(tmp_path):
    (tmp_path / "acme.py").write_text("1 / 0")
    with pytest.raises(PluginError, match="ZeroDivisionError"):
        check_file(str(tmp_path / "acme.py"))


def test_gradients_of_a_text_model_are_checked_at_its_embeddings():
    findings = check_file("tests/fixtures/reviews.py")
    assert [finding.sentence for finding in findings if not finding.passed] == []
    assert any(finding.sentence.startswith("gradient") for finding in findings)
