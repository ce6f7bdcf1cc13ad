"""Limits of `run` and `compare`: exit codes and lines."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.helpers.command import CalmCommand, invoke

SHORT = ["--quick", "--precision", "90%", "--max-time", "4s"]
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("graphs")]


def test_a_case_that_is_slower_for_sure_ends_with_3_and_one_within_with_0(
    bench: CalmCommand,
) -> None:
    failed = bench.compare("small.onnx", "large.onnx", *SHORT, "--fail-on", "slower>3%", code=3)
    (line,) = [line for line in failed.stderr.splitlines() if line.startswith("Failed: ")]
    assert line.startswith("Failed: large takes ")
    assert line.endswith(" the latency of small on cpu, over the limit of 1.03x (slower>3%)")
    limits = ["--fail-on", "slower>3%", "--fail-on", "params>5M"]
    kept = bench.compare("large.onnx", "small.onnx", *SHORT, *limits)
    assert "Within limits: slower>3%, params>5M (2 cases)" in kept.stderr


def test_what_is_unclear_passes_with_a_line_and_is_4_if_strict(bench: CalmCommand) -> None:
    limit = ["--fail-on", "p99.9>1s", "--max-time", "0.3s"]  # too short for 6636 calls
    passed = bench.run("large.onnx", *SHORT, *limit)
    strict = bench.run("large.onnx", *SHORT, *limit, "--strict", code=None)
    assert "Unclear: large has no known p99.9 on cpu" in passed.stderr
    assert strict.exit_code == 4, "though a percentile that is not known is imprecise, too"
    kept = bench.run("large.onnx", "--max-time", "0.3s", "--fail-on", "flops>1G", "--strict")
    assert "imprecise" in kept.stdout
    assert bench.run("large.onnx", "--max-time", "0.3s", "--strict", code=5)


def test_a_limit_that_is_certain_comes_before_a_case_that_failed(bench: CalmCommand) -> None:
    names = ["small.onnx", "bad.onnx"]
    assert bench.run(*names, *SHORT, "--fail-on", "flops>1k", code=3)
    assert bench.run(*names, *SHORT, "--fail-on", "flops>1G", code=1)


def test_a_limit_of_the_file_holds_for_what_it_fits(bench: CalmCommand) -> None:
    Path("benchbox.toml").write_text('[run]\nfail-on = ["slower>3%", "flops>1k"]\n')
    failed = bench.run("small.onnx", *SHORT, code=3)
    assert "over the limit of 1.00 K (flops>1k)" in failed.stderr
    assert "slower" not in failed.stderr


@pytest.mark.parametrize(
    ("names", "text", "message"),
    [
        ("compare small.onnx twin.onnx", "slower=3%", "write slower>3%, p50>33ms or "),
        ("run small.onnx", "p99>33", "write slower>3%"),
        ("run small.onnx", "slower>3", "slower>3%, with its percent sign; write slower>3%"),
        ("run small.onnx", "slower>1.03x", "write slower>3%"),
        ("run small.onnx", "latency>3ms", "write slower>3%"),
        ("run small.onnx", "p99>\u0663ms", "write slower>3%"),
        ("run small.onnx", "p99>33ms,,", "'': write slower>3%"),
        ("run small.onnx", "p99>33ms,params=5M", "'params=5M': write slower>3%"),
        ("run small.onnx", "", "write slower>3%"),
        ("run small.onnx large.onnx", "slower>3%", "no case of these is set beside another; "),
    ],
)
def test_a_limit_that_is_none_is_one_line(names: str, text: str, message: str) -> None:
    refused = invoke(*names.split(), "--fail-on", text)
    assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1)
    assert refused.stderr.startswith(f"Error: --fail-on {text or repr('')}: {message}")


def test_a_step_of_github_gets_its_summary_and_annotations_and_files_of_services_are_written(
    bench: CalmCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")
    Path("summary.md").write_text("before\n")
    files = ["--export-junit", "t.xml", "--export-ci", "t.bmf.json"]
    limits = ["--fail-on", "flops>1k"]
    done = bench.run("small.onnx", *SHORT, *limits, *files, code=3)
    assert done.stderr.count("::error title=benchbox::Failed: small has 4.10 K FLOPs") == 1
    assert Path("summary.md").read_text().startswith("before\n- Failed: small has")
    written = ElementTree.parse("t.xml").getroot()  # noqa: S314 - its own
    assert written.attrib["failures"] == "1"
    assert list(json.loads(Path("t.bmf.json").read_text())) == ["cpu/small"]
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "no/such/folder/summary.md")
    done = bench.run("small.onnx", *SHORT)
    assert "Warning: GITHUB_STEP_SUMMARY no/such/folder/summary.md: No such file" in done.stderr
