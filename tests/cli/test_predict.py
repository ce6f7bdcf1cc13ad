"""`benchbox predict` and `benchbox calibrate` on a device that is calibrated by a stand-in."""

import csv
import json
import math
from dataclasses import asdict, replace
from pathlib import Path

import onnx
import pytest
from typer.testing import CliRunner, Result

from benchbox import records
from benchbox.cli import predict as command
from benchbox.cli.app import app
from benchbox.errors import DeviceError
from benchbox.insight.predict import amounts, work
from benchbox.insight.predict.amounts import Call
from benchbox.insight.predict.calibration import Calibration, Identity
from benchbox.insight.predict.calibration_networks import network
from benchbox.insight.predict.model import KindModel, LatencyModel
from benchbox.insight.predict.optimise import Optimiser
from benchbox.runner.calibrate import identity_of
from tests.helpers.command import CalmCommand

KNOWN = Calibration(
    *(Identity("Stand-in", "x86_64", "", "1.0", "", "CPUExecutionProvider", 1), True),
    *("2026-11-29T00:00:00Z", "cpu", ()),
)
SEEDS = (5, 6)
GENERATOR = """
from pathlib import Path

def variants():
    for path, accuracy in (("c005.onnx", 60.0), ("c006.onnx", None)):
        file = Path(__file__).parent / path
        yield path, file.read_bytes(), accuracy

def wrong():
    yield 3

def failing():
    yield from variants()
    raise KeyError("no such width")
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    kinds = {}
    with Optimiser() as optimiser:
        for seed in SEEDS:
            model = onnx.load_from_string(network(seed).model)
            onnx.save(model, tmp_path / f"c{seed:03d}.onnx")
            for each in map(work.of, optimiser.operators(model)):
                ones = [1.0] + [0.0] * (amounts.physics([each], [Call(1, 1, 1, 1)]).shape[1] - 1)
                kinds[each.kind] = KindModel(ones, None, [0.0] * 6, [math.inf] * 6)
    fitted = LatencyModel(kinds, "physics", 1.0, [0.1] * 20, [1.0, 0.0, 0.0], 0.0)
    monkeypatch.setattr(command, "calibration_of", lambda *_: KNOWN)
    monkeypatch.setattr(command, "model_of", lambda _: fitted)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "search.py").write_text(GENERATOR)
    return tmp_path


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["predict", *words])


def test_what_a_generator_yields_is_sorted_with_its_front(folder: Path) -> None:
    done = run("search.py:variants", "--export-json", "p.json", "--export-csv", "p.csv")
    assert done.exit_code == 0, done.output
    found = json.loads((folder / "p.json").read_text())
    rows = found["predicted"]
    assert {row["network"] for row in rows} == {"c005.onnx", "c006.onnx"}
    assert [row["predicted_ms"] for row in rows] == sorted(row["predicted_ms"] for row in rows)
    assert {row["network"]: row["pareto"] for row in rows} == {"c005.onnx": True, "c006.onnx": None}
    for row in rows:  # a microsecond for each operator, and e ** 0.1 to both sides
        assert row["predicted_high_ms"] == pytest.approx(row["predicted_ms"] * math.exp(0.1))
        assert sum(row["parts_ms"].values()) == pytest.approx(row["predicted_ms"])
    with (folder / "p.csv").open() as file:
        assert [row["network"] for row in csv.DictReader(file)] == [r["network"] for r in rows]
    assert "Predicted latency, nothing timed" in done.output


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("search.py:wrong", "it is no (name, model)"),
        ("search.py:failing", "KeyError: 'no such width'"),
    ],
)
def test_a_generator_that_fails_is_an_error_in_one_line(
    folder: Path, name: str, message: str
) -> None:
    done = run(name)
    assert done.exit_code in (1, 2)
    assert message in done.output and folder.exists()
    assert ("c005.onnx" in done.output) == (name == "search.py:failing")  # what came before


def test_a_gpu_is_refused(folder: Path) -> None:
    done = run("search.py:variants", "-d", "cuda")
    assert (done.exit_code, folder.exists()) == (DeviceError.exit_code, True)
    assert "only processors" in done.output


def test_an_anchor_may_hold_files_that_are_predicted_too(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = CalmCommand()
    bench.install(monkeypatch)
    bench.run("c005.onnx", "--quick", "--precision", "90%", "--max-time", "4s")
    (path,) = folder.glob("results/cpu/*.jsonl")
    found = run("c005.onnx", "--anchor", str(path))  # which was timed by no stand-in
    assert found.exit_code == 2 and "instead of Stand-in" in found.output
    own = asdict(records.read(path).context)
    known = replace(KNOWN, identity=identity_of(own, "CPUExecutionProvider", 1))
    monkeypatch.setattr(command, "calibration_of", lambda *_: known)
    found = run("c005.onnx", "c006.onnx", "--anchor", str(path))
    assert found.exit_code == 0
    assert "as what the anchor's 1 case takes" in found.output
    found = run("c006.onnx", "--anchor", str(path))
    assert found.exit_code == 2
    assert "none of its cases was timed" in found.output
    context, *lines = map(json.loads, path.read_text().splitlines())
    for each in lines:
        each["latency"]["basis"] = "all"  # of calls that were disturbed, too
    path.write_text("".join(f"{json.dumps(each)}\n" for each in (context, *lines)))
    found = run("c005.onnx", "--anchor", str(path))
    assert found.exit_code == 2
    assert "none of its cases was timed in quiet rounds" in found.output
    for each in lines:  # of a bundled spec, and without a latency
        each.update(spec="g1", status="failed", latency=None)
    path.write_text("".join(f"{json.dumps(each)}\n" for each in (context, *lines)))
    found = run("search.py:variants", "--anchor", str(path))
    assert found.exit_code == 2
    assert "none of its cases was timed" in found.output
