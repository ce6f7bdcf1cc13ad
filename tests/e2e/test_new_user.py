"""What somebody does who has a board and this command: add it, run on it, clean up."""

from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest

from tests.board import Board
from tests.transports.test_ssh_board import (
    EMULATED,
    FIGURES,
    MEASURED,
    SHORT,
    benchbox,
    by_case,
    graphs,
    newest,
    table,
)

__all__ = ["graphs"]  # fixture

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("home", "graphs")]


@pytest.fixture
def bare_python(ssh_board: Board) -> str:
    """A Python on the board that has its standard library and nothing else."""
    folder = ssh_board.home / "bare"
    if not folder.exists():
        ssh_board.run("python3", "-m", "venv", "/run/home/bare")
    return "/run/home/bare/bin/python"


def label(text: str, name: str) -> str:
    """Return what a check prints beside one of its labels."""
    (line,) = [line for line in text.splitlines() if line.startswith(name)]
    return line.removeprefix(name).strip()


def test_a_board_without_the_runtime_is_installed_run_on_and_cleaned(
    ssh_board: Board, reach: Callable[[Board], None], bare_python: str
) -> None:
    reach(ssh_board)
    ssh_board.run("rm", "-rf", "/run/home/.cache/benchbox")
    added = benchbox("device", "add", "box", "ssh://board", "--python", bare_python)
    assert added.exit_code == 0, added.output
    lacking = benchbox("run", "a.onnx", "-d", "box")
    assert lacking.exit_code == 6
    assert "no numpy and no onnxruntime; benchbox device check box --install" in lacking.stderr
    benchbox("device", "remove", "box")
    added = benchbox("device", "add", "box", "ssh://board", "--python", bare_python, "--install")
    assert added.exit_code == 0, added.output
    assert "installing what an agent needs there" in added.stderr
    assert added.stdout.endswith("box is ready\n")
    software = label(added.stdout, "software")
    assert f"onnxruntime {metadata.version('onnxruntime')}" in software
    assert "numpy " in software and "python 3" in software.lower()
    for name in ("model", "architecture", "processors", "free space"):
        assert label(added.stdout, name)
    (environment,) = (ssh_board.home / ".cache/benchbox").glob("venv-*")
    ssh_board.run("rm", "-rf", "/run/home/bare/lib")  # nothing but the environment is used
    result = benchbox("run", "a.onnx", "-d", "box", *SHORT)
    assert result.exit_code == 0, result.output
    assert {status for status, _ in by_case(newest("box")).values()} <= MEASURED
    versions = newest("box").context.versions
    assert versions["onnxruntime"] == metadata.version("onnxruntime")
    cleaned = benchbox("device", "check", "box", "--clean")
    assert "removed " in cleaned.stderr and not environment.exists()
    ssh_board.run("rm", "-rf", "/run/home/bare")


def test_what_lacks_nothing_is_added_and_nothing_installed(
    emulated_board: Board, reach: Callable[[Board], None]
) -> None:
    reach(emulated_board)
    for _ in range(2):  # to repeat the line does no harm
        added = benchbox("device", "add", "pi", "ssh://board", "--install")
        assert added.exit_code == 0, added.output
        assert "nothing to install: an agent has what it needs there" in added.stderr
        assert "try it" not in added.stdout
        assert added.stdout.endswith("pi is ready\n")
    folder = emulated_board.home / ".cache/benchbox"
    assert {path.name for path in folder.iterdir()} == {"files", "whole", "sets", "run"}


@pytest.mark.usefixtures("shared_cache")
def test_two_commands_make_a_table_of_an_emulated_board(
    emulated_board: Board, reach: Callable[[Board], None]
) -> None:
    reach(emulated_board)
    added = benchbox("device", "add", "pi", "ssh://board")
    assert added.exit_code == 0, added.output
    assert "try it: benchbox device check pi" in added.stdout
    arguments = ("run", "g2:scale=1,groups=8", "a.onnx", "-d", "pi", "--quick")
    result = benchbox(*arguments, "--export-csv", "out.csv")
    assert result.exit_code == 0, result.output
    rows = table(Path("out.csv").read_text())
    assert len(rows) == 2
    assert {(row["status"], row["reason"]) for row in rows} == {("skipped", EMULATED)}
    assert "skipped" in result.stdout and EMULATED in result.stdout
    allowed = benchbox("run", "a.onnx", "-d", "pi", *SHORT, "--allow-emulated", "--export-csv", "-")
    assert allowed.exit_code == 0, allowed.output
    (row,) = table(allowed.stdout)
    assert [row[name] for name in FIGURES] == [""] * len(FIGURES)
    run = newest("pi")
    assert run.context.host["emulated"] == "qemu-user" and run.records[0].bursts


def test_an_emulated_device_among_others_is_a_column_of_skipped_rows(
    emulated_board: Board, ssh_board: Board, home: Path
) -> None:
    config = (
        ssh_board.config.read_text().replace("Host board", "Host box"),
        emulated_board.config.read_text().replace("Host board", "Host pi"),
    )
    (home / ".ssh/config").write_text("\n".join(config))
    for name in ("box", "pi"):
        assert benchbox("device", "add", name, f"ssh://{name}").exit_code == 0
    arguments = ("run", "a.onnx", "b.onnx", "-d", "cpu", "-d", "box", "-d", "pi", *SHORT)
    result = benchbox(*arguments, "--export-csv", "out.csv")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    headers = [line.split("  ") for line in lines if line.startswith("case ")]
    assert len(headers) == 2  # a table for each file
    for header in headers:
        assert [name.strip() for name in header if name][-3:] == [
            "cpu (ms)",
            "box (ms)",
            "pi (ms)",
        ], header
    for case in "ab":
        (line,) = [line for line in lines if line.startswith(f"{case} ")]
        assert line.rstrip().endswith("skipped")
        assert f"pi: {case} skipped: {EMULATED}" in result.stdout
    rows = table(Path("out.csv").read_text())
    assert {row["status"] for row in rows if row["device"] == "pi"} == {"skipped"}
    assert {row["status"] for row in rows if row["device"] != "pi"} <= MEASURED
    found = [
        {record.case: record.graph["sha256"] for record in newest(name).records if record.graph}
        for name in ("cpu", "box", "pi")
    ]
    assert len(found[0]) == 2 and found[0] == found[1] == found[2]
