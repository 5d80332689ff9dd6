"""A package that registers one entry for each role; its entry point names this module.

Heavy imports are inside the functions, so that listing the entries stays fast.
"""

from __future__ import annotations

from suite import Metric, Recipe, Sample, attack, attribution, metric, model, stratified, task

AXES = {"robustness": ("robustness(attack=acme_brightness(eps=[0.1, 0.3]), audit=8)",)}


@task(kind="classification", classes=("left", "right"), presets=AXES, source="drawn by a random number generator")
def acme_sides(split, seed, *, count=60):
    """Which half of the image is brighter."""
    import numpy as np

    labels = [place % 2 for place in range(count)]
    for place in stratified(labels, split, seed=seed):
        pixels = np.random.default_rng(place).random((6, 6)) * 0.4
        pixels[:, 3 * labels[place] : 3 * labels[place] + 3] += 0.3
        yield Sample(f"acme-{place}", pixels, labels[place])


@model(task="acme_sides")
def acme_net(task, *, epochs: int = 8):
    """A linear model, trained for a few epochs."""
    from torch import nn

    from suite import TorchClassifier

    net = nn.Sequential(nn.Flatten(), nn.Linear(36, len(task.classes)))
    return TorchClassifier(net, recipe=Recipe(epochs=epochs, batch_size=16, learning_rate=0.02))


@attack()
def acme_brightness(eps=(0.1,)):
    """Brighten or darken the whole image, whichever increases the loss more."""
    from acme_plugin.brightness import Brightness

    return Brightness(eps)


ERROR = Metric("acme_error", "error rate", "share of misclassified samples", higher_is_better=False)


@metric(kind="classification", entries=[ERROR])
def acme_error(table):
    """Share of misclassified samples."""
    return [table.rate(ERROR, ~table["correct"])]


@attribution()
def acme_contrast():
    """Distance of each pixel from the image mean; does not call the model."""
    from acme_plugin.contrast import Contrast

    return Contrast()
