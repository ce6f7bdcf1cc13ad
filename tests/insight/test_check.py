"""Checks: the widths to try, what proves nothing, and when a sentence holds."""

from collections.abc import Iterator, Sequence

import pytest

from benchbox.analysis.stats import Interval
from benchbox.errors import CaseError
from benchbox.insight.alteration import Alteration, widths
from benchbox.insight.blame import blames
from benchbox.insight.check import Check, objection
from benchbox.insight.parts import Explained
from benchbox.runner import mirrored
from benchbox.sampling.session import Ask, Timed, samples
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


def moved(us: float, move_us: float) -> Explained:
    """As much else, and data moved for so long."""
    return after(node("move", "Concat", move_us, (1, 4), (1, 8)), us=us)


def after(*nodes: dict[str, object], us: float) -> Explained:
    """What is left of 100 us, of which nodes are a part."""
    return explained(conv("rest_nchwc", us, (64, 64), 4), *nodes)


@pytest.mark.parametrize(
    ("part", "alteration", "flops", "then", "why"),
    [
        ("data movement", Alteration(left_out={"a": "b"}), 1.0, after(us=90), ""),
        ("data movement", Alteration(left_out={"a": "b"}), 1.0, after(us=98.5), "too little"),
        ("data movement", Alteration(widths={3: 4}), 1.2, after(us=99), ""),
        ("data movement", Alteration(left_out={"a": "b"}), 1.0, after(us=70), "67% of what"),
        ("data movement", Alteration(widths={3: 4}), 1.25, moved(90, 10), "80% of that part"),
    ],
)
def test_what_saves_little_or_other_work_proves_nothing(
    part: str, alteration: Alteration, flops: float, then: Explained, why: str
) -> None:
    found = moved(90, 10)
    said = then.profile.latency_s / found.profile.latency_s
    check = Check(part, alteration, flops, said)  # type: ignore[arg-type]
    said_why = objection(check, found, then)
    assert why in said_why and bool(why) == bool(said_why)


@pytest.mark.parametrize(
    ("flops", "said_", "measured", "verdict"),
    [
        (1.04, 0.90, (0.89, 0.88, 0.90), "HOLDS"),
        (1.04, 0.90, (0.93, 0.92, 0.94), "HOLDS"),
        (1.59, 0.79, (0.95, 0.94, 0.96), "WITHDRAWN"),  # a quarter of it, whatever FLOPs say
        (1.04, 0.90, (0.97, 0.96, 0.98), "WITHDRAWN"),  # half of what was said
        (1.04, 0.90, (0.95, 0.93, 0.97), "UNCLEAR"),  # half of it, or three quarters
        (1.04, 0.90, (0.90, 0.80, 1.01), "UNCLEAR"),
        (1.04, 0.90, (1.10, 1.09, 1.11), "WITHDRAWN"),
        (1.20, 1.00, (1.01, 1.00, 1.02), "HOLDS"),  # FLOPs for nothing
        (1.20, 1.00, (1.18, 1.17, 1.19), "WITHDRAWN"),
        (1.00, 1.03, (0.90, 0.89, 0.91), "WITHDRAWN"),  # nothing was said to be saved
        (0.80, 0.90, (0.91, 0.90, 0.92), "HOLDS"),  # fewer FLOPs count for nothing
    ],
)
def test_a_sentence_holds_for_what_was_said_within_a_third(
    flops: float, said_: float, measured: tuple[float, float, float], verdict: str
) -> None:
    check = Check("padding", Alteration(), flops, said_, Interval(*measured))
    assert check.verdict == verdict
    assert Check("padding", Alteration(), flops, said_).verdict == "UNCLEAR"


class Drifting:
    """A session on a machine that gets slower all the time, where B takes 0.8 of A."""

    def __init__(self, error: str | None = None) -> None:
        self.now, self.error, self.order = 1.0, error, ""

    def time(self, bursts: Sequence[Ask], expected_s: Sequence[float]) -> Iterator[Timed]:
        assert len(bursts) == len(expected_s)
        for graph, calls, *_ in bursts:
            self.order += graph
            self.now *= 1.05
            taken = int(1e6 * self.now * {"A": 1.0, "B": 0.8}[graph])
            yield Timed(graph, samples({"latencies_ns": [taken] * calls}), self.error)


def test_a_drift_is_the_same_for_both_of_mirrored_rounds() -> None:
    session, shares = Drifting(), list[float]()
    found = mirrored.ratio(session, ("A", "B"), (0.01, 0.01), shares.append)
    assert found is not None
    assert found.value == pytest.approx(0.8, rel=0.003)
    assert session.order[2:] == "ABBA" * mirrored.ROUNDS
    assert shares[-1] == 1.0
    assert mirrored.ratio(session, ("A", "B"), (0.01, 0.01), width=0.0) is not None
    assert session.order.count("ABBA") == mirrored.ROUNDS + mirrored.MOST_ROUNDS
    with pytest.raises(CaseError, match="killed"):
        mirrored.ratio(Drifting("killed"), ("A", "B"), (0.01, 0.01))
