"""Subsets and seeds that depend on names alone, so that every model and every run agrees on them."""

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import TypeVar

Item = TypeVar("Item")


def seed_of(*parts: str) -> int:
    """Return a seed of 63 bits from strings."""
    return int.from_bytes(sha256("\0".join(parts).encode()).digest()[:8], "big") >> 1


def in_digest_order(ids: Iterable[str]) -> list[int]:
    """Return positions in the order of the SHA-256 of the ids: a shuffle that depends on nothing else."""
    return [index for _, index in sorted((sha256(name.encode()).digest(), index) for index, name in enumerate(ids))]


def limited(items: Sequence[Item], ids: Sequence[str], limit: int | None) -> list[Item]:
    """Return at most `limit` items in their given order; which ones depends on nothing but their ids."""
    if limit is None or limit >= len(items):
        return list(items)
    return [items[index] for index in sorted(in_digest_order(ids)[: max(limit, 0)])]
