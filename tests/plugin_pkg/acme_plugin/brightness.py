"""A gradient-free attack."""

from dataclasses import dataclass

import torch

from suite.attacks.images.gradient import NormAttack


@dataclass(frozen=True)
class Brightness(NormAttack):
    """Adds one constant to every pixel."""

    loss: str | None = None

    def perturb(self, problem, pixels, targets, size, seeds):
        """Return the brighter or the darker image, whichever has the higher loss, within the pixel bounds."""
        moved = [(pixels + shift).clamp(*problem.bounds) for shift in (size, -size)]
        with torch.no_grad():
            brighter, darker = (problem.loss(problem.forward(images), targets, "margin", None) for images in moved)
        return torch.where((brighter > darker)[:, None, None, None], *moved)
