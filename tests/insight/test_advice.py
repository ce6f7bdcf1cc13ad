"""Advice: the widths that are tried, and its table."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

from benchbox.analysis.stats import Interval
from benchbox.costs import Cost
from benchbox.devices import Device
from benchbox.insight.advice import Advice, candidates
from benchbox.report.advice import AdviceReport, rows, table
from benchbox.report.explain import ExplainReport
from benchbox.runner.check import advice
from benchbox.specs import Case
from tests.helpers.runs import graph_of
from tests.insight.test_parts import conv, explained, node

COST = Cost(100, 10, None, 40, None, {}, ())


def test_what_is_blamed_is_tried_first_then_all_together_and_all_multiples() -> None:
    found = explained(
        conv("a", 60, (58, 58), 4, 3, 58),
        conv("b_nchwc", 60, (40, 24), 4),
        conv("c", 60, (60, 60), 4, 3, 2),
        conv("d", 60, (3, 24), 4),
        node("e", "Concat", 9, (1, 4), (1, 8)),
    )
    wanted = candidates(found)
    assert wanted[0] == {58: 60}
    assert {58: 60, 60: 64} in wanted and {24: 32, 40: 48, 58: 64, 60: 64} in wanted
    assert len(wanted) == len({tuple(sorted(each.items())) for each in wanted})
    assert all(new <= 1.5 * old for each in wanted for old, new in each.items())
    assert candidates(explained(conv("a_nchwc", 60, (64, 64), 4))) == []


def test_a_graph_that_stays_as_it_is_is_not_timed(
    onnx_cases: Callable[..., list[Case]], cpu: Device, tmp_path: Path
) -> None:
    (case,) = onnx_cases("net")
    found = explained(conv("of another", 60, (58, 58), 4, 3, 58))
    assert [*advice(found, case, graph_of(case), cpu, pytest.fail, tmp_path)] == []


@pytest.fixture
def report(onnx_cases: Callable[..., list[Case]]) -> Callable[..., AdviceReport]:
    """Makes a report of one case on a processor."""
    (case,) = onnx_cases("net")
    why = ExplainReport([], Device("cpu", "CPUExecutionProvider", 1, "arm"), "2026-01-02")

    def made(*advice: Advice, files: Mapping[Path, str] = MappingProxyType({})) -> AdviceReport:
        return AdviceReport(why, case, COST, list(advice), files)

    return made


def test_the_fastest_stands_first_and_what_could_not_be_timed_says_why(
    report: Callable[..., AdviceReport],
) -> None:
    slow = Advice({58: 64}, Path("0"), 110, 1.1, 11, Interval(1.1, 1.08, 1.12))
    fast = Advice({58: 60}, Path("1"), 104, 1.04, 11, Interval(0.893, 0.88, 0.91))
    failed = Advice({number: 2 * number for number in range(4, 9)}, reason="no widths fit")
    found = report(slow, failed, fast, files={Path("1"): "net-wider-1.onnx"})
    shown = table(found)
    assert shown.columns[0].cells == ("as they are", "60 for 58", "64 for 58")
    assert shown.columns[-1].cells == ("-", "net-wider-1.onnx", "-")
    assert shown.sentences == (
        "With 60 for 58 channels it has 1.04x the FLOPs and takes 0.89x the time "
        "(0.880x to 0.910x).",
    )
    assert shown.failures == ("8 for 4, 10 for 5, 12 for 6 and 2 others: not timed: no widths fit",)
    assert "accuracy is not claimed" in shown.notes[0] and "not trained" in shown.notes[0]
    first, _, last = rows(found)
    assert (first["widths"], first["verdict"], first["file"]) == (
        *("58:60", "FASTER"),
        "net-wider-1.onnx",
    )
    assert (last["verdict"], last["reason"]) == (None, "no widths fit")


def test_where_nothing_is_faster_the_table_says_so(report: Callable[..., AdviceReport]) -> None:
    slow = Advice({58: 64}, Path("0"), 110, 1.1, 11, Interval(1.1, 1.08, 1.12))
    assert table(report(slow)).sentences == ("Nothing faster was found among 1 graph.",)
    assert table(report()).columns[0].cells == ("as they are",)
