"""The number of rows of a forward pass: its default, what the record says of it, and less of it for less memory."""

import pandas as pd
import pytest
import torch
from torch import nn

import suite
from suite.axes.answers import is_out_of_memory
from suite.runner.settings import Settings
from suite.runner.width import default_width
from suite.store import Store

PGD = "robustness(attack=pgd(eps=[0.1], steps=2, restarts=1), audit=8)"
ERRORS = {
    "accelerator": torch.OutOfMemoryError("out of memory"),
    "python": MemoryError(),
    "allocator": RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
}


class Limited(nn.Module):
    """A linear model whose memory is enough for some rows; it keeps the number of rows of every call."""

    def __init__(self, most, error):
        super().__init__()
        torch.manual_seed(0)
        self.linear, self.most, self.error, self.calls = nn.Linear(64, 10), most, error, []

    def forward(self, images):
        self.calls.append(len(images))
        if len(images) > self.most:
            raise self.error
        return self.linear(images.flatten(1))


def audit(tmp_path, module, axes=("clean",), **options):
    return suite.audit(module, task="digits", axes=axes, n=40, store=tmp_path, **options)


@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS)
def test_a_model_that_runs_out_of_memory_is_measured_with_fewer_rows(tmp_path, error):
    rows = audit(tmp_path / "limited", Limited(8, error), ("clean", PGD)).rows
    assert (rows["status"] != "failed").all() and set(rows["batch_size"]) == {8}
    asked = audit(tmp_path / "asked", Limited(8, error), ("clean", PGD), settings=Settings(batch_size=8)).rows
    names = ["axis", "metric", "params"]  # rows are in the order of record names, which depend on the machine
    rows, asked = (table.sort_values(names, ignore_index=True) for table in (rows, asked))
    pd.testing.assert_frame_equal(rows[[*names, "value", "lo", "hi"]], asked[[*names, "value", "lo", "hi"]])


@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS)
def test_a_model_without_memory_for_one_row_is_a_failed_row(tmp_path, error):
    module = Limited(0, error)
    result = audit(tmp_path, module)
    assert set(result.rows["status"]) == {"failed"} and len(result.rows) == 1
    assert result.rows["reason"][0].startswith("out of memory: ")
    assert min(module.calls) == 1


def test_another_error_does_not_lower_the_number_of_rows(tmp_path):
    result = audit(tmp_path, Limited(0, RuntimeError("the model is broken")))
    assert set(result.rows["status"]) == {"failed"} and set(result.rows["batch_size"]) == {
        default_width((1, 8, 8), torch.device("cpu"))
    }


def test_a_result_with_less_memory_is_found_again_by_the_same_command(tmp_path):
    module = Limited(8, MemoryError())
    first, second = audit(tmp_path, module), audit(tmp_path, module)
    assert (len(first.outcome.ran), len(second.outcome.stored)) == (1, 1)


def test_the_batch_size_is_part_of_the_key(tmp_path):
    module = Limited(64, MemoryError())
    for size in (4, 8):
        assert len(audit(tmp_path, module, settings=Settings(batch_size=size)).outcome.ran) == 1
    assert set(Store(tmp_path).rows()["batch_size"]) == {4, 8}


def test_a_model_for_one_image_is_measured_with_a_batch_size_of_one(tmp_path):
    module = Limited(1, RuntimeError("exported for one image"))
    rows = audit(tmp_path, module, ("clean", PGD), settings=Settings(batch_size=1)).rows
    assert (rows["status"] != "failed").all() and set(module.calls) == {1}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_the_precision_of_the_model_is_recorded(tmp_path, dtype):
    rows = audit(tmp_path, Limited(64, MemoryError()).to(dtype)).rows
    assert set(rows["dtype"]) == {str(dtype).removeprefix("torch.")}
    assert (rows["status"] != "failed").all()


def test_the_default_number_of_rows_follows_from_the_size_of_an_input_and_the_device():
    cpu = torch.device("cpu")
    assert default_width((1, 8, 8), cpu) == 64  # 256 bytes: 256 fit, and 64 are the most
    assert default_width((3, 32, 32), cpu) == 8  # 12 KiB: four fit into 64 KiB
    assert default_width((1, 28, 28), cpu) == 16  # 3,136 bytes: 20 fit
    assert default_width((3, 224, 224), cpu) == 8
    assert default_width((3, 224, 224), torch.device("cuda")) == 64


def test_only_a_lack_of_memory_is_out_of_memory():
    assert all(is_out_of_memory(error) for error in ERRORS.values())
    assert not is_out_of_memory(RuntimeError("size mismatch"))


class Counting(nn.Linear):
    """A linear model that counts how often it reads each image without a gradient."""

    def __init__(self):
        torch.manual_seed(0)
        super().__init__(64, 10)
        self.seen = {}

    def forward(self, images):
        if not images.requires_grad:
            for image in images:
                key = image.detach().numpy().tobytes()
                self.seen[key] = self.seen.get(key, 0) + 1
        return super().forward(images.flatten(1))


def test_axes_of_a_model_share_the_outputs_of_clean_samples(tmp_path, monkeypatch):
    asked = []
    computed = suite.axes.outputs.Outputs._computed

    def counted(self, numbers):
        asked.extend(numbers)
        return computed(self, numbers)

    monkeypatch.setattr(suite.axes.outputs.Outputs, "_computed", counted)
    axes = (
        "clean",
        "calibration(members=1, dropout_samples=1)",
        "attribution(methods=[saliency], samples=8, steps=2)",
        "robustness(attack=fgsm(eps=[0.1]), audit=8)",
    )
    result = audit(tmp_path, nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), axes, settings=Settings(batch_size=8))
    assert not result.outcome.failed
    assert sorted(asked) == [0, 1, 2, 3, 4]  # 40 samples in batches of 8, once for all axes


def test_clean_and_calibration_run_the_model_once_for_each_sample(tmp_path):
    once, both = Counting(), Counting()
    data = suite.load("digits").test.few(40).pixels()
    audit(tmp_path / "once", once, ("clean",))
    audit(tmp_path / "both", both, ("clean", "calibration(members=1, dropout_samples=1)"))
    images = [image.tobytes() for image in data]
    extra = [both.seen[key] - once.seen[key] for key in images]
    # the second axis runs only what checks and identifies a model: at most a few samples, padded to a batch
    assert sum(count > 0 for count in extra) <= 8
