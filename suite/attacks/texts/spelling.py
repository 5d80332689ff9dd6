"""Typos as people make them: inside words of four letters and more, the first and the last letter in their place."""

from functools import cache, lru_cache

ROWS = (("qwertyuiop", 0.0), ("asdfghjkl", 0.25), ("zxcvbnm", 0.75))
"""Rows of letters on a keyboard, and how far each is moved to the right, in keys."""

REACH = 1.3
"""Keys between two letters that a finger may take for each other."""

SHORTEST = 4
"""Letters of the shortest word that is misspelt; shorter ones have no inside to speak of."""


@cache
def near(letter: str) -> str:
    """Return the letters round a letter on the keyboard, in its case; none for what is on no key."""
    places = {key: (shift + column, row) for row, (keys, shift) in enumerate(ROWS) for column, key in enumerate(keys)}
    if letter.lower() not in places:
        return ""
    x, y = places[letter.lower()]
    around = [key for key, (a, b) in places.items() if 0 < (a - x) ** 2 + (b - y) ** 2 <= REACH**2]
    return "".join(key.upper() if letter.isupper() else key for key in around)


@lru_cache(maxsize=20_000)
def misspelt(word: str) -> tuple[tuple[str, ...], ...]:
    """Return every typo of a word, by its way: swapped, left out, added, and mistaken for a key nearby.

    The four ways, and that the first and the last letter stay, are those of Pruthi et al. (2019). What is added is the
    letter before it once more, or one near that. A way that does not change the word is left out.
    """
    if len(word) < SHORTEST or not word.isalpha():
        return ()
    inside = range(1, len(word) - 1)
    swapped = [word[:i] + word[i + 1] + word[i] + word[i + 2 :] for i in inside[:-1] if word[i] != word[i + 1]]
    shorter = [word[:i] + word[i + 1 :] for i in inside]
    longer = [word[:i] + key + word[i:] for i in range(1, len(word)) for key in word[i - 1] + near(word[i - 1])]
    mistaken = [word[:i] + key + word[i + 1 :] for i in inside for key in near(word[i])]
    ways = (tuple(dict.fromkeys(way)) for way in (swapped, shorter, longer, mistaken))
    return tuple(way for way in ways if way)


def typo(word: str, way: float, which: float) -> str:
    """Return one typo of a word, chosen by two numbers in [0, 1): the way first, for they differ in number."""
    ways = misspelt(word)
    chosen = ways[int(way * len(ways))]
    return chosen[int(which * len(chosen))]
