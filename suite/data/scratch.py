"""A temporary file without a name, which disappears with the object, also if the process is killed."""

import os
import tempfile
import weakref

import numpy as np
import numpy.typing as npt

from suite.errors import DataError


class Scratch:
    """Bytes on disk, one array after the other.

    They are read with pread and not mapped into memory: pages of a mapped file count as memory of the process.
    """

    def __init__(self) -> None:
        with tempfile.TemporaryFile() as file:
            self._descriptor = os.dup(file.fileno())
        weakref.finalize(self, os.close, self._descriptor)

    def append(self, array: npt.NDArray[np.generic]) -> None:
        """Write an array after the last one.

        Raises:
            DataError: the disk is full.
        """
        content = np.ascontiguousarray(array).data.cast("B")
        try:
            while len(content):
                content = content[os.write(self._descriptor, content) :]
        except OSError as error:
            raise DataError(
                f"The inputs do not fit into {tempfile.gettempdir()}: {error}. Set TMPDIR to a folder with more space."
            ) from error

    def read(self, start: int, result: npt.NDArray[np.generic]) -> None:
        """Fill a contiguous array with the bytes from a position on; many threads may do so at once.

        Raises:
            DataError: there are not as many.
        """
        content = result.data.cast("B")
        while len(content):
            count = os.preadv(self._descriptor, [content], start)
            if not count:
                raise DataError(f"The temporary file of the inputs ends at byte {start}; was it changed?")
            content, start = content[count:], start + count
