"""Generators of small images that train in less than a minute on a processor, or better in a few."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from suite.models.adapters.generator import TorchGenerator
from suite.models.networks.gan import Pair
from suite.models.training.gan import GanRecipe

CALM = GanRecipe(critic_rate=1e-3)
"""Critics that nothing but their penalty, or nothing at all, holds back learn as slowly as their generators."""

RECIPES: Mapping[str, GanRecipe] = MappingProxyType(
    {
        "dcgan": replace(CALM, objective="bce", steps=900, momentum=(0.5, 0.99)),
        "wgan_gp": replace(CALM, objective="wasserstein", penalty="between", critic_steps=2, steps=450),
        "dragan": replace(CALM, objective="bce", penalty="around", steps=650),
        "sn_hinge": GanRecipe(objective="hinge", steps=1000),
    }
)
"""The quick recipes by name; on one processor core, digits take each of them about half a minute."""

LONGER, CHECKPOINTS, INERTIA = 5, 20, 0.999
"""How many times as many steps, how many checkpoints and which average the full recipes have."""

WIDTH = 64
"""Channels of the generator's first map."""


def preset(name: str, shape: tuple[int, ...], *, latent: int, full: bool, weights: str | Path | None) -> TorchGenerator:
    """Return a generator with its critic and its recipe.

    Args:
        name: of a recipe.
        shape: of the task's images.
        latent: numbers that an image is made from.
        full: train for longer.
        weights: a file of weights; None to train.
    """
    recipe = RECIPES[name]
    if full:
        steps = LONGER * recipe.steps
        recipe = replace(recipe, steps=steps, checkpoints=CHECKPOINTS, inertia=INERTIA)
    pair = Pair(shape, latent=latent, width=WIDTH, spectral=name == "sn_hinge")
    return TorchGenerator(pair, weights=weights, recipe=recipe)
