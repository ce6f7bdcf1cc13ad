import math
import random

import pytest

from benchbox.analysis import limits, stats
from benchbox.analysis.stats import Interval


@pytest.mark.parametrize(
    ("figure", "kept"),
    [
        (Interval(2.0, 1.9, 2.1), "over"),
        (Interval(1.04, 1.03, 1.05), "unclear"),  # it ends at the limit
        (Interval(1.04, 1.02, 1.06), "unclear"),
        (Interval(1.02, 1.01, 1.03), "within"),
        (None, "unclear"),
    ],
)
def test_a_limit_is_kept_or_not_by_the_whole_interval(figure: Interval | None, kept: str) -> None:
    assert limits.kept(figure, 1.03) == kept


def test_a_percentile_has_an_interval_once_it_is_known() -> None:
    draw = random.Random(1)
    rounds = [[draw.lognormvariate(0, 0.1) for _ in range(50)] for _ in range(40)]
    found = limits.percentile_interval(rounds, 0.99)
    assert found is not None
    every = [value for values in rounds for value in values]
    assert found.value == stats.quantile(every, 0.99)
    assert found.low < found.value < found.high < max(every)
    assert limits.percentile_interval(rounds[:5], 0.9) is None  # rounds
    assert limits.percentile_interval(rounds[:10], 0.99) is None  # calls


def test_calls_that_are_slow_together_leave_a_percentile_less_certain() -> None:
    alone = [[1.0] * 90 + [1.0 + n / 10 for n in range(10)] for _ in range(20)]
    together = [[1.0] * 100 for _ in range(18)] + [[1.0 + n / 100 for n in range(100)]] * 2
    first, second = (limits.percentile_interval(rounds, 0.95) for rounds in (alone, together))
    assert first is not None and second is not None
    assert (first.low, first.high) == pytest.approx((1.4, 1.4), abs=0.11)
    assert second.low == 1.0
    assert second.high == math.inf


@pytest.mark.parametrize("rho", [0.0, 0.6])
def test_intervals_of_percentiles_hold_the_truth(rho: float) -> None:
    draw, held = random.Random(7), 0
    for _ in range(100):
        rounds = []
        for _ in range(20):
            state, values = draw.gauss(0, 1), list[float]()
            for _ in range(20):
                state = rho * state + math.sqrt(1 - rho**2) * draw.gauss(0, 1)
                values.append(state)
            rounds.append(values)
        found = limits.percentile_interval(rounds, 0.9)
        assert found is not None
        held += found.low <= 1.2816 <= found.high
    assert held >= 88
