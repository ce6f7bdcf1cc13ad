from dataclasses import replace

import pytest

from benchbox.analysis.adjusted import UNKNOWN, Adjusted
from benchbox.analysis.machine import Known, Machine
from benchbox.analysis.samples import Burst, round_medians
from benchbox.analysis.states import Bases
from benchbox.runner.judge import MORE, shortfall
from benchbox.sampling.plan import Plan
from tests.helpers.sessions import bursts, on_level

PLAN = Plan(precision=0.01, min_rounds=20)
PAIRED = replace(PLAN, margin=0.01)
ANY = Machine()
LEVEL = Machine(Known(Bases(12_000.0, 300_000.0)))


@pytest.mark.parametrize(
    ("latencies", "text"),
    [([1000, 2000] * 4, f"±33.3% after 8 rounds, ±1.0% was asked; {MORE}"), ([1000] * 20, "")],
)
def test_what_samples_lack_comes_with_what_helps(latencies: list[int], text: str) -> None:
    assert shortfall(bursts(*latencies), PLAN, ANY) == text


def test_a_figure_needs_as_many_processes_as_the_plan() -> None:
    three = replace(PLAN, sessions=3)
    disturbed = Burst(2, 0, (1000,), (1,))
    two = [*bursts(*[1000] * 20), *bursts(*[1000] * 20, session=7), disturbed]
    assert shortfall(two, three, ANY) == f"quiet rounds in only 2 of 3 processes; {MORE}"
    assert shortfall([*two, *bursts(1000, session=9)], three, ANY) == ""
    assert shortfall(two, PLAN, ANY) == ""


def test_an_adjusted_figure_needs_more_processes_where_they_differ() -> None:
    """However many rounds agree; a machine of which nothing is known has 0.75% from each."""
    found = [
        shortfall(bursts(1000), replace(PLAN, precision=0.009), ANY, Adjusted(UNKNOWN, rounds))
        for count in (1, 3)
        for rounds in [{(i % count, i): 1e-6 for i in range(99)}]
    ]
    more = "processes differ by 0.8%; take more of them with --sessions 6"
    assert found == [f"±1.5%, ±0.9% was asked: {more}", ""]


def test_a_comparison_lacks_what_its_ratio_does() -> None:
    wild, reference = bursts(*[1000, 2000] * 10), bursts(*[1000, 1000] * 10)
    text = f"the ratio is ±41.4% after 20 rounds, ±1.0% was asked; {MORE}"
    assert shortfall(wild, PAIRED, ANY, None, reference) == text
    assert shortfall(wild, PAIRED, ANY, None, wild) == ""
    assert shortfall(wild, PAIRED, ANY).startswith("±33.3% after 20 rounds")
    text = "quiet rounds in only 1 of 3 processes"
    assert shortfall(wild, replace(PAIRED, sessions=3), ANY, None, wild).startswith(text)


@pytest.mark.parametrize("quiet", [5, 6])
def test_a_comparison_needs_six_rounds_for_the_p50_beside_its_ratio(quiet: int) -> None:
    """A ratio counts rounds at any level of the memory; a latency does not."""
    case, reference = [on_level(quiet, 20 - quiet, each) for each in (2000, 1000)]
    assert len(round_medians(case, LEVEL.gate)) == quiet
    assert len(round_medians(case, LEVEL.gate, paired=True)) == 20
    text = shortfall(case, PAIRED, LEVEL, None, reference)
    needs = f"p50 has only {quiet} quiet rounds and its interval needs 6"
    assert text.startswith(needs) if quiet < 6 else text == ""
    alone = shortfall(case, PAIRED, LEVEL)
    assert alone.startswith(f"only {quiet} {'quiet' if quiet < 6 else 'of 20 quiet'} rounds")
