"""Windows of a periodic text."""

import numpy as np
import torch

from suite.data import Split, TaskData, TaskInfo
from suite.data.report import DataReport
from suite.data.text import packed
from suite.kinds.language.kind import Language
from suite.types import Sample

PERIOD = "to be, or not."
CLASSES = ("<unk>", *sorted(set(PERIOD)))


def split(name, texts, context):
    kind = Language()
    targets = [kind.validate_sample(Sample(str(i), text, context), CLASSES).target for i, text in enumerate(texts)]
    ids = tuple(f"{name}/{i:04d}" for i in range(len(texts)))
    return Split(ids, packed(texts, len(texts[0])), kind.stack(targets, CLASSES))


def periodic(length=32, context=16, train=64, few=6):
    """Return a task of windows of a text with period 14, each with a different phase."""
    text = PERIOD * 200
    texts = [text[start : start + length] for start in range(0, 5 * (train + few), 5)]
    made = split("train", texts[:train], context), split("validation", texts[train:], context)
    info = TaskInfo("periodic", "language", "1", CLASSES, (length,))
    return TaskData(info, *made, split("test", texts[train:], context), DataReport({}), "")


def codes(data):
    return torch.from_numpy(data.test.inputs)


def bits(kind, output, targets):
    tally = kind.tally(np.asarray(output), np.asarray(targets))
    return float(kind.statistic(tally)(None)[0])
