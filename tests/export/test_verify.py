"""Comparison of a graph's outputs with those of its module."""

import numpy as np
import pytest

from benchbox.errors import CaseError
from benchbox.export import verify
from tests.helpers.detections import detections, swapped


def test_runtimes_that_disagree_fail_the_case() -> None:
    one = np.ones((2, 3), np.float32)
    assert verify.difference([one], [one + 5e-5]) == pytest.approx(5e-5, rel=0.1)
    with pytest.raises(CaseError, match=r"output 2: ONNX Runtime differs from torch by 0\.001"):
        verify.difference([one, one], [one, one + 1e-3])
    with pytest.raises(CaseError, match=r"is \(2, 3\) in torch, \(3,\) in ORT"):
        verify.difference([one], [one[0]])
    with pytest.raises(CaseError, match="1 outputs, its graph has 2"):
        verify.difference([one], [one, one])
    with pytest.raises(CaseError, match="differs from torch by 1,"):
        verify.difference([np.arange(9)], [np.arange(9) + (np.arange(9) == 8)])


def test_outputs_are_compared_at_their_own_scale() -> None:
    large = np.array([1000, -1000, 0], np.float32)
    assert verify.difference([large], [large + np.float32(0.05)]) > 0.04
    boxes = np.concatenate([np.full((1, 4, 9), 600), np.full((1, 2, 9), 0.5)], 1)
    scores_off = boxes + np.array([0, 0, 0, 0, 0.001, 0]).reshape(1, 6, 1)
    verify.difference([boxes], [scores_off])
    with pytest.raises(CaseError, match=r"differs from torch by 0\.001"):
        verify.difference([boxes], [scores_off], kind="decoded")


def test_detections_may_swap_places_but_not_differ() -> None:
    rows = detections()
    other = swapped(rows)
    assert verify.difference([rows], [other]) == 0.0
    for column in range(6):
        wrong = other.copy()
        wrong[0, 7, column] += 0.02 * (1 if column == 4 else 50)
        with pytest.raises(CaseError, match="differs from torch"):
            verify.difference([rows], [wrong])
    other_last = other.copy()
    other_last[0, -1, :4] += 100  # another place with the same score
    verify.difference([rows], [other_last])
    assert verify.half_difference([rows], [other_last]) == 0.0


def test_detections_that_all_tie_have_at_least_like_scores_and_it_is_said() -> None:
    rows = detections()
    rows[..., 4] = 1
    moved = rows.copy()
    moved[..., :4] += 300
    assert verify.difference([rows], [moved]) == 0.0
    (text,) = verify.unseen([np.ones(3), rows], [np.ones(3), moved])
    assert text.startswith("of output 2 40 of 40 detections tie with the last")
    moved[0, 2:, :4] -= 300
    assert not [*verify.unseen([rows], [moved])]
    moved[..., 4] = 0.5
    with pytest.raises(CaseError, match=r"differs from torch by 0\.5"):
        verify.difference([rows], [moved])


def test_no_number_is_like_a_number() -> None:
    with pytest.raises(CaseError, match="differs from torch by nan"):
        verify.difference([np.ones(3)], [np.array([1, 1, np.nan])])
