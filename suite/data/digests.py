"""Choices and seeds that depend on names alone: every model and every run agrees on them."""

from collections.abc import Iterable
from hashlib import sha256


def seed_of(*parts: str) -> int:
    """Return a seed of 63 bits from strings."""
    return int.from_bytes(sha256("\0".join(parts).encode()).digest()[:8], "big") >> 1


def in_digest_order(ids: Iterable[str]) -> list[int]:
    """Return positions in the order of the ids' digests: a shuffle, the same one wherever it is asked for."""
    return [place for _, place in sorted((sha256(name.encode()).digest(), place) for place, name in enumerate(ids))]
