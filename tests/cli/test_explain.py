"""`benchbox explain` and `advise` as a user has them: tables, files, what they refuse."""

import json
import shutil
from pathlib import Path
from unittest.mock import Mock

import onnx
import pytest

from benchbox.analysis import profile as analysis_profile
from benchbox.insight.advice import Advice
from benchbox.report import explain_text
from benchbox.runner import check, mirrored
from tests.conftest import WriteOnnx
from tests.helpers import onnx_models
from tests.helpers.command import invoke, rows

NETWORK = """network (float[1,8,12,12] x) => (float[1,12,12,12] y) {
    a = Conv(x, w) b = Relu(a) c = Conv<group = 6>(b, g) y = Concat<axis = 1>(b, c)
}"""
pytestmark = pytest.mark.usefixtures("in_tmp", "shared_cache")


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A convolution, a depthwise one and a concatenation, too small to be explained."""
    monkeypatch.setattr(analysis_profile, "DROWNED", float("inf"))
    monkeypatch.setattr(analysis_profile, "CLOSE", float("inf"))
    weights = onnx_models.weights(w=(6, 8, 1, 1), g=(6, 1, 1, 1))
    onnx.save(onnx_models.text(NETWORK, *weights), tmp_path / "network.onnx")
    return str(tmp_path / "network.onnx")


@pytest.mark.slow
def test_a_latency_is_explained_in_parts_that_add_up_to_it(network: str) -> None:
    exports = ["--export-json", "e.json", "--export-csv", "e.csv", "--export-markdown", "e.md"]
    result = invoke("explain", network, *exports)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == "Why it takes its time: network"
    assert lines[4].split() == ["part", "nodes", "time", "(ms)", "share"]
    document = json.loads(Path("e.json").read_text())
    (found,) = document["explained"]
    in_nodes = sum(found["parts_ms"].values())
    assert in_nodes + found["outside_of_nodes_ms"] == pytest.approx(found["latency_ms"])
    assert found["macs"] == 144 * 6 * (8 + 1)
    assert document["ceilings"].keys() >= {"fp32_macs_per_s", "node_s"}
    table = rows(Path("e.csv").read_text())
    assert sum(float(row["time_share"]) for row in table) == pytest.approx(1.0)
    assert "## Why it takes its time: network" in Path("e.md").read_text()
    again = invoke("explain", network, "--against", network)
    assert (again.exit_code, again.stdout) == (2, "")
    assert "it is the case to explain; name another" in again.stderr


@pytest.mark.slow
def test_two_graphs_are_set_against_each_other(network: str, write_onnx: WriteOnnx) -> None:
    other = str(write_onnx("other"))
    result = invoke("explain", network, "--against", other)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == "Why network takes another time than other"
    assert any(line.startswith("network takes ") for line in lines)


def test_what_cannot_be_explained_is_refused_in_one_line(write_onnx: WriteOnnx) -> None:
    path, _ = str(write_onnx("a")), write_onnx("other")
    for words in (
        ["--against", "g1"],
        ["-d", "cuda"],
        ["--against", "other.onnx", "--by", "module"],
        ["--against", "other.onnx", "--check"],
        ["--plot", "parts.txt"],
    ):
        result = invoke("explain", path, *words)
        assert (result.exit_code in (2, 6), result.stdout) == (True, "")
        assert len(result.stderr.splitlines()) == 1, result.stderr


@pytest.mark.slow
def test_what_is_blamed_is_altered_and_timed(network: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirrored, "BURST_S", 0.0)
    monkeypatch.setattr(check, "objection", lambda *_: "")
    monkeypatch.setattr(explain_text, "SENTENCES", 9)  # the order of tiny parts is by chance
    result = invoke("explain", network, "--check", "--export-json", "e.json")
    assert result.exit_code == 0, result.output
    (found,) = json.loads(Path("e.json").read_text())["explained"]
    checks = {each["part"]: each["check"] for each in found["blamed"]}
    assert all(checks.values())
    found = checks["plain depthwise"]
    assert found["widths"] == {"6": 8}
    assert found["relative_flops"] == pytest.approx(8 / 6)
    assert found["measured_low"] <= found["measured"] <= found["measured_high"]
    said = {"HOLDS": ": HOLDS.", "WITHDRAWN": "Withdrawn: ", "UNCLEAR": ": unclear."}
    assert said[found["verdict"]] in result.stdout
    assert "checked: the graph altered so" in result.stdout


@pytest.mark.slow
def test_wider_channels_are_timed_and_the_faster_ones_kept(
    network: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirrored, "BURST_S", 0.0)
    monkeypatch.setattr(Advice, "verdict", "FASTER")
    result = invoke("advise", network, "-o", "wider", "--export-json", "a.json")
    assert result.exit_code == 0, result.output
    found = json.loads(Path("a.json").read_text())
    assert {each["widths"] for each in found} >= {"6:8"}
    assert {each["file"] for each in found} == {each.name for each in Path("wider").iterdir()}
    for path in Path("wider").iterdir():
        model = onnx.load(str(path))
        assert "not trained" in model.doc_string
        onnx.checker.check_model(model)
    monkeypatch.setattr(shutil, "copyfile", Mock(side_effect=OSError("full")))
    lost = invoke("advise", network, "-o", "wider")
    assert (lost.exit_code, "95% interval" in lost.stdout) == (1, True)
    assert "wider: cannot be written: full" in lost.stderr
    several = invoke("advise", "g1")
    assert (several.exit_code, several.stdout) == (2, "")
    assert "name one of them" in several.stderr


@pytest.mark.slow
def test_parts_are_drawn(network: str) -> None:
    result = invoke("explain", network, "--plot", "parts.svg")
    assert result.exit_code == 0, result.output
    drawn = Path("parts.svg").read_text()
    assert drawn.startswith("<svg") and "plain depthwise" in drawn and ">ms<" in drawn
