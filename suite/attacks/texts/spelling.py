"""Human-like typos: inside words of four letters or more, with the first and the last letter unchanged."""

from functools import cache, lru_cache

ROWS = (("qwertyuiop", 0.0), ("asdfghjkl", 0.25), ("zxcvbnm", 0.75))
"""Rows of letters on a keyboard, and the shift of each row to the right, in keys."""

REACH = 1.3
"""Largest distance, in keys, between two letters that count as neighbors."""

SHORTEST = 4
"""Letters in the shortest word that gets typos; shorter words have too few inner letters."""


@cache
def adjacent_keys(letter: str) -> str:
    """Return the letters next to a letter on the keyboard, in its case; none for a character that is not on a key."""
    places = {key: (shift + column, row) for row, (keys, shift) in enumerate(ROWS) for column, key in enumerate(keys)}
    if letter.lower() not in places:
        return ""
    x, y = places[letter.lower()]
    around = [key for key, (a, b) in places.items() if 0 < (a - x) ** 2 + (b - y) ** 2 <= REACH**2]
    return "".join(key.upper() if letter.isupper() else key for key in around)


@lru_cache(maxsize=20_000)
def misspellings(word: str) -> tuple[tuple[str, ...], ...]:
    """Return all typos of a word, grouped by kind: swaps, deletions, insertions and substitutions by adjacent keys.

    The four kinds, and that the first and the last letter stay, follow Pruthi et al. (2019). An inserted letter repeats
    the letter before it or is adjacent to that letter on the keyboard. Kinds without any typo are left out.
    """
    if len(word) < SHORTEST or not word.isalpha():
        return ()
    inside = range(1, len(word) - 1)
    swaps = [word[:i] + word[i + 1] + word[i] + word[i + 2 :] for i in inside[:-1] if word[i] != word[i + 1]]
    deletions = [word[:i] + word[i + 1 :] for i in inside]
    keys = [word[i - 1] + adjacent_keys(word[i - 1]) for i in range(1, len(word))]
    insertions = [word[:i] + key + word[i:] for i, added in enumerate(keys, 1) for key in added]
    substitutions = [word[:i] + key + word[i + 1 :] for i in inside for key in adjacent_keys(word[i])]
    kinds = (tuple(dict.fromkeys(kind)) for kind in (swaps, deletions, insertions, substitutions))
    return tuple(kind for kind in kinds if kind)


def typo(word: str, kind: float, which: float) -> str:
    """Return one typo of a word, chosen by two numbers in [0, 1): first the kind, because kinds differ in size."""
    kinds = misspellings(word)
    chosen = kinds[int(kind * len(kinds))]
    return chosen[int(which * len(chosen))]
