"""Infidelity: how well a map predicts the effect of small input changes (Yeh et al. 2019, arXiv:1901.09392)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from suite.attributions.maps.batches import Piece, full_batches
from suite.attributions.maps.explained import Explained, gaussian
from suite.errors import MeasureError


@dataclass(frozen=True)
class Noise:
    """Gaussian noise that depends on the seeds of the samples alone, the same for all methods.

    It is not clipped to the range of the input, which would make it depend on the input.

    Attributes:
        samples: draws per sample, at least 2: any map fits a single draw.
        sd: standard deviation, in units of the input.
    """

    samples: int = 10
    sd: float = 0.1

    def __post_init__(self) -> None:
        if self.samples < 2 or not self.sd > 0:
            raise MeasureError(
                f"got samples={self.samples}, sd={self.sd} for infidelity; expected at least 2 samples (any map fits "
                "a single draw) and sd > 0."
            )

    def draw(self, explained: Explained, row: int) -> Tensor:
        """Return the noise of a sample, (samples, c, h, w)."""
        return self.sd * gaussian(explained, row, self.samples, "infidelity")


@dataclass(frozen=True, eq=False)
class Infidelity:
    """Infidelity of each sample's map, lower is better, in squared units of the scalar.

    Attributes:
        raw: as defined, (n,), float64; it depends on the scale of the map.
        scaled: with the map multiplied by the least-squares factor of the sample, (n,), float64. It compares methods
            of different scales. The gradient of a linear model has 0 in both.
    """

    raw: Tensor
    scaled: Tensor


@torch.no_grad()
def infidelities(explained: Explained, maps: Mapping[str, Tensor], noise: Noise) -> dict[str, Infidelity]:
    """Compare the changes of the scalar that raw attributions predict for the noise with the true changes.

    Raw infidelity is the mean over draws I of (I . a - change)^2; scaled infidelity has b * a for a, with
    b = sum(I . a * change) / sum((I . a)^2), or 0 for a map that predicts no change. The scalar is evaluated at
    n * samples noisy inputs, for all maps together; the noise of one sample is in memory at a time.

    Args:
        explained: the samples.
        maps: raw attributions (n, c, h, w) by method.
        noise: the draws.
    """
    shape = (len(explained), noise.samples)
    predicted = {name: torch.empty(shape, dtype=torch.float64, device=raw.device) for name, raw in maps.items()}

    def noisy() -> Iterator[Piece]:
        for row, image in enumerate(explained.inputs):
            drawn = noise.draw(explained, row)
            for name, raw in maps.items():
                predicted[name][row] = _products(drawn, raw[row])
            yield image - drawn, row

    values = [explained.explain(*batch).double() for batch in full_batches(noisy(), explained.batch_size)]
    change = explained.masked_targets.clean()[:, None] - torch.cat(values).reshape(shape)
    return {name: _infidelity(own, change) for name, own in predicted.items()}


def _products(noise: Tensor, raw: Tensor) -> Tensor:
    """Return the products I . a of each draw (samples, c, h, w) with attributions (c, h, w), float64."""
    flat = raw.double().flatten()
    return torch.stack([draw.double().flatten() @ flat for draw in noise])


def _infidelity(predicted: Tensor, change: Tensor) -> Infidelity:
    power = (predicted**2).sum(1, keepdim=True)
    factor = (predicted * change).sum(1, keepdim=True) / torch.where(power > 0, power, 1.0)
    return Infidelity(_mean_square(predicted - change), _mean_square(factor * predicted - change))


def _mean_square(error: Tensor) -> Tensor:
    return (error**2).mean(1)
