"""Weights that were trained on what is now test data are refused."""

import numpy as np
import pytest
import torch
from torch import nn

from suite import Recipe, TorchClassifier
from suite.data import Split, TaskData, TaskInfo
from suite.data.report import DataReport
from suite.errors import ModelError
from suite.runner.exposure import check_unseen, seen_contents
from suite.runner.preparation import ModelProvider, prepare_task
from suite.store import Store
from suite.types import IMAGE, TEXT
from tests.data.formats.files import photo


def folders(root):
    for part, numbers in (("train", range(8)), ("val", range(8, 12)), ("test", range(12, 20))):
        for number in numbers:
            photo(root / part / "ab"[number % 2] / f"{number}.png", 8, 8, seed=number)
    return root


def net():
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 2))


def trained(root, store):
    """Train a model on a folder of images and return the path of its weights."""
    task = prepare_task(f"imagefolder(path='{root}')", 0)
    provider = ModelProvider(store, torch.device("cpu"), lambda steps, *_: steps)
    provider.ready(TorchClassifier(net(), recipe=Recipe(epochs=1)), "digest", task, 0)
    return store.model_folder("digest") / "weights.safetensors"


def use(weights, root, store):
    """Prepare a model with given weights for a folder of images."""
    task = prepare_task(f"imagefolder(path='{root}')", 0)
    provider = ModelProvider(store, torch.device("cpu"), lambda steps, *_: steps)
    return provider.ready(TorchClassifier(net(), weights=weights), "other", task, 0)


@pytest.mark.parametrize("part", ["train", "val"])
def test_weights_are_refused_on_samples_that_they_were_trained_or_selected_on(tmp_path, part):
    root, store = folders(tmp_path / "photos"), Store(tmp_path / "store")
    weights = trained(root, store)
    assert use(weights, root, store)  # their own test part
    moved = sorted((root / part / "a").iterdir())[0]
    moved.rename(root / "test" / "a" / "renamed.png")
    with pytest.raises(ModelError, match=r"trained or selected on 1 of the 9 test samples, .*'test/a/renamed\.png'"):
        use(weights, root, store)


def test_weights_without_a_list_of_what_they_saw_are_accepted(tmp_path):
    root, store = folders(tmp_path / "photos"), Store(tmp_path / "store")
    weights = trained(root, store)
    elsewhere = weights.rename(tmp_path / "weights.safetensors")
    sorted((root / "train" / "a").iterdir())[0].rename(root / "test" / "a" / "renamed.png")
    assert use(elsewhere, root, store)


def data(train, test, dtype):
    """Return data of rows of numbers."""
    splits = (
        Split(tuple(f"{name}{row}" for row in range(len(rows))), np.array(rows, dtype), np.zeros(len(rows)))
        for name, rows in (("train", train), ("validation", train[:0]), ("test", test))
    )
    return TaskData(TaskInfo("rows", "", "1", (), ()), *splits, DataReport({}), "d")


def test_a_sample_takes_eight_bytes_and_equal_ones_are_stored_once(tmp_path):
    rows = [[value, value] for value in range(100)]
    content = seen_contents(data([*rows, *rows], rows, np.uint8), IMAGE)
    (tmp_path / "seen.npy").write_bytes(content)
    found = np.load(tmp_path / "seen.npy")
    assert found.dtype == np.uint64 and len(found) == 100 and (np.diff(found.astype(object)) > 0).all()


def test_texts_are_recognized_whatever_their_case_spacing_and_padding(tmp_path):
    def codes(text, width):
        return [*map(ord, text), *[0] * (width - len(text))]

    (tmp_path / "seen.npy").write_bytes(seen_contents(data([codes("A  fine day", 12)], [], np.int32), TEXT))
    check_unseen(tmp_path / "w", data([], [codes("a fine night", 20)], np.int32), TEXT)
    with pytest.raises(ModelError, match="1 of the 2 test samples, for example 'test1'"):
        check_unseen(tmp_path / "w", data([], [codes("x", 20), codes("a fine day", 20)], np.int32), TEXT)
