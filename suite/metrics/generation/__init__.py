"""Metrics of generated samples from features: FID, KID, precision, recall, density and coverage; numpy and scipy."""

from suite.metrics.generation.fid import frechet_distance, frechet_error
from suite.metrics.generation.kid import kernel_distance, kernel_interval
from suite.metrics.generation.nearness import nearer_counts, nearer_interval, nearer_share
from suite.metrics.generation.neighbors import Neighbors, compared, nearest, radii

__all__ = [
    "Neighbors",
    "compared",
    "frechet_distance",
    "frechet_error",
    "kernel_distance",
    "kernel_interval",
    "nearer_counts",
    "nearer_interval",
    "nearer_share",
    "nearest",
    "radii",
]
