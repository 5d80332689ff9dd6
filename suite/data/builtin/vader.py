"""Four corpora of short English texts, each rated by many people: the data that VADER was evaluated on."""

import ast
import html
from collections.abc import Iterator
from functools import lru_cache

from suite.data.builtin.archives import Archive, fetch, members
from suite.data.digests import limited
from suite.data.formats.text_files import decoded
from suite.data.splitting import SPLITS, stratified
from suite.errors import DataError
from suite.types import Rejected, Sample

ARCHIVE = Archive(
    "vaderSentiment",
    "3.3.2",
    "vaderSentiment-3.3.2.tar.gz",
    "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
)
CLASSES = ("negative", "positive")

STEMS = {
    "movie": "movieReviewSnippets",
    "tweets": "tweets",
    "amazon": "amazonReviewSnippets",
    "nyt": "nytEditorialSnippets",
}
"""Prefix of the file names of each corpus."""

FRACTIONS = (0.81, 0.095, 0.095)
"""Shares of train, validation and test of the film reviews: 1,004 each for validation and test."""

NO_SIDE = "the ratings have the mean 0; neither negative nor positive"


def read_vader(split: str, *, seed: int, corpus: str = "movie", test: int | None = 1000) -> Iterator[Sample | Rejected]:
    """Yield the texts of one split; train and validation are film reviews whatever the corpus, test is the corpus.

    A text's label is the sign of its mean rating, -4 to 4; texts with the mean 0 are rejected. Its shares are those of
    the raters who took a side: below 0 is negative, above 0 positive; ratings of 0 are not counted, because they chose
    neither class. The label need not be that of the majority: few strong ratings may outweigh many weak ones. Sentences
    of one editorial or product review are a group; of film reviews and tweets, no groups are known.

    Args:
        split: train, validation or test.
        seed: seed of the stratified split of the film reviews.
        corpus: movie, tweets, amazon or nyt.
        test: largest number of test texts, chosen by their ids; None for all.

    Raises:
        DataError: an unknown corpus, or the archive is not in the cache and cannot be downloaded.
    """
    if corpus not in STEMS:
        raise DataError(f"There is no corpus {corpus!r}; expected one of {', '.join(STEMS)}.")
    SPLITS.index(split)
    if test is not None and test < 1:
        raise DataError(f"test={test}; expected at least 1, or None for all.")
    records = read_corpus(corpus if split == "test" else "movie")
    texts = [record for record in records if isinstance(record, Sample)]
    if split == "train" or (split == "test" and corpus != "movie"):  # each text is reported once
        yield from (record for record in records if isinstance(record, Rejected))
    if split != "test" or corpus == "movie":
        chosen = stratified([text.target for text in texts], split, seed=seed, fractions=FRACTIONS)
        texts = [texts[position] for position in chosen]
    yield from limited(texts, [text.id for text in texts], test if split == "test" else None)


@lru_cache(maxsize=2)
def read_corpus(corpus: str) -> tuple[Sample | Rejected, ...]:
    """Return every text of a corpus with its ratings, joined by id, in the order of the text file."""
    folder, stem = "hutto_ICWSM_2014", STEMS[corpus]
    outer = f"vaderSentiment-{ARCHIVE.version}/additional_resources/{folder}.tar.gz"
    names = (f"{folder}/{stem}_GroundTruth.txt", f"{folder}/{stem}_anonDataRatings.txt")
    contents = members(members(fetch(ARCHIVE), (outer,))[outer], names)
    return tuple(join_ratings(corpus, *(contents[name] for name in names)))


def join_ratings(corpus: str, texts: bytes, ratings: bytes) -> Iterator[Sample | Rejected]:
    """Yield the texts of a corpus with their labels and shares.

    Args:
        corpus: the first part of the ids.
        texts: lines of id, mean rating and text, separated by tabs.
        ratings: lines of id, mean, standard deviation and the list of ratings. Either file may begin with a byte order
            mark, and the lists may differ in length.
    """
    by_id = {cells[0]: cells[3] for cells in _rows(ratings, 4)}
    for name, _, text in _rows(texts, 3):
        yield _rated(f"{corpus}/{name}", _unescaped(text), by_id.pop(name, None))
    for name in by_id:
        yield Rejected(f"{corpus}/{name}", "ratings without a text")


def _rows(content: bytes, columns: int) -> list[list[str]]:
    lines = decoded(content, "a file of VADER").replace("\r\n", "\n").split("\n")
    rows = [line.split("\t", columns - 1) for line in lines if line]
    if short := next((row for row in rows if len(row) < columns), None):
        raise DataError(f"A line of {len(short)} columns ({short[0]!r:.40}); expected {columns}, separated by tabs.")
    return rows


def _unescaped(text: str) -> str:
    """Return a text without HTML entities, which some corpora escape twice: ``&amp;amp;``."""
    while (once := html.unescape(text)) != text:
        text = once
    return text


def _rated(name: str, text: str, list_of_ratings: str | None) -> Sample | Rejected:
    if list_of_ratings is None:
        return Rejected(name, "a text without ratings")
    try:
        ratings = [int(rating) for rating in ast.literal_eval(list_of_ratings)]
    except (ValueError, SyntaxError, TypeError, OverflowError, MemoryError, RecursionError):
        return Rejected(name, f"ratings {list_of_ratings!r:.40}; expected a list of integers")
    if not ratings:
        return Rejected(name, "a text without ratings")
    negative, positive = sum(rating < 0 for rating in ratings), sum(rating > 0 for rating in ratings)
    if sum(ratings) == 0:
        return Rejected(name, NO_SIDE)
    shares = (negative / (negative + positive), positive / (negative + positive))
    document = name.rpartition("_")[0] or None  # sentences of editorials and product reviews have ids such as nyt/7_12
    return Sample(name, text, CLASSES[sum(ratings) > 0], shares=shares, group=document)
