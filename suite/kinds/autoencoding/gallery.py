"""What a reader is shown of an autoencoder: reconstructions, ways between images, and images that it makes up."""

import torch
from torch import Tensor

from suite.data.digests import seed_of
from suite.kinds.autoencoding.evidence import chosen
from suite.kinds.base import Array, Outcomes

IMAGES, PAIRS, STEPS, GENERATED = 12, 4, 9, 64
"""Images that are reconstructed, pairs of them, points between a pair, and images that are generated."""


def shown(outcomes: Outcomes) -> dict[str, Array]:
    """Return images in uint8: ``images`` and ``reconstructed`` (k, c, h, w), ``interpolated`` (pairs, steps, c, h, w).

    A variational model adds ``generated`` (64, c, h, w): the probabilities of the pixels of images from the prior.
    """
    rows = torch.tensor(chosen(outcomes)[:IMAGES], device=outcomes.inputs.device)  # the first ones may be of one class
    model, inputs = outcomes.model, outcomes.inputs[rows]
    arrays = {"images": inputs, "reconstructed": model.reconstruct(inputs)}
    pairs = min(PAIRS, len(inputs) // 2)
    if pairs:
        arrays["interpolated"] = model.interpolate(inputs[:pairs], inputs[pairs : 2 * pairs], STEPS)
    if model.variational:
        arrays["generated"] = model.sample(GENERATED, seed_of("prior", "shown", str(outcomes.seed)))
    return {name: _bytes(values) for name, values in arrays.items()}


def _bytes(values: Tensor) -> Array:
    return values.detach().mul(255).round().to(torch.uint8).cpu().numpy()
