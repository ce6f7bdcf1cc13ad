from pathlib import Path

import pytest

from benchbox.costs import Cost
from benchbox.errors import SpecError
from benchbox.export import Graph
from benchbox.runner import match as runner_match
from benchbox.specs import BlockSpec, Builder, Case, Match

ONE = ("scale=1", 1000)


def cost(macs: int, *uncounted: str) -> Cost:
    return Cost(macs, 0, None, 0, None, {}, uncounted)


def graph(own: Cost) -> Graph:
    return Graph(Path("model.onnx"), "", own, 0, 18, "none", None, {})


def verify(within: float | None, *groups_and_costs: tuple[str, int | Cost | None]) -> None:
    """Verify cases named a, b, c ... of the groups, with the multiply-accumulates."""
    cases, graphs = [], {}
    for name, (group, own) in zip("abcdefgh", groups_and_costs, strict=False):
        case = Case("mine", name, {}, {}, (), 1, Builder("m:f"), group=group)
        cases.append(case)
        if own is not None:
            graphs[case.key] = graph(own if isinstance(own, Cost) else cost(own))
    match = None if within is None else Match(within)
    runner_match.verify(BlockSpec("mine", "Mine", "", lambda _: cases, match=match), cases, graphs)


@pytest.mark.parametrize(
    ("within", "cases"),
    [
        (0.0, [ONE, ("scale=1", 1000)]),
        (0.1, [ONE, ("scale=1", 1100), ("scale=1", 900)]),
        (0.0, [ONE, ("scale=2", 4000), ("scale=2", 4000)]),
        (0.0, [("scale=1", None), ONE, ("scale=1", 1000)]),
        (0.0, [("scale=1", 0), ("scale=1", 0)]),
        (None, [ONE, ("scale=1", 7), ("scale=1", cost(1, "If"))]),
    ],
)
def test_a_match_holds_within_each_group(
    within: float | None, cases: list[tuple[str, int | Cost | None]]
) -> None:
    verify(within, *cases)


@pytest.mark.parametrize(
    ("cases", "text"),
    [
        ([ONE, ("scale=1", 1200)], "allows 10.00%: b has 20.00% more multiply-accumulates than a"),
        ([ONE, ("scale=1", 800)], "allows 10.00%: b has 20.00% fewer multiply-accumulates than a"),
        ([("scale=1", 0), ONE], "allows 10.00%: b has 100.00% more multiply-accumulates than a"),
        ([ONE, *[("scale=1", 2000)] * 5], r".*b has .*; c has .*; d has .* than a \(and 2 more\)$"),
        ([ONE, ("scale=1", cost(1000, "If"))], ": b has operators that cannot be counted"),
    ],
)
def test_a_match_that_does_not_hold_says_by_how_much(
    cases: list[tuple[str, int | Cost | None]], text: str
) -> None:
    with pytest.raises(SpecError, match=rf"^mine: \[match\] ?{text}"):
        verify(0.1, *cases)
