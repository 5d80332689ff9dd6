"""The budget of forward passes per image, which limits the cost of explanations of large images."""

MOST, LEAST = 256, 36
"""Largest and smallest budget of forward passes per image; 36 occlude a photograph with 6x6 windows."""

PIXELS = 2**20
"""Pixels that a method may pass through the model per image, between `LEAST` and `MOST` passes: 256 passes up to
64x64 pixels, 113 at 96x96, 36 from 171x171 on."""


def forwards(height: int, width: int) -> int:
    """Return the budget of forward passes per image, for one map or for all curves of one method.

    Args:
        height: height of the image in pixels.
        width: its width.
    """
    return max(LEAST, min(MOST, PIXELS // (height * width)))
