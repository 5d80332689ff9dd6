"""Blocks of rows, so that the memory of a computation does not grow with the number of samples."""

from collections.abc import Iterator

ELEMENTS = 2**20
"""Elements of one block; a float64 array of that size takes 8 MiB."""


def row_blocks(shape: tuple[int, ...], elements: int = ELEMENTS) -> Iterator[slice]:
    """Yield slices of the rows of an array (rows, columns): at most `elements` elements, at least one row."""
    rows, columns = shape
    step = max(1, elements // max(1, columns))
    for start in range(0, rows, step):
        yield slice(start, min(rows, start + step))
