"""The JSON Schema describes what is written, and docs/record.md describes the JSON Schema."""

import dataclasses
import json
import re
import typing
from pathlib import Path

import jsonschema
import pytest

from suite.metrics.catalogue import BoardColumn, Metric
from suite.records.encoding import TYPES, ColumnDescription
from suite.records.reading import FIELDS, ArrayDescription
from suite.records.record import About, LabelSpace
from suite.records.writing import files
from suite.types import SCHEMA, Capabilities, DisplayType, Input, InputType, Measure, Provenance, RunInfo, Status
from tests.records.validation import ROOT, STORED_SCHEMA, validate
from tests.stores import full_record, small_record

DATA = {
    "provenance": Provenance,
    "run_info": RunInfo,
    "about": About,
    "input": Input,
    "capabilities": Capabilities,
    "labels": LabelSpace,
    "metric": Metric,
    "board_column": BoardColumn,
    "column": ColumnDescription,
    "array": ArrayDescription,
}
DEFINITIONS = STORED_SCHEMA["$defs"]


@pytest.mark.parametrize("record", [full_record(), small_record(), small_record(status="failed")])
def test_written_records_are_valid(record):
    validate(json.loads(files(record)["record.json"]))


def test_the_schema_itself_is_valid():
    jsonschema.Draft202012Validator.check_schema(STORED_SCHEMA)


@pytest.mark.parametrize("name", DATA)
def test_the_schema_has_exactly_the_fields_of_the_code(name):
    fields = [field.name for field in dataclasses.fields(DATA[name])]
    assert list(DEFINITIONS[name]["properties"]) == fields
    assert DEFINITIONS[name]["required"] == fields


def test_the_schema_has_exactly_the_fields_of_rows_and_records():
    assert list(DEFINITIONS["measure"]["properties"]) == [*(f.name for f in dataclasses.fields(Measure)), "status"]
    assert tuple(STORED_SCHEMA["properties"]) == FIELDS
    assert STORED_SCHEMA["properties"]["schema"]["const"] == SCHEMA


def test_the_schema_has_exactly_the_values_of_the_code():
    assert DEFINITIONS["column"]["properties"]["dtype"]["enum"] == list(TYPES)
    assert DEFINITIONS["status"]["enum"] == list(typing.get_args(Status))
    assert DEFINITIONS["input"]["properties"]["type"]["enum"] == list(typing.get_args(InputType))
    assert DEFINITIONS["array"]["properties"]["type"]["enum"] == list(typing.get_args(DisplayType))


INVALID = {
    "an unknown field": lambda content: content.update(more=1),
    "a missing field": lambda content: content.pop("facts"),
    "a field of a row": lambda content: content["measures"][0].update(more=1),
    "a type": lambda content: content["columns"][0].update(dtype="int128"),
    "another schema": lambda content: content.update(schema=2),
}


@pytest.mark.parametrize("change", INVALID.values(), ids=INVALID)
def test_invalid_records_are_not_valid(change):
    content = json.loads(files(full_record())["record.json"])
    change(content)
    with pytest.raises(jsonschema.ValidationError):
        validate(content)


def properties(schema):
    """Yield the names of all fields in a schema."""
    for name, value in schema.items():
        if name == "properties":
            yield from value
        if isinstance(value, dict):
            yield from properties(value)


PAGE = (ROOT / "docs" / "record.md").read_text("utf-8")


def test_the_page_names_every_field_and_every_value_of_the_schema():
    quoted = set(re.findall(r"`([^`]+)`", re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL)))
    words = {word for text in quoted for word in re.findall(r"\w+", text)}
    assert set(properties(STORED_SCHEMA)) <= words
    assert {str(value) for value in typing.get_args(DisplayType)} <= quoted
    assert {str(value) for value in typing.get_args(Status)} <= quoted


def test_the_code_of_the_page_reads_a_record_without_this_package(tmp_path, monkeypatch, capsys):
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == 2 and not any("suite" in block for block in blocks)
    monkeypatch.chdir(tmp_path)
    record = full_record()
    Path("my-record").mkdir()
    for name, content in files(record).items():
        (Path("my-record") / name).write_bytes(content)
    names: dict[str, typing.Any] = {}
    for block in blocks:
        exec(block, names)
    assert capsys.readouterr().out.splitlines()[-1] == "0.0"
    by_key = {(one["name"], json.dumps(one["params"])): one for one in names["record"]["columns"]}
    for column in record.columns:
        description = by_key[column.name, json.dumps(dict(column.params))]
        read = names["values"](Path("my-record"), description)
        assert len(read) == len(column.values)
        for own, expected in zip(read, column.values, strict=True):
            assert names["np"].array_equal(own, expected, equal_nan=column.name != "id"), column.name
