"""`benchbox profile` as a user has it: its two streams, its exit code, its files."""

import io
import json
import os
import signal
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from rich.console import Console

from benchbox import __version__
from benchbox.cli import profile as command
from benchbox.cli.output import Exports
from benchbox.devices import Device
from benchbox.errors import StorageError
from benchbox.report import profile, profile_files
from benchbox.runner.profile import ProfileOutcome
from benchbox.specs import Case
from tests.helpers.command import invoke, rows, start
from tests.helpers.profiled import estimated, node

CONV = """conv (float[1,8,12,12] x) => (float[1,16,12,12] y)
    <float[8,8,1,1] w> {
    a = Conv(x, w) b = Relu(a) y = Concat<axis = 1>(a, b)
}"""
NOT_FINITE = "nan (float[32] x) => (float[32] y) { y = Log(x) }"

WriteOnnx = Callable[..., Path]
pytestmark = pytest.mark.usefixtures("in_tmp", "shared_cache")


@pytest.fixture
def conv(write_onnx: WriteOnnx) -> Path:
    """A convolution with a weight of ones, a ReLU that cannot be fused, and a concatenation."""
    return with_weight(write_onnx("conv", CONV.replace("<float[8,8,1,1] w>", "")))


def with_weight(path: Path) -> Path:
    model = onnx.load(path)
    values = np.ones((8, 8, 1, 1), dtype=np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(values, "w"))
    onnx.save(model, path)
    return path


def total(values: Iterable[str]) -> float:
    return sum(float(value) for value in values)


@pytest.mark.slow
def test_one_case_is_split_by_category_and_its_slowest_nodes_follow(conv: Path) -> None:
    exports = ["--export-csv", "p.csv", "--export-json", "p.json", "--export-markdown", "p.md"]
    result = invoke("profile", str(conv), "--top", "2", *exports)
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0] == "Where the time goes: conv"
    assert lines[4].split() == [
        *("category", "nodes", "time", "(ms)", "time", "share"),
        *("FLOPs", "(M)", "FLOPs", "share", "memory", "share"),
    ]
    categories = [line.split("  ")[0] for line in lines[5:8]]
    assert categories == ["convolution", "element-wise", "data movement"]
    assert any(line.startswith("Convolutions have 100% of the FLOPs") for line in lines)
    assert any(line.startswith("ONNX Runtime runs ") for line in lines)
    at = lines.index("Slowest nodes: conv")
    assert lines[at + 1].startswith("2 of ")
    assert "calls profiled" in result.stderr
    assert "Where the time goes" not in result.stderr

    table = rows(Path("p.csv").read_text())
    assert [row["category"] for row in table] == categories
    assert total(row["time_share"] for row in table) == pytest.approx(1.0)
    assert table[0] | {"macs": str(144 * 64), "status": "ok", "case": "conv"} == table[0]

    document = json.loads(Path("p.json").read_text())
    (found,) = document["profiles"]
    assert sum(each["time_share"] for each in found["nodes"]) == pytest.approx(1.0)
    assert sum(each["time_ms"] for each in found["nodes"]) == pytest.approx(found["latency_ms"])
    assert {each["operator"] for each in found["nodes"]} >= {"Conv", "Relu", "Concat"}
    assert found["profiled_calls"] >= 20
    assert document["versions"]["onnxruntime"]

    markdown = Path("p.md").read_text()
    assert "| convolution | " in markdown
    assert "## Slowest nodes: conv" in markdown


@pytest.mark.slow
def test_several_cases_are_rows_of_one_table_and_a_failed_one_leaves_the_others(
    conv: Path, write_onnx: WriteOnnx
) -> None:
    other, broken = write_onnx("other"), write_onnx("nan", NOT_FINITE)
    result = invoke(
        "profile", str(conv), str(broken), str(other), "--export-json", "-", "--top", "1"
    )
    assert result.exit_code == 1
    document = json.loads(result.stdout)
    assert [each["status"] for each in document["profiles"]] == ["ok", "failed", "ok"]
    assert "finite" in document["profiles"][1]["reason"]
    lines = result.stderr.splitlines()
    at = lines.index("Where the time goes: share by category")
    header, first, second = lines[at + 4 : at + 7]
    assert header.startswith("case ")
    assert [first.split()[0], second.split()[0]] == ["conv", "other"]
    assert any(line.startswith("nan failed: ") for line in lines)
    assert {"Slowest nodes: conv", "Slowest nodes: other"} <= set(lines)


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["nonsense"], 2, "unknown name 'nonsense'"),
        (["CONV", "--device", "nonsense"], 6, "unknown device 'nonsense'"),
        (["CONV", "--threads", "999"], 2, "--threads 999"),
        (["CONV", "--cpus", "x"], 2, "--cpus x"),
        (["CONV", "--shape", "x"], 2, "--shape x"),
        (["CONV", "--top", "-1"], 2, "--top"),
        (["CONV", "--export-csv", "nowhere/p.csv"], 2, "its folder does not exist"),
        (["CONV", "--export-csv", "-", "--export-json", "-"], 2, "only one export"),
        (["CONV", "CONV"], 2, "named twice"),
    ],
)
def test_what_cannot_be_profiled_ends_with_one_line(
    conv: Path, arguments: list[str], code: int, text: str
) -> None:
    named = [str(conv) if each == "CONV" else each for each in arguments]
    result = invoke("profile", *named)
    assert result.exit_code == code
    assert result.stdout == ""
    assert text in result.stderr


@pytest.mark.slow
def test_a_case_that_fails_alone_prints_why(write_onnx: WriteOnnx) -> None:
    result = invoke("profile", str(write_onnx("nan", NOT_FINITE)), "--export-csv", "p.csv")
    assert result.exit_code == 1
    assert "nan failed: " in result.stdout
    (row,) = rows(Path("p.csv").read_text())
    assert (row["status"], row["time_ms"], row["category"]) == ("failed", "", "")


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs POSIX signals")
def test_an_interrupt_keeps_what_is_there(conv: Path, write_onnx: WriteOnnx) -> None:
    slow = "slow (float[512,512] x) => (float[512,512] y) { y = MatMul(x, x) }"
    names = [str(conv), str(write_onnx("slow", slow)), "--export-csv", "p.csv"]
    with start("profile", *names) as process:
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if line.startswith("[1/2]"):
                process.send_signal(signal.SIGINT)
                break
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, (said, err)
    assert "Where the time goes" in out
    assert "Interrupted; profiled: 1 of 2." in err
    assert {row["case"] for row in rows(Path("p.csv").read_text())} == {"conv"}


def report(*cases: Case, top: int | None = None) -> profile.ProfileReport:
    found = estimated(node("a", "Conv", [30] * 8), node("b", "Softmax", [20] * 8))
    outcomes = [ProfileOutcome(case, found, "", {}) for case in cases]
    device = Device("cpu", "CPUExecutionProvider", 2, "arm")
    return profile.ProfileReport(outcomes, device, "2026-01-02T03:04:05Z", top)


def test_few_nodes_are_shown_of_many_cases_and_none_where_none_are_wanted(
    onnx_cases: Callable[..., list[Case]],
) -> None:
    cases = onnx_cases("p", "q")
    titles = [table.title for table in profile.tables(report(*cases))]
    assert titles == [
        "Where the time goes: share by category",
        "Slowest nodes: tiny:p",
        "Slowest nodes: tiny:q",
    ]
    assert len(profile.tables(report(*cases, top=0))) == 1
    (_, nodes) = profile.tables(report(cases[0], top=1))
    assert nodes.columns[0].cells == ("a",)
    assert profile.tables(report(cases[0]))[0].about == (
        "cpu, CPUExecutionProvider, 2 threads, batch 1",
        f"benchbox {__version__}, 2026-01-02",
    )


def test_an_interrupt_before_any_case_leaves_empty_exports() -> None:
    nothing = report()
    assert json.loads(profile_files.to_json(nothing))["profiles"] == []
    assert profile_files.to_csv(nothing).startswith("spec,case,device")
    assert "share by category" in profile_files.to_markdown(nothing)


def test_a_terminal_shows_the_case_that_is_profiled(
    onnx_cases: Callable[..., list[Case]], monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = Console(file=io.StringIO(), force_terminal=True, width=100)
    (case,) = onnx_cases("p")

    def outcomes(*arguments: Any) -> list[ProfileOutcome]:
        arguments[-1](case, 0.5)
        assert "profiling" in screen.file.getvalue()  # type: ignore[attr-defined]
        assert "tiny:p" in screen.file.getvalue()  # type: ignore[attr-defined]
        return []

    monkeypatch.setattr(command, "outcomes", outcomes)
    device = Device("cpu", "CPUExecutionProvider", 2, "arm")
    assert not command._collect([], [case], {}, device, screen)


def test_an_export_that_cannot_be_written_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(StorageError, match=r"cannot be written: No space left .*; profile again"):
        command._write(report(), Exports({"csv": tmp_path / "p.csv"}))
