"""The samples to explain: inputs, the scalar and the score that depend on them, and one seed per sample."""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from suite.attributions.maps.baselines import REPLACEMENTS
from suite.attributions.maps.draws import generator
from suite.attributions.maps.masked import MaskedValues, Scalar
from suite.errors import MeasureError, ModelError


@dataclass(frozen=True, eq=False)
class Explained:
    """The samples to explain, with the scalar and the score that depend on them.

    Attributes:
        inputs: images (n, c, h, w), floating point, in 0..1 where the functions expect it.
        target: the scalar that attributions explain, differentiable; for a classifier the logit of the predicted
            class of the clean sample. It may call the model several times, in the order of its inputs, and pad them at
            the end.
        score: the value of deletion and insertion curves; for a classifier the probability of the same class.
        seeds: one non-negative integer per sample; all randomness of a sample depends on it alone.
        layer: the module whose output Grad-CAM reads, or None if the model has no convolution.
        batch_size: number of inputs per call of `target` or `score`, best the width of the model: gradients keep the
            activations of a whole call in memory. Results do not depend on it.
        region: the box or region of the clean image that is explained, (n, h, w) bool, at least one pixel each; None if
            the whole image is explained, as for a classifier.
    """

    inputs: Tensor
    target: Scalar
    score: Scalar
    seeds: Sequence[int]
    layer: nn.Module | None = None
    batch_size: int = 256
    region: Tensor | None = None

    def __post_init__(self) -> None:
        shape = tuple(self.inputs.shape)
        if len(shape) != 4 or 0 in shape or not self.inputs.is_floating_point():
            raise MeasureError(
                f"got inputs of shape {shape} and type {self.inputs.dtype}; expected at least one floating point "
                "image, (n, c, h, w). Convert the samples first."
            )
        if len(self.seeds) != shape[0] or min(self.seeds) < 0:
            raise MeasureError(
                f"got {len(self.seeds)} seeds for {shape[0]} samples; expected one non-negative integer for each."
            )
        if self.batch_size < 1:
            raise MeasureError(f"got batch_size={self.batch_size}; expected 1 or more.")
        require_finite(self.inputs, "the inputs to explain")
        if self.region is not None:
            _check_region(self.region, (shape[0], *shape[2:]))
            object.__setattr__(self, "region", self.region.to(self.inputs.device))

    def __len__(self) -> int:
        """Return the number of samples."""
        return int(self.inputs.shape[0])

    def chunks(self) -> Iterator[Tensor]:
        """Yield the rows of all samples in order, in batches."""
        yield from torch.split(torch.arange(len(self), device=self.inputs.device), self.batch_size)

    @functools.cached_property
    def masked_targets(self) -> MaskedValues:
        """The scalar of images with deleted cells, each evaluated once for all methods."""
        return MaskedValues(self.explain, self.inputs.contiguous(), self.baseline, self.batch_size)

    @functools.cached_property
    def masked_scores(self) -> MaskedValues:
        """The score of images with deleted cells, each evaluated once for all methods and curves."""
        return MaskedValues(self.rate, self.inputs.contiguous(), self.baseline, self.batch_size)

    @functools.cached_property
    def costs(self) -> list[str]:
        """What a method spends on each image, in words; a method whose cost follows a budget adds a line."""
        return []

    @functools.cached_property
    def _replacements(self) -> dict[str, Tensor]:
        return {}

    def baseline(self, name: str) -> Tensor:
        """Return replacements of deleted pixels, one of `REPLACEMENTS`, (n, c, h, w)."""
        if name not in self._replacements:
            self._replacements[name] = REPLACEMENTS[name](self.inputs.contiguous())
        return self._replacements[name]

    def explain(self, inputs: Tensor, rows: Tensor) -> Tensor:
        """Return the scalar to explain of (perturbed) inputs, (m,); raise `ModelError` unless finite."""
        return one_each(self.target(inputs, rows), rows, "target function")

    def rate(self, inputs: Tensor, rows: Tensor) -> Tensor:
        """Return the score of (perturbed) inputs, (m,); raise `ModelError` unless finite."""
        return one_each(self.score(inputs, rows), rows, "score function")


def gaussian(explained: Explained, row: int, draws: int, stream: str) -> Tensor:
    """Return standard normal noise for one sample, (draws, c, h, w), which depends on its seed alone."""
    noise = torch.randn((draws, *explained.inputs.shape[1:]), generator=generator(explained.seeds[row], stream))
    return noise.to(explained.inputs)


def require_finite(values: Tensor, what: str) -> None:
    """Raise `ModelError` if any value is not finite."""
    bad = int((~torch.isfinite(values)).sum())
    if bad:
        raise ModelError(
            f"{what}: {bad} of {values.numel()} values are not finite; expected finite numbers. "
            "Check the model's weights and the range of its inputs."
        )


def _check_region(region: Tensor, shape: tuple[int, ...]) -> None:
    if tuple(region.shape) != shape or region.dtype != torch.bool:
        raise MeasureError(
            f"got a region of shape {tuple(region.shape)} and type {region.dtype}; expected {shape}, bool. "
            "Give one mask per sample, of the size of its image."
        )
    empty = (~region.flatten(1).any(1)).nonzero().flatten().tolist()
    if empty:
        raise MeasureError(
            f"got no pixel in the regions of the samples in rows {empty[:5]} ({len(empty)} of {shape[0]}); expected at "
            "least one. Leave out the samples without a region."
        )


def one_each(values: Tensor, inputs: Tensor, what: str) -> Tensor:
    """Return values unchanged; raise ModelError unless they are finite and one for each input."""
    if values.shape != inputs.shape:
        raise ModelError(
            f"the {what} returned shape {tuple(values.shape)} for {len(inputs)} inputs; expected ({len(inputs)},). "
            "Return one number for each input."
        )
    require_finite(values.detach(), f"the {what}")
    return values
