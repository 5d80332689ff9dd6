"""Validation of records against the JSON Schema."""

import json
from pathlib import Path

import jsonschema

ROOT = Path(__file__).parents[2]
STORED_SCHEMA = json.loads((ROOT / "suite" / "records" / "schema.json").read_text("utf-8"))


def validate(content):
    """Raise `jsonschema.ValidationError` unless the content of ``record.json`` fits the schema."""
    jsonschema.Draft202012Validator(STORED_SCHEMA).validate(content)
