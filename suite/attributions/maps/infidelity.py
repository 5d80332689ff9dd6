"""Infidelity: how well a map predicts what small changes of the input do (Yeh et al. 2019, arXiv:1901.09392)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from suite.attributions.maps.explained import Explained, gaussian
from suite.errors import MeasureError


@dataclass(frozen=True, eq=False)
class Probe:
    """What a model answered to noise; every method is held against the same answers.

    Attributes:
        explained: the samples.
        change: scalar(x) - scalar(x - I) for each sample and draw of the noise I, (n, samples), float64.
        sd: standard deviation of the Gaussian noise, in units of the input.
    """

    explained: Explained
    change: Tensor
    sd: float

    def noise(self, rows: Tensor) -> Tensor:
        """Return the noise I of some samples, (m, samples, c, h, w); drawn again, because all of it may not fit."""
        return draw_noise(self.explained, rows, self.change.shape[1], self.sd)


@dataclass(frozen=True, eq=False)
class Infidelity:
    """Infidelity of each sample's map, lower is better, in squared units of the scalar.

    Attributes:
        raw: as defined, (n,), float64; a map that points the right way at the wrong scale is far off.
        scaled: with the map multiplied by the factor that suits the sample's noise best, (n,), float64. It compares
            methods of different scales; the true gradient of a linear model has 0 in both.
    """

    raw: Tensor
    scaled: Tensor


@torch.no_grad()
def probe(explained: Explained, *, samples: int = 10, sd: float = 0.1) -> Probe:
    """Ask the model for its answers to noise: n * (samples + 1) inputs in all, however many methods follow.

    The noise is not clipped to the range of the input: clipping would tie it to the input and bias what is measured.
    """
    if samples < 2 or not sd > 0:
        raise MeasureError(
            f"got samples={samples}, sd={sd} for infidelity; expected 2 samples or more (one draw is fitted by any "
            "map), and noise above 0."
        )
    changes = []
    for rows in explained.chunks(samples + 1):
        inputs = explained.inputs[rows].unsqueeze(1)
        asked = torch.cat([inputs, inputs - draw_noise(explained, rows, samples, sd)], 1).flatten(0, 1)
        answers = explained.explain(asked, rows.repeat_interleave(samples + 1)).double().reshape(len(rows), -1)
        changes.append(answers[:, :1] - answers[:, 1:])
    return Probe(explained, torch.cat(changes), sd)


@torch.no_grad()
def measure_infidelity(raw: Tensor, answers: Probe) -> Infidelity:
    """Compare what raw attributions (n, c, h, w) predict for the noise with what the model answered.

    Raw infidelity is the mean over draws of (I . a - change)^2; scaled infidelity has b * a for a, with
    b = sum(I . a * change) / sum((I . a)^2), or 0 for a map that predicts no change at all.
    """
    attributions = raw.double()
    predicted = torch.cat(
        [
            torch.einsum("mdchw,mchw->md", answers.noise(rows).double(), attributions[rows])
            for rows in answers.explained.chunks(answers.change.shape[1] + 1)
        ]
    )
    power = (predicted**2).sum(1, keepdim=True)
    factor = (predicted * answers.change).sum(1, keepdim=True) / torch.where(power > 0, power, 1.0)
    return Infidelity(_mean_square(predicted - answers.change), _mean_square(factor * predicted - answers.change))


def draw_noise(explained: Explained, rows: Tensor, samples: int, sd: float) -> Tensor:
    """Return Gaussian noise (m, samples, c, h, w) that depends on nothing but the samples' own seeds."""
    return sd * gaussian(explained, rows, samples, "infidelity")


def _mean_square(error: Tensor) -> Tensor:
    return (error**2).mean(1)
