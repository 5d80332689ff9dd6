"""The adapter round a generator: latents in, images out; with the critic it was trained against."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from suite.data import Split
from suite.errors import ModelError
from suite.models.base import TorchModel, pad_batch
from suite.models.training.gan import GanRecipe, trained

GROUP = 256
"""Images per forward pass."""


class TorchGenerator(TorchModel):
    """A generator of images and its critic, in units of standard normal latents.

    Of a split of real images the generator is shown one latent per sample, drawn from a digest of the sample's id, so
    that what it makes of a sample depends on nothing else.

    Args:
        module: has ``generator``, from latents (n, latent) to images (n, c, h, w) in [0, 1]; ``critic``, from images
            to scores (n,), the higher the more real; and the number ``latent``.
        weights: as for `TorchModel`.
        recipe: how to train it.
        scores_are_odds: whether the critic's scores are log odds of being real, as cross-entropy makes them and no
            other loss; None to tell by the recipe.
    """

    answers = "pixels"
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
            _refuse_unfit(module)
        super().__init__(module, weights=weights, recipe=recipe)
        self.latent = int(module.latent)  # type: ignore[arg-type]  # a number, as was just checked
        trained_so = isinstance(recipe, GanRecipe) and recipe.objective == "bce"
        self.scores_are_odds = trained_so if scores_are_odds is None else scores_are_odds

    def inputs(self, split: Split) -> npt.NDArray[Any]:
        """Return the latents of a split's samples, float32 (n, latent)."""
        rows = [_latent(name, self.latent) for name in split.ids]
        return np.stack(rows) if rows else np.zeros((0, self.latent), np.float32)

    def raw(self, pixels: Tensor) -> Tensor:
        """Return images (n, c, h, w) for latents (n, latent)."""
        padded = pad_batch(pixels).to(self.dtype)
        return self.shaped(self.module.get_submodule("generator")(padded), padded)[: len(pixels)]

    def shaped(self, output: Any, pixels: Tensor) -> Tensor:
        """Return images as they are."""
        if not isinstance(output, Tensor) or output.ndim != 4 or len(output) != len(pixels):
            shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise ModelError(
                f"The generator returned {shape} for {len(pixels)} latents; expected (images, channels, rows, columns)."
            )
        return output

    def critic_scores(self, images: Tensor) -> Tensor:
        """Return the critic's scores (n,) of images (n, c, h, w) in [0, 1].

        Raises:
            ModelError: the critic returns something else than one finite number per image.
        """
        critic, parts = self.module.get_submodule("critic"), []
        for start in range(0, len(images), GROUP):
            batch = images[start : start + GROUP]
            parts.append(critic(pad_batch(batch).to(self.dtype))[: len(batch)])
        scores = torch.cat(parts) if parts else images.new_zeros(0)
        if scores.shape != (len(images),) or not bool(torch.isfinite(scores).all()):
            raise ModelError(
                f"The critic returned scores of shape {tuple(scores.shape)} for {len(images)} images, or some that are "
                "not finite; expected one finite number per image."
            )
        return scores

    def latents(self, count: int, seed: int) -> Tensor:
        """Return standard normal latents (count, latent) on the module's device; the first ones of a larger count."""
        drawn = np.random.default_rng(seed).standard_normal((count, self.latent), np.float32)
        return torch.from_numpy(drawn).clamp(*self.limits).to(self.device)

    @property
    def device(self) -> torch.device:
        """Where the module is."""
        return next((parameter.device for parameter in self.module.parameters()), torch.device("cpu"))

    @torch.no_grad()
    def sample(self, count: int, seed: int) -> Tensor:
        """Return images (count, c, h, w) of random latents."""
        return self.made(self.latents(count, seed))

    @torch.no_grad()
    def made(self, latents: Tensor) -> Tensor:
        """Return images of many latents (n, latent), group by group."""
        return torch.cat([self.raw(latents[start : start + GROUP]) for start in range(0, len(latents), GROUP)])

    @torch.no_grad()
    def interpolate(self, first: Tensor, second: Tensor, steps: int) -> Tensor:
        """Return images along the straight lines between latents (n, latent), both ends included, (n, steps, ...)."""
        share = torch.linspace(0, 1, steps, device=first.device)[None, :, None]
        points = first[:, None] * (1 - share) + second[:, None] * share
        images = self.made(points.flatten(0, 1))
        return images.view(len(first), steps, *images.shape[1:])

    def learn(self, lesson: Any, device: torch.device) -> dict[str, Any] | None:
        """Train generator and critic against each other; see `suite.models.training.gan`."""
        if not isinstance(self.recipe, GanRecipe):
            raise ModelError("A generator is trained by a GanRecipe; give recipe=GanRecipe(...).")
        return trained(self, self.recipe, lesson, device)


def _latent(name: str, size: int) -> npt.NDArray[np.float32]:
    seed = int.from_bytes(hashlib.sha256(f"latent\0{name}".encode()).digest()[:16], "big")
    drawn = np.random.default_rng(seed).standard_normal(size, np.float32)
    return drawn.clip(*TorchGenerator.limits)


def _refuse_unfit(module: nn.Module) -> None:
    parts = dict(module.named_children())
    lacking = [name for name in ("generator", "critic") if name not in parts]
    size = getattr(module, "latent", None)
    if lacking or not isinstance(size, int) or size < 1:
        raise ModelError(
            f"TorchGenerator got a {type(module).__name__} without {', '.join(lacking) or 'a whole number latent'}; "
            "expected a module with generator, critic and latent."
        )
