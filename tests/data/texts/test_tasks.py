"""The tasks for texts: registered, described, and connected to their readers."""

import pytest

from suite.errors import SpecError
from suite.registry import resolve
from suite.types import Sample
from tests.data.texts.files import write

SENTIMENT = (
    "movie-sentiment", "tweet-sentiment", "product-sentiment", "news-sentiment", "sst2", "imdb", "texttable",
)  # fmt: skip
LANGUAGE = ("plays", "textfile")


def test_every_task_is_registered_under_its_kind():
    for name in (*SENTIMENT, *LANGUAGE):
        entry, _ = resolve("task", name)
        assert entry.meta["kind"] == ("sentiment" if name in SENTIMENT else "language")
        assert entry.meta["source"] and entry.summary.endswith(".")


def test_arguments_of_a_spec_reach_the_reader(tmp_path):
    write(tmp_path / "texts.csv", "words,answer\n" + "".join(f"fine {n},1\npoor {n},0\n" for n in range(10)))
    write(tmp_path / "sst2" / "dev.tsv", "sentence\tlabel\nfine\t1\n")
    write(tmp_path / "aclImdb" / "test" / "pos" / "0_9.txt", "fine")
    write(tmp_path / "aclImdb" / "test" / "neg" / "0_1.txt", "poor")
    write(tmp_path / "long.txt", "once upon a time " * 20)
    expected = {
        f"texttable(path='{tmp_path}/texts.csv', text=words, label=answer, classes=[poor, fine])": {"poor", "fine"},
        f"sst2(path='{tmp_path}/sst2')": {"positive"},
        f"imdb(path='{tmp_path}/aclImdb')": {"positive", "negative"},
        f"textfile(path='{tmp_path}/long.txt', context=5, scored=7, test=2)": {5},
    }
    for spec_text, targets in expected.items():
        entry, spec = resolve("task", spec_text)
        samples = list(entry.build(spec, split="test", seed=0))
        assert {sample.target for sample in samples if isinstance(sample, Sample)} == targets, spec_text
    assert len(samples) == 2 and {len(sample.input) for sample in samples} == {12}


@pytest.mark.parametrize("name", ["sst2", "imdb", "texttable", "textfile"])
def test_tasks_on_files_need_a_path(name):
    entry, spec = resolve("task", name)
    with pytest.raises(SpecError, match="needs path"):
        entry.build(spec, split="test", seed=0)
