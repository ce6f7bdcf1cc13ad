"""The compare command in this process: tables, files, exit codes, going on after Ctrl-C."""

import hashlib
import json
import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchbox.analysis import stats
from benchbox.api import job, selection
from tests.cli.conftest import product, write
from tests.conftest import Files
from tests.helpers.command import FOREVER, CalmCommand, by_case, invoke, only_run

SHORT = ["--quick", "--precision", "90%", "--max-time", "20s"]
BRIEF = ["--quick", "--precision", "90%", "--max-time", "2s"]
TWO = ["small.onnx", "large.onnx"]
pytestmark = pytest.mark.slow


def table() -> dict[str, dict[str, str]]:
    return by_case(Path("t.csv").read_text())


def test_table_files_and_report_hold_the_ratios_and_the_verdicts(bench: CalmCommand) -> None:
    targets = ["--export-csv", "t.csv", "--export-json", "t.json", "--export-markdown", "t.md"]
    result = bench.compare(*TWO, *SHORT, *targets, "--strict")
    assert result.stdout.startswith("small against large\ncpu, CPUExecutionProvider, 1 thread, ")
    assert re.search(
        r"small has 0\.00024x the FLOPs of large and 0\.\d+x its latency on cpu\. "
        r"By FLOPs alone large would take 4096x the time; it takes \d+(\.\d+)?x \(SLOWER\)\.\n",
        result.stdout,
    )
    small, large = table()["small"], table()["large"]
    own = [small[name] for name in ("relative_latency", "verdict", "relative_macs")]
    assert own == ["1.0", "", "1.0"]
    theirs = [large[name] for name in ("spec", "verdict", "relative_macs", "margin")]
    assert theirs == ["compare", "SLOWER", "4096.0", "0.01"]
    ends = [float(large[f"relative_{end}"]) for end in ("ci_low", "latency", "ci_high")]
    assert ends == sorted(ends)
    assert ends[0] > 1.01
    assert [row["verdict"] for row in json.loads(Path("t.json").read_text())] == [None, "SLOWER"]
    assert Path("t.md").read_text().startswith("## small against large\n")
    name = "compare-small.onnx+large.onnx"
    assert invoke("report").stdout == invoke("report", name).stdout == result.stdout
    assert invoke("report", "--format", "csv").stdout == Path("t.csv").read_text()


def test_the_record_holds_the_margin_and_mirrored_rounds_of_three_processes(
    bench: CalmCommand,
) -> None:
    options = ["--precision", "90%", "--max-time", "20s", "--margin", "90%"]
    result = bench.compare(*TWO, "twin.onnx", *options)
    assert "small and twin are the same graph: what differs is chance" in result.stdout
    run = only_run()
    assert (run.context.plan["margin"], run.context.plan["sessions"]) == (0.9, 3)
    assert run.context.name == "compare-small.onnx+large.onnx+twin.onnx"
    assert [record.case for record in run.records] == ["small", "large", "twin"]
    assert {record.reference for record in run.records} == {"small"}
    assert all({b.session for b in record.bursts} == {0, 1, 2} for record in run.records)
    bursts = [Counter(burst.round for burst in record.bursts) for record in run.records]
    whole = set.intersection(*(set(each) for each in bursts))
    assert len(whole) >= 6
    assert all(sorted(each[number] for each in bursts) == [1, 2, 2] for number in whole)


def test_after_ctrl_c_the_next_device_is_begun_only_by_resuming(
    bench: CalmCommand, two_devices: list[str]
) -> None:
    refused = bench.compare(*TWO, *SHORT, *two_devices, "--resume", code=2)
    assert "holds no run of compare-small.onnx+large.onnx" in refused.stderr
    assert bench.bursts == 0
    bench.interrupt_at = 60
    stopped = bench.compare(*TWO, "--quick", *FOREVER, *two_devices, code=130)
    assert "`--resume` goes on from here" in stopped.stderr
    before = [len(record.bursts) for record in only_run("cpu").records]
    assert min(before) > 0
    assert not list(Path("results").glob("arm/*.jsonl"))
    result = bench.compare(*TWO, *SHORT, *two_devices, "--resume")
    for device in ("cpu", "arm"):
        assert [record.status for record in only_run(device).records] == ["ok", "ok"]
        assert f"its latency on {device}." in result.stdout
    assert len(only_run("cpu").records[1].bursts) >= before[1]
    timed = bench.bursts
    assert bench.compare(*TWO, *SHORT, *two_devices, "--resume").stdout == result.stdout
    again = bench.compare(*TWO, *SHORT, *two_devices, "--resume", "--margin", "50%")
    assert "SLOWER above 1.50x" in again.stdout
    assert bench.bursts == timed
    write("large", product(64))
    changed = bench.compare(*TWO, *SHORT, *two_devices, "--resume")
    assert "large: samples of an earlier graph are kept and not shown" in changed.stdout
    assert bench.bursts > timed


@pytest.mark.parametrize(
    ("names", "verdicts"),
    [
        (["small", "bad", "large"], ["", "", "SLOWER"]),
        (["bad", "small"], ["", ""]),
        (["bad", "worse"], ["", ""]),
    ],
)
def test_when_a_case_fails_the_others_are_kept(
    bench: CalmCommand, names: list[str], verdicts: list[str]
) -> None:
    Path("worse.onnx").write_bytes(Path("bad.onnx").read_bytes())
    files = [f"{name}.onnx" for name in names]
    result = bench.compare(*files, *SHORT, "--export-csv", "t.csv", "--strict", code=1)
    found = table()
    assert [row["verdict"] for row in found.values()] == verdicts
    failed = {name: name in ("bad", "worse") for name in names}
    assert {name: row["status"] == "failed" for name, row in found.items()} == failed
    assert {name: row["latency_p50_ms"] == "" for name, row in found.items()} == failed
    assert result.stdout.count("its latency on cpu") == verdicts.count("SLOWER")
    assert ("all cases failed: " in result.stdout) == all(failed.values())
    assert result.stdout.count("Blorp") == 1  # of both alike


def test_an_unclear_verdict_ends_a_strict_comparison_with_4_and_is_gone_on_with(
    bench: CalmCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.compare(*TWO, *SHORT)
    monkeypatch.setattr(stats, "verdict", lambda *_: "UNCLEAR")
    timed = bench.bursts
    result = bench.compare(*TWO, *BRIEF, "--strict", "--resume", "--export-csv", "t.csv", code=4)
    assert bench.bursts > timed
    assert {row["status"] for row in table().values()} == {"ok"}
    assert re.search(r"\(UNCLEAR: \d.*x to \d.*x\)\.", result.stdout)
    assert "more time (--max-time)" in result.stdout
    bench.compare(*TWO, *BRIEF, "--max-time", "0.3s")


@given(st.text(max_size=300))
def test_a_file_name_is_short_and_has_no_odd_characters(text: str) -> None:
    name = selection.file_name(text)
    assert len(name) <= selection.NAME_CHARACTERS
    assert selection.file_name(text) == name
    assert all(each.isalnum() or each in "+-_.=," for each in name)


def test_a_name_that_does_not_fit_ends_in_a_digest_of_all_of_it() -> None:
    fits = "n" * selection.NAME_CHARACTERS
    assert selection.file_name(fits) == fits
    texts = [f"{fits}{end}" for end in ("a", "b", "a+b", "a:b", "a/b")]
    names = [selection.file_name(text) for text in texts]
    assert len(set(names)) == len(texts)
    for text, name in zip(texts, names, strict=True):
        start, _, end = name.rpartition("-")
        assert hashlib.sha256(text.encode()).hexdigest()[:8] == end
        assert (len(name), text.startswith(start)) == (len(fits), True)


@pytest.mark.parametrize(
    ("names", "title"),
    [
        (["{tmp}/deep/down/a.onnx", "ghostnetv2"], "a against ghostnetv2_x1_0"),
        (["b.onnx", "ghostnetv2", "g2:groups=8,scale=1"], "b against ghostnetv2_x1_0 and {g2}"),
    ],
)
def test_a_title_has_no_folders(files: Files, in_tmp: Path, names: list[str], title: str) -> None:
    files("deep/down/a.onnx", "b.onnx")
    spelled = [name.format(tmp=in_tmp) for name in names]
    assert job.title(spelled) == title.format(g2="g2:groups=8,scale=1")
