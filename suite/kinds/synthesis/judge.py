"""The judge: a small classifier whose features are used to compare images, trained on the task's own images."""

from __future__ import annotations

import copy
import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from suite.data import Split
from suite.errors import ModelError, NotApplicableError
from suite.kinds.base import Array
from suite.models.base import WIDTH as CALL_WIDTH
from suite.models.base import in_full_batches
from suite.models.training.trainer import seeded
from suite.paths import cache_folder
from suite.states import remembered

WIDTH = 64
"""Number of features of an image."""

SEED, EPOCHS, BATCH, RATE = 7, 8, 64, 3e-3
DROPPED, SHIFT = 0.3, 2
"""Dropout rate, and maximum shift of training images in pixels: memorized images would have unusual features, and
held-out real images would appear unrealistic."""

MOST = 4000
"""Maximum number of training images of the judge."""

INFERENCE_BATCH = 4 * CALL_WIDTH
"""Images whose features are computed at once."""

CACHED = 4
"""Maximum number of judges that a process keeps."""

TURNS = 4
"""Classes of the judge of images without labels: by which quarter turn they are rotated (Gidaris et al. 2018)."""


class Network(nn.Module):
    """Convolutions of stride 2 down to a side of at most 8, a layer of features, and a layer of logits."""

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
    """A trained network with the mean and standard deviation of its features on training images.

    Attributes:
        network: in evaluation mode, without parameter gradients.
        shape: (channels, height, width) of the training images.
        mean, deviation: of each feature, (features,); the deviation of constant features is set to 1.
        learned: what it was trained to classify: ``labels`` or ``quarter turns``.
    """

    network: Network
    shape: tuple[int, ...]
    mean: Tensor
    deviation: Tensor
    learned: str

    def on(self, device: torch.device) -> Judge:
        """Return the judge on a device."""
        if self.mean.device == device:
            return self
        network = copy.deepcopy(self.network).to(device)
        return replace(self, network=network, mean=self.mean.to(device), deviation=self.deviation.to(device))

    def features(self, pixels: Tensor) -> Tensor:
        """Return the standardized features of images (n, c, h, w) in [0, 1], (n, features), differentiable."""
        self._check_shape(pixels)
        with _without_tf32():
            raw = in_full_batches(self.network.body, CALL_WIDTH, 2 * pixels.float() - 1)
        standardized: Tensor = (raw - self.mean) / self.deviation
        return standardized

    def logits(self, pixels: Tensor) -> Tensor:
        """Return the logits of images (n, c, h, w), (n, classes), differentiable."""
        self._check_shape(pixels)
        with _without_tf32():
            logits: Tensor = in_full_batches(self.network, CALL_WIDTH, pixels.float())
        return logits

    def _check_shape(self, pixels: Tensor) -> None:
        if tuple(pixels.shape[1:]) != self.shape:
            raise ModelError(
                f"The model generates images of shape {tuple(pixels.shape[1:])}, but the task's are {self.shape} "
                "(channels, height, width). Build it for this task."
            )

    @torch.no_grad()
    def features_of(self, pixels: Tensor | Array) -> Array:
        """Return the features of many images, in batches, float64 (n, features)."""
        batches = torch.split(torch.as_tensor(pixels), INFERENCE_BATCH) if len(pixels) else ()
        parts = [self.features(batch.to(self.mean.device)).double().cpu() for batch in batches]
        return torch.cat(parts).numpy() if parts else np.zeros((0, WIDTH))


def judge_of(train: Split) -> Judge:
    """Return the judge of a task, trained once on its training images and kept in the user's cache folder.

    It learns their labels or, with fewer than two labels, by which quarter turn an image was rotated. It is trained on
    the CPU, so that the same images give the same judge on every device.

    Args:
        train: images, and their labels (n,) if they have any.

    Raises:
        NotApplicableError: there is nothing to learn from.
    """
    key = train.fingerprint()
    if key not in _JUDGES:
        folder = cache_folder() / "judges" / f"{key[:32]}-{_version()}"
        _JUDGES[key] = _from_state(remembered(folder, lambda: _state(_trained(train))))
        while len(_JUDGES) > CACHED:
            _JUDGES.popitem(last=False)
    return _JUDGES[key]


_JUDGES: OrderedDict[str, Judge] = OrderedDict()


def _version() -> str:
    """Return the digest of what a judge depends on besides its images: this code, PyTorch and the processor."""
    processor = torch.backends.cpu.get_cpu_capability()
    code = Path(__file__).read_bytes() + f"{torch.__version__} {processor}".encode()
    return hashlib.sha256(code).hexdigest()[:16]


def _state(judge: Judge) -> dict[str, Any]:
    """Return a judge as arrays and JSON values."""
    weights = {name: value.numpy() for name, value in judge.network.state_dict().items()}
    statistics = {"mean": judge.mean.numpy(), "deviation": judge.deviation.numpy()}
    return {"weights": weights, **statistics, "shape": list(judge.shape), "learned": judge.learned}


def _from_state(state: Mapping[str, Any]) -> Judge:
    """Return the judge of a state."""
    weights = {name: torch.from_numpy(np.array(value)) for name, value in state["weights"].items()}
    network = Network(tuple(state["shape"]), len(weights["head.1.bias"]))
    network.load_state_dict(weights)
    network.eval().requires_grad_(False)
    mean, deviation = (torch.from_numpy(np.array(state[name])) for name in ("mean", "deviation"))
    return Judge(network, tuple(state["shape"]), mean, deviation, state["learned"])


def _trained(train: Split) -> Judge:
    subset = train.few(MOST)
    pixels, labels, learned = _training_set(subset)
    with seeded(SEED, torch.device("cpu")), torch.enable_grad():
        network = Network(tuple(pixels.shape[1:]), int(labels.max()) + 1)
        _fit(network, pixels, labels)
    network.eval().requires_grad_(False)
    raw = Judge(network, train.shape, torch.zeros(WIDTH), torch.ones(WIDTH), learned)
    features = torch.from_numpy(raw.features_of(subset.pixels()))
    mean, deviation = features.mean(dim=0), features.std(dim=0, correction=0)
    deviation = torch.where(deviation > 1e-6, deviation, 1.0)
    return replace(raw, mean=mean.float(), deviation=deviation.float())


def _training_set(train: Split) -> tuple[Tensor, Tensor, str]:
    """Return images, labels, and what the labels are."""
    pixels, labels = torch.from_numpy(train.pixels()), np.asarray(train.targets)
    if pixels.ndim != 4 or len(pixels) < 2 * TURNS:
        raise NotApplicableError(
            f"samples are judged by features learned from training images, and {len(train)} of shape "
            f"{tuple(pixels.shape[1:])} are not enough to learn from"
        )
    if labels.ndim == 1 and labels.dtype.kind in "iu" and len(np.unique(labels)) > 1:
        return pixels, torch.from_numpy(labels.astype(np.int64)), "labels"
    if pixels.shape[2] != pixels.shape[3]:
        raise NotApplicableError(
            "samples are judged by features learned from training images; these need labels of two classes or more, or "
            "must be square"
        )
    turns = torch.arange(len(pixels)) % TURNS
    turned = torch.stack([torch.rot90(image, int(turn), (1, 2)) for image, turn in zip(pixels, turns, strict=True)])
    return turned, turns, "quarter turns"


def _fit(network: Network, pixels: Tensor, labels: Tensor) -> None:
    """Train with a one-cycle learning rate schedule."""
    generator = torch.Generator().manual_seed(SEED)
    steps = EPOCHS * -(-len(pixels) // BATCH)
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    for _ in range(EPOCHS):
        for batch in torch.split(torch.randperm(len(pixels), generator=generator), BATCH):
            down, right = torch.randint(-SHIFT, SHIFT + 1, (2,), generator=generator).tolist()
            shifted = pixels[batch].roll((down, right), (2, 3))
            loss = nn.functional.cross_entropy(network(shifted), labels[batch], label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            optimizer.step()
            schedule.step()


@contextmanager
def _without_tf32() -> Iterator[None]:
    """Compute in full float32 on an accelerator, so that devices agree."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before
