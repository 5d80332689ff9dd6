"""CSV and TSV: what is unusual in a file costs its own lines, and every row is a sample or a rejection."""

import csv as reference
import io
import time

import pytest

from suite.data.formats.separated import STRAY, read_rows
from suite.data.formats.table_columns import ColumnNames
from suite.data.formats.table_files import read_columns
from suite.errors import DataError
from suite.runner.preparation import prepare_task
from tests.data.texts.files import everything, write

LINES = [f"film {number},{'np'[number % 2]}" for number in range(20)]


def changed(file, changes, lines=LINES, header="text,label"):
    """Write a CSV of 20 films with some lines replaced, by their row."""
    lines = [changes.get(row, line) for row, line in enumerate(lines)]
    return write(file, "\n".join([header, *lines]) + "\n")


@pytest.mark.parametrize(
    ("changes", "stray"),
    [
        ({3: '"film 3,p', 9: '"film 9,p'}, [3, 9]),  # the second one closes the cell, and then has letters
        ({3: '"film 3,p'}, [3]),  # never closed
        ({3: '"film 3,p', 9: 'film 9",p'}, [3]),  # a cell of seven lines, each of which is a row
        ({3: '"film 3,p', 9: '"film 9",p'}, [3]),
        ({3: '"film 3" it is,p'}, [3]),
        ({19: '"film 19,p'}, [19]),
        ({3: 'film 3,"p'}, [3]),  # in the label
        ({3: 'film 3,"p', 9: 'film 9,"p'}, [3, 9]),
        ({3: 'film 3,"p', 9: 'film 9,p"'}, [3, 9]),
        ({3: '"film 3,p', 4: '"film 4,n', 5: '"film 5,p', 6: '"film 6,n', 7: '"film 7,p'}, [3, 4, 5, 6, 7]),
    ],
)
def test_a_stray_quotation_mark_costs_its_line_and_not_the_rows_after_it(tmp_path, changes, stray):
    file = changed(tmp_path / "a.csv", changes)
    samples, rejected = everything(file)
    assert rejected == {str(row): f"line {row + 2} {STRAY}" for row in stray}
    lines = [changes.get(row, line) for row, line in enumerate(LINES) if row not in stray]
    cells = [line.replace('"film 9",', "film 9,").rsplit(",", 1) for line in lines]
    assert samples == [tuple(pair) for pair in cells]
    assert len(samples) + len(rejected) == 20


def test_stray_quotation_marks_are_found_whatever_the_order_of_the_columns(tmp_path):
    lines = [",".join(reversed(line.split(","))) for line in LINES]
    file = changed(tmp_path / "a.csv", {3: 'p,"film 3', 9: 'p,film 9"'}, lines, header="label,text")
    samples, rejected = everything(file)
    assert len(samples) == 19 and rejected == {"3": f"line 5 {STRAY}"}


@pytest.mark.parametrize("text", ["film 3\nis long", "film 3, p\nfilm, 4", "a, b\nc, d\n\ne", 'film "3"\nis long'])
def test_a_cell_of_several_lines_is_kept_and_said(tmp_path, text):
    quoted = '"' + text.replace('"', '""') + '",p'
    file = changed(tmp_path / "a.csv", {3: quoted, 8: quoted.replace("3", "8")})
    samples, rejected = everything(file)
    assert samples[3] == (text, "p") and samples[4] == ("film 4", "n") and len(samples) == 20 and not rejected
    last = 5 + text.count("\n")
    (remark,) = read_columns(file, ColumnNames()).remarks
    assert (
        remark == f"a.csv: 2 rows span several lines, the first from line 5 to line {last}: is a quotation mark stray?"
    )
    assert remark in prepare_task(f"texttable(path='{file}')", 0).data.report.remarks


def test_rows_are_those_of_the_library_where_quotation_marks_are_used_properly(tmp_path):
    cells = [["text", "label"], ["a,b", "1"], ['he said "no"', "0"], ["two\nlines\n", "1"], ["", "0"], [' "x" ', "1"]]
    for quoting in (reference.QUOTE_MINIMAL, reference.QUOTE_ALL):
        out = io.StringIO()
        reference.writer(out, quoting=quoting).writerows(cells)
        rows = read_rows(write(tmp_path / "a.csv", out.getvalue()), "label")
        assert [row.cells for row in rows] == cells and not any(row.error for row in rows)
        assert [(row.first, row.last) for row in rows] == [(1, 1), (2, 2), (3, 3), (4, 6), (7, 7), (8, 8)]


def test_many_stray_quotation_marks_are_an_error_and_take_no_time(tmp_path):
    lines = [f'"a"" film {number},{number % 2}' for number in range(20_000)]
    start = time.perf_counter()
    with pytest.raises(DataError, match=r"a\.csv has more than 1,000 lines with stray quotation marks"):
        everything(write(tmp_path / "a.csv", "text,label\n" + "\n".join(lines)))
    assert time.perf_counter() - start < 20


def test_a_very_long_cell_is_rejected(tmp_path):
    long = "x" * 131_073
    samples, rejected = everything(write(tmp_path / "a.csv", f"text,label\na,1\n{long},1\nb,0\n"))
    assert samples == [("a", "1"), ("b", "0")]
    assert rejected == {"1": "line 3 has a cell of more than 131,072 characters; is a quotation mark stray?"}


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("suffix", ["csv", "tsv"])
def test_every_line_ending_is_read(tmp_path, suffix, ending):
    content = ending.join(["text,label", "a,1", "", "b,0", "  ", "c,1"])
    file = write(tmp_path / f"a.{suffix}", content if suffix == "csv" else content.replace(",", "\t"))
    assert everything(file) == ([("a", "1"), ("b", "0"), ("c", "1")], {})


def test_a_carriage_return_in_a_line_of_a_csv_is_rejected_unless_it_is_quoted(tmp_path):
    samples, rejected = everything(write(tmp_path / "a.csv", 'text,label\na\rb,1\n"c\rd",0\ne,1\n'))
    assert samples == [("c\rd", "0"), ("e", "1")]
    assert rejected == {"0": "line 2 has a carriage return in a cell without quotation marks"}


def test_spaces_around_names_of_columns_do_not_count(tmp_path):
    assert everything(write(tmp_path / "a.csv", "id, text ,label \n7,a,1\n8,b,0\n"))[0] == [("a", "1"), ("b", "0")]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("good film,1\nbad film,0\n", r"no column 'text'.* The first line names the columns; it is 'good film,1'\."),
        ("Text,Label\na,1\n", r"no column 'text'; set text=\.\.\. Did you mean 'Text'\?"),
        ('"text,label\na,1\n', r"a\.csv: line 1 has a stray quotation mark; .*\. It must name the columns\."),
        ("\n\n", "a.csv is empty; expected a first line that names the columns"),
        ("text,label,label\na,1,2\n", "has 2 columns 'label'"),
    ],
)
def test_a_first_line_that_does_not_name_the_columns_is_an_error(tmp_path, content, reason):
    with pytest.raises(DataError, match=reason):
        everything(write(tmp_path / "a.csv", content))


def test_a_nul_costs_its_row(tmp_path):
    file = changed(tmp_path / "a.csv", {3: "film\0 3,p", 4: "film 4,n\0"})
    report = prepare_task(f"texttable(path='{file}')", 0).data.report
    assert report.dropped["unusable"] == [("3", "a NUL at character 4; this is not text")]
    assert report.dropped["unreadable"] == [("4", "label 'n\\x00' with control characters or an unpaired surrogate")]
    assert sum(report.kept.values()) == 18 and report.seen == 20


def test_quotation_marks_around_texts_of_a_tsv_are_kept_and_said(tmp_path):
    columns = read_columns(write(tmp_path / "a.tsv", 'text\tlabel\n"a"\t1\nb "c"\t0\n"\t1\n'), ColumnNames())
    assert columns.texts == ['"a"', 'b "c"', '"']
    assert columns.remarks == (
        "a.tsv: quotation marks around the text of 1 row are kept, since they have no special meaning in a .tsv",
    )
