"""Sentiment: short reviews, tweets and news judged by people, and your own texts in the usual formats."""

from __future__ import annotations

from collections.abc import Iterator

from suite import Rejected, Sample, task

NEGATIVE_POSITIVE = ("negative", "positive")

VADER = "VADER (Hutto and Gilbert 2014), each text rated by 15 to 99 people, from the source of vaderSentiment 3.3.2"


@task(name="movie-sentiment", kind="sentiment", classes=NEGATIVE_POSITIVE, source=f"{VADER}: snippets of film reviews")
def sentiment_movies(split: str, seed: int, *, test: int | None = 1000) -> Iterator[Sample | Rejected]:
    """10,568 sentences of film reviews, for the film or against it; test= says how many to judge on, None for all."""
    from suite.data.vader import read_vader

    yield from read_vader(split, seed=seed, corpus="movie", test=test)


@task(name="tweet-sentiment", kind="sentiment", classes=NEGATIVE_POSITIVE, source=f"{VADER}: tweets, trained on films")
def sentiment_tweets(split: str, seed: int, *, test: int | None = 1000) -> Iterator[Sample | Rejected]:
    """A shift of domain: learn on film reviews, be judged on tweets; test= says how many, None for all 4,196."""
    from suite.data.vader import read_vader

    yield from read_vader(split, seed=seed, corpus="tweets", test=test)


@task(
    name="product-sentiment",
    kind="sentiment",
    classes=NEGATIVE_POSITIVE,
    source=f"{VADER}: product reviews, trained on films",
)
def sentiment_amazon(split: str, seed: int, *, test: int | None = 1000) -> Iterator[Sample | Rejected]:
    """A shift of domain: learn on film reviews, be judged on product reviews; test= says how many, None for all."""
    from suite.data.vader import read_vader

    yield from read_vader(split, seed=seed, corpus="amazon", test=test)


@task(
    name="news-sentiment", kind="sentiment", classes=NEGATIVE_POSITIVE, source=f"{VADER}: editorials, trained on films"
)
def sentiment_nyt(split: str, seed: int, *, test: int | None = 1000) -> Iterator[Sample | Rejected]:
    """A shift of domain: learn on film reviews, be judged on editorials; test= says how many, None for all."""
    from suite.data.vader import read_vader

    yield from read_vader(split, seed=seed, corpus="nyt", test=test)


@task(kind="sentiment", classes=NEGATIVE_POSITIVE, source="Stanford Sentiment Treebank, two classes, as GLUE ships it")
def sst2(split: str, seed: int, *, path: str) -> Iterator[Sample | Rejected]:
    """SST-2: path= the folder with train.tsv and dev.tsv; judged on dev, for the labels of test are not public."""
    from suite.data.reviews import read_sst2

    yield from read_sst2(path, split, seed=seed)


@task(kind="sentiment", classes=NEGATIVE_POSITIVE, source="Large Movie Review Dataset (IMDB), 50,000 reviews")
def imdb(split: str, seed: int, *, path: str) -> Iterator[Sample | Rejected]:
    """IMDB: path= the folder aclImdb with train/ and test/, each with pos/ and neg/."""
    from suite.data.reviews import read_imdb

    yield from read_imdb(path, split, seed=seed)


@task(kind="sentiment", source="a table of texts and labels")
def texttable(
    split: str, seed: int, *, path: str, text: str = "text", label: str = "label", classes: tuple[str, ...] = ()
) -> Iterator[Sample | Rejected]:
    """Your texts: path= a CSV, TSV, JSON lines, Parquet or Arrow file or folder; text= and label= name the columns."""
    from suite.data.tables import read_table

    yield from read_table(path, split, seed=seed, text=text, label=label, classes=classes)
