"""`benchbox profile` as a user has it: its two streams, its exit code, its files."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from benchbox import __version__, host, runner, specs
from benchbox.analysis import profile as analysis_profile
from benchbox.cli import profile as command
from benchbox.cli.output import Exports
from benchbox.devices import Device
from benchbox.errors import StorageError
from benchbox.report import profile, profile_files
from benchbox.runner.profile import ProfileOutcome
from benchbox.specs import Case, Selection
from tests.conftest import WriteOnnx
from tests.helpers.command import CalmCommand, invoke, only_run, rows
from tests.helpers.profiled import estimated, node

CONV = """conv (float[1,8,12,12] x) => (float[1,16,12,12] y) {
    a = Conv(x, w) b = Relu(a) y = Concat<axis = 1>(a, b)
}"""
CONSTANT = "g () => (float[1] y) { y = Constant<value = float[1] {1}>() }"  # nothing to profile
BROKEN = "nan (float[32] x) => (float[32] y) { y = nowhere.Magic(x) }"
pytestmark = pytest.mark.usefixtures("in_tmp", "shared_cache")


@pytest.fixture(autouse=True)
def _not_drowned(monkeypatch: pytest.MonkeyPatch) -> None:
    """The graphs here are so small that the profiler would drown them."""
    monkeypatch.setattr(analysis_profile, "DROWNED", float("inf"))


@pytest.fixture
def conv(write_onnx: WriteOnnx) -> Path:
    """A convolution with a weight of ones, a ReLU that cannot be fused, and a concatenation."""
    path = write_onnx("conv", CONV)
    model = onnx.load(path)
    ones = np.ones((8, 8, 1, 1), dtype=np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(ones, "w"))
    onnx.save(model, path)
    return path


@pytest.mark.slow
def test_one_case_is_split_by_category_and_its_slowest_nodes_follow(conv: Path) -> None:
    exports = ["--export-csv", "p.csv", "--export-json", "p.json", "--export-markdown", "p.md"]
    result = invoke("profile", str(conv), "--top", "2", *exports)
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0] == "Where the time goes: conv"
    assert lines[4].split()[:4] == ["category", "nodes", "time", "(ms)"]
    categories = [line.split("  ")[0] for line in lines[5:8]]
    assert categories == ["convolution", "element-wise", "data movement"]
    assert any(line.startswith("Convolutions have 100% of the FLOPs") for line in lines)
    assert lines[lines.index("Slowest nodes: conv") + 1].startswith("2 of ")
    assert "calls profiled" in result.stderr

    table = rows(Path("p.csv").read_text())
    assert [row["category"] for row in table] == categories
    assert sum(float(row["time_share"]) for row in table) == pytest.approx(1.0)
    assert table[0] | {"macs": str(144 * 64), "status": "ok", "case": "conv"} == table[0]

    document = json.loads(Path("p.json").read_text())
    (found,) = document["profiles"]
    assert sum(each["time_share"] for each in found["nodes"]) == pytest.approx(1.0)
    assert sum(each["time_ms"] for each in found["nodes"]) == pytest.approx(found["latency_ms"])
    assert {each["operator"] for each in found["nodes"]} >= {"Conv", "Relu", "Concat"}
    assert found["profiled_calls"] >= 20
    assert document["versions"]["onnxruntime"]
    assert "## Slowest nodes: conv" in Path("p.md").read_text()


MODULES = """modules (float[16,16] x) => (float[16,16] y) {
    a = MatMul(x, x) b = MatMul(a, x) c = Softmax(b) d = MatMul(c, x) y = MatMul(d, x)
}"""


@pytest.mark.slow
def test_modules_of_a_file_by_its_names_to_any_depth(write_onnx: WriteOnnx) -> None:
    path = write_onnx("modules", MODULES)
    model = onnx.load(path)
    names = "/neck/neck.0/MatMul", "/neck/neck.1/MatMul", "/neck/Softmax", "/head/MatMul", "/MatMul"
    for node_, name in zip(model.graph.node, names, strict=True):
        node_.name = name
    onnx.save(model, path)
    by = ["--by", "module", "--export-csv", "p.csv"]
    result = invoke("profile", str(path), *by, "--export-json", "p.json")
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[4].split()[:4] == ["module", "nodes", "time", "(ms)"]
    assert [line.split("  ")[0] for line in lines[5:8]] == ["neck", "head", "(top level)"]
    table = rows(Path("p.csv").read_text())
    assert [(row["module"], row["category"]) for row in table] == [
        *(("neck", ""), ("head", ""), ("(top level)", ""))
    ]
    assert sum(float(row["time_share"]) for row in table) == pytest.approx(1.0)
    (found,) = json.loads(Path("p.json").read_text())["profiles"]
    assert [each["module"] for each in found["modules"]] == ["neck", "head", "(top level)"]
    assert {each["module"] for each in found["nodes"]} == {"neck.0", "neck.1", "neck", "head", ""}

    invoke("profile", str(path), *by, "--depth", "2")
    deeper = [row["module"] for row in rows(Path("p.csv").read_text())]
    assert deeper == ["neck.0", "neck.1", "neck", "head", "(top level)"]


def test_a_depth_without_modules_is_refused(conv: Path) -> None:
    result = invoke("profile", str(conv), "--depth", "2")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--depth 2: it is that of modules; give --by module as well" in result.stderr


@pytest.mark.slow
def test_several_cases_are_rows_of_one_table_and_a_failed_one_leaves_the_others(
    conv: Path, write_onnx: WriteOnnx
) -> None:
    names = [str(conv), str(write_onnx("nan", BROKEN)), str(write_onnx("other"))]
    result = invoke("profile", *names, "--export-json", "-", "--top", "1")
    assert result.exit_code == 1
    document = json.loads(result.stdout)
    assert [each["status"] for each in document["profiles"]] == ["ok", "failed", "ok"]
    assert "Magic" in document["profiles"][1]["reason"]
    lines = result.stderr.splitlines()
    at = lines.index("Where the time goes: share by category")
    assert [line.split()[0] for line in lines[at + 4 : at + 7]] == ["case", "conv", "other"]
    assert any(line.startswith("nan failed: ") for line in lines)
    assert {"Slowest nodes: conv", "Slowest nodes: other"} <= set(lines)


@pytest.mark.slow
def test_a_case_that_fails_alone_prints_why(write_onnx: WriteOnnx) -> None:
    result = invoke("profile", str(write_onnx("nan", CONSTANT)), "--export-csv", "p.csv")
    assert result.exit_code == 1
    assert "nan failed: " in result.stdout
    (row,) = rows(Path("p.csv").read_text())
    assert (row["status"], row["time_ms"], row["category"]) == ("failed", "", "")


@pytest.mark.slow
def test_an_interrupt_keeps_what_is_there(
    write_onnx: WriteOnnx, monkeypatch: pytest.MonkeyPatch
) -> None:
    def outcomes(cases: Sequence[Case], *_: object, **__: object) -> Iterator[ProfileOutcome]:
        yield ProfileOutcome(cases[0], estimated(node("a", "Conv", [30] * 8)), "", {})
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "outcomes", outcomes)
    names = [str(write_onnx(name)) for name in "ab"]
    result = invoke("profile", *names, "--export-csv", "p.csv")
    assert result.exit_code == 130
    assert "Where the time goes" in result.stdout
    assert "Interrupted; profiled: 1 of 2." in result.stderr
    assert {row["case"] for row in rows(Path("p.csv").read_text())} == {"a"}


@pytest.mark.slow
def test_a_run_profiles_what_it_timed_once_and_its_report_draws_that(
    conv: Path, write_onnx: WriteOnnx, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = CalmCommand()
    bench.install(monkeypatch)
    short = ["--quick", "--precision", "90%", "--max-time", "1s", "--profile"]
    names = [str(conv), str(write_onnx("nan", BROKEN))]
    result = bench.run(*names, *short, code=1)
    assert "\nWhere the time goes: conv\n" in result.stdout
    assert "Slowest nodes" not in result.stdout
    assert "[1/1] conv:conv " in result.stderr  # the other has failed already
    run = only_run()
    (found,) = run.profiles
    assert found == run.profile(run.records[0])
    assert found.categories[0].category == "convolution"
    assert sum(part.time_share or 0 for part in found.categories) == pytest.approx(1.0)
    assert "conv" in invoke("report", "--figure", "profile", "-f", "svg").stdout

    again = bench.run(*names, *short, "--resume", code=1)
    assert "profiled" not in again.stderr
    assert only_run().profiles == run.profiles
    (line,) = [each for each in run.path.read_text().splitlines() if '"profile"' in each]
    with run.path.open("a") as file:
        file.write(json.dumps(json.loads(line) | {"categories": 1}) + "\n")
    broken = invoke("report", str(run.path))
    assert (broken.exit_code, broken.stderr.count("'categories' is of a wrong type")) == (1, 1)


@pytest.mark.parametrize("options", [["--allow-emulated"], ["--provider", "xnnpack"]])
def test_a_run_that_cannot_be_profiled_says_so_before_it_times(
    conv: Path, options: list[str]
) -> None:
    result = invoke("run", str(conv), "--profile", *options)
    assert result.exit_code in (2, 6)
    assert "profile" in result.stderr
    assert not Path("results").exists()


def report(*cases: Case, top: int | None = None) -> profile.ProfileReport:
    found = estimated(node("a", "Conv", [30] * 8), node("b", "Softmax", [20] * 8))
    outcomes = [ProfileOutcome(case, found, "", {}) for case in cases]
    device = Device("cpu", "CPUExecutionProvider", 2, "arm")
    return profile.ProfileReport(outcomes, device, "2026-01-02T03:04:05Z", top)


@pytest.mark.slow
def test_integers_that_were_made_up_are_named(write_onnx: WriteOnnx) -> None:
    text = "g (int64[3] ids, float[9,4] t) => (float[3,4] y) { y = Gather(t, ids) }"
    result = invoke("profile", str(write_onnx("ids", text)))
    note = "ids: latency may depend on the values of ids (0 to 8 here); give them with --input ids"
    assert note in " ".join(result.stdout.split())


def test_few_nodes_are_shown_of_many_cases_and_none_where_none_are_wanted(
    onnx_cases: Callable[..., list[Case]],
) -> None:
    cases = onnx_cases("p", "q")
    first, *others = profile.tables(report(*cases))
    assert first.title == "Where the time goes: share by category"
    assert [table.title for table in others] == ["Slowest nodes: tiny:p", "Slowest nodes: tiny:q"]
    assert first.about == (
        "cpu, CPUExecutionProvider, 2 threads, batch 1",
        f"benchbox {__version__}, 2026-01-02",
    )
    assert len(profile.tables(report(*cases, top=0))) == 1
    (_, nodes) = profile.tables(report(cases[0], top=1))
    assert nodes.columns[0].cells == ("a",)


def test_input_heads_and_weights_of_networks_are_said() -> None:
    selection = Selection(weights={"yolov8n": Path(__file__)})
    found = runner.unfold(specs.find_all(["yolov8n", "yolov10n"]), selection)
    for cases, said in (
        (found, "input 1x3x640x640, head decoded and detections, weights of test_profile.py, "),
        (found[1:], "input 1x3x640x640, head detections, "),
    ):
        about, *_ = profile.tables(report(*cases))[0].about
        assert about.endswith(f"batch 1, {said}random weights")


def test_the_largest_of_many_parts_have_a_column_and_the_others_share_one(
    onnx_cases: Callable[..., list[Case]],
) -> None:
    kinds = [f"Op{index}" for index in range(10)]
    found = estimated(*(node(kind, kind, [20 + 10 * at] * 8) for at, kind in enumerate(kinds)))
    outcomes = [ProfileOutcome(case, found, "", {}) for case in onnx_cases("p", "q")]
    table, *_ = profile.tables(replace(report(), outcomes=outcomes, by="type"))
    headers = [column.header for column in table.columns]
    assert headers == ["case", "time (ms)", *reversed(kinds[2:]), "others", "unoptimised"]
    shares = [int(column.cells[0].strip("%")) for column in table.columns[2:-1]]
    assert abs(sum(shares) - 100) <= 5


def test_shares_that_the_profiler_drowns_are_left_out_of_every_output(
    onnx_cases: Callable[..., list[Case]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(analysis_profile, "DROWNED", 3.9)
    (case,) = onnx_cases("p")
    found = estimated(node("a", "Conv", [30] * 8), profiled=4.0)
    drowned = replace(report(), outcomes=[ProfileOutcome(case, found, "", {})])
    (table,) = profile.tables(drowned)
    assert [column.header for column in table.columns] == ["category", "nodes"]
    assert table.sentences[0].startswith("The profiler makes a call 4.00x as long")
    (row,) = rows(profile_files.to_csv(drowned))
    assert (row["time_ms"], row["time_share"], row["status"]) == ("", "", "ok")
    assert row["reason"].startswith("the profiler makes a call 4.00x as long")
    (plain,) = json.loads(profile_files.to_json(drowned))["profiles"]
    assert plain["nodes"][0]["time_share"] is None
    assert plain["categories"][0]["time_share"] is None


def test_an_interrupt_before_any_case_leaves_empty_exports() -> None:
    nothing = report()
    assert json.loads(profile_files.to_json(nothing))["profiles"] == []
    assert profile_files.to_csv(nothing).startswith("spec,case,device")


def test_an_export_that_cannot_be_written_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(host, "write", full)
    with pytest.raises(StorageError, match=r"cannot be written: No space left .*; profile again"):
        Exports({"csv": tmp_path / "p.csv"}).publish((), "; profile again", csv=str)
