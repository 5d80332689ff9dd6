"""Speed of the expected calibration error compared with torchmetrics and netcal.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python -m tests.benchmarks.calibration_speed

From 1,000,000 float32 distributions over 10 classes to the error of the top label with 15 bins, checks included in all
three. Times are processor times on one thread, the minimum over several runs that take turns. A library that is not
installed is left out; for torchmetrics it is enough to ``pip install --no-deps --target DIR torchmetrics
lightning-utilities`` and to have DIR on PYTHONPATH.
"""

from __future__ import annotations

import importlib.util

import numpy as np
import torch

from suite.metrics.calibration import Reliability
from tests.benchmarks.boxes_speed import minimum_times

SAMPLES, CLASSES, BINS, RUNS = 1_000_000, 10, 15, 7


def distributions(samples, classes):
    """Return softmax rows (samples, classes) in float32, and labels drawn at random."""
    generator = np.random.default_rng(0)
    weights = np.exp(2 * generator.standard_normal((samples, classes), np.float32))
    return weights / weights.sum(axis=1, keepdims=True), generator.integers(0, classes, samples)


def functions(probabilities, labels):
    """Return the functions to compare, by name; each returns the error."""
    found = {"suite": lambda: Reliability.from_probabilities(probabilities, labels, BINS).ece()}
    if importlib.util.find_spec("torchmetrics"):
        from torchmetrics.functional.classification import multiclass_calibration_error

        rows, targets = torch.from_numpy(probabilities), torch.from_numpy(labels)
        found["torchmetrics"] = lambda: float(multiclass_calibration_error(rows, targets, CLASSES, BINS))
    if importlib.util.find_spec("netcal"):
        from netcal.metrics import ECE

        found["netcal"] = lambda: float(ECE(BINS).measure(probabilities, labels))
    return found


def main() -> None:
    """Print the error and the time of each library."""
    torch.set_num_threads(1)
    compared = functions(*distributions(SAMPLES, CLASSES))
    for work in compared.values():
        work()  # imports and first allocations are not timed
    times = minimum_times(*compared.values(), runs=RUNS)
    for (name, work), seconds in zip(compared.items(), times, strict=True):
        print(f"{name}: ECE {work():.7f}, {1000 * seconds:.1f} ms, {seconds / times[0]:.1f} times the suite's")


if __name__ == "__main__":
    main()
