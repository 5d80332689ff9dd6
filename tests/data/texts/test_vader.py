"""Ratings joined to texts: hand-written examples, and counts on the real corpora."""

import numpy as np
import pytest

from suite.data.builtin import vader
from suite.data.builtin.archives import fetch
from suite.data.builtin.vader import NO_SIDE, join_ratings, read_vader
from suite.errors import DataError
from tests.data.texts.files import over_splits, sorted_out

TEXTS = (
    b'1_1\t9.9\tgood &amp;amp; cheap\r\n2\t0\ta\ttab "in" it\r\n3\t0\tmeh\r\n4\t0\tunrated\r\n5\t1\todd\r\n6\t1\tx\r\n'
)
RATINGS = (
    b"2\t-1\t1\t[-4, 1, 1]\r\n1_1\t1\t1\t[1, 0, 3, -1]\r\n3\t0\t1\t[0, 2, -2]\r\n"
    b"5\t1\t1\tlist(range(3))\r\n6\t1\t1\t[]\r\n7\t1\t1\t[1]\r\n"
)


@pytest.fixture(scope="module")
def corpora():
    """Skip if the archive is not cached and there is no package index."""
    try:
        fetch(vader.ARCHIVE)
    except DataError as error:
        if "from versions: none" not in str(error):
            raise
        pytest.skip("no network: pip reaches no package index, and the cache is empty")


def test_the_label_is_the_sign_of_the_mean_and_shares_count_nonzero_ratings():
    kept, rejected = sorted_out(join_ratings("films", TEXTS, RATINGS))
    assert kept["films/1_1"].input == "good & cheap" and kept["films/1_1"].target == "positive"
    np.testing.assert_allclose(kept["films/1_1"].shares, (1 / 3, 2 / 3))
    # One strong rating outweighs two weak ones: the majority rated it positive.
    assert kept["films/2"].input == 'a\ttab "in" it' and kept["films/2"].target == "negative"
    np.testing.assert_allclose(kept["films/2"].shares, (1 / 3, 2 / 3))
    assert rejected == {
        "films/3": NO_SIDE,
        "films/4": "a text without ratings",
        "films/5": "ratings 'list(range(3))'; expected a list of integers",
        "films/6": "a text without ratings",
        "films/7": "ratings without a text",
    }


def test_a_byte_order_mark_is_not_part_of_an_id():
    kept, _ = sorted_out(join_ratings("a", b"1\t1\tx\r\n", b"\xef\xbb\xbf1\t1\t1\t[1]\r\n"))
    assert set(kept) == {"a/1"}


def test_a_line_with_missing_columns_is_a_data_error():
    with pytest.raises(DataError, match="A line of 2 columns"):
        list(join_ratings("a", b"1\t1\n", b""))


def test_an_unknown_corpus_is_an_error():
    with pytest.raises(DataError, match="expected one of movie, tweets, amazon, nyt"):
        list(read_vader("test", seed=0, corpus="films"))


@pytest.mark.parametrize("test", [0, -1])
def test_a_limit_below_one_is_an_error(test):
    with pytest.raises(DataError, match=f"test={test}; expected at least 1, or None for all"):
        list(read_vader("test", seed=0, test=test))


@pytest.mark.parametrize(
    ("corpus", "neither", "texts"), [("movie", 37, 1004), ("tweets", 4, 4196), ("amazon", 98, 3610), ("nyt", 244, 4946)]
)
def test_the_corpora_have_their_published_sizes(corpora, corpus, neither, texts):
    kept, rejected = over_splits(lambda split: read_vader(split, seed=0, corpus=corpus, test=None))
    assert [len(samples) for samples in kept.values()] == [8560, 1004, texts]
    assert set(rejected.values()) == {NO_SIDE}
    counts = {name: sum(record.startswith(f"{name}/") for record in rejected) for name in ("movie", corpus)}
    assert counts == {"movie": 37, corpus: neither} and len(rejected) == sum(counts.values())
    for sample in kept["test"].values():
        assert sample.id.startswith(corpus) and sample.input.strip() and abs(sum(sample.shares) - 1) < 1e-12
    assert not any("&amp;" in sample.input for samples in kept.values() for sample in samples.values())


def test_all_corpora_share_the_training_and_validation_data(corpora):
    for split in ("train", "validation"):
        films, tweets = (list(read_vader(split, seed=3, corpus=name)) for name in ("movie", "tweets"))
        assert films == tweets and films != list(read_vader(split, seed=4))


def test_the_splits_have_the_same_class_balance(corpora):
    kept, _ = over_splits(lambda split: read_vader(split, seed=1, test=None))
    shares = [np.mean([sample.target == "positive" for sample in samples.values()]) for samples in kept.values()]
    np.testing.assert_allclose(shares, 5242 / 10568, atol=2e-3)


def test_smaller_test_sets_are_subsets_of_larger_ones(corpora):
    few, more, every = (
        list(sorted_out(read_vader("test", seed=0, corpus="tweets", test=most))[0]) for most in (10, 100, None)
    )
    assert len(few) == 10 and len(more) == 100 and set(few) < set(more) < set(every)
    assert more == [name for name in every if name in set(more)] != every[:100]
