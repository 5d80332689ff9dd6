"""The manifold of real images in feature space: a union of balls around training images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from suite.data import Split
from suite.kinds.base import Array
from suite.kinds.synthesis.judge import INFERENCE_BATCH as BATCH
from suite.kinds.synthesis.judge import Judge, judge_of
from suite.metrics.generation import radii

REAL, K = 2000, 3
"""Maximum number of training images for the manifold, and the nearest neighbor that determines a ball's radius."""

WIDEST = 0.9
"""Quantile of the radii above which balls are dropped: they cover empty regions, in which any image would count as real
(Kynkäänniemi et al. 2019 drop half for their realism score)."""


@dataclass(frozen=True)
class Manifold:
    """The manifold of real images in the feature space of a judge.

    Attributes:
        judge: the feature extractor.
        centers: features of real images, (n, features).
        radii: of the balls around them, (n,).
    """

    judge: Judge
    centers: Tensor
    radii: Tensor

    @classmethod
    def of(cls, train: Split) -> Self:
        """Return the manifold of training images.

        Raises:
            NotApplicableError: a judge cannot be trained on these images.
        """
        judge = judge_of(train)
        centers = judge.features_of(train.few(REAL).pixels())
        distances = radii(centers, K)
        kept = distances <= np.quantile(distances, WIDEST)
        return cls(judge, torch.from_numpy(centers[kept]).float(), torch.from_numpy(distances[kept]).float())

    def on(self, device: torch.device) -> Manifold:
        """Return the manifold on a device."""
        return Manifold(self.judge.on(device), self.centers.to(device), self.radii.to(device))

    def gaps(self, images: Tensor) -> Tensor:
        """Return the distance of images (m, c, h, w) to the surface of each ball, (m, n); negative inside."""
        # Not by a matrix product, whose last bits would depend on the number of images.
        distances = torch.cdist(self.judge.features(images), self.centers, compute_mode="donot_use_mm_for_euclid_dist")
        return distances - self.radii

    @torch.no_grad()
    def distances(self, images: Tensor | Array) -> Array:
        """Return the distance of many images to the manifold, in batches, float64 (m,); negative inside."""
        batches = torch.split(torch.as_tensor(images), BATCH) if len(images) else ()
        return torch.cat([torch.zeros(0), *(self.gaps(batch).amin(dim=1) for batch in batches)]).double().numpy()
