import pytest

from benchbox.analysis import choice
from benchbox.analysis.latency import Basis, Latency


def latency(p50: float, low: float | None, high: float | None, basis: Basis = "quiet") -> Latency:
    return Latency(p50, low, high, None, None, p50, p50 / 2, 99, 0.9, 20, basis=basis)


@pytest.mark.parametrize(
    ("found", "budget", "fit"),
    [
        (latency(10, 9, 11), 11, "fits"),
        (latency(10, 9, 11), 10.9, "may fit"),
        (latency(10, 9, 11), 9, "may fit"),
        (latency(10, 9, 11), 8.9, "does not fit"),
        (latency(10, None, None), 1000, "may fit"),  # of what is not known nothing is promised
        (latency(10, None, None), 1.2, "does not fit"),  # its fastest call takes 5
        (latency(10, 9, 11, "all"), 11, "fits"),  # undisturbed it takes no longer
        (latency(10, 9, 11, "all"), 1.3, "may fit"),
        (latency(10, 9, 11, "undisturbed"), 1.2, "does not fit"),
    ],
)
def test_the_whole_interval_decides(found: Latency, budget: float, fit: str) -> None:
    assert choice.fit(choice.held(found), budget) == fit


def test_the_front_has_what_nothing_beats_in_both() -> None:
    points = [(1.0, 60.0), (2.0, 70.0), (2.0, 69.0), (3.0, 70.0), (4.0, 80.0), (1.0, 60.0)]
    assert choice.front(points) == [True, True, False, False, True, True]
    assert choice.front([]) == []
