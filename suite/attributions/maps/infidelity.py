"""Infidelity: how well a map predicts the effect of small input changes (Yeh et al. 2019, arXiv:1901.09392)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from suite.attributions.maps.explained import Explained, gaussian
from suite.errors import MeasureError


@dataclass(frozen=True, eq=False)
class Probe:
    """Changes of the scalar under noise, shared by all methods.

    Attributes:
        explained: the samples.
        change: scalar(x) - scalar(x - I) for each sample and draw of the noise I, (n, samples), float64.
        sd: standard deviation of the Gaussian noise, in units of the input.
    """

    explained: Explained
    change: Tensor
    sd: float

    def noise(self, rows: Tensor) -> Tensor:
        """Return the noise I of some samples, (m, samples, c, h, w); drawn again to save memory."""
        return draw_noise(self.explained, rows, self.change.shape[1], self.sd)


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
def probe(explained: Explained, *, samples: int = 10, sd: float = 0.1) -> Probe:
    """Evaluate the scalar under noise, once for all methods, with n * (samples + 1) inputs.

    The noise is not clipped to the range of the input, which would make it depend on the input.
    """
    if samples < 2 or not sd > 0:
        raise MeasureError(
            f"got samples={samples}, sd={sd} for infidelity; expected at least 2 samples (any map fits a single draw) "
            "and sd > 0."
        )
    changes = []
    for rows in explained.chunks(samples + 1):
        inputs = explained.inputs[rows].unsqueeze(1)
        noisy = torch.cat([inputs, inputs - draw_noise(explained, rows, samples, sd)], 1).flatten(0, 1)
        values = explained.explain(noisy, rows.repeat_interleave(samples + 1)).double().reshape(len(rows), -1)
        changes.append(values[:, :1] - values[:, 1:])
    return Probe(explained, torch.cat(changes), sd)


@torch.no_grad()
def measure_infidelity(raw: Tensor, noise: Probe) -> Infidelity:
    """Compare the changes that raw attributions (n, c, h, w) predict for the noise with the true changes.

    Raw infidelity is the mean over draws of (I . a - change)^2; scaled infidelity has b * a for a, with
    b = sum(I . a * change) / sum((I . a)^2), or 0 for a map that predicts no change.
    """
    attributions = raw.double()
    predicted = torch.cat(
        [
            torch.einsum("mdchw,mchw->md", noise.noise(rows).double(), attributions[rows])
            for rows in noise.explained.chunks(noise.change.shape[1] + 1)
        ]
    )
    power = (predicted**2).sum(1, keepdim=True)
    factor = (predicted * noise.change).sum(1, keepdim=True) / torch.where(power > 0, power, 1.0)
    return Infidelity(_mean_square(predicted - noise.change), _mean_square(factor * predicted - noise.change))


def draw_noise(explained: Explained, rows: Tensor, samples: int, sd: float) -> Tensor:
    """Return Gaussian noise (m, samples, c, h, w) that depends on the samples' seeds alone."""
    return sd * gaussian(explained, rows, samples, "infidelity")


def _mean_square(error: Tensor) -> Tensor:
    return (error**2).mean(1)
