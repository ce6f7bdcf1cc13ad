"""`benchbox compare` as a user has it: tables, files, exit codes, going on after Ctrl-C."""

import csv
import io
import json
import os
import platform
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import onnx
import pytest
from typer.testing import CliRunner, Result

from benchbox import records
from benchbox.analysis import stats
from benchbox.cli import run as cli_run
from benchbox.cli.app import app
from benchbox.devices import Device
from benchbox.errors import DeviceError
from benchbox.records import Run
from benchbox.sampling import sampler
from benchbox.sampling.session import Ask, Timed
from benchbox.transports import Agent
from benchbox.transports.local import open_local
from tests.conftest import HEADER
from tests.e2e.test_cli import FOREVER, MEASURED, has_ended, start, wait_for_agent
from tests.helpers.machine import Calm

SHORT = ["--quick", "--precision", "90%", "--max-time", "20s"]
ENDLESS = ["--quick", "--precision", "0.0001%", "--max-time", "2s"]
DECIDED = {"FASTER", "SLOWER", "SAME"}
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("graphs")]


def write(name: str, text: str) -> None:
    onnx.save(onnx.parser.parse_model(HEADER + text), f"{name}.onnx")


def product(size: int) -> str:
    """A graph with size**3 multiply-accumulates."""
    tensor = f"float[{size},{size}]"
    return f"g ({tensor} x) => ({tensor} y) {{ y = MatMul(x, x) }}"


@pytest.fixture
def graphs(in_tmp: Path) -> Path:
    """Graphs in the current folder: their work differs far more than any machine is noisy."""
    write("small", product(16))
    write("large", product(256))
    write("twin", product(16))
    write("bad", "g (float[4] x) => (float[4] y) { y = nowhere.Blorp(x) }")
    return in_tmp


class Bench:
    """Runs the command in this process, with agents whose calls all count: what else this machine
    does then makes no figure imprecise. At the `interrupt_at`-th burst somebody presses Ctrl-C;
    devices that are `gone` cannot be opened.
    """

    def __init__(self) -> None:
        self.bursts = 0
        self.interrupt_at = 0
        self.gone: set[str] = set()

    def open(self, device: Device, **_: object) -> Agent:
        bench = self
        if device.name in self.gone:
            raise DeviceError(f"{device.name} was unplugged")

        class Watched(Calm):
            def time(self, bursts: Sequence[Ask], expected_s: Sequence[float]) -> Iterator[Timed]:
                for timed in super().time(bursts, expected_s):
                    bench.bursts += 1
                    if bench.bursts == bench.interrupt_at:
                        raise KeyboardInterrupt
                    yield timed

        return Watched(open_local(), device)

    def compare(self, *arguments: str, code: int | None = 0) -> Result:
        result = invoke("compare", *arguments)
        assert code in (result.exit_code, None), result.output
        return result


@pytest.fixture
def bench(shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    assert shared_cache
    bench = Bench()
    monkeypatch.setattr(cli_run, "open_agent", bench.open)
    monkeypatch.setattr(sampler, "CHUNK_S", 0.05)
    return bench


@pytest.fixture
def two_devices(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Options for two devices, both of them this machine."""
    monkeypatch.setattr("benchbox.devices.device.ARM_MACHINES", (platform.machine().lower(),))
    return ["--device", "cpu", "--device", "arm"]


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), prog_name="benchbox")


def rows(text: str) -> dict[str, dict[str, str]]:
    """The rows of a CSV by case."""
    return {row["case"]: row for row in csv.DictReader(io.StringIO(text))}


def only_run(device: str = "cpu") -> Run:
    (path,) = Path("results", device).glob("*.jsonl")
    return records.read(path)


# tables and files


def test_it_says_what_flops_say_and_what_was_measured(bench: Bench) -> None:
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
    assert "Records: results/cpu/" in result.stderr
    assert "Records" not in result.stdout


def test_files_hold_the_ratios_and_the_verdicts(bench: Bench) -> None:
    targets = ["--export-csv", "t.csv", "--export-json", "t.json", "--export-markdown", "t.md"]
    bench.compare("small.onnx", "large.onnx", *SHORT, *targets)
    found = rows(Path("t.csv").read_text())
    small, large = found["small"], found["large"]
    assert (small["relative_latency"], small["verdict"], small["relative_macs"]) == (
        "1.0",
        "",
        "1.0",
    )
    assert (large["verdict"], large["relative_macs"], large["margin"]) == (
        "SLOWER",
        "4096.0",
        "0.01",
    )
    ends = [float(large[f"relative_{end}"]) for end in ("ci_low", "latency", "ci_high")]
    assert ends == sorted(ends)
    assert ends[0] > 1.01
    assert {row["spec"] for row in found.values()} == {"compare"}
    assert [row["verdict"] for row in json.loads(Path("t.json").read_text())] == [None, "SLOWER"]
    markdown = Path("t.md").read_text()
    assert markdown.startswith("## small against large\n")
    assert "| relative FLOPs | relative | 95% interval | verdict |" in markdown
    assert "\n\nsmall has " in markdown


def test_with_a_dash_nothing_else_goes_to_stdout(bench: Bench) -> None:
    result = bench.compare("small.onnx", "large.onnx", *SHORT, "--export-csv", "-")
    assert list(rows(result.stdout)) == ["small", "large"]
    assert len(result.stdout.splitlines()) == 3
    assert "By FLOPs alone" in result.stderr


def test_a_report_is_what_the_comparison_printed(bench: Bench) -> None:
    result = bench.compare("small.onnx", "large.onnx", *SHORT, "--export-csv", "t.csv")
    assert invoke("report").stdout == result.stdout
    assert invoke("report", "compare-small.onnx+large.onnx").stdout == result.stdout
    assert invoke("report", "--format", "csv").stdout == Path("t.csv").read_text()


def test_the_record_holds_the_margin_and_mirrored_rounds(bench: Bench) -> None:
    bench.compare("small.onnx", "large.onnx", "twin.onnx", *SHORT, "--margin", "20%")
    run = only_run()
    assert run.context.plan["margin"] == 0.2
    assert run.context.name == "compare-small.onnx+large.onnx+twin.onnx"
    assert [record.case for record in run.records] == ["small", "large", "twin"]
    assert {record.reference for record in run.records} == {"small"}
    bursts = [Counter(burst.round for burst in record.bursts) for record in run.records]
    whole = set.intersection(*(set(each) for each in bursts))
    assert len(whole) >= 6
    assert all(sorted(each[number] for each in bursts) == [1, 2, 2] for number in whole)


def test_one_graph_under_two_names_is_told_of_and_is_the_same(bench: Bench) -> None:
    result = bench.compare("small.onnx", "twin.onnx", *SHORT, "--margin", "90%")
    assert "small and twin are the same graph: what differs is chance" in result.stdout
    assert "they would take the same time" in result.stdout
    assert "(SAME)" in result.stdout


def test_files_of_one_name_are_told_apart_by_their_folders(bench: Bench) -> None:
    for folder, source in (("old", "small"), ("new", "large")):
        Path(folder).mkdir()
        Path(f"{source}.onnx").rename(f"{folder}/model.onnx")
    result = bench.compare("old/model.onnx", "new/model.onnx", *SHORT, "--export-csv", "-")
    found = rows(result.stdout)
    assert list(found) == ["old/model", "new/model"]
    assert found["new/model"]["verdict"] == "SLOWER"
    assert result.stderr.splitlines()[-1].startswith("Records: ")
    assert "model against model" in result.stderr
    assert "old/model.onnx" not in result.stderr


def test_cases_of_any_kind_are_compared(bench: Bench) -> None:
    Path("mine.py").write_text(
        "from torch import nn\n\n"
        "def conv(width):\n"
        "    return nn.Conv2d(width, width, 1, bias=False)\n"
    )
    Path("mine.toml").write_text(
        'title = "Mine"\nbuilder = "./mine.py:conv"\ninput = ["width", 8, 8]\n'
        "[[cases]]\nargs = { width = 8 }\n[[cases]]\nargs = { width = 16 }\n"
    )
    result = bench.compare("large.onnx", "mine.toml:width=8", *SHORT, "--export-csv", "-")
    found = rows(result.stdout)
    assert list(found) == ["large", "mine:width=8"]
    assert found["mine:width=8"]["verdict"] == "FASTER"
    assert {row["published"] for row in found.values()} == {""}


@pytest.mark.parametrize(
    ("arguments", "sessions"),
    [(["--max-time", "3s", "--precision", "90%"], 3), ([*SHORT, "--sessions", "2"], 2)],
)
def test_it_has_as_many_agents_as_an_ordinary_run(
    bench: Bench, arguments: list[str], sessions: int
) -> None:
    bench.compare("small.onnx", "large.onnx", *arguments)
    run = only_run()
    assert run.context.plan["sessions"] == sessions
    for record in run.records:
        assert {burst.session for burst in record.bursts} == set(range(sessions))


# several devices


def test_several_devices_give_a_column_each(bench: Bench, two_devices: list[str]) -> None:
    targets = ["--export-csv", "t.csv", "--export-markdown", "t.md"]
    result = bench.compare("small.onnx", "large.onnx", *SHORT, *two_devices, *targets)
    assert result.stdout.count("small against large") == 1
    assert re.search(r"relative FLOPs +cpu \(ms\) +arm \(ms\)", result.stdout)
    (row,) = (line for line in result.stdout.splitlines() if line.startswith("large "))
    assert row.count("SLOWER)") == 2
    assert result.stdout.count("its latency on cpu.") == 1
    assert result.stdout.count("its latency on arm.") == 1
    table = list(csv.DictReader(io.StringIO(Path("t.csv").read_text())))
    assert [(row["device"], row["case"]) for row in table] == [
        ("cpu", "small"),
        ("cpu", "large"),
        ("arm", "small"),
        ("arm", "large"),
    ]
    assert Path("t.md").read_text().count("## ") == 1
    files = [str(only_run(device).path) for device in ("cpu", "arm")]
    assert invoke("report", *files).stdout == result.stdout
    assert invoke("report", files[0]).stdout.count("(ms)") == 1


@pytest.mark.parametrize("gone", ["cpu", "arm"])
def test_a_device_that_fails_leaves_the_table_of_the_other(
    bench: Bench, two_devices: list[str], gone: str
) -> None:
    bench.gone = {gone}
    options = [*SHORT, *two_devices, "--export-csv", "t.csv"]
    result = bench.compare("small.onnx", "large.onnx", *options, code=6)
    left = "arm" if gone == "cpu" else "cpu"
    assert result.stderr.splitlines().count(f"Error: {gone} was unplugged") == 1
    assert "small against large" in result.stdout
    assert f"its latency on {left}." in result.stdout
    table = list(csv.DictReader(io.StringIO(Path("t.csv").read_text())))
    assert [(row["device"], row["case"]) for row in table] == [(left, "small"), (left, "large")]
    assert [record.status for record in only_run(left).records] == ["ok", "ok"]
    assert not list(Path("results").glob(f"{gone}/*.jsonl"))


def test_when_all_devices_fail_there_is_no_table(bench: Bench, two_devices: list[str]) -> None:
    bench.gone = {"cpu", "arm"}
    options = [*SHORT, *two_devices, "--export-csv", "t.csv"]
    result = bench.compare("small.onnx", "large.onnx", *options, code=6)
    assert result.stdout == ""
    errors = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert errors == ["Error: cpu was unplugged", "Error: arm was unplugged"]
    assert not Path("t.csv").exists()


def test_resuming_begins_anew_on_a_device_that_has_no_run(
    bench: Bench, two_devices: list[str]
) -> None:
    names = ["small.onnx", "large.onnx"]
    bench.interrupt_at = 60
    bench.compare(*names, "--quick", *FOREVER, *two_devices, code=130)
    before = len(only_run("cpu").records[1].bursts)
    result = bench.compare(*names, *SHORT, *two_devices, "--resume")
    for device in ("cpu", "arm"):
        assert [record.status for record in only_run(device).records] == ["ok", "ok"]
        assert f"its latency on {device}." in result.stdout
    assert len(only_run("cpu").records[1].bursts) >= before
    timed = bench.bursts
    again = bench.compare(*names, *SHORT, *two_devices, "--resume")
    assert bench.bursts == timed
    assert again.stdout == result.stdout


def test_resuming_where_no_device_has_a_run_is_refused(
    bench: Bench, two_devices: list[str]
) -> None:
    result = bench.compare("small.onnx", "large.onnx", *SHORT, *two_devices, "--resume", code=2)
    assert "holds no run of compare-small.onnx+large.onnx" in result.stderr
    assert bench.bursts == 0


def test_after_ctrl_c_no_further_device_is_begun(bench: Bench, two_devices: list[str]) -> None:
    bench.interrupt_at = 60
    bench.compare("small.onnx", "large.onnx", "--quick", *FOREVER, *two_devices, code=130)
    assert all(record.bursts for record in only_run("cpu").records)
    assert not list(Path("results").glob("arm/*.jsonl"))


# bad input


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["small.onnx", "small.onnx"], 2, "is compared with itself; name two different cases"),
        (["small.onnx", "./small.onnx"], 2, "is compared with itself"),
        (["ghostnetv2", "ghostnetv2_x1_0"], 2, "is compared with itself"),
        (["small.onnx"], 2, "small: a comparison needs two cases; name another one"),
        (["small.onnx", "ghostnetv9"], 2, "unknown name 'ghostnetv9' (did you mean 'ghostnetv3'"),
        (["small.onnx", "large"], 2, "unknown name 'large'"),
        (["small.onnx", "mobilenetv3"], 2, "'mobilenetv3' may be 'mobilenetv3_small' or"),
        (["small.onnx", "missing.onnx"], 2, "missing.onnx: there is no such file"),
        (["g2:groups=1,scale=1", "g2:groups=3"], 2, "g2: no case has groups=3"),
        (["small.onnx", "large.onnx", "--margin", "0"], 2, "--margin 0: write a share such as 1%"),
        (["small.onnx", "large.onnx", "--margin", "0%"], 2, "--margin 0%"),
        (["small.onnx", "large.onnx", "--margin", "100%"], 2, "--margin 100%"),
        (["small.onnx", "large.onnx", "--margin", "200%"], 2, "--margin 200%"),
        (["small.onnx", "large.onnx", "--margin", "-1%"], 2, "--margin -1%"),
        (["small.onnx", "large.onnx", "--margin", "close"], 2, "--margin close: write a share"),
        (["small.onnx", "large.onnx", "--margin", ""], 2, "--margin : write a share"),
        (["small.onnx", "large.onnx", "--precision", "0"], 2, "--precision 0"),
        (["small.onnx", "large.onnx", "-d", "cpu", "-d", "cpu"], 2, "--device cpu: given twice"),
        (["small.onnx", "large.onnx", "-d", "cpu", "-d", "toaster"], 6, "unknown device 'toaster'"),
        (["small.onnx", "large.onnx", "--batch", "2"], 2, "--batch 2"),
        (["small.onnx", "large.onnx", "--shape", "z=16x16"], 2, "--shape z: the inputs are x"),
        (["ghostnetv2", "shufflenetv2", "--shape", "x=1x3x100x100"], 2, "must be multiples of 32"),
        (["ghostnetv2", "shufflenetv2", "--weights", "a.pth"], 2, "there are several networks"),
        (
            ["ghostnetv2", "shufflenetv2", "--weights", "ghostnetv2=no.pth"],
            2,
            "--weights no.pth is not",
        ),
        (["small.onnx", "large.onnx", "--weights", "small.onnx"], 2, "none of them is a network"),
        (["small.onnx", "large.onnx", "--export-csv", "no/t.csv"], 2, "its folder does not exist"),
        (["small.onnx", "large.onnx", *SHORT, "--resume"], 2, "holds no run of compare-small.onnx"),
    ],
)
def test_bad_input_gets_one_line_and_its_exit_code(
    bench: Bench, arguments: list[str], code: int, says: str
) -> None:
    result = bench.compare(*arguments, code=code)
    assert result.stdout == ""
    error = result.stderr.splitlines()[-1]
    assert error.startswith("Error: ")
    assert says in error
    assert not list(Path("results").glob("*/*.jsonl"))
    assert bench.bursts == 0


def test_a_file_that_is_no_graph_is_bad_input(bench: Bench) -> None:
    Path("broken.onnx").write_text("no graph")
    result = bench.compare("small.onnx", "broken.onnx", code=2)
    assert result.stderr.startswith("Error: broken.onnx: not an ONNX file")


def test_without_a_name_the_usage_is_shown() -> None:
    assert invoke("compare").exit_code == 2


def test_margin_and_device_have_defaults_from_file_and_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Path("benchbox.toml").write_text('[compare]\nmargin = "near"\ndevice = ["kettle"]\n')
    names = ["compare", "small.onnx", "large.onnx"]
    assert "unknown device 'kettle'" in invoke(*names).stderr
    assert "--margin near" in invoke(*names, "--device", "cpu").stderr
    monkeypatch.setenv("BENCHBOX_MARGIN", "far")
    assert "--margin far" in invoke(*names, "--device", "cpu").stderr
    monkeypatch.setenv("BENCHBOX_DEVICE", "toaster")
    assert "unknown device 'toaster'" in invoke(*names).stderr


@pytest.mark.parametrize("device", ['"kettle"', '["kettle"]'])
def test_a_device_in_the_file_may_be_one_or_a_list(device: str) -> None:
    Path("benchbox.toml").write_text(f"[compare]\ndevice = {device}\n")
    result = invoke("compare", "small.onnx", "large.onnx")
    assert result.exit_code == 6
    assert "unknown device 'kettle'" in result.stderr


def test_one_device_in_the_file_is_the_one_that_is_compared_on(
    bench: Bench, two_devices: list[str]
) -> None:
    assert two_devices
    Path("benchbox.toml").write_text('[compare]\ndevice = "arm"\n')
    bench.compare("small.onnx", "large.onnx", *SHORT)
    assert only_run("arm").context.device == "arm"


# a case that fails


@pytest.mark.parametrize("names", [["small", "bad"], ["bad", "small"]])
def test_when_one_of_two_fails_the_other_is_kept(bench: Bench, names: list[str]) -> None:
    files = [f"{name}.onnx" for name in names]
    result = bench.compare(*files, *SHORT, "--export-csv", "t.csv", code=1)
    found = rows(Path("t.csv").read_text())
    assert list(found) == names
    assert (found["small"]["status"], found["bad"]["status"]) == ("ok", "failed")
    assert float(found["small"]["latency_p50_ms"]) > 0
    assert found["bad"]["latency_p50_ms"] == found["bad"]["verdict"] == ""
    assert "Blorp" in found["bad"]["reason"]
    assert found["small"]["verdict"] not in DECIDED
    assert "bad failed: " in result.stdout
    assert "By FLOPs alone" not in result.stdout


def test_when_one_of_three_fails_the_others_are_compared(bench: Bench) -> None:
    names = ["small.onnx", "bad.onnx", "large.onnx"]
    result = bench.compare(*names, *SHORT, "--export-csv", "t.csv", "--strict", code=1)
    found = rows(Path("t.csv").read_text())
    assert [row["verdict"] for row in found.values()] == ["", "", "SLOWER"]
    assert result.stdout.count("its latency on cpu") == 1


def test_when_all_fail_there_are_rows_and_reasons(bench: Bench) -> None:
    Path("worse.onnx").write_bytes(Path("bad.onnx").read_bytes())
    result = bench.compare("bad.onnx", "worse.onnx", *SHORT, "--export-csv", "t.csv", code=1)
    assert [row["status"] for row in rows(Path("t.csv").read_text()).values()] == ["failed"] * 2
    (reason,) = (line for line in result.stdout.splitlines() if "Blorp" in line)  # of both alike
    assert reason.startswith("all cases failed: ")


# strict


def test_a_clear_and_precise_comparison_satisfies_strict(bench: Bench) -> None:
    bench.compare("small.onnx", "large.onnx", *SHORT, "--strict", code=0)


def test_a_ratio_that_is_imprecise_ends_a_strict_comparison_with_5(bench: Bench) -> None:
    names = ["small.onnx", "large.onnx"]
    result = bench.compare(*names, *ENDLESS, "--strict", "--export-csv", "t.csv", code=5)
    found = rows(Path("t.csv").read_text())
    assert (found["small"]["status"], found["large"]["status"]) == ("ok", "imprecise")
    assert found["large"]["reason"].startswith("the ratio is ±")
    assert "give it more with --max-time" in result.stdout
    bench.compare(*names, *ENDLESS, "--max-time", "0.3s", code=0)


def test_an_unclear_verdict_ends_a_strict_comparison_with_4(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stats, "verdict", lambda *_: "UNCLEAR")
    names = ["small.onnx", "large.onnx", "--quick", "--precision", "90%", "--max-time", "2s"]
    result = bench.compare(*names, "--strict", "--export-csv", "t.csv", code=4)
    assert {row["status"] for row in rows(Path("t.csv").read_text()).values()} == {"ok"}
    assert re.search(r"\(UNCLEAR: \d.*x to \d.*x\)\.", result.stdout)
    bench.compare(*names, "--max-time", "0.3s", code=0)


def test_two_graphs_that_are_one_end_as_the_table_says(bench: Bench) -> None:
    arguments = ["--quick", "--margin", "0.001%", "--max-time", "1s", "--export-csv", "t.csv"]
    result = bench.compare("small.onnx", "twin.onnx", *arguments, "--strict", code=None)
    row = rows(Path("t.csv").read_text())["twin"]
    expected = 5 if row["status"] == "imprecise" else 4 if row["verdict"] == "UNCLEAR" else 0
    assert result.exit_code == expected, result.output


# going on


def test_ctrl_c_keeps_what_was_measured_and_resume_goes_on(bench: Bench) -> None:
    names = ["small.onnx", "large.onnx"]
    bench.interrupt_at = 60
    result = bench.compare(*names, "--quick", *FOREVER, "--export-csv", "t.csv", code=130)
    assert "`--resume` goes on from here" in result.stderr
    assert rows(Path("t.csv").read_text())["large"]["status"] == "imprecise"
    before = [len(record.bursts) for record in only_run().records]
    assert min(before) > 0
    bench.compare(*names, *SHORT, "--resume", "--export-csv", "t.csv")
    run = only_run()
    assert [record.status for record in run.records] == ["ok", "ok"]
    assert rows(Path("t.csv").read_text())["large"]["verdict"] == "SLOWER"
    assert all(len(r.bursts) >= n for r, n in zip(run.records, before, strict=True))


def test_a_comparison_that_is_complete_is_resumed_without_a_call(bench: Bench) -> None:
    names = ["small.onnx", "large.onnx"]
    first = bench.compare(*names, *SHORT)
    timed = bench.bursts
    assert bench.compare(*names, *SHORT, "--resume").stdout == first.stdout
    assert bench.bursts == timed
    again = bench.compare(*names, *SHORT, "--resume", "--margin", "50%")
    assert "SLOWER above 1.50x" in again.stdout
    assert bench.bursts == timed


def test_another_comparison_is_not_gone_on_with(bench: Bench) -> None:
    bench.compare("small.onnx", "large.onnx", *SHORT)
    for other in (["large.onnx", "small.onnx"], ["small.onnx", "twin.onnx"]):
        result = bench.compare(*other, *SHORT, "--resume", code=2)
        assert "holds no run of compare-" in result.stderr


def test_a_file_that_has_changed_cannot_be_gone_on_with(bench: Bench) -> None:
    bench.compare("small.onnx", "large.onnx", *SHORT)
    write("large", product(64))
    result = bench.compare("small.onnx", "large.onnx", *SHORT, "--resume", code=2)
    assert "cannot be resumed: spec compare was" in result.stderr


@pytest.mark.parametrize("verdict", ["UNCLEAR", "SLOWER"])
def test_an_unclear_comparison_is_gone_on_with_and_a_clear_one_is_not(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, verdict: str
) -> None:
    names = ["small.onnx", "large.onnx", "--quick", "--precision", "90%", "--max-time", "2s"]
    bench.compare(*names)
    timed = bench.bursts
    monkeypatch.setattr(stats, "verdict", lambda *_: verdict)
    result = bench.compare(*names, "--resume")
    assert (bench.bursts > timed) == (verdict == "UNCLEAR")
    assert ("more time (--max-time)" in result.stdout) == (verdict == "UNCLEAR")
    assert [record.status for record in only_run().records] == ["ok", "ok"]


def test_ctrl_c_while_the_verdict_is_unclear_leaves_a_case_imprecise(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stats, "verdict", lambda *_: "UNCLEAR")
    bench.interrupt_at = 100
    options = ["--quick", "--precision", "90%", "--max-time", "60s"]
    bench.compare("small.onnx", "large.onnx", *options, code=130)
    (large,) = (record for record in only_run().records if record.case == "large")
    assert large.relative is not None
    assert large.relative.half_width < 0.9
    assert (large.status, large.reason[:18]) == ("imprecise", "interrupted before")


# as a process, on this machine as it is


def test_a_process_prints_its_table_whatever_the_machine_does() -> None:
    options = ["--quick", "--precision", "90%", "--max-time", "4s", "--export-csv", "t.csv"]
    result = subprocess.run(
        [sys.executable, "-m", "benchbox", "compare", "small.onnx", "large.onnx", *options],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    assert "small against large" in result.stdout
    found = rows(Path("t.csv").read_text())
    assert {row["status"] for row in found.values()} <= MEASURED
    if found["large"]["relative_ci_low"]:  # a machine never quiet gives no ratio
        assert found["large"]["verdict"] == "SLOWER"
    else:
        assert found["large"]["status"] == "imprecise"
        assert found["large"]["verdict"] not in DECIDED
    assert all(len(record.bursts) >= 6 for record in only_run().records)


def test_a_process_that_is_asked_to_end_keeps_its_samples() -> None:
    process = start("compare", "small.onnx", "large.onnx", *FOREVER)
    agent = wait_for_agent(process)
    os.killpg(process.pid, signal.SIGTERM)
    stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == 130, stderr
    assert has_ended(agent)
    assert "small against large" in stdout
    assert "--resume" in stderr
    run = only_run()
    assert [record.case for record in run.records] == ["small", "large"]
    assert all(record.bursts for record in run.records)
    assert run.records[1].status == "imprecise"
