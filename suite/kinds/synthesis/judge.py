"""The judge: a small classifier whose features images are compared by, trained by the suite on a task's own images."""

from __future__ import annotations

import copy
import hashlib
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from suite.data import Split
from suite.errors import ModelError, NotApplicableError
from suite.kinds.base import Array
from suite.models.base import pad_batch
from suite.models.training.trainer import seeded

WIDTH = 64
"""Features of an image."""

SEED, EPOCHS, BATCH, RATE = 7, 8, 64, 3e-3
DROPPED, SHIFT = 0.3, 2
"""Share of features dropped and pixels an image is shifted in training: images learnt by heart would have features that
no others have, and real ones would look unreal."""

MOST = 4000
"""Training images of the judge at most."""

ASKED = 256
"""Images per forward pass."""

REMEMBERED = 4
"""Judges kept by one process."""

TURNS = 4
"""Classes of the judge of images without labels: which quarter turn they were given (Gidaris et al. 2018)."""


class Network(nn.Module):
    """Convolutions of stride 2 down to a side of at most 8, a layer of features, a layer of logits."""

    def __init__(self, shape: tuple[int, ...], classes: int) -> None:
        super().__init__()
        channels, *sides = shape
        layers: list[nn.Module] = []
        width = 16
        while max(sides) > 8:
            layers += [nn.Conv2d(channels, width, 3, stride=2, padding=1), nn.GELU()]
            channels, width, sides = width, min(2 * width, WIDTH), [(side + 1) // 2 for side in sides]
        flat = channels * sides[0] * sides[1]
        self.body = nn.Sequential(*layers, nn.Flatten(), nn.Linear(flat, WIDTH), nn.GELU())
        self.head = nn.Sequential(nn.Dropout(DROPPED), nn.Linear(WIDTH, classes))

    def forward(self, pixels: Tensor) -> Tensor:
        """Return logits (n, classes)."""
        logits: Tensor = self.head(self.body(2 * pixels - 1))
        return logits


@dataclass(frozen=True)
class Judge:
    """A trained network with the scale of its features on the images it learnt from.

    Attributes:
        network: held in evaluation mode without parameter gradients.
        shape: (channels, height, width) of the images it learnt from.
        mean, spread: of each feature, (features,); features that never vary have a spread of 1.
        learnt: what it was taught to tell apart: ``labels`` or ``quarter turns``.
        classes: how many of those there are.
    """

    network: Network
    shape: tuple[int, ...]
    mean: Tensor
    spread: Tensor
    learnt: str
    classes: int

    def on(self, device: torch.device) -> Judge:
        """Return the judge on a device."""
        if self.mean.device == device:
            return self
        network = copy.deepcopy(self.network).to(device)
        return Judge(network, self.shape, self.mean.to(device), self.spread.to(device), self.learnt, self.classes)

    def features(self, pixels: Tensor) -> Tensor:
        """Return the standardised features of images (n, c, h, w) in [0, 1], (n, features), differentiable."""
        self._refuse_shape(pixels)
        with _exactly():
            found = self.network.body(2 * pad_batch(pixels.float()) - 1)[: len(pixels)]
        standard: Tensor = (found - self.mean) / self.spread
        return standard

    def logits(self, pixels: Tensor) -> Tensor:
        """Return what the judge takes images (n, c, h, w) for, (n, classes), differentiable."""
        self._refuse_shape(pixels)
        with _exactly():
            logits: Tensor = self.network(pad_batch(pixels.float()))[: len(pixels)]
        return logits

    def _refuse_shape(self, pixels: Tensor) -> None:
        if tuple(pixels.shape[1:]) != self.shape:
            raise ModelError(
                f"The model makes images of shape {tuple(pixels.shape[1:])}, but the task's are {self.shape} "
                "(channels, height, width). Build it for this task."
            )

    @torch.no_grad()
    def seen(self, pixels: Tensor | Array) -> Array:
        """Return the features of many images, float64 (n, features)."""
        images = torch.as_tensor(pixels)
        batches = (images[start : start + ASKED] for start in range(0, len(images), ASKED))
        parts = [self.features(part.to(self.mean.device)).double().cpu() for part in batches]
        return torch.cat(parts).numpy() if len(images) else np.zeros((0, WIDTH))


def judge_of(train: Split) -> Judge:
    """Return the judge of a task, trained once per process on its training images.

    It learns their labels, or, where there is one label at most, which quarter turn an image was given. The same
    images give the same judge, whatever device is used: it always learns on the processor.

    Args:
        train: images, and their labels (n,) if they have any.

    Raises:
        NotApplicableError: there is nothing to learn from.
    """
    key = _digest(train)
    if key not in _JUDGES:
        _JUDGES[key] = _trained(train)
        while len(_JUDGES) > REMEMBERED:
            _JUDGES.popitem(last=False)
    return _JUDGES[key]


_JUDGES: OrderedDict[str, Judge] = OrderedDict()


def _digest(train: Split) -> str:
    content = hashlib.sha256("\0".join(train.ids).encode())
    for part in (train.inputs, train.targets):
        content.update(f"{part.shape}{part.dtype}".encode() + np.ascontiguousarray(part).tobytes())
    return content.hexdigest()


def _trained(train: Split) -> Judge:
    chosen = train.few(MOST)
    pixels, labels, learnt = _lesson(chosen)
    classes = int(labels.max()) + 1
    with seeded(SEED, torch.device("cpu")), torch.enable_grad():
        network = Network(tuple(pixels.shape[1:]), classes)
        _fit(network, pixels, labels)
    network.eval().requires_grad_(False)
    raw = Judge(network, train.pixels().shape[1:], torch.zeros(WIDTH), torch.ones(WIDTH), learnt, classes)
    seen = torch.from_numpy(raw.seen(chosen.pixels()))
    mean, spread = seen.mean(dim=0), seen.std(dim=0, correction=0)
    spread = torch.where(spread > 1e-6, spread, 1.0)
    return Judge(network, raw.shape, mean.float(), spread.float(), learnt, classes)


def _lesson(train: Split) -> tuple[Tensor, Tensor, str]:
    """Return images, labels and what the labels say."""
    pixels, labels = torch.from_numpy(train.pixels()), np.asarray(train.targets)
    if pixels.ndim != 4 or len(pixels) < 2 * TURNS:
        raise NotApplicableError(
            f"samples are judged by features learnt from training images, and {len(train)} of shape "
            f"{tuple(pixels.shape[1:])} are not enough to learn from"
        )
    if labels.ndim == 1 and labels.dtype.kind in "iu" and len(np.unique(labels)) > 1:
        return pixels, torch.from_numpy(labels.astype(np.int64)), "labels"
    if pixels.shape[2] != pixels.shape[3]:
        raise NotApplicableError(
            "samples are judged by features learnt from training images; these need labels of at least two classes, or "
            "to be square"
        )
    turns = torch.arange(len(pixels)) % TURNS
    turned = torch.stack([torch.rot90(image, int(turn), (1, 2)) for image, turn in zip(pixels, turns, strict=True)])
    return turned, turns, "quarter turns"


def _fit(network: Network, pixels: Tensor, labels: Tensor) -> None:
    """Train with steps whose size rises and falls in one cycle."""
    order = torch.Generator().manual_seed(SEED)
    steps = EPOCHS * -(-len(pixels) // BATCH)
    optimiser = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps)
    for _ in range(EPOCHS):
        shuffled = torch.randperm(len(pixels), generator=order)
        for start in range(0, len(pixels), BATCH):
            chosen = shuffled[start : start + BATCH]
            down, right = torch.randint(-SHIFT, SHIFT + 1, (2,), generator=order).tolist()
            shown = pixels[chosen].roll((down, right), (2, 3))
            loss = nn.functional.cross_entropy(network(shown), labels[chosen], label_smoothing=0.1)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            optimiser.step()
            schedule.step()


@contextmanager
def _exactly() -> Iterator[None]:
    """Compute in the whole of float32 on an accelerator, so that devices agree."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before
