"""Sentiment: short reviews, tweets and news rated by people, and your own texts in common formats."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from suite import ClassNames, Rejected, Remark, Sample, model, task

if TYPE_CHECKING:
    from suite import TaskInfo
    from suite.models.adapters.text import TorchText

NEGATIVE_POSITIVE = ("negative", "positive")

TEXT_AXES = {
    "robustness": (
        "robustness(attack=hotflip(edits=[1, 2, 4]), audit=16)",
        "robustness(attack=hotflip(edits=[1, 2, 4], unit=character), audit=16)",
        "robustness(attack=typos(edits=[1, 2, 4]), audit=16)",
        "robustness(attack=trigger(edits=[1, 3], restarts=2, rounds=1), audit=16)",
        "robustness(attack=fgsm(eps=[0.05, 0.1, 0.25, 0.5]), space=embedding, audit=16)",
        "robustness(attack=pgd(eps=[0.05, 0.1, 0.25, 0.5], steps=10, restarts=1), space=embedding, audit=16)",
    ),
    "calibration": ("calibration(members=1, dropout_samples=10)",),
    "attribution": ("rationale(samples=50)",),
}
"""What the demo measures of text classifiers."""

VADER = "VADER (Hutto and Gilbert 2014), each text rated by 15 to 99 people, from the source of vaderSentiment 3.3.2"


@task(
    name="movie-sentiment",
    kind="sentiment",
    classes=NEGATIVE_POSITIVE,
    presets=TEXT_AXES,
    source=f"{VADER}: snippets of film reviews",
)
def sentiment_movies(split: str, seed: int, *, test: int | None = 400) -> Iterator[Sample | Rejected]:
    """10,568 sentences from film reviews, positive or negative; test= texts in the test split, None for all."""
    from suite.data.builtin.vader import read_vader

    yield from read_vader(split, seed=seed, corpus="movie", test=test)


@task(name="tweet-sentiment", kind="sentiment", classes=NEGATIVE_POSITIVE, source=f"{VADER}: tweets, trained on films")
def sentiment_tweets(split: str, seed: int, *, test: int | None = 1000) -> Iterator[Sample | Rejected]:
    """Domain shift: train on film reviews, test on tweets; test= texts in the test split, None for all 4,196."""
    from suite.data.builtin.vader import read_vader

    yield from read_vader(split, seed=seed, corpus="tweets", test=test)


@task(
    name="product-sentiment",
    kind="sentiment",
    classes=NEGATIVE_POSITIVE,
    source=f"{VADER}: product reviews, trained on films",
)
def sentiment_amazon(split: str, seed: int, *, test: int | None = 1000) -> Iterator[Sample | Rejected]:
    """Domain shift: train on film reviews, test on product reviews; test= texts in the test split, None for all."""
    from suite.data.builtin.vader import read_vader

    yield from read_vader(split, seed=seed, corpus="amazon", test=test)


@task(
    name="news-sentiment", kind="sentiment", classes=NEGATIVE_POSITIVE, source=f"{VADER}: editorials, trained on films"
)
def sentiment_nyt(split: str, seed: int, *, test: int | None = 1000) -> Iterator[Sample | Rejected]:
    """Domain shift: train on film reviews, test on editorials; test= texts in the test split, None for all."""
    from suite.data.builtin.vader import read_vader

    yield from read_vader(split, seed=seed, corpus="nyt", test=test)


@task(kind="sentiment", classes=NEGATIVE_POSITIVE, source="Stanford Sentiment Treebank, two classes, as GLUE ships it")
def sst2(split: str, seed: int, *, path: str) -> Iterator[Sample | Rejected | Remark]:
    """SST-2: path= is the folder with train.tsv and dev.tsv; dev is the test split, as test labels are not public."""
    from suite.data.formats.reviews import read_sst2

    yield from read_sst2(path, split, seed=seed)


@task(kind="sentiment", classes=NEGATIVE_POSITIVE, source="Large Movie Review Dataset (IMDB), 50,000 reviews")
def imdb(split: str, seed: int, *, path: str) -> Iterator[Sample | Rejected | Remark]:
    """IMDB: path= is the folder aclImdb with train/ and test/, each with pos/ and neg/."""
    from suite.data.formats.reviews import read_imdb

    yield from read_imdb(path, split, seed=seed)


@task(kind="sentiment", source="a table of texts and labels")
def texttable(
    split: str,
    seed: int,
    *,
    path: str,
    text: str = "text",
    label: str = "label",
    group: str | None = None,
    classes: tuple[str, ...] = (),
    missing: str | int | None = None,
) -> Iterator[Sample | Rejected | Remark | ClassNames]:
    """Your texts: path= is a CSV, TSV, JSON Lines, Parquet or Arrow file or folder; text=, label=, group=: columns.

    classes= are the classes in the order of a model's outputs; missing= is the label of records that have none.
    """
    from suite.data.formats.table_columns import ColumnNames
    from suite.data.formats.tables import read_table

    columns = ColumnNames(text, label, group)
    yield from read_table(path, split, seed=seed, columns=columns, classes=classes, missing=missing)


@model(kind="sentiment")
def bag(task: TaskInfo, *, weights: str | None = None, full: bool = False, length: int | None = None) -> TorchText:
    """The mean of word embeddings, a baseline that every network should beat; full=True trains for longer."""
    from suite.models.networks.text_presets import text_model

    return text_model(task, "bag", full=full, weights=weights, length=length)


@model(kind="sentiment")
def textcnn(task: TaskInfo, *, weights: str | None = None, full: bool = False, length: int | None = None) -> TorchText:
    """Convolutions over three, four and five words; full=True trains for longer."""
    from suite.models.networks.text_presets import text_model

    return text_model(task, "textcnn", full=full, weights=weights, length=length)


@model(kind="sentiment")
def bigru(task: TaskInfo, *, weights: str | None = None, full: bool = False, length: int | None = None) -> TorchText:
    """A bidirectional GRU; full=True trains for longer."""
    from suite.models.networks.text_presets import text_model

    return text_model(task, "bigru", full=full, weights=weights, length=length)


@model(kind="sentiment")
def text_transformer(
    task: TaskInfo, *, weights: str | None = None, full: bool = False, length: int | None = None
) -> TorchText:
    """A small transformer; full=True is deeper and trains for longer."""
    from suite.models.networks.text_presets import text_model

    return text_model(task, "text_transformer", full=full, weights=weights, length=length)


@model(kind="sentiment")
def vader_rules(task: TaskInfo) -> TorchText:
    """VADER's rules: a lexicon, negations and intensifiers; not trained, and without gradients."""
    from suite.models.libraries.vader import RuleText

    return RuleText(task.classes, length=task.input_shape[0])


@model(kind="sentiment")
def huggingface(task: TaskInfo, *, path: str, length: int = 128, labels: tuple[str, ...] = ()) -> TorchText:
    """Your transformers classifier: path= is a folder from save_pretrained; labels= are the classes of its outputs."""
    from suite.models.libraries.huggingface import huggingface_text

    return huggingface_text(path, task, length=length, labels=labels)
