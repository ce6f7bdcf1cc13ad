"""Arrays: inputs that are the same everywhere and never zeros, and the error of outputs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchbox.agent import stdio
from benchbox.agent.ort import compare, inputs
from tests.helpers.detections import detections, swapped


@settings(max_examples=50)
@given(
    st.text(max_size=5),
    st.lists(st.integers(1, 3), max_size=3),
    st.sampled_from(inputs.DTYPES),
    st.integers(0, 2**32),
)
def test_inputs_are_the_same_each_time(name: str, shape: list[int], dtype: str, seed: int) -> None:
    array = inputs.make(name, shape, dtype, seed)
    assert isinstance(array, np.ndarray)
    assert (array.shape, array.dtype.name) == (tuple(shape), dtype)
    assert np.isfinite(array.astype(np.float64)).all()
    assert array.any()
    assert np.array_equal(array, inputs.make(name, shape, dtype, seed))


def test_inputs_differ_by_name_and_by_seed_and_span_the_range_of_their_type() -> None:
    arrays = [inputs.make(name, (8,), "float32", seed) for name in "ab" for seed in (0, 1)]
    assert len({array.tobytes() for array in arrays}) == 4
    assert inputs.make("x", (4,), "uint8", 7).tolist() == [106, 145, 46, 82]
    assert set(inputs.make("x", (99,), "int64", 0)) == {0, 1}  # valid indices
    assert set(inputs.make("x", (9999,), "uint8", 0)) == set(range(256))
    with pytest.raises(stdio.Refusal, match="'x' is of type complex64; benchbox can fill float16"):
        inputs.make("x", (1,), "complex64", 0)


RIGHT = np.array([3.0, -4.0, 0.0, 0.0], np.float32)
ZEROS = np.zeros(3, np.int64)


@pytest.mark.parametrize(
    ("right", "other", "share"),
    [
        (RIGHT, RIGHT * np.float32(1.5), 0.5),
        (RIGHT, RIGHT, 0.0),
        (np.ones(3, np.float16), np.array([1, np.nan, 1], np.float16), float("inf")),
        (ZEROS, np.array([0, 1, 0]), 1.0),
        (ZEROS, ZEROS, 0.0),
        (ZEROS[:0], ZEROS[:0], 0.0),
    ],
)
def test_a_difference_is_a_share(right: compare.Array, other: compare.Array, share: float) -> None:
    assert compare.share(right, other) == pytest.approx(share)


def test_detections_are_compared_as_sets_and_rounded_ones_by_their_scores() -> None:
    right = detections()
    other = swapped(right)
    assert compare.are_detections(right)
    assert not any(map(compare.are_detections, (right[0], right[:, ::-1], right.astype(np.int64))))
    assert compare.share(compare.some(right), compare.some(other)) == 0.0
    for column in range(6):
        wrong = other.copy()
        wrong[0, 7:20, column] += 0.2 if column == 4 else 50
        assert compare.share(compare.some(right), compare.some(wrong)) > compare.TOLERANCE
        off = compare.share(right, wrong, rounded=True)
        assert (off > 0) == (column == 4)
    nothing = np.full_like(right, np.nan)
    assert compare.share(right, compare.some(nothing)) == float("inf")


def test_of_a_large_output_some_values_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "MOST", 4)
    assert compare.some(np.arange(10).reshape(2, 5)).tolist() == [0, 3, 6, 9]
    assert compare.some(np.array(7)).tolist() == [7]
