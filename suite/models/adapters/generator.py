"""The adapter of generators: latents in, images out; and the critic it was trained with."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from suite.data import Split
from suite.errors import ModelError
from suite.models.base import TorchModel
from suite.models.outputs import Form, numbers_of, refusal
from suite.models.training.gan import GanRecipe, train_gan
from suite.types import LATENT

IMAGES = Form("(images, channels, rows, columns)", "latents", "Divide 8-bit pixels by 255.", "The generator")
SCORES = Form("one score per image, (images,)", source="The critic")


class TorchGenerator(TorchModel):
    """A generator of images from standard normal latents, and its critic.

    On a split of real images the input is one latent per sample, drawn from a digest of the sample's id, so that it
    depends on nothing else.

    Args:
        module: has ``generator``, from latents (n, latent) to images (n, c, h, w) in [0, 1]; ``critic``, from images
            to scores (n,), higher for real images; and the size ``latent``.
        weights: as for `TorchModel`.
        recipe: how to train it.
        scores_are_odds: whether the critic's scores are log odds of being real, as after training with cross-entropy;
            None to infer it from the recipe.
    """

    input = LATENT
    output_name = "pixels"
    limits = (-8.0, 8.0)

    def __init__(
        self,
        module: nn.Module,
        *,
        weights: str | Path | None = None,
        recipe: GanRecipe | None = None,
        scores_are_odds: bool | None = None,
    ) -> None:
        if isinstance(module, nn.Module):
            _check_module(module)
        super().__init__(module, weights=weights, recipe=recipe)
        self.latent = int(module.latent)  # type: ignore[arg-type]  # checked above
        cross_entropy = isinstance(recipe, GanRecipe) and recipe.objective == "bce"
        self.scores_are_odds = cross_entropy if scores_are_odds is None else scores_are_odds

    def inputs(self, split: Split) -> npt.NDArray[Any]:
        """Return the latents of a split's samples, float32 (n, latent)."""
        rows = [_latent(name, self.latent) for name in split.ids]
        return np.stack(rows) if rows else np.zeros((0, self.latent), np.float32)

    def raw(self, pixels: Tensor) -> Tensor:
        """Return images (n, c, h, w) for latents (n, latent)."""
        generator = self.module.get_submodule("generator")
        images: Tensor = self.in_full_batches(lambda rows: self.shaped(generator(rows.to(self.dtype)), rows), pixels)
        return images

    def shaped(self, output: Any, pixels: Tensor) -> Tensor:
        """Return images unchanged."""
        images = numbers_of(output, pixels, IMAGES)
        if images.shape[:1] != pixels.shape[:1] or images.ndim != 4:
            raise refusal(images, pixels, IMAGES)
        return images

    def critic_scores(self, images: Tensor) -> Tensor:
        """Return the critic's scores (n,) of images (n, c, h, w) in [0, 1].

        Raises:
            ModelError: the critic does not return one finite number per image.
        """
        critic = self.module.get_submodule("critic")

        def scored(rows: Tensor) -> Tensor:
            scores = numbers_of(critic(rows.to(self.dtype)), rows, SCORES)
            if scores.shape != (len(rows),):
                raise refusal(scores, rows, SCORES)
            return scores

        scores: Tensor = self.in_full_batches(scored, images)
        if bad := int((~torch.isfinite(scores)).sum()):
            raise ModelError(
                f"The critic returned scores that are not finite for {bad} of {len(images)} images; expected one "
                "finite number per image. Check its weights."
            )
        return scores

    def latents(self, count: int, seed: int) -> Tensor:
        """Return standard normal latents (count, latent); a larger count starts with the same ones."""
        drawn = np.random.default_rng(seed).standard_normal((count, self.latent), np.float32)
        return torch.from_numpy(drawn).clamp(*self.limits).to(self.device)

    @torch.no_grad()
    def sample(self, count: int, seed: int) -> Tensor:
        """Return images (count, c, h, w) of random latents."""
        return self.generate(self.latents(count, seed))

    @torch.no_grad()
    def generate(self, latents: Tensor) -> Tensor:
        """Return images for any number of latents (n, latent)."""
        return self.raw(latents)

    @torch.no_grad()
    def interpolate(self, first: Tensor, second: Tensor, steps: int) -> Tensor:
        """Return images of linear interpolations between latents (n, latent), including both ends, (n, steps, ...)."""
        share = torch.linspace(0, 1, steps, device=first.device)[None, :, None]
        points = first[:, None] * (1 - share) + second[:, None] * share
        images = self.generate(points.flatten(0, 1))
        return images.view(len(first), steps, *images.shape[1:])

    def learn(self, data: Any, device: torch.device) -> dict[str, Any] | None:
        """Train generator and critic, see `suite.models.training.gan`."""
        if not isinstance(self.recipe, GanRecipe):
            raise ModelError("A generator needs a GanRecipe; pass recipe=GanRecipe(...).")
        return train_gan(self, self.recipe, data, device)


def _latent(name: str, size: int) -> npt.NDArray[np.float32]:
    seed = int.from_bytes(hashlib.sha256(f"latent\0{name}".encode()).digest()[:16], "big")
    return np.random.default_rng(seed).standard_normal(size, np.float32).clip(*TorchGenerator.limits)


def _check_module(module: nn.Module) -> None:
    missing = {"generator", "critic"} - dict(module.named_children()).keys()
    size = getattr(module, "latent", None)
    if missing or not isinstance(size, int) or size < 1:
        raise ModelError(
            f"TorchGenerator got a {type(module).__name__} without "
            f"{' and '.join(sorted(missing)) or 'a positive integer latent'}; expected a module with generator, critic "
            "and latent."
        )
