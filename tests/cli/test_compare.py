"""The compare command in this process: tables, files, exit codes, going on after Ctrl-C."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from benchbox.analysis import stats
from tests.cli.conftest import product, write
from tests.helpers.command import FOREVER, CalmCommand, by_case, invoke, only_run, rows

SHORT = ["--quick", "--precision", "90%", "--max-time", "20s"]
BRIEF = ["--quick", "--precision", "90%", "--max-time", "2s"]
ENDLESS = ["--quick", "--precision", "0.0001%", "--max-time", "2s"]
DECIDED = {"FASTER", "SLOWER", "SAME"}
TWO = ["small.onnx", "large.onnx"]
pytestmark = pytest.mark.slow


def table() -> dict[str, dict[str, str]]:
    return by_case(Path("t.csv").read_text())


# tables and files


def test_the_table_says_what_flops_promise_and_what_was_measured(bench: CalmCommand) -> None:
    result = bench.compare("large.onnx", "small.onnx", *SHORT)
    title, where, host, _, header, first, second, *words = result.stdout.splitlines()
    assert title == "large against small"
    assert where == "cpu, CPUExecutionProvider, 1 thread, batch 1"
    assert re.search(r"ONNX Runtime \d+\.\d+\.\d+, benchbox \d+\.\d+\.\d+, \d{4}-\d\d-\d\d$", host)
    assert re.search(r"p50 \(ms\) .* relative FLOPs +relative +95% interval +verdict", header)
    assert first.split()[:2] == ["large", "16.8"]
    assert second.split()[:2] == ["small", "0.00410"]
    assert "FASTER" in second
    (line,) = (line for line in words if line.startswith("large has "))
    assert re.fullmatch(
        r"large has 4096x the FLOPs of small and \d+(\.\d+)?x its latency on cpu\. "
        r"By FLOPs alone small would take 0\.\d+x the time; it takes 0\.\d+x \(FASTER\)\.",
        line,
    )
    assert any(word.startswith("verdict, by the whole 95% interval") for word in words)


def test_files_and_the_report_hold_the_ratios_and_the_verdicts(bench: CalmCommand) -> None:
    targets = ["--export-csv", "t.csv", "--export-json", "t.json", "--export-markdown", "t.md"]
    result = bench.compare(*TWO, *SHORT, *targets, "--strict")
    small, large = table()["small"], table()["large"]
    own = [small[name] for name in ("relative_latency", "verdict", "relative_macs")]
    assert own == ["1.0", "", "1.0"]
    theirs = [large[name] for name in ("spec", "verdict", "relative_macs", "margin")]
    assert theirs == ["compare", "SLOWER", "4096.0", "0.01"]
    ends = [float(large[f"relative_{end}"]) for end in ("ci_low", "latency", "ci_high")]
    assert ends == sorted(ends)
    assert ends[0] > 1.01
    assert [row["verdict"] for row in json.loads(Path("t.json").read_text())] == [None, "SLOWER"]
    markdown = Path("t.md").read_text()
    assert markdown.startswith("## small against large\n")
    assert "| relative FLOPs | relative | 95% interval | verdict |" in markdown
    assert "\n\nsmall has " in markdown
    name = "compare-small.onnx+large.onnx"
    assert invoke("report").stdout == invoke("report", name).stdout == result.stdout
    assert invoke("report", "--format", "csv").stdout == Path("t.csv").read_text()


def test_the_record_holds_the_margin_and_mirrored_rounds_of_three_processes(
    bench: CalmCommand,
) -> None:
    options = ["--precision", "90%", "--max-time", "20s", "--margin", "20%"]
    bench.compare(*TWO, "twin.onnx", *options)
    run = only_run()
    assert (run.context.plan["margin"], run.context.plan["sessions"]) == (0.2, 3)
    assert run.context.name == "compare-small.onnx+large.onnx+twin.onnx"
    assert [record.case for record in run.records] == ["small", "large", "twin"]
    assert {record.reference for record in run.records} == {"small"}
    assert all({b.session for b in record.bursts} == {0, 1, 2} for record in run.records)
    bursts = [Counter(burst.round for burst in record.bursts) for record in run.records]
    whole = set.intersection(*(set(each) for each in bursts))
    assert len(whole) >= 6
    assert all(sorted(each[number] for each in bursts) == [1, 2, 2] for number in whole)


def test_one_graph_under_two_names_is_the_same(bench: CalmCommand) -> None:
    result = bench.compare("small.onnx", "twin.onnx", *SHORT, "--margin", "90%")
    assert "small and twin are the same graph: what differs is chance" in result.stdout
    assert "they would take the same time" in result.stdout
    assert "(SAME)" in result.stdout


def test_files_of_one_name_are_told_apart_by_their_folders(bench: CalmCommand) -> None:
    for folder, source in (("old", "small"), ("new", "large")):
        Path(folder).mkdir()
        Path(f"{source}.onnx").rename(f"{folder}/model.onnx")
    result = bench.compare("old/model.onnx", "new/model.onnx", *SHORT, "--export-csv", "-")
    found = by_case(result.stdout)
    assert list(found) == ["old/model", "new/model"]
    assert found["new/model"]["verdict"] == "SLOWER"
    assert "model against model" in result.stderr
    assert "old/model.onnx" not in result.stderr


def test_cases_of_any_kind_are_compared(bench: CalmCommand, spec: Path) -> None:
    result = bench.compare("large.onnx", f"{spec.name}:width=8", *SHORT, "--export-csv", "-")
    found = by_case(result.stdout)
    assert list(found) == ["large", "mine:width=8"]
    assert found["mine:width=8"]["verdict"] == "FASTER"
    assert {row["published"] for row in found.values()} == {""}


# several devices


def test_several_devices_have_a_column_each(bench: CalmCommand, two_devices: list[str]) -> None:
    targets = ["--export-csv", "t.csv", "--export-markdown", "t.md"]
    result = bench.compare(*TWO, *SHORT, *two_devices, *targets)
    assert result.stdout.count("small against large") == 1
    assert re.search(r"relative FLOPs +cpu \(ms\) +arm \(ms\)", result.stdout)
    (row,) = (line for line in result.stdout.splitlines() if line.startswith("large "))
    assert row.count("SLOWER)") == 2
    for device in ("cpu", "arm"):
        assert result.stdout.count(f"its latency on {device}.") == 1
    found = [(row["device"], row["case"]) for row in rows(Path("t.csv").read_text())]
    assert found == [("cpu", "small"), ("cpu", "large"), ("arm", "small"), ("arm", "large")]
    assert Path("t.md").read_text().count("## ") == 1
    files = [str(only_run(device).path) for device in ("cpu", "arm")]
    assert invoke("report", *files).stdout == result.stdout
    assert invoke("report", files[0]).stdout.count("(ms)") == 1


@pytest.mark.parametrize("gone", ["cpu", "arm"])
def test_a_device_that_fails_leaves_the_table_of_the_other(
    bench: CalmCommand, two_devices: list[str], gone: str
) -> None:
    bench.gone = {gone}
    result = bench.compare(*TWO, *SHORT, *two_devices, "--export-csv", "t.csv", code=6)
    left = "arm" if gone == "cpu" else "cpu"
    assert result.stderr.splitlines().count(f"Error: {gone} was unplugged") == 1
    assert "small against large" in result.stdout
    assert f"its latency on {left}." in result.stdout
    found = [(row["device"], row["case"]) for row in rows(Path("t.csv").read_text())]
    assert found == [(left, "small"), (left, "large")]
    assert [record.status for record in only_run(left).records] == ["ok", "ok"]
    assert not list(Path("results").glob(f"{gone}/*.jsonl"))


def test_when_all_devices_fail_there_is_no_table(
    bench: CalmCommand, two_devices: list[str]
) -> None:
    bench.gone = {"cpu", "arm"}
    result = bench.compare(*TWO, *SHORT, *two_devices, "--export-csv", "t.csv", code=6)
    assert result.stdout == ""
    errors = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert errors == ["Error: cpu was unplugged", "Error: arm was unplugged"]
    assert not Path("t.csv").exists()


def test_after_ctrl_c_the_next_device_is_begun_only_by_resuming(
    bench: CalmCommand, two_devices: list[str]
) -> None:
    refused = bench.compare(*TWO, *SHORT, *two_devices, "--resume", code=2)
    assert "holds no run of compare-small.onnx+large.onnx" in refused.stderr
    assert bench.bursts == 0
    bench.interrupt_at = 60
    bench.compare(*TWO, "--quick", *FOREVER, *two_devices, code=130)
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
    assert bench.bursts == timed


def test_one_device_in_the_file_is_compared_on(bench: CalmCommand, two_devices: list[str]) -> None:
    assert two_devices
    Path("benchbox.toml").write_text('[compare]\ndevice = "arm"\n')
    bench.compare(*TWO, *SHORT)
    assert only_run("arm").context.device == "arm"


# bad input


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["small.onnx", "small.onnx"], "is compared with itself; name two different cases"),
        (["small.onnx", "./small.onnx"], "is compared with itself"),
        (["ghostnetv2", "ghostnetv2_x1_0"], "is compared with itself"),
        (["small.onnx"], "small: a comparison needs two cases; name another one"),
        (["small.onnx", "ghostnetv9"], "unknown name 'ghostnetv9' (did you mean 'ghostnetv3'"),
        (["small.onnx", "large"], "unknown name 'large'"),
        (["small.onnx", "mobilenetv3"], "'mobilenetv3' may be 'mobilenetv3_small' or"),
        (["small.onnx", "missing.onnx"], "missing.onnx: there is no such file"),
        (["small.onnx", "broken.onnx"], "broken.onnx: not an ONNX file"),
        (["g2:groups=1,scale=1", "g2:groups=3"], "g2: no case has groups=3"),
        *(
            ([*TWO, "--margin", margin], f"--margin {margin}: write a share such as 1%")
            for margin in ("0", "0%", "100%", "200%", "-1%", "close", "")
        ),
        ([*TWO, "--weights", "small.onnx"], "none of them is a network"),
        ([*TWO, *SHORT, "--resume"], "holds no run of compare-small.onnx"),
        ([], "missing argument 'NAME...' (see benchbox compare -h)"),
    ],
)
def test_bad_input_is_one_line_and_times_nothing(
    bench: CalmCommand, arguments: list[str], message: str
) -> None:
    Path("broken.onnx").write_text("no graph")
    result = bench.compare(*arguments, code=2)
    assert result.stdout == ""
    error = result.stderr.splitlines()[-1]
    assert error.startswith("Error: ")
    assert message in error
    assert not list(Path("results").glob("*/*.jsonl"))
    assert bench.bursts == 0


# a case that fails


@pytest.mark.parametrize("names", [["small", "bad"], ["bad", "small"]])
def test_when_one_of_two_fails_the_other_is_kept(bench: CalmCommand, names: list[str]) -> None:
    files = [f"{name}.onnx" for name in names]
    result = bench.compare(*files, *SHORT, "--export-csv", "t.csv", code=1)
    found = table()
    assert list(found) == names
    assert (found["small"]["status"], found["bad"]["status"]) == ("ok", "failed")
    assert float(found["small"]["latency_p50_ms"]) > 0
    assert found["bad"]["latency_p50_ms"] == found["bad"]["verdict"] == ""
    assert "Blorp" in found["bad"]["reason"]
    assert found["small"]["verdict"] not in DECIDED
    assert "bad failed: " in result.stdout
    assert "By FLOPs alone" not in result.stdout


def test_when_one_of_three_fails_the_others_are_compared(bench: CalmCommand) -> None:
    names = ["small.onnx", "bad.onnx", "large.onnx"]
    result = bench.compare(*names, *SHORT, "--export-csv", "t.csv", "--strict", code=1)
    assert [row["verdict"] for row in table().values()] == ["", "", "SLOWER"]
    assert result.stdout.count("its latency on cpu") == 1


def test_when_all_fail_there_are_rows_and_reasons(bench: CalmCommand) -> None:
    Path("worse.onnx").write_bytes(Path("bad.onnx").read_bytes())
    result = bench.compare("bad.onnx", "worse.onnx", *SHORT, "--export-csv", "t.csv", code=1)
    assert [row["status"] for row in table().values()] == ["failed"] * 2
    (reason,) = (line for line in result.stdout.splitlines() if "Blorp" in line)  # of both alike
    assert reason.startswith("all cases failed: ")


# strict


def test_an_imprecise_ratio_ends_a_strict_comparison_with_5(bench: CalmCommand) -> None:
    result = bench.compare(*TWO, *ENDLESS, "--strict", "--export-csv", "t.csv", code=5)
    found = table()
    assert (found["small"]["status"], found["large"]["status"]) == ("ok", "imprecise")
    assert found["large"]["reason"].startswith("the ratio is ±")
    assert "give it more with --max-time" in result.stdout
    bench.compare(*TWO, *ENDLESS, "--max-time", "0.3s")


def test_an_unclear_verdict_ends_a_strict_comparison_with_4(
    bench: CalmCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stats, "verdict", lambda *_: "UNCLEAR")
    result = bench.compare(*TWO, *BRIEF, "--strict", "--export-csv", "t.csv", code=4)
    assert {row["status"] for row in table().values()} == {"ok"}
    assert re.search(r"\(UNCLEAR: \d.*x to \d.*x\)\.", result.stdout)
    bench.compare(*TWO, *BRIEF, "--max-time", "0.3s")


def test_two_graphs_that_are_one_end_as_the_table_says(bench: CalmCommand) -> None:
    arguments = ["--quick", "--margin", "0.001%", "--max-time", "1s", "--export-csv", "t.csv"]
    result = bench.compare("small.onnx", "twin.onnx", *arguments, "--strict", code=None)
    row = table()["twin"]
    expected = 5 if row["status"] == "imprecise" else 4 if row["verdict"] == "UNCLEAR" else 0
    assert result.exit_code == expected, result.output


# going on


def test_ctrl_c_keeps_what_was_measured_and_resume_goes_on(bench: CalmCommand) -> None:
    bench.interrupt_at = 60
    result = bench.compare(*TWO, "--quick", *FOREVER, "--export-csv", "t.csv", code=130)
    assert "`--resume` goes on from here" in result.stderr
    assert table()["large"]["status"] == "imprecise"
    before = [len(record.bursts) for record in only_run().records]
    assert min(before) > 0
    first = bench.compare(*TWO, *SHORT, "--resume", "--export-csv", "t.csv")
    run = only_run()
    assert [record.status for record in run.records] == ["ok", "ok"]
    assert table()["large"]["verdict"] == "SLOWER"
    assert all(len(r.bursts) >= n for r, n in zip(run.records, before, strict=True))
    timed = bench.bursts
    assert bench.compare(*TWO, *SHORT, "--resume").stdout == first.stdout
    again = bench.compare(*TWO, *SHORT, "--resume", "--margin", "50%")
    assert "SLOWER above 1.50x" in again.stdout
    assert bench.bursts == timed


def test_another_or_changed_comparison_cannot_be_resumed(bench: CalmCommand) -> None:
    bench.compare(*TWO, *SHORT)
    for other in (["large.onnx", "small.onnx"], ["small.onnx", "twin.onnx"]):
        result = bench.compare(*other, *SHORT, "--resume", code=2)
        assert "holds no run of compare-" in result.stderr
    write("large", product(64))
    result = bench.compare(*TWO, *SHORT, "--resume", code=2)
    assert "cannot be resumed: spec compare was" in result.stderr


@pytest.mark.parametrize("verdict", ["UNCLEAR", "SLOWER"])
def test_only_an_unclear_comparison_is_gone_on_with(
    bench: CalmCommand, monkeypatch: pytest.MonkeyPatch, verdict: str
) -> None:
    bench.compare(*TWO, *SHORT)  # time enough on a busy machine
    timed = bench.bursts
    monkeypatch.setattr(stats, "verdict", lambda *_: verdict)
    result = bench.compare(*TWO, *BRIEF, "--resume")
    assert (bench.bursts > timed) == (verdict == "UNCLEAR")
    assert ("more time (--max-time)" in result.stdout) == (verdict == "UNCLEAR")
    assert [record.status for record in only_run().records] == ["ok", "ok"]


def test_ctrl_c_while_the_verdict_is_unclear_leaves_a_case_imprecise(
    bench: CalmCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stats, "verdict", lambda *_: "UNCLEAR")
    bench.interrupt_at = 100
    bench.compare(*TWO, "--quick", "--precision", "90%", "--max-time", "60s", code=130)
    (large,) = (record for record in only_run().records if record.case == "large")
    assert large.relative is not None
    assert large.relative.half_width < 0.9
    assert (large.status, large.reason[:18]) == ("imprecise", "interrupted before")
