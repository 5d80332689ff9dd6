"""Per-sample columns are stored exactly, in the smallest encoding, and not larger than allowed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from suite.errors import RecordError
from suite.records.encoding import MOST_BYTES, TYPES, decode, encode
from tests.stores import column, ragged


def round_trip(values):
    description, stored = encode(column("x", values), "x")
    return decode(stored, description), description


def equal_bits(left, right):
    """Return whether two arrays have equal type, shape and bits."""
    if left.dtype == object:
        return left.shape == right.shape and left.tolist() == right.tolist()
    return (left.dtype, left.shape, left.tobytes()) == (right.dtype, right.shape, right.tobytes())


NUMBERS = [name for name in TYPES if name != "string"]


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("shape", [(4,), (4, 3), (4, 2, 5), (4, 0, 2), (0,), (0, 3), (4, 10, 10)])
def test_dense_numbers_keep_type_shape_and_bits(name, shape):
    values = np.random.default_rng(0).integers(0, 2, shape).astype(name)
    if values.dtype.kind == "i" and values.size:
        values.flat[0] = np.iinfo(values.dtype).min
    read, description = round_trip(values)
    assert equal_bits(read, values)
    assert (description.dtype, description.shape) == (name, shape[1:])
    assert read.flags.writeable


@settings(max_examples=200, deadline=None)
@given(
    arrays.arrays(
        st.sampled_from([np.float32, np.float64, np.int64]), arrays.array_shapes(min_dims=1, max_dims=3, max_side=12)
    )
)
def test_any_array_is_read_back_bit_for_bit(values):
    assert equal_bits(round_trip(values)[0], values)


def test_nan_keeps_its_bits_and_is_declared():
    values = np.array([0x7FF8000000000001, 0x7FF8000000000002, 0x3FF0000000000000], np.uint64).view(np.float64)
    read, description = round_trip(values)
    assert equal_bits(read, values) and description.nan
    assert not round_trip(values[2:])[1].nan


@pytest.mark.parametrize("values", [["a", "", "ü\0x"], [["a", "b"], ["", "c"]], np.array(["a", "bb"]), []])
def test_strings_are_read_as_objects(values):
    values = np.array(values, dtype=object)
    read, description = round_trip(values)
    assert equal_bits(read, values) and description.dtype == "string"
    assert all(type(value) is str for value in read.flat)


RAGGED = {
    "vectors": ([np.arange(3), np.arange(0), np.arange(5)], (None,)),
    "boxes": ([np.zeros((0, 4)), np.ones((2, 4))], (None, 4)),
    "boxes of equal number": ([np.zeros((2, 4)), np.ones((2, 4))], (None, 4)),
    "images": ([np.ones((3, 2, 5), np.uint8), np.ones((3, 4, 1), np.uint8)], (None, None, None)),
    "flags": ([np.array([True, False]), np.array([True])], (None,)),
    "strings": ([np.array(["a", ""]), np.array([], str)], (None,)),
    "nothing": ([np.zeros((0, 3)), np.zeros((2, 0)), np.zeros((0, 0))], (None, None)),
    "empty rows": ([np.zeros((1, 0)), np.zeros((2, 0))], (None, 0)),
}


@pytest.mark.parametrize(("parts", "shape"), RAGGED.values(), ids=RAGGED)
def test_ragged_arrays_keep_type_shape_and_bits(parts, shape):
    read, description = round_trip(ragged(parts))
    assert read.dtype == object and read.shape == (len(parts),)
    for own, part in zip(read, parts, strict=True):
        assert equal_bits(own, part.astype(object) if part.dtype.kind == "U" else part)
    assert description.encoding == "ragged"
    # The first dimension of images is equal, but a ragged column may differ in it.
    assert description.shape == shape


@pytest.mark.parametrize("name", ["int64", "float32", "uint8"])
def test_mostly_zero_numbers_are_sparse(name):
    values = np.zeros((5, 11, 11), name)
    values[0, 3, 4], values[4, 10, 10] = 7, 1
    read, description = round_trip(values)
    assert equal_bits(read, values) and description.encoding == "sparse"
    assert round_trip(np.ones_like(values))[1].encoding == "dense"


def test_negative_zeros_are_kept_in_the_sparse_encoding():
    values = np.zeros((2, 100))
    values[0, 5] = -0.0
    read, description = round_trip(values)
    assert equal_bits(read, values) and description.encoding == "sparse"


def test_a_column_of_more_than_16_kb_a_sample_is_refused():
    assert round_trip(np.ones((2, MOST_BYTES // 8)))[1].encoding == "dense"
    sizes = {
        "dense": np.ones((2, MOST_BYTES // 8 + 1)),
        "strings": np.array(["x" * (MOST_BYTES + 1)], dtype=object),
        "ragged": ragged([np.ones(3), np.ones(MOST_BYTES // 8 + 1)]),
    }
    for name, values in sizes.items():
        with pytest.raises(RecordError) as caught:
            encode(column(name, values, eps=0.1), name)
        text = str(caught.value)
        assert f"The column {name!r} of the population 'test' under {{'eps': 0.1}} takes 16,3" in text
        assert "at most 16,384 are stored" in text and "Store a smaller type" in text


def test_a_large_sparse_column_is_stored():
    values = np.zeros((3, 150, 150), np.int64)  # a confusion matrix of 150 classes: 180 kB if dense
    values[:, 3, :50] = 1
    assert round_trip(values)[1].encoding == "sparse"


def test_one_dense_sample_among_sparse_ones_does_not_exceed_the_limit():
    values = np.zeros((50, MOST_BYTES // 8))
    values[0] = 1
    assert round_trip(values)[1].encoding == "dense"


INVALID = {
    "a single value": (np.float64(1), "a single value"),
    "complex numbers": (np.ones(2, complex), "has the type complex128"),
    "dates": (np.array(["2026-01-01"], "datetime64[D]"), "has the type datetime64"),
    "None": (np.array(["a", None], dtype=object), "contains None"),
    "objects": (np.array([{}, {}], dtype=object), "contains {}"),
    "lists": (ragged([np.ones(2), np.ones((2, 2))]), "different or no dimensions"),
    "several types": (ragged([np.ones(2), np.ones(3, int)]), "of the types float64, int64"),
    "invalid text": (np.array(["\ud800"], dtype=object), "cannot be stored"),
}


@pytest.mark.parametrize(("values", "sentence"), INVALID.values(), ids=INVALID)
def test_other_values_are_refused(values, sentence):
    with pytest.raises(RecordError) as caught:
        encode(column("x", values), "x")
    assert sentence in str(caught.value)
