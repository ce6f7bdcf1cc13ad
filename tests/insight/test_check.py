"""Checks: the widths to try, what they should do, and when a sentence holds."""

from collections.abc import Iterator, Sequence

import pytest

from benchbox.analysis.stats import Interval
from benchbox.errors import CaseError
from benchbox.insight.blame import blames
from benchbox.insight.check import Check, said, widths
from benchbox.runner import mirrored
from benchbox.sampling.session import Ask, Timed
from tests.insight.test_parts import blocked, conv, explained, node


@pytest.mark.parametrize(
    ("found", "to"),
    [
        (explained(conv("a", 60, (58, 58), 4, 3, 58)), {58: 60}),
        (blocked(200, (24, 40), (32, 48)), {24: 32, 40: 48}),
        (explained(conv("a", 600, (60, 60), 4, 3, 2)), {60: 64}),
        (blocked(90, (8, 16), (8, 16)), {8: 16}),
        (blocked(90, (3, 16), (3, 16)), {}),
        (explained(node("a", "Concat", 9, (1, 4), (1, 8))), {}),
    ],
)
def test_widths_fill_what_was_not_full(found: object, to: dict[int, int]) -> None:
    first, *_ = blames(found)  # type: ignore[arg-type]
    assert widths(first, found.block) == to  # type: ignore[attr-defined]


def test_what_is_said_follows_from_the_parts() -> None:
    # What it multiplies more was padding before.
    assert said(blocked(60, (24, 16), (32, 16)), {24: 32}) == pytest.approx(1.0)
    # A further block takes longer.
    assert said(blocked(60, (24, 16), (32, 16)), {16: 32}) == pytest.approx(2.0)
    # The plain one takes 1.5 ns a multiplication, the one in blocks 1.25.
    slow = conv("plain", 12.528, (58, 58), 4, 3, 58)
    fast = conv("fast_nchwc", 10.8, (60, 60), 4, 3, 60)
    network = explained(slow, fast)
    assert said(network, {58: 60}) == pytest.approx(2 * 10.8 / 23.328)
    few = blocked(90, (8, 16), (8, 16))
    assert said(few, {8: 16}) == pytest.approx(25.6 / 0.9 / 90)
    assert said(network, {40: 60}) == pytest.approx(1.0)
    grouped = explained(conv("a", 600, (60, 60), 4, 3, 2))
    assert said(grouped, {60: 64}) == pytest.approx(259.2 * (64 / 60) ** 2 / 0.75 / 600)
    # Without other plain ones the conversions between go, unless something moves channels.
    reorders = [node(f"r{i}", "ReorderInput", 10, (1, 4), (1, 4)) for i in range(4)]
    plain = conv("plain", 40, (18, 18), 4)
    assert said(explained(plain, *reorders), {18: 20}) == pytest.approx((6.4 / 0.9 + 20) / 80)
    moved = explained(plain, *reorders, node("s", "Split", 20, (1, 4), (1, 2)))
    assert said(moved, {18: 20}) == pytest.approx((6.4 / 0.9 + 60) / 100)


@pytest.mark.parametrize(
    ("flops", "said_", "measured", "verdict"),
    [
        (1.04, 0.90, (0.89, 0.88, 0.90), "HOLDS"),
        (1.04, 0.90, (0.94, 0.93, 0.95), "HOLDS"),
        (1.04, 0.90, (0.97, 0.96, 0.98), "WITHDRAWN"),  # half of what was said
        (1.04, 0.90, (0.90, 0.80, 1.01), "UNCLEAR"),
        (1.04, 0.90, (1.10, 1.09, 1.11), "WITHDRAWN"),
        (1.20, 1.00, (1.01, 1.00, 1.02), "HOLDS"),  # FLOPs for nothing
        (1.20, 1.00, (1.18, 1.17, 1.19), "WITHDRAWN"),
        (1.00, 1.03, (0.90, 0.89, 0.91), "WITHDRAWN"),  # nothing was said to be saved
    ],
)
def test_a_sentence_holds_for_what_was_said_within_a_third(
    flops: float, said_: float, measured: tuple[float, float, float], verdict: str
) -> None:
    check = Check("padding", {}, flops, said_, Interval(*measured))
    assert check.verdict == verdict
    assert Check("padding", {}, flops, said_).verdict == "UNCLEAR"


class Drifting:
    """A session on a machine that gets slower all the time, where B takes 0.8 of A."""

    def __init__(self, error: str | None = None) -> None:
        self.now, self.error, self.order = 1.0, error, ""

    def time(self, bursts: Sequence[Ask], expected_s: Sequence[float]) -> Iterator[Timed]:
        assert len(bursts) == len(expected_s)
        for graph, calls, *_ in bursts:
            self.order += graph
            self.now *= 1.05
            taken = int(1e7 * self.now * {"A": 1.0, "B": 0.8}[graph])
            yield Timed(graph, {"latencies_ns": [taken] * calls}, self.error)


def test_a_drift_is_the_same_for_both_of_mirrored_rounds() -> None:
    session, shares = Drifting(), list[float]()
    found = mirrored.ratio(session, ("A", "B"), (0.01, 0.01), shares.append)
    assert found is not None
    assert found.value == pytest.approx(0.8, rel=0.003)
    assert session.order[2:] == "ABBA" * mirrored.ROUNDS
    assert shares[-1] == 1.0
    with pytest.raises(CaseError, match="killed"):
        mirrored.ratio(Drifting("killed"), ("A", "B"), (0.01, 0.01))
