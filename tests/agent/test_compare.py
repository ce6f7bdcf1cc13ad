"""Relative error of outputs."""

import numpy as np
import pytest

from benchbox.agent.ort import compare

RIGHT = np.array([3.0, -4.0, 0.0, 0.0], np.float32)
ZEROS = np.zeros(3, np.int64)


@pytest.mark.parametrize(
    ("right", "other", "share"),
    [
        (RIGHT, RIGHT * np.float32(1.5), 0.5),
        (RIGHT * 1000, RIGHT * 1500, 0.5),
        (RIGHT, RIGHT, 0.0),
        (np.ones(3, np.float16), np.array([1, np.nan, 1], np.float16), float("inf")),
        (ZEROS, np.array([0, 1, 0]), 1.0),
        (ZEROS, ZEROS, 0.0),
        (ZEROS[:0], ZEROS[:0], 0.0),
    ],
)
def test_a_difference_is_a_share_of_the_size_of_what_is_right(
    right: compare.Array, other: compare.Array, share: float
) -> None:
    assert compare.share(right, other) == pytest.approx(share)


def test_of_a_large_output_some_values_from_all_of_it_are_compared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(compare, "MOST", 4)
    assert compare.some(np.arange(10).reshape(2, 5)).tolist() == [0, 3, 6, 9]
    assert compare.some(np.array(7)).tolist() == [7]
