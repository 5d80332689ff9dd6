"""What of labelled records a split takes, every class in the same proportion."""

from collections.abc import Hashable, Sequence
from typing import TypeVar

from suite.data.digests import in_digest_order
from suite.data.split_files import Portion
from suite.data.splitting import stratified

Item = TypeVar("Item")


def take(items: Sequence[Item], labels: Sequence[Hashable], share: Portion, split: str, *, seed: int) -> list[Item]:
    """Return the split's share of a part's items, which come in a fixed order with one label each."""
    if share.fractions is None:
        return list(items)
    chosen = stratified(labels, split, seed=seed, fractions=share.fractions)
    return [items[position] for position in chosen]


def limited(items: Sequence[Item], ids: Sequence[str], most: int | None) -> list[Item]:
    """Return at most so many items, in their order; which ones depends on nothing but their ids."""
    if most is None or most >= len(items):
        return list(items)
    return [items[place] for place in sorted(in_digest_order(ids)[: max(most, 0)])]
