"""How far outputs are from what they should be."""

import numpy as np
import pytest

from benchbox.agent.ort import compare


def test_a_difference_is_a_share_of_the_size_of_what_is_right() -> None:
    right = np.array([3.0, -4.0, 0.0, 0.0], np.float32)
    assert compare.share(right, right * np.float32(1.5)) == pytest.approx(0.5)
    assert compare.share(right * 1000, right * 1500) == pytest.approx(0.5)
    assert compare.share(right, right) == 0.0


def test_a_number_that_is_none_is_infinitely_far_away() -> None:
    right = np.ones(3, np.float16)
    assert compare.share(right, np.array([1, np.nan, 1], np.float16)) == float("inf")


def test_of_zeros_everything_else_is_far_away() -> None:
    zeros = np.zeros(3, np.int64)
    assert compare.share(zeros, np.array([0, 1, 0])) == 1.0
    assert compare.share(zeros, zeros) == 0.0
    assert compare.share(zeros[:0], zeros[:0]) == 0.0


def test_of_a_large_output_some_values_from_all_of_it_are_compared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(compare, "MOST", 4)
    assert compare.some(np.arange(10).reshape(2, 5)).tolist() == [0, 3, 6, 9]
    assert compare.some(np.array(7)).tolist() == [7]
