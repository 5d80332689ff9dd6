"""How much samples look like real ones, from features of both; numpy and scipy only, float64 throughout."""

from suite.metrics.generation.fid import frechet_distance, frechet_error
from suite.metrics.generation.kid import Discrepancy, kernel_distance
from suite.metrics.generation.neighbours import Neighbours, compared, nearest, radii

__all__ = [
    "Discrepancy",
    "Neighbours",
    "compared",
    "frechet_distance",
    "frechet_error",
    "kernel_distance",
    "nearest",
    "radii",
]
