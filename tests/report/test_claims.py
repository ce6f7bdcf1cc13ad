from dataclasses import replace
from typing import Any

import pytest

from benchbox.analysis.gpu_time import Spans
from benchbox.analysis.stats import Interval
from benchbox.records import Record
from benchbox.report.claims import sentences
from benchbox.report.footnotes import failures, notes
from tests.helpers.tables import (
    G2,
    cost,
    latency,
    ratio,
    record,
    run_of,
    with_changes,
)


def pair(scale: int, over: Interval | None, **changes: Any) -> list[Record]:
    """1 and 8 groups at one scale, with equal FLOPs and that ratio of latencies."""
    reference = record({"groups": 1, "scale": scale})
    eight = record({"groups": 8, "scale": scale}, relative=over, reference=reference.case)
    return [reference, replace(eight, **changes)]


def read(*records: Record) -> str | None:
    return "\n".join(sentences(run_of(records), G2)) or None


def test_the_states_of_a_gpu_and_of_its_host_are_compared_with_earlier_runs() -> None:
    one = record({"groups": 1}, spans=Spans(1e-3), state_shift=0.9, host_shift=1.3)
    state = "the GPU was 10% faster and the host's processor was 30% slower"
    note = f"{one.case}: taken while {state} than in earlier runs on this machine"
    assert note in notes(run_of([one]), G2)


HOLDS, FAILS, UNCLEAR = ratio(1.5), ratio(0.9), ratio(1.01)
ROUGHLY = "G2 holds here, though by imprecise figures: "


@pytest.mark.parametrize(
    ("ratios", "verdict"),
    [
        ([HOLDS, HOLDS, FAILS], "G2 holds here at scale 1 and 2, not at 4: "),
        ([HOLDS, UNCLEAR, UNCLEAR], "G2 holds here at scale 1, and is unclear at 2 and 4: "),
        ([FAILS, UNCLEAR], "G2 does not hold here at scale 1, and is unclear at 2: "),
        ([HOLDS, FAILS, UNCLEAR], "G2 holds here at scale 1, not at 2, and is unclear at 4: "),
    ],
)
def test_the_verdict_is_that_of_each_group(ratios: list[Interval], verdict: str) -> None:
    records = [r for s, over in zip((1, 2, 4), ratios, strict=False) for r in pair(s, over)]
    assert str(read(*records)).startswith(verdict)


def test_disturbed_calls_are_marked_and_decide_nothing() -> None:
    one, eight = pair(1, HOLDS)
    shown = str(read(one, replace(eight, relative_basis="all")))
    assert shown.startswith("G2 is unclear here: 8 groups cost ~1.50x the latency")


def test_of_several_batches_each_has_its_sentence() -> None:
    at_8 = {"group": "scale=1,batch=8", "reference": "groups=1,scale=1,batch=8", "batch": 8}
    eight = [replace(r, case=f"{r.case},batch=8", **at_8) for r in pair(1, FAILS)]
    assert str(read(*pair(1, HOLDS), *eight)).splitlines() == [
        "G2 at batch 1 holds here: 8 groups cost 1.50x the latency of 1 at equal FLOPs (scale 1).",
        "G2 at batch 8 does not hold here: 8 groups cost 0.90x the latency of 1 at equal FLOPs "
        "(scale 1).",
    ]


def test_when_neither_is_the_reference_the_quotient_takes_both_intervals_at_their_worst() -> None:
    other = record({"groups": 2, "scale": 1})
    one = record({"groups": 1, "scale": 1}, 1.0, reference=other.case, latency=latency(1, 0.05))
    wide = record({"groups": 8, "scale": 1}, reference=other.case, latency=latency(1.09, 0.05))
    assert "is unclear here: 8 groups cost 1.09x" in str(read(other, one, wide))
    sure = replace(wide, latency=latency(1.2, 0.05))
    assert "holds here: 8 groups cost 1.20x" in str(read(other, one, sure))


def test_a_group_with_a_case_that_was_not_measured_is_left_out() -> None:
    records = [*pair(1, ratio(2.0)), *pair(2, None, status="failed", latency=None)]
    assert "(scale 1)" in str(read(*records))
    assert read(*records[2:]) is None
    assert notes(run_of([record({}, None, status="failed", cost=None)]), G2) == []


def test_each_case_has_its_notes_and_each_text_is_said_once() -> None:
    bound = cost(1, None, "Loop")
    records = [
        record({"groups": 1}, cost=bound, note="first in series"),
        record({"groups": 2}, cost=bound, args={"c": 92}, printed={"c": 90}),
        record({"groups": 4}, cost=bound, status="imprecise", reason="4% wide, 1% asked"),
        record({"groups": 8}, note="the paper prints c = 180", printed={"c": 180}),
    ]
    assert notes(run_of(records), G2)[2:] == [
        "groups=1, groups=2 and groups=4: FLOPs are a lower bound, not counted are Loop",
        "groups=2: built with c = 92, the paper prints c = 90",
        "groups=1: first in series",
        "groups=8: the paper prints c = 180",
        "groups=4: 4% wide, 1% asked",
    ]
    shared = [record({"groups": n}, note="no shuffle") for n in (1, 2)]
    assert notes(run_of(shared), G2)[-1] == "all cases: no shuffle"


def test_failures_name_the_case_and_the_reason_and_share_a_line_where_it_is_the_same() -> None:
    skipped = [
        record({"groups": n}, None, status="skipped", reason="emulated") for n in (1, 2, 4, 8)
    ]
    assert failures(run_of(skipped), G2) == ["all cases skipped: emulated"]
    skipped[2] = replace(skipped[2], status="failed", reason="no kernel for Conv")
    other = record({"groups": 2}, None, spec="g3", status="failed", reason="no", note="n")
    run = run_of([record({"groups": 16}), *skipped, other])
    assert failures(run, G2) == [
        "groups=1, groups=2 and groups=8 skipped: emulated",
        "groups=4 failed: no kernel for Conv",
    ]
    assert len(notes(run, G2)) == 2  # nor has the other spec one


ONE, DOUBLE = pair(1, ratio(2.0))
EIGHT = record({"groups": 8, "scale": 1})
BACKWARDS = record({"groups": 1, "scale": 1}, reference=EIGHT.case, relative=ratio(0.5))


@pytest.mark.parametrize(
    ("records", "words"),
    [
        (
            [ONE, DOUBLE],
            "G2 holds here: 8 groups cost 2.00x the latency of 1 at equal FLOPs (scale 1).",
        ),
        (pair(1, ratio(2.0), status="imprecise"), ROUGHLY),
        ([replace(ONE, status="imprecise"), DOUBLE], ROUGHLY),
        (pair(1, ratio(1.01), status="imprecise"), "G2 is unclear here: "),
        (pair(1, None, latency=latency(3.0, None)), "is unclear here: 8 groups cost 3.00x"),
        (pair(1, ratio(2.312, 0.15)), "cost 2.3x the latency"),
        (pair(1, Interval(1.01, 1.0101, 1.5)), "G2 holds here: "),
        (pair(1, Interval(1.01, 1.01, 1.5)), "G2 is unclear here: "),
        (pair(1, Interval(1.01, 0.5, 1.01)), "G2 does not hold here: "),
        ([EIGHT, BACKWARDS], "holds here: 8 groups cost 2.00x the latency"),
        ([replace(r, group="") for r in (ONE, DOUBLE)], "latency of 1 at equal FLOPs."),
        ([replace(r, group="minibatch=1") for r in (ONE, DOUBLE)], "(minibatch 1)."),
        (with_changes("groups=8,scale=2", published=None), "paper, ARM: 1.44x and no figure)."),
        (pair(1, ratio(2.0), cost=cost(128_900_000, None)), "of 1 at equal FLOPs ("),
        (pair(1, ratio(2.0), cost=cost(122_000_000, None)), "of 1 at 0.95x the FLOPs ("),
        (pair(1, ratio(2.0), cost=cost(1, None, "Loop")), "of 1 (scale 1)"),
    ],
)
def test_the_sentence_has_the_words_for_its_figures(records: list[Record], words: str) -> None:
    text = str(read(*records))
    assert words in text
    assert text.endswith(words) or not words.endswith(".")


def test_the_sentence_goes_by_the_specs_claim_and_guideline() -> None:
    run = run_of(pair(1, ratio(2.0)))
    assert sentences(run, replace(G2, claim=None)) == []
    (sentence,) = sentences(run, replace(G2, guideline=""))
    assert sentence.startswith("The claim of g2 holds here: ")
