"""What a stored model was trained on, so that it is not tested on the same samples."""

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt

from suite.data import Split, TaskData
from suite.data.reading import content_of
from suite.errors import ModelError
from suite.types import Input

SEEN = "seen.npy"
"""File beside the weights of a model: sorted digests of the contents that it was trained or selected on."""


def seen_contents(data: TaskData, kind: Input) -> bytes:
    """Return the digests of all training and validation samples as a NumPy file: 8 bytes a sample, sorted."""
    file = io.BytesIO()
    both = np.concatenate([_prefixes(split, kind) for split in (data.train, data.validation)])
    np.save(file, np.unique(both))
    return file.getvalue()


def check_unseen(weights: str | Path, data: TaskData, kind: Input) -> None:
    """Check that a model saw none of the test samples in training, if a file beside its weights says what it saw.

    Raises:
        ModelError: it was trained or selected on some of them.
    """
    file = Path(weights).with_name(SEEN)
    if not file.is_file():
        return
    known = np.isin(_prefixes(data.test, kind), np.load(file, allow_pickle=False))
    if known.any():
        raise ModelError(
            f"{str(weights)!r} was trained or selected on {int(known.sum()):,} of the {len(known):,} test samples, for "
            f"example {data.test.ids[int(known.argmax())]!r}. Train it on the training part of these data, or test it "
            "on data that it has not seen."
        )


def _prefixes(split: Split, kind: Input) -> npt.NDArray[np.uint64]:
    """Return the first 8 bytes of each sample's digest, (n,)."""
    # Texts are padded to the longest one of their task, so the digests of padded ones say nothing about other tasks.
    found = [content_of(row, kind) for row in split.inputs] if kind.type == "text" else split.contents()
    return np.array([int.from_bytes(content[:8], "big") for content in found], np.uint64)
