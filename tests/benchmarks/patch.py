"""Accuracy of an undefended small classifier under patches of 5 % of the image area, compared with their controls.

`python -m tests.benchmarks.patch [mnist] [colour] [samples=300]` trains each classifier, then attacks it with universal
and image-specific patches, at random and at searched positions, untargeted and targeted (`goal`). The controls of each
attack are patches of random pixels at random positions (`random`) and at positions chosen by the same search (`random,
searched`), which separates the effect of the position from that of the pixels.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import torch
from sklearn.datasets import load_sample_images
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate

from suite.attacks.engine.problem import Problem
from suite.attacks.images.image_patch import ImagePatch
from suite.attacks.images.patch import Patch
from suite.attacks.images.patch_common import PatchAttack, apply_patch
from suite.kinds.classification.losses import attack_loss, rivals
from suite.models.base import TorchClassifier
from suite.models.networks.image_classifiers import small_cnn
from tests.benchmarks.zoo import points

AREA = 0.05
GOAL = 3
EVERYWHERE = 10_000  # more positions than any image here has
Data = tuple[Tensor, Tensor]

ATTACKS: dict[str, PatchAttack] = {
    "universal, random position": Patch(area=(AREA,)),
    "universal, 64 positions searched": Patch(area=(AREA,), position="search"),
    "universal, all positions searched": Patch(area=(AREA,), position="search", places=EVERYWHERE),
    "per image, random position": ImagePatch(area=(AREA,), position="random", tries=4),
    "per image, 32 positions searched": ImagePatch(area=(AREA,)),
    "per image, 128 positions searched": ImagePatch(area=(AREA,), tries=128),
    "universal to goal, random position": Patch(area=(AREA,), goal=GOAL),
    "universal to goal, all positions": Patch(area=(AREA,), goal=GOAL, position="search", places=EVERYWHERE),
    "per image to goal, 32 positions": ImagePatch(area=(AREA,), goal=GOAL),
}


def colored(digits: Tensor, seed: int, side: int = 32) -> Tensor:
    """Paste digits (n, 1, 28, 28) at random in bright colors onto dim photos (n, 3, side, side)."""
    source = np.random.default_rng(seed)
    photos = [photo.astype(np.float32) / (255 * 2) for photo in load_sample_images().images]  # half the brightness
    images = np.empty((len(digits), 3, side, side), dtype=np.float32)
    for image, digit in zip(images, digits, strict=True):
        image[:] = _background(photos[source.integers(len(photos))], source, side)
        size = int(source.integers(18, 27))
        ink = interpolate(digit[None], size=(size, size), mode="bilinear", antialias=True)[0, 0].numpy()
        row, column = source.integers(0, side - size + 1, 2)
        region = image[:, row : row + size, column : column + size]
        region += ink * (source.uniform(0.5, 1, (3, 1, 1)).astype(np.float32) - region)
    return torch.from_numpy(images)


def _background(photo: np.ndarray, source: np.random.Generator, side: int) -> np.ndarray:
    crop = int(source.integers(side, 5 * side))
    row, column = source.integers(0, photo.shape[0] - crop), source.integers(0, photo.shape[1] - crop)
    picked = torch.from_numpy(photo[row : row + crop, column : column + crop]).permute(2, 0, 1)[None]
    return interpolate(picked, size=(side, side), mode="bilinear", antialias=True)[0].numpy()


def mnist() -> tuple[Data, Data]:
    """Return 3,000 training and 1,000 test digits of MNIST."""
    return points("mnist", "train"), points("mnist", "test")


def color_digits() -> tuple[Data, Data]:
    """Return the digits of `mnist` on photos: two per training digit and one per test digit."""
    (digits, labels), (held, truth) = mnist()
    return (colored(digits.repeat(2, 1, 1, 1), 0), labels.repeat(2)), (colored(held, 1), truth)


def trained(pixels: Tensor, targets: Tensor, epochs: int) -> TorchClassifier:
    """Train a small convolutional network with Adam."""
    torch.manual_seed(0)
    net = small_cnn(10, tuple(pixels.shape[1:]))
    mean, std = pixels.mean(dim=(0, 2, 3)).tolist(), pixels.std(dim=(0, 2, 3)).tolist()
    model = TorchClassifier(net, mean=mean, std=std)  # without normalization, training on the photos starts slowly
    adam = torch.optim.Adam(net.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.LambdaLR(adam, lambda epoch: 1 - epoch / epochs)
    for _ in range(epochs):
        for rows in torch.randperm(len(pixels)).split(64):
            adam.zero_grad()
            cross_entropy(model(pixels[rows]), targets[rows]).backward()
            adam.step()
        schedule.step()
    net.eval().requires_grad_(False)
    return model


def problem_of(model: nn.Module | TorchClassifier) -> Problem:
    """Return the attack problem of a classifier."""
    return Problem(model, attack_loss, lambda output, targets: output.argmax(1) != targets, rivals)


def report(name: str, splits: tuple[Data, Data], epochs: int, count: int) -> None:
    """Train a classifier and print a line for every attack on it."""
    started = time.monotonic()
    train, (pixels, targets) = splits[0], (splits[1][0][:count], splits[1][1][:count])
    problem = problem_of(trained(*train, epochs))
    clean = 100 * (1 - float(problem.outcome(pixels, targets).double().mean()))
    print(f"\n{name}: accuracy {clean:.1f} % on {len(pixels)} images, trained in {time.monotonic() - started:.0f} s")
    print(f"{'attack':34}{'left':>7}{'goal':>7} | controls: left (goal)")
    for title, attack in ATTACKS.items():
        print(_line(title, attack, problem, train, (pixels, targets)), flush=True)


def _line(title: str, attack: PatchAttack, problem: Problem, train: Data, test: Data) -> str:
    pixels, targets = test
    seeds, before, started = torch.arange(len(pixels)), problem.passes.total, time.monotonic()
    attack = attack.fit(problem, lambda: train, seed=0)
    fitted = time.monotonic()
    patched = attack.perturb(problem, pixels, targets, AREA, seeds)
    ended, passes = time.monotonic(), problem.passes.total - before
    assert (attack.violation(pixels, patched, AREA) <= 0).all() and patched.min() >= 0 and patched.max() <= 1
    others = {kind: control(pixels, AREA, seeds) for kind, control in attack.controls().items()}
    if attack.position == "search":
        others["random, searched"] = _searched(attack, problem, test)
    controls = ", ".join(f"{kind} {_rates(attack, problem, other, targets)}" for kind, other in others.items())
    left, reached = (
        _rates(attack, problem, patched, targets).split(" ", 1)
        if attack.goal is not None
        else (
            _rates(attack, problem, patched, targets),
            "",
        )
    )
    return (
        f"{title:34}{left:>7}{reached:>7} | {controls} | fit {fitted - started:.0f} s, "
        f"attack {ended - fitted:.0f} s, {passes:,} passes"
    )


def _rates(attack: PatchAttack, problem: Problem, patched: Tensor, targets: Tensor) -> str:
    """Return the accuracy left and, for a goal, the fraction of other classes predicted as the goal, in %."""
    left = 100 * (1 - float(problem.outcome(patched, targets).double().mean()))
    if attack.goal is None:
        return f"{left:.1f}"
    reached = attack.succeeded(problem, patched, targets)[targets != attack.goal]
    return f"{left:.1f} ({100 * float(reached.double().mean()):.1f})"


def _searched(attack: PatchAttack, problem: Problem, test: Data) -> Tensor:
    """Return the samples with a patch of random pixels at the best of as many searched positions."""
    pixels, targets = test
    side = attack.side(pixels, AREA)
    noise = torch.rand((pixels.shape[1], side, side), generator=torch.Generator().manual_seed(0))
    tries = attack.places if isinstance(attack, Patch) else attack.tries if isinstance(attack, ImagePatch) else 1
    search = Patch(area=(AREA,), position="search", places=tries, goal=attack.goal)
    return apply_patch(pixels, noise, search.search(problem, pixels, targets, noise))


def main(arguments: list[str]) -> None:
    """Run the benchmark on one thread."""
    torch.set_num_threads(1)
    count = next((int(word.split("=")[1]) for word in arguments if word.startswith("samples=")), 300)
    if "colour" not in arguments:
        report("MNIST, 28x28", mnist(), 8, count)
    if "mnist" not in arguments:
        report("digits in color on photos, 32x32", color_digits(), 10, count)


if __name__ == "__main__":
    main(sys.argv[1:])
