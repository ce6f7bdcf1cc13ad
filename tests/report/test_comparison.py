"""What a comparison is made of, and what its figures say: verdicts, sentences, tables."""

import csv
import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from benchbox import specs
from benchbox.analysis.stats import Interval
from benchbox.cli import compare as cli
from benchbox.cli import selection
from benchbox.cli.options import CaseOptions
from benchbox.errors import UsageError
from benchbox.networks import catalogue
from benchbox.records import Record, Run, SpecFacts
from benchbox.report import claims, comparison_text, footnotes
from benchbox.report import comparison as report_comparison
from benchbox.report.console import show_runs
from benchbox.report.files import to_csv, to_json, to_markdown
from benchbox.report.frame import to_frame
from benchbox.report.multi_device import tables_of
from benchbox.specs import BlockSpec, Builder, Case, OnnxFile, Selection, TensorSpec
from tests.conftest import HEADER, MATMUL
from tests.report.test_tables import cost, g2_records, latency, ratio, record, run_of

ARM = Selection(channels="arm")
IMAGE = Selection(shapes=(TensorSpec("x", (1, 3, 8, 8)),))
Files = Callable[..., list[str]]


@pytest.fixture
def files(in_tmp: Path) -> Files:
    """Return a function that writes graphs to these paths and returns them."""

    def write(*paths: str, text: str = MATMUL) -> list[str]:
        for path in paths:
            (in_tmp / path).parent.mkdir(parents=True, exist_ok=True)
            onnx.save(onnx.parser.parse_model(HEADER + text), path)
        return list(paths)

    return write


def comparison(*names: str, title: str = "T") -> BlockSpec:
    return specs.comparison([spec for name in names for spec in specs.find(name)], title)


def compared(*names: str, selection: Selection = ARM) -> list[Case]:
    return comparison(*names).cases(selection)


def refusal(*names: str, selection: Selection = ARM) -> str:
    with pytest.raises(UsageError) as caught:
        compared(*names, selection=selection)
    return str(caught.value)


# the cases and their names


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["ghostnetv2", "shufflenetv2"], ["ghostnetv2_x1_0", "shufflenetv2_x1_0"]),
        (["ghostnetv2_x1_3", "mobilenetv3_small"], ["ghostnetv2_x1_3", "mobilenetv3_small"]),
        (
            ["g2:groups=8,scale=1", "g1:ratio=1:1,scale=1"],
            ["g2:groups=8,scale=1", "g1:ratio=1:1,scale=1"],
        ),
        (["ghostnetv2", "g2:groups=8,scale=1"], ["ghostnetv2_x1_0", "g2:groups=8,scale=1"]),
        (["g2:scale=1"], [f"g2:groups={n},scale=1" for n in (1, 2, 4, 8)]),
        (["a.onnx", "deep/down/b.onnx"], ["a", "b"]),
        (["a.onnx", "ghostnetv2"], ["a", "ghostnetv2_x1_0"]),
        (["old/model.onnx", "new/model.onnx"], ["old/model", "new/model"]),
        (
            ["old/model.onnx", "new/model.onnx", "other/b.onnx"],
            ["old/model", "new/model", "b"],
        ),
        (["old/ghostnetv2_x1_0.onnx", "ghostnetv2"], ["old/ghostnetv2_x1_0", "ghostnetv2_x1_0"]),
        (["x/run/m.onnx", "y/run/m.onnx"], ["run/m#1", "run/m#2"]),
        (["a.onnx", "x/run/m.onnx", "y/run/m.onnx"], ["a", "run/m#2", "run/m#3"]),
    ],
)
def test_every_case_has_a_name_that_no_other_has_and_that_is_short(
    files: Files, names: list[str], expected: list[str]
) -> None:
    files(*(name for name in names if name.endswith(".onnx")))
    assert [case.name for case in compared(*names)] == expected


def test_builders_of_one_name_are_told_apart(in_tmp: Path) -> None:
    for name in ("one.py", "two.py"):
        (in_tmp / name).write_text("def build(): ...")
    names = [case.name for case in compared("one.py:build", "two.py:build", selection=IMAGE)]
    assert len(set(names)) == 2
    assert all(name.startswith("build") for name in names)


def test_all_cases_stand_beside_the_first_whatever_their_groups_were() -> None:
    cases = compared("g2")
    assert len(cases) == 12
    assert {case.group for case in cases} == {""}
    assert {case.reference for case in cases} == {"g2:groups=1,scale=1"}
    assert {case.spec for case in cases} == {specs.COMPARE}
    assert [case.is_reference for case in cases] == [True] + [False] * 11


def test_the_order_is_the_one_that_was_typed(files: Files) -> None:
    names = files("c.onnx", "a.onnx", "b.onnx")
    assert [case.name for case in compared(*names)] == ["c", "a", "b"]
    assert [case.reference for case in compared(*reversed(names))] == ["b"] * 3


def test_a_case_is_built_as_it_is_in_its_own_spec(files: Files) -> None:
    names = [*files("a.onnx"), "ghostnetv2", "g4:relu=no,shortcut=no,scale=1"]
    alone = [case for name in names for spec in specs.find(name) for case in spec.cases(ARM)]
    for ours, own in zip(compared(*names), alone, strict=True):
        for field in ("labels", "args", "inputs", "batch", "source", "network", "dtype", "paper"):
            assert getattr(ours, field) == getattr(own, field), field


def test_a_selection_narrows_the_cases_of_a_comparison() -> None:
    names = [case.name for case in compared("g2", "g3", selection=Selection(scales=("4",)))]
    assert names[0] == "g2:groups=1,scale=4"
    assert all(name.endswith("scale=4") for name in names)


def test_of_several_batches_each_has_a_comparison_of_its_own() -> None:
    cases = compared("ghostnetv2", "shufflenetv2", selection=Selection(batches=(1, 4)))
    first, second = "ghostnetv2_x1_0", "shufflenetv2_x1_0"
    assert [(case.name, case.reference, case.group) for case in cases] == [
        (f"{name},batch={batch}", f"{first},batch={batch}", f"batch={batch}")
        for batch in (1, 4)
        for name in (first, second)
    ]


def test_a_batch_is_that_of_all_cases() -> None:
    cases = compared("ghostnetv2", "g2:groups=8,scale=1", selection=Selection(batches=(4,)))
    assert {case.inputs[0].shape[0] for case in cases} == {case.batch for case in cases} == {4}


# what is refused


@pytest.mark.parametrize(
    "names",
    [
        ["a.onnx", "a.onnx"],
        ["./a.onnx", "a.onnx"],
        ["a.onnx", "folder/../a.onnx"],
        ["a.onnx", "b.onnx", "{tmp}/a.onnx"],
        ["a.onnx", "link.onnx"],
        ["ghostnetv2", "ghostnetv2"],
        ["ghostnetv2", "ghostnetv2_x1_0"],
        ["ghostnetv3_train", "ghostnetv3_x1_0_train"],
        ["ghostnetv2", "models:network=ghostnetv2_x1_0"],
        ["a.onnx", "ghostnetv2", "g2:scale=1", "g2:groups=8"],
        ["mine.py:build", "./mine.py:build"],
    ],
)
def test_a_case_is_not_compared_with_itself_however_it_is_spelled(
    files: Files, in_tmp: Path, names: list[str]
) -> None:
    files("a.onnx", "b.onnx", "folder/c.onnx")
    (in_tmp / "link.onnx").symlink_to("a.onnx")
    (in_tmp / "mine.py").write_text("def build(): ...")
    is_builder = names[0].startswith("mine")
    spelled = [name.format(tmp=in_tmp) for name in names]
    said = refusal(*spelled, selection=IMAGE if is_builder else ARM)
    assert said.endswith("is compared with itself; name two different cases")


@pytest.mark.parametrize(
    "names",
    [
        ["a.onnx", "copy.onnx"],
        ["shufflenetv2", "shufflenetv2_tv"],
        ["ghostnetv3", "ghostnetv3_train"],
        ["mobilenetv3_small", "mobilenetv3_large"],
        ["g2:groups=1,scale=1", "g2:groups=1,scale=2"],
    ],
)
def test_what_merely_looks_alike_can_be_compared(files: Files, names: list[str]) -> None:
    files("a.onnx", "copy.onnx")
    assert len(compared(*names)) == 2


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a.onnx", "a: a comparison needs two cases; name another one"),
        ("ghostnetv2", "ghostnetv2_x1_0: a comparison needs two cases; name another one"),
        ("g2:groups=8,scale=1", "g2:groups=8,scale=1: a comparison needs two cases; name another"),
    ],
)
def test_one_case_is_too_few(files: Files, name: str, said: str) -> None:
    files("a.onnx")
    assert refusal(name).startswith(said)


def test_what_a_selection_leaves_can_be_too_few() -> None:
    assert "needs two cases" in refusal("g2:groups=8", selection=Selection(scales=("4",)))


def test_what_does_not_fit_one_of_the_cases_is_refused() -> None:
    selection = Selection(shapes=(TensorSpec("x", (1, 3, 100, 100)),))
    assert "height and width must be multiples of 32" in refusal(
        "ghostnetv2", "shufflenetv2", selection=selection
    )


# what comes from the specs


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["g2:groups=1,scale=1", "g2:groups=8,scale=1"], [40.0, 27.8]),
        (["shufflenetv2", "mobilenetv2"], [24.4, 8.9]),
        (["ghostnetv2", "shufflenetv2"], [None, 24.4]),
        (["g2:groups=1,scale=1", "g1:ratio=1:1,scale=1"], [None, None]),
        (["shufflenetv2", "g2:groups=1,scale=1"], [None, None]),
        (["shufflenetv2", "a.onnx"], [None, None]),
    ],
)
def test_published_speeds_are_kept_only_where_one_spec_has_them_all(
    files: Files, names: list[str], expected: list[float | None]
) -> None:
    files("a.onnx")
    spec = comparison(*names)
    cases = spec.cases(ARM)
    assert [case.published for case in cases] == expected
    has_any = any(figure is not None for figure in expected)
    assert bool(spec.published) == bool(spec.source) == has_any
    assert {case.channels for case in cases} == {"arm" if has_any else None}


def test_what_papers_print_of_a_network_stays_in_any_company(files: Files) -> None:
    cases = compared("ghostnetv2", *files("a.onnx"))
    assert [case.paper.top1_percent for case in cases] == [75.3, None]


def test_the_sha_follows_every_file_and_their_order(files: Files) -> None:
    names = files("a.onnx", "b.onnx")
    files("b.onnx", text=MATMUL.replace("32,32", "16,16"))
    first = comparison(*names).sha256
    assert comparison(*names).sha256 == first
    assert len(first) == 64
    assert comparison(*reversed(names)).sha256 != first
    files("b.onnx", text=MATMUL.replace("32,32", "8,8"))
    assert comparison(*names).sha256 != first


def test_it_has_a_title_and_claims_nothing() -> None:
    spec = comparison("g2", title="this against that")
    assert (spec.name, spec.title) == ("compare", "this against that")
    assert (spec.claim, spec.match, spec.guideline, spec.group_by) == (None, None, "", "")


def test_what_a_file_is_made_of_is_not_read_before_it_is_unfolded(files: Files) -> None:
    spec = comparison(*files("a.onnx", "b.onnx"))
    Path("b.onnx").write_text("no graph")
    with pytest.raises(UsageError, match=r"b\.onnx: not an ONNX file"):
        spec.cases(ARM)


def test_a_case_of_each_kind_keeps_its_source(files: Files) -> None:
    sources = [case.source for case in compared(*files("a.onnx"), "ghostnetv2")]
    assert isinstance(sources[0], OnnxFile)
    assert isinstance(sources[1], Builder)


# what was measured, said


FACTS = SpecFacts("compare", "a against b", "0" * 64)
MACS = 128_450_560


def row(name: str, p50_ms: float | None = 1.0, **changes: Any) -> Record:
    """A case of a comparison whose reference is `a`."""
    bare = record({}, p50_ms, spec="compare", case=name, reference="a")
    return replace(bare, **changes)


def run(*records: Record, margin: float | None = 0.01, **changes: Any) -> Run:
    bare = run_of([replace(r, index=i) for i, r in enumerate(records)], [FACTS])
    plan = {} if margin is None else {"margin": margin}
    context = replace(bare.context, name="compare-a+b", plan=plan)
    return replace(bare, context=replace(context, **changes))


def two(over: Interval | None, macs: int = MACS, **changes: Any) -> Run:
    """A run of `a` and `b`, which takes so much of its time and has so many FLOPs."""
    p50_ms = over.value if over else 1.0
    other = row("b", p50_ms, relative=over, cost=cost(macs, 16_220_160))
    return run(row("a"), replace(other, **changes))


def said(of: Run) -> str | None:
    return claims.sentence(of, FACTS)


@pytest.mark.parametrize(
    ("low", "high", "margin", "verdict"),
    [
        (1.02, 1.03, 0.01, "SLOWER"),
        (1.0101, 9.0, 0.01, "SLOWER"),
        (1.01, 1.03, 0.01, "UNCLEAR"),
        (1.02, 1.03, 0.05, "SAME"),
        (1.02, 1.06, 0.05, "UNCLEAR"),
        (0.5, 0.6, 0.01, "FASTER"),
        (0.5, 0.9900, 0.01, "FASTER"),
        (0.5, 0.9902, 0.01, "UNCLEAR"),
        (0.9902, 1.01, 0.01, "SAME"),
        (0.98, 1.00, 0.01, "UNCLEAR"),
        (0.9, 1.1, 0.01, "UNCLEAR"),
        (0.9, 1.1, 0.5, "SAME"),
        (1.4, 1.6, 0.5, "UNCLEAR"),
    ],
)
def test_the_verdict_is_by_the_whole_interval(
    low: float, high: float, margin: float, verdict: str
) -> None:
    measured = two(Interval((low + high) / 2, low, high))
    judged = replace(measured, context=replace(measured.context, plan={"margin": margin}))
    assert report_comparison.verdict(judged, judged.records[1]) == verdict
    assert claims.is_unclear(judged) == (verdict == "UNCLEAR")


def test_there_is_no_verdict_on_the_reference_nor_where_nothing_was_measured() -> None:
    measured = run(row("a"), row("b", None, status="failed"), row("c", None, status="skipped"))
    assert [comparison_text.verdict(measured, r) for r in measured.records] == ["-", "-", "-"]
    assert not claims.is_unclear(measured)


@pytest.mark.parametrize("status", ["failed", "skipped"])
def test_there_is_no_verdict_beside_a_reference_without_figures(status: Any) -> None:
    """A ratio may be there all the same, of rounds before the reference failed."""
    gone = row("a", None, status=status, reason="the agent is gone")
    measured = run(gone, row("b", relative=TWICE), row("c", relative=ratio(1.0, 0.5)))
    assert [report_comparison.verdict(measured, each) for each in measured.records] == [None] * 3
    assert [comparison_text.verdict(measured, each) for each in measured.records] == ["-"] * 3
    assert comparison_text.sentence(measured, measured.records) is None
    assert not claims.is_unclear(measured)
    assert to_frame([measured])["verdict"].isna().all()
    assert [comparison_text.verdict(run(row("b", relative=TWICE)), measured.records[1])] == ["-"]


@pytest.mark.parametrize("lacking", ["a", "b"])
def test_a_known_ratio_has_a_verdict_without_the_p50_of_a_case(lacking: str) -> None:
    measured = two(TWICE)
    records = [
        replace(r, latency=None, status="imprecise") if r.case == lacking else r
        for r in measured.records
    ]
    judged = run(*records)
    assert report_comparison.verdict(judged, judged.records[1]) == "SLOWER"
    assert "b takes 2.00x (SLOWER)." in str(said(judged)).replace("it takes", "b takes")
    assert "2.00x  1.98x to 2.02x  SLOWER" in printed(judged)


def test_without_any_verdict_no_note_says_what_they_mean() -> None:
    same = {"sha256": "1" * 64}
    failed = row("b", None, status="failed", graph=same, relative=TWICE)
    assert comparison_text.notes(run(row("a", graph=same), failed), []) == []
    notes = footnotes.notes(run(row("a", graph=same), failed), FACTS)
    assert not any("verdict" in note or "same graph" in note for note in notes)


def test_only_an_unclear_comparison_says_what_helps() -> None:
    for over, helped in ((ratio(1.0, 0.5), True), (TWICE, False)):
        measured = two(over)
        assert (
            comparison_text.UNCLEAR_HELP in comparison_text.notes(measured, measured.records)
        ) == helped


def test_no_other_run_has_verdicts() -> None:
    other = run(row("a"), row("b", relative=ratio(1.0, 0.5)), margin=None)
    assert report_comparison.verdict(other, other.records[1]) is None
    assert comparison_text.sentence(other, other.records) is None
    assert comparison_text.notes(other, other.records) == []
    assert not claims.is_unclear(other)


HALF, TWICE = ratio(0.5), ratio(2.0)


@pytest.mark.parametrize(
    ("over", "macs", "text"),
    [
        (
            Interval(0.4167, 0.41, 0.42),
            int(MACS / 1.15),
            "a has 1.15x the FLOPs of b and 2.40x its latency on cpu. "
            "By FLOPs alone b would take 0.87x the time; it takes 0.42x (FASTER).",
        ),
        (
            TWICE,
            2 * MACS,
            "a has 0.50x the FLOPs of b and 0.50x its latency on cpu. "
            "By FLOPs alone b would take 2.00x the time; it takes 2.00x (SLOWER).",
        ),
        (
            HALF,
            2 * MACS,
            "a has 0.50x the FLOPs of b and 2.00x its latency on cpu. "
            "By FLOPs alone b would take 2.00x the time; it takes 0.50x (FASTER).",
        ),
        (
            TWICE,
            MACS,
            "a has the FLOPs of b and 0.50x its latency on cpu. "
            "By FLOPs alone they would take the same time; b takes 2.00x (SLOWER).",
        ),
        (
            ratio(1.0, 0.002),
            MACS // 2,
            "a has 2.00x the FLOPs of b and 1.00x its latency on cpu. "
            "By FLOPs alone b would take 0.50x the time; it takes 1.00x (SAME).",
        ),
        (
            Interval(1.02, 0.95, 1.09),
            MACS,
            "a has the FLOPs of b and 0.98x its latency on cpu. By FLOPs alone they would take "
            "the same time; b takes 1.02x (UNCLEAR: 0.95x to 1.09x).",
        ),
    ],
)
def test_flops_and_latency_are_said_in_one_breath(over: Interval, macs: int, text: str) -> None:
    assert said(two(over, macs)) == text


@pytest.mark.parametrize(
    ("share", "equal"), [(1.0, True), (1.004, True), (0.996, True), (1.006, False), (0.994, False)]
)
def test_flops_that_differ_by_half_a_percent_are_equal(share: float, equal: bool) -> None:
    assert ("has the FLOPs of b" in str(said(two(TWICE, int(MACS * share))))) == equal


@pytest.mark.parametrize("which", ["a", "b", "both"])
@pytest.mark.parametrize("uncounted", [True, False])
def test_flops_that_are_not_known_are_left_out(which: str, uncounted: bool) -> None:
    unknown = cost(12_300_000, None, "Loop") if uncounted else None
    first, second = two(TWICE).records
    if which in ("a", "both"):
        first = replace(first, cost=unknown)
    if which in ("b", "both"):
        second = replace(second, cost=unknown)
    assert said(run(first, second)) == (
        "a has 0.50x the latency of b on cpu: b takes 2.00x (SLOWER)."
    )


def test_there_is_a_line_for_each_case_beside_the_reference() -> None:
    lines = str(said(run(row("a"), row("b", relative=TWICE), row("c", relative=HALF)))).split("\n")
    assert [line.rpartition("; ")[2] for line in lines] == [
        "b takes 2.00x (SLOWER).",
        "c takes 0.50x (FASTER).",
    ]
    assert all(line.startswith("a has the FLOPs of ") for line in lines)


def test_a_case_that_failed_is_no_part_of_the_sentence() -> None:
    failed = row("b", None, status="failed", reason="no kernel")
    assert said(run(row("a"), failed)) is None
    three = run(row("a"), failed, row("c", relative=TWICE))
    assert str(said(three)).count("\n") == 0
    assert footnotes.failures(three, FACTS) == ["b failed: no kernel"]


def test_a_reference_that_failed_leaves_nothing_to_say() -> None:
    assert said(run(row("a", None, status="failed"), row("b"))) is None


def test_a_ratio_that_was_not_reached_leaves_nothing_to_say() -> None:
    assert said(two(None, status="imprecise", reason="only 2 quiet rounds of both cases")) is None


def test_the_device_is_named() -> None:
    text = str(said(replace(two(TWICE), context=replace(two(TWICE).context, device="arm"))))
    assert " its latency on arm. " in text


# notes


def test_a_note_says_what_the_verdicts_mean() -> None:
    assert footnotes.notes(two(TWICE), FACTS) == [
        "FLOPs are multiply-accumulates, as the papers count them",
        "memory is what is accessed: every tensor read and written once, with weights",
        "verdict, by the whole 95% interval of the ratio to a: FASTER below 0.990x, "
        "SLOWER above 1.010x, SAME between; UNCLEAR where it lies across a bound",
    ]


@pytest.mark.parametrize(
    ("margin", "bounds"),
    [
        (0.05, "FASTER below 0.952x, SLOWER above 1.050x"),
        (0.5, "FASTER below 0.67x, SLOWER above 1.50x"),
        (0.001, "FASTER below 0.9990x, SLOWER above 1.0010x"),
        (0.00001, "FASTER below 0.999990x, SLOWER above 1.000010x"),
    ],
)
def test_the_bounds_are_those_of_the_margin(margin: float, bounds: str) -> None:
    measured = run(row("a"), row("b", relative=TWICE), margin=margin)
    assert any(bounds in note for note in footnotes.notes(measured, FACTS))


def test_cases_of_one_graph_are_named() -> None:
    one, other = {"sha256": "1" * 64}, {"sha256": "2" * 64}
    records = [
        row("a", graph=one),
        row("b", graph=other),
        row("c", graph=one, relative=TWICE),
        row("d", None, status="failed", graph=None),
        row("e", None, status="failed", graph=None),
    ]
    notes = [note for note in footnotes.notes(run(*records), FACTS) if "same graph" in note]
    assert notes == ["a and c are the same graph: what differs is chance"]


def test_a_graph_at_two_batches_is_compared_with_others_and_not_with_itself() -> None:
    graph = {"sha256": "1" * 64}
    at_8 = {"reference": "a,batch=8", "batch": 8, "inputs": ["x=8x64x56x56"]}
    records = [
        row("a", graph=graph),
        row("b", relative=TWICE),
        row("a,batch=8", graph=graph, **at_8),
        row("b,batch=8", relative=HALF, **at_8),
    ]
    notes = footnotes.notes(run(*records), FACTS)
    assert not any("same graph" in note for note in notes)
    assert any("of the ratio to a or a,batch=8: " in note for note in notes)


def test_what_a_ratio_lacks_is_a_note() -> None:
    lacking = "the ratio is ±3.0% after 24 rounds, ±1.0% was asked; give it more with --max-time"
    notes = footnotes.notes(two(ratio(1.2, 0.03), status="imprecise", reason=lacking), FACTS)
    assert notes[-1] == f"b: {lacking}"


# tables


PAPER_A = {"params_m": 6.1, "macs_m": 167.0, "top1_percent": 75.3, "source": "GhostNetV2, Fig. 1"}
PAPER_B = {"macs_m": 146.0, "top1_percent": 69.4, "source": "ShuffleNet V2, Table 5"}


def printed(*runs: Run, width: int | None = None, verbose: bool = False) -> str:
    file = io.StringIO()
    terminal = width is not None
    console = Console(file=file, force_terminal=terminal, width=width or 80, color_system=None)
    show_runs(runs, console, verbose=verbose)
    return file.getvalue()


def three_cases() -> Run:
    return run(
        row("a", 2.0, paper=PAPER_A),
        row("b", 1.0, relative=ratio(0.5, 0.02), cost=cost(MACS // 2, 8_000_000), paper=PAPER_B),
        row("c", None, status="failed", reason="no kernel for Conv", cost=None),
    )


def test_a_pipe_gets_the_table_the_failures_and_then_the_sentence() -> None:
    assert (
        printed(three_cases())
        == """\
a against b
cpu, CPUExecutionProvider, 1 thread, batch 1
Cortex-A76, ONNX Runtime 1.29.0, benchbox 0.1.0, 2026-05-09

case  FLOPs (M)  memory (MB)       p50 (ms)  images/s  relative FLOPs  relative    95% interval  \
verdict  top-1, paper (%)  quiet share  status
a           128         16.2  2.000 ± 0.008       500           1.00x     1.00x               -  \
-                    75.3          97%  ok
b          64.2         8.00  1.000 ± 0.004      1000           0.50x     0.50x  0.49x to 0.51x  \
FASTER               69.4          97%  ok
c             -            -              -         -               -         -               -  \
-                       -            -  failed

c failed: no kernel for Conv
a has 2.00x the FLOPs of b and 2.00x its latency on cpu. By FLOPs alone b would take 0.50x the \
time; it takes 0.50x (FASTER).
FLOPs are multiply-accumulates, as the papers count them
memory is what is accessed: every tensor read and written once, with weights
verdict, by the whole 95% interval of the ratio to a: FASTER below 0.990x, SLOWER above 1.010x, \
SAME between; UNCLEAR where it lies across a bound
published figures: GhostNetV2, Fig. 1; ShuffleNet V2, Table 5

"""
    )


def test_markdown_has_a_paragraph_for_each_line_of_the_sentence() -> None:
    measured = run(row("a"), row("b_1", relative=TWICE), row("c", relative=ratio(1, 0.5)))
    assert (
        to_markdown([measured])
        == """\
## a against b

cpu, CPUExecutionProvider, 1 thread, batch 1; Cortex-A76, ONNX Runtime 1.29.0, benchbox 0.1.0, \
2026-05-09

| case | FLOPs (M) | memory (MB) | p50 (ms) | images/s | relative FLOPs | relative | 95% interval \
| verdict | quiet share |
|:--|--:|--:|--:|--:|--:|--:|--:|:--|--:|
| a | 128 | 16.2 | 1.000 ± 0.004 | 1000 | 1.00x | 1.00x | - | - | 97% |
| b_1 | 128 | 16.2 | 1.000 ± 0.004 | 1000 | 1.00x | 2.00x | 1.98x to 2.02x | SLOWER | 97% |
| c | 128 | 16.2 | 1.000 ± 0.004 | 1000 | 1.00x | 1.0x | 0.50x to 1.50x | UNCLEAR | 97% |

a has the FLOPs of b_1 and 0.50x its latency on cpu. By FLOPs alone they would take the same time; \
b_1 takes 2.00x (SLOWER).

a has the FLOPs of c and 1.0x its latency on cpu. By FLOPs alone they would take the same time; \
c takes 1.0x (UNCLEAR: 0.50x to 1.50x).

- FLOPs are multiply-accumulates, as the papers count them
- memory is what is accessed: every tensor read and written once, with weights
- verdict, by the whole 95% interval of the ratio to a: FASTER below 0.990x, SLOWER above 1.010x, \
SAME between; UNCLEAR where it lies across a bound
- UNCLEAR: more time (--max-time) narrows the interval, a wider --margin decides
"""
    )


@pytest.mark.parametrize("width", [160, 100, 80, 60, 40, 20])
def test_a_narrow_terminal_keeps_ratios_and_verdicts_whole(width: int) -> None:
    text = printed(three_cases(), width=width)
    for figure in ("2.000 ± 0.008", "0.50x", "1.000 ± 0.004"):
        assert figure in text
    table = text.partition("left out")[0]
    assert "FASTER" in table.replace("\n", "")
    assert "…" not in text


def test_80_columns_hold_the_comparison_of_two_networks() -> None:
    names = ("ghostnetv2_x1_0", "shufflenetv2_x1_0")
    first, second = (
        replace(each, case=name, reference=names[0])
        for each, name in zip(three_cases().records, names, strict=False)
    )
    table = printed(run(first, second), width=80).partition("left out")[0].splitlines()
    assert max(map(cell_len, table)) <= 80
    assert "relative FLOPs" not in "".join(table)
    (line,) = (each for each in table if each.startswith(names[1]))
    assert line.split()[-2:] == ["0.50x", "FASTER"]


def test_a_table_that_fits_stays_within_the_terminal() -> None:
    assert max(map(cell_len, printed(three_cases(), width=120).splitlines())) <= 120


def test_verbose_adds_its_columns_to_a_comparison() -> None:
    header = printed(three_cases(), verbose=True).splitlines()[4]
    assert "raw p50 (ms)  p90 (ms)" in header
    assert "verdict" in header


# files


FIGURES = ["relative_ci_low", "relative_ci_high", "relative_macs", "verdict", "margin"]
PUBLISHED = ["published_params_m", "published_macs_m", "published_top1_percent"]


def test_a_comparison_adds_its_columns_at_the_very_end() -> None:
    columns = list(to_frame([three_cases()]).columns)
    assert columns[-8:] == [*PUBLISHED, *FIGURES]
    assert columns[-9] == "reason"
    labelled = run(row("a"), row("b", relative=TWICE, labels={"n": 1}, args={"c": 2}))
    assert list(to_frame([labelled]).columns)[-7:] == ["arg_n", "arg_c", *FIGURES]


def test_no_other_run_has_the_columns_of_comparisons() -> None:
    assert not set(FIGURES) & set(to_frame([run_of(g2_records())]).columns)
    assert not set(PUBLISHED) & set(to_frame([run_of(g2_records())]).columns)


def test_each_row_has_its_ratio_its_flops_and_its_verdict() -> None:
    frame = to_frame([three_cases()])
    assert [frame.iloc[i][FIGURES].dropna().to_dict() for i in range(3)] == [
        {"relative_macs": 1.0, "margin": 0.01},
        {
            "relative_ci_low": 0.49,
            "relative_ci_high": 0.51,
            "relative_macs": 0.5,
            "verdict": "FASTER",
            "margin": 0.01,
        },
        {"margin": 0.01},
    ]
    assert [frame.iloc[i][PUBLISHED].dropna().to_dict() for i in range(3)] == [
        dict(zip(PUBLISHED, (6.1, 167.0, 75.3), strict=True)),
        dict(zip(PUBLISHED[1:], (146.0, 69.4), strict=True)),
        {},
    ]
    assert list(frame["relative_latency"].dropna()) == [1.0, 0.5]


def test_beside_a_comparison_other_runs_have_empty_cells() -> None:
    frame = to_frame([run_of(g2_records()), three_cases()])
    assert frame[FIGURES].iloc[: len(g2_records())].isna().all().all()
    assert list(frame["verdict"].dropna()) == ["FASTER"]


def test_figures_in_files_are_rounded_and_verdicts_are_not() -> None:
    measured = two(Interval(1 / 3, 0.1 + 0.2, 2 / 3), macs=MACS // 3)
    header, _, cells = csv.reader(io.StringIO(to_csv(to_frame([measured]))))
    known = dict(zip(header, cells, strict=True))
    assert [known[name] for name in FIGURES] == ["0.3", "0.666667", "0.333333", "FASTER", "0.01"]


def test_json_has_null_where_there_is_no_verdict() -> None:
    text = to_json(to_frame([three_cases()]))
    assert text.count('"verdict": null') == 2
    assert '"verdict": "FASTER"' in text


# several devices


def on(device: str, *records: Record, **changes: Any) -> Run:
    return run(*records, device=device, host={"cpu": f"{device} chip"}, **changes)


def pair(over: Interval, first: float = 1.0) -> list[Record]:
    return [
        row("a", first),
        row("b", first * over.value, relative=over, cost=cost(MACS // 2, 8_000_000)),
    ]


def test_one_comparison_on_several_devices_is_one_table() -> None:
    runs = [on("cpu", *pair(ratio(2.0, 0.02))), on("arm", *pair(ratio(1.0, 0.004), 3.0))]
    assert (
        printed(*runs)
        == """\
a against b
cpu, CPUExecutionProvider, 1 thread, batch 1; cpu chip, ONNX Runtime 1.29.0, benchbox 0.1.0, \
2026-05-09
arm, CPUExecutionProvider, 1 thread, batch 1; arm chip, ONNX Runtime 1.29.0, benchbox 0.1.0, \
2026-05-09

case  FLOPs (M)  memory (MB)  relative FLOPs                      cpu (ms)                    \
arm (ms)
a           128         16.2           1.00x                 1.000 ± 0.004               3.000 ± \
0.012
b          64.2         8.00           0.50x  2.000 ± 0.008 (2.00x SLOWER)  3.000 ± 0.012 (1.00x \
SAME)

a has 2.00x the FLOPs of b and 0.50x its latency on cpu. By FLOPs alone b would take 0.50x the \
time; it takes 2.00x (SLOWER).
a has 2.00x the FLOPs of b and 1.00x its latency on arm. By FLOPs alone b would take 0.50x the \
time; it takes 1.00x (SAME).
FLOPs are multiply-accumulates, as the papers count them
memory is what is accessed: every tensor read and written once, with weights
verdict, by the whole 95% interval of the ratio to a: FASTER below 0.990x, SLOWER above 1.010x, \
SAME between; UNCLEAR where it lies across a bound

"""
    )


def test_the_table_of_several_devices_is_one_in_markdown_too() -> None:
    text = to_markdown([on("cpu", *pair(TWICE)), on("arm", *pair(HALF))])
    assert text.count("## ") == 1
    assert "| case | FLOPs (M) | memory (MB) | relative FLOPs | cpu (ms) | arm (ms) |" in text
    assert text.count("\n\na has 2.00x the FLOPs of b and ") == 2
    assert text.count("- verdict, by the whole 95% interval") == 1


def cells_of(*runs: Run) -> list[list[str]]:
    (table,) = tables_of(runs)
    return [list(cells) for cells in zip(*(column.cells for column in table.columns), strict=True)]


def test_a_case_that_one_device_lacks_has_a_dash_there_and_its_status_where_it_failed() -> None:
    failed = row("b", None, status="failed", reason="no kernel", cost=None)
    first = on("cpu", row("a"), failed)
    second = on("arm", *pair(TWICE), row("c", relative=HALF))
    assert [cells[-2:] for cells in cells_of(first, second)] == [
        ["1.000 ± 0.004", "1.000 ± 0.004"],
        ["failed", "2.000 ± 0.008 (2.00x SLOWER)"],
        ["-", "1.000 ± 0.004 (0.50x FASTER)"],
    ]
    (table,) = tables_of([first, second])
    assert table.lines == ("cpu: b failed: no kernel",)
    assert str(table.reading).count("on arm") == 2
    assert "on cpu" not in str(table.reading)


def test_the_costs_are_of_a_device_that_knows_them() -> None:
    unknown = [replace(each, cost=None) for each in pair(TWICE)]
    rows = cells_of(on("cpu", *unknown), on("arm", *pair(HALF)))
    assert rows[1][1:4] == ["64.2", "8.00", "0.50x"]


def test_files_have_a_row_for_each_case_on_each_device() -> None:
    frame = to_frame([on("cpu", *pair(TWICE)), on("arm", *pair(HALF))])
    assert list(zip(frame["device"], frame["case"], strict=True)) == [
        ("cpu", "a"),
        ("cpu", "b"),
        ("arm", "a"),
        ("arm", "b"),
    ]
    assert list(frame["verdict"].dropna()) == ["SLOWER", "FASTER"]


def other(**changes: Any) -> SpecFacts:
    return replace(FACTS, **changes)


def planned(device: str, **plan: Any) -> Run:
    return on(device, *pair(TWICE), plan={"margin": 0.01, **plan})


@pytest.mark.parametrize(
    ("runs", "tables"),
    [
        ([on("cpu", *pair(TWICE))], 1),
        ([on("cpu", *pair(TWICE)), on("cpu", *pair(TWICE))], 2),
        ([on("cpu", *pair(TWICE)), on("cpu", *pair(TWICE)), on("arm", *pair(TWICE))], 3),
        ([on("cpu", *pair(TWICE)), on("arm", *pair(TWICE), name="compare-a+c")], 2),
        ([on("cpu", *pair(TWICE)), on("arm", *pair(TWICE), margin=None)], 2),
        ([on("cpu", *pair(TWICE), margin=None), on("arm", *pair(TWICE), margin=None)], 1),
        ([on("cpu", *pair(TWICE)), run_of(g2_records())], 2),
        ([on("cpu", *pair(TWICE)), on("arm")], 1),
        ([on("cpu", *pair(TWICE)), on("arm", *pair(TWICE), specs=[other(sha256="1" * 64)])], 2),
        ([on("cpu", *pair(TWICE)), on("arm", *pair(TWICE), channels="gpu")], 2),
        ([on("cpu", *pair(TWICE)), on("arm", *pair(TWICE), margin=0.05)], 2),
        ([on("cpu", *pair(TWICE)), planned("arm", batch=8)], 2),
        ([planned("cpu", batch=8), planned("arm", batch=8)], 1),
        ([on("cpu", *pair(TWICE)), planned("arm", shapes=["x=1x3x64x64"])], 2),
        ([planned("cpu", weights={"n": "ab"}), planned("arm", weights={"n": "cd"})], 2),
        ([planned("cpu", weights={"n": "ab"}), planned("arm", weights={"n": "ab"})], 1),
        ([on("cpu", *pair(TWICE)), planned("arm", precision=0.1, max_time_s=3)], 1),
        ([on("cpu", *pair(TWICE)), on("arm", *pair(TWICE)), on("pi", *pair(TWICE))], 1),
    ],
)
def test_what_is_not_one_run_on_several_devices_is_not_made_one(
    runs: Sequence[Run], tables: int
) -> None:
    assert len(tables_of(runs)) == tables


def test_latencies_without_an_interval_still_have_a_table() -> None:
    measured = two(TWICE, latency=latency(2.0, None))
    assert "2.00x  1.98x to 2.02x  SLOWER" in printed(measured)


# what a run is called


LONG = "a-network-with-a-name-that-does-not-end-"


@given(st.text(max_size=300))
def test_a_file_name_is_short_and_has_no_odd_characters(text: str) -> None:
    name = selection.file_name(text)
    assert len(name) <= selection.NAME_CHARACTERS
    assert selection.file_name(text) == name
    assert all(each.isalnum() or each in "+-_.=," for each in name)


@pytest.mark.parametrize("length", [1, 99, 100])
def test_a_name_that_fits_stays_as_it_is(length: int) -> None:
    assert selection.file_name("n" * length) == "n" * length


def test_a_long_name_ends_in_a_digest_of_all_of_it() -> None:
    texts = [LONG * 5 + end for end in ("a", "b", "a+b", "a:b", "a/b")]
    names = [selection.file_name(text) for text in texts]
    assert len(set(names)) == len(texts)
    for text, name in zip(texts, names, strict=True):
        assert len(name) == selection.NAME_CHARACTERS
        digest = hashlib.sha256(text.encode()).hexdigest()
        start, _, end = name.rpartition("-")
        assert digest.startswith(end)
        assert len(end) == 8
        assert text.startswith(start)


def test_runs_of_many_networks_that_differ_in_the_last_have_names_of_their_own() -> None:
    families = ("ghostnetv2", "ghostnetv3", "mobilenetv2", "mobilenetv3_small", "shufflenetv2")
    first = [name for family in families for name in catalogue.NETWORKS if name.startswith(family)]
    runs = [selection.run_name([*first[:9], last]) for last in first[9:]]
    assert len(set(runs)) == len(runs) > 1
    assert all(len(name) == selection.NAME_CHARACTERS for name in runs)


@pytest.mark.parametrize(
    ("names", "title"),
    [
        (["deep/down/a.onnx", "ghostnetv2"], "a against ghostnetv2_x1_0"),
        (["{tmp}/deep/down/a.onnx", "b.onnx"], "a against b"),
        (["b.onnx", "ghostnetv2", "g2:groups=8,scale=1"], "b against ghostnetv2_x1_0 and {g2}"),
        (["deep/mine.toml:c=2", "deep/mine.toml:c=1"], "mine:c=2 against mine:c=1"),
    ],
)
def test_a_title_has_no_folders(
    files: Files, in_tmp: Path, monkeypatch: pytest.MonkeyPatch, names: list[str], title: str
) -> None:
    files("deep/down/a.onnx", "b.onnx")
    (in_tmp / "deep/mine.toml").write_text(
        'title = "Mine"\nbuilder = "json:dumps"\ninput = [1]\n'
        "[[cases]]\nargs = { c = 1 }\n[[cases]]\nargs = { c = 2 }\n"
    )
    made: list[str] = []
    monkeypatch.setattr(cli, "measure", lambda _, found, *__: made.append(found[0].title))
    spelled = [name.format(tmp=in_tmp) for name in names]
    cli.compare(SimpleNamespace(cases=CaseOptions(spelled)))  # type: ignore[arg-type]
    assert made == [title.format(g2="g2:groups=8,scale=1")]
