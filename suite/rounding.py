"""Rounding of matrix products."""

from __future__ import annotations

import os
from pathlib import Path


def fix_rounding() -> None:
    """Make Intel's MKL compute matrix products whose rows do not depend on the number of rows.

    MKL chooses its kernels by the shape of a product. On some processors a row of a batch of 8 is rounded differently
    from the same row of a batch of 16, so that results depend on the batch size. The strict mode of conditional
    numerical reproducibility prevents this at no measurable cost. MKL reads the variable at its first product, so call
    this before PyTorch computes anything. It does nothing on other processors, where the strict mode is slow.
    """
    processors = Path("/proc/cpuinfo")
    if processors.exists() and "GenuineIntel" in processors.read_text():
        os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")
