"""The limit of a patch: the square that it covers."""

from torch import Tensor

from suite.attacks.constraints.norms import Norm, register_norm

PATCH = register_norm(
    Norm("patch", "area", unit="%", quantity="share of the image covered", covers=True, has_zero=False)
)


def covered(clean: Tensor, values: Tensor) -> Tensor:
    """Return the bounding box of all changed pixels of each image, bool (n, h, w)."""
    changed = (clean != values).any(dim=1)
    rows, columns = (_between(changed.any(dim=axis)) for axis in (2, 1))
    return rows[:, :, None] & columns[:, None, :]


def _between(marked: Tensor) -> Tensor:
    """Return the entries from the first to the last marked one of each row, bool (n, length)."""
    before = marked.cumsum(dim=1) > 0
    after = marked.flip(1).cumsum(dim=1).flip(1) > 0
    return before & after
