"""Python's functions, in this process, in a script and in a notebook."""

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import benchbox
from benchbox.api import plan, python
from benchbox.errors import BenchboxError, UsageError
from tests.cli.conftest import product, write
from tests.helpers import record_files
from tests.helpers.command import CalmCommand, invoke, only_run

SHORT: dict[str, Any] = {"quick": True, "precision": 0.9, "max_time": 4}
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("graphs")]


@pytest.mark.usefixtures("bench")
def test_a_run_is_a_frame_of_the_records_that_it_leaves_and_tells_its_steps() -> None:
    steps: list[benchbox.Step] = []
    names = ["small.onnx", "bad.onnx"]
    result = benchbox.run(names, profile=True, progress=steps.append, **SHORT)
    pd.testing.assert_frame_equal(result.table, benchbox.read(only_run().path))
    assert list(result.table["case"]) == ["small", "bad"]
    assert result.table["status"].to_list()[1] == "failed"
    assert {step.what for step in steps} >= {"loading", "timing", "finished", "profiling"}
    assert max(step.done for step in steps if step.what == "finished") == 2
    assert str(steps[-1]).startswith("cpu: ")
    assert f"{result}\n" == invoke("report").stdout.rstrip("\n") + "\n"
    assert str(only_run().path) in repr(result)
    assert result.runs[0].profiles == only_run().profiles != ()
    with pytest.raises(UsageError, match="no comparison"):
        result.verdict  # noqa: B018


@pytest.mark.usefixtures("bench")
def test_a_comparison_has_a_verdict_a_table_and_html() -> None:
    result = benchbox.compare("small.onnx", Path("large.onnx"), margin="2%", **SHORT)
    assert (result.verdict, result.verdicts) == ("SLOWER", {"large": "SLOWER"})
    assert result.table["verdict"].to_list()[1] == "SLOWER"
    assert only_run().context.plan["margin"] == 0.02
    html = result._repr_html_()
    assert html.count("<tr>") == 3
    assert "<b>small against large</b>" in html
    assert "SLOWER" in html


def test_several_devices_have_a_verdict_each(bench: CalmCommand, two_devices: list[str]) -> None:
    assert two_devices
    result = benchbox.compare("small.onnx", "large.onnx", device=["cpu", "arm"], **SHORT)
    assert result.verdicts == {"cpu: large": "SLOWER", "arm: large": "SLOWER"}
    with pytest.raises(UsageError, match="2 verdicts"):
        result.verdict  # noqa: B018
    bench.gone = {"arm"}
    with pytest.warns(UserWarning, match="arm was unplugged"):
        result = benchbox.run("small.onnx", device=["cpu", "arm"], **SHORT)
    assert list(result.table["device"]) == ["cpu"]


def test_ctrl_c_keeps_the_samples_and_resume_goes_on(bench: CalmCommand) -> None:
    bench.interrupt_at = 30
    with pytest.raises(KeyboardInterrupt):
        benchbox.run("small.onnx", quick=True, precision=1e-6, max_time="10m")
    kept = len(only_run().records[0].bursts)
    result = benchbox.run("small.onnx", resume=True, **SHORT)
    assert len(result.runs[0].records[0].bursts) > kept > 0


@pytest.mark.parametrize(
    ("options", "typed"),
    [
        ({"names": "nosuch"}, "nosuch"),
        ({"names": "none.onnx"}, "none.onnx"),
        ({"precision": 5}, "g2 --precision 5"),
        ({"precision": float("nan")}, "g2 --precision nan"),
        ({"max_time": "soon"}, "g2 --max-time soon"),
        ({"batch": [1, 0]}, "g2 --batch 1,0"),
        ({"dtype": ["fp32", "fp64"]}, "g2 --dtype fp32,fp64"),
        ({"dim": {"n": 0}}, "g2 --dim n=0"),
        ({"device": "nosuch"}, "g2 --device nosuch"),
        ({"tf32": True}, "g2 --tf32"),
        ({"sustained": 600, "quick": True}, "g2 --sustained 600 --quick"),
        ({"results": "~nosuch"}, "g2 --results ~nosuch"),
    ],
)
def test_an_error_is_the_line_of_the_command(options: dict[str, Any], typed: str) -> None:
    with pytest.raises(BenchboxError) as raised:
        benchbox.run(**{"names": "g2", **options})
    refused = invoke("run", *typed.split())
    assert refused.stderr == f"Error: {raised.value}\n"
    assert refused.exit_code == raised.value.exit_code


@pytest.mark.parametrize(
    "wrong",
    [
        *({"names": []}, {"names": [3]}, {"nosuch": 1}, {"quick": "yes"}, {"sessions": 0}),
        *(
            {"seed": -1},
            {"seed": 1 << 63},
            {"cache": "warm"},
            {"channels": "cpu"},
            {"sessions": 2.5},
        ),
    ],
)
def test_what_only_python_can_get_wrong_is_one_line(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as raised:
        benchbox.run(**{"names": "g2", **wrong})
    assert "\n" not in str(raised.value)


def test_records_are_in_the_folder_that_commands_take(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert python._plain("g2", {}, {}).results == Path("results")
    monkeypatch.setenv("BENCHBOX_RESULTS", str(tmp_path / "theirs"))
    record_files.write(tmp_path / "theirs", record_files.record(), of=record_files.context("g2"))
    assert len(benchbox.read("g2")) == 1
    assert python._plain("g2", {}, {}).results == tmp_path / "theirs"
    assert python._plain("g2", {"results": "own"}, {}).results == Path("own")


def test_options_are_those_of_the_command_line_in_any_type() -> None:
    given = {
        "batch": [1, 8],
        "dim": {"seq": [64, 128]},
        "input": {"sr": 16000},
        "device": "cpu",
        "precision": 0.03,
        "max_time": 90,
        "percentiles": [90, 99.9],
        "mode": ["graph", "eager"],
        "seed": 3,
    }
    found = python._plain(Path("net.onnx"), given, {"sustained": 600})
    assert (found.cases.names, found.cases.batch, found.cases.dim) == (
        ["net.onnx"],
        "1,8",
        ["seq=64,128"],
    )
    assert (found.cases.input, found.device) == (["sr=16000"], ["cpu"])
    assert (found.precision, found.max_time, found.percentiles) == ("0.03", "90", "90,99.9")
    assert (found.gpu.mode, found.seed, found.load.sustained) == ("graph,eager", 3, "600")
    assert found.typed == {*given, "sustained"}


EXAMPLES = re.findall(
    r"^```python\n(.*?)^```$",
    (Path(__file__).parents[2] / "docs" / "python.md").read_text(),
    re.DOTALL | re.MULTILINE,
)


@pytest.mark.usefixtures("bench")
def test_the_examples_of_the_page_work(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, size in (("model", 16), ("other", 24)):
        write(name, product(size))
    monkeypatch.setattr(plan, "QUICK", replace(plan.QUICK, precision=0.9))
    (first, *others) = EXAMPLES
    assert "precision=0.03" in first
    names: dict[str, Any] = {}
    for example in (first.replace("precision=0.03", "precision=0.9, sessions=1"), *others):
        exec(example, names)  # noqa: S102 - the page's own
    assert len(names["frame"]) == 5
    assert capsys.readouterr().out.splitlines()[-1] == "missing.onnx: there is no such file"


SCRIPT = """\
import benchbox

if __name__ == "__main__":
    result = benchbox.run("small.onnx", quick=True, precision=0.9, max_time=2)
    print(len(result.table), result.table["case"][0])
"""


def test_a_script_with_a_guard_works() -> None:
    Path("script.py").write_text(SCRIPT)
    done = subprocess.run([sys.executable, "script.py"], capture_output=True, text=True, check=True)
    assert done.stdout == "1 small\n"


NOTEBOOK = """\
import nbclient, nbformat

cells = ["import benchbox", "benchbox.run('small.onnx', quick=True, precision=0.9, max_time=2)"]
book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
nbclient.NotebookClient(book, timeout=300, kernel_name="python3").execute()
print(book.cells[1].outputs[-1]["data"]["text/html"])
"""


def test_a_notebook_shows_the_table() -> None:
    done = subprocess.run(
        [sys.executable, "-c", NOTEBOOK], capture_output=True, text=True, check=True
    )
    assert "<b>small.onnx</b>" in done.stdout
    assert '<td style="text-align: left">small</td>' in done.stdout
