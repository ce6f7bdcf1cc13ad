"""What somebody does who has a board and this command: add it, run on it, clean up."""

from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest

from tests.board import Board
from tests.helpers.command import rows
from tests.helpers.on_boards import (
    EMULATED,
    SHORT,
    benchbox,
    bursts,
    graphs,
    newest,
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
    benchbox("device", "add", "box", "ssh://board", "--python", bare_python)
    lacking = benchbox("run", "a.onnx", "-d", "box", code=6)
    assert "no numpy and no onnxruntime; benchbox device check box --install" in lacking.stderr
    benchbox("device", "remove", "box")
    added = benchbox("device", "add", "box", "ssh://board", "--python", bare_python, "--install")
    assert "installing what an agent needs there" in added.stderr
    assert added.stdout.endswith("box is ready\n")
    software = label(added.stdout, "software")
    assert f"onnxruntime {metadata.version('onnxruntime')}" in software
    assert "numpy " in software and "python 3" in software.lower()
    for name in ("model", "architecture", "processors", "free space"):
        assert label(added.stdout, name)
    (environment,) = (ssh_board.home / ".cache/benchbox").glob("venv-*")
    ssh_board.run("rm", "-rf", "/run/home/bare/lib")  # nothing but the environment is used
    benchbox("run", "a.onnx", "-d", "box", *SHORT)
    assert bursts(newest("box"))["a"]
    versions = newest("box").context.versions
    assert versions["onnxruntime"] == metadata.version("onnxruntime")
    cleaned = benchbox("device", "check", "box", "--clean", code=6)
    assert "removed " in cleaned.stderr and not environment.exists()
    ssh_board.run("rm", "-rf", "/run/home/bare")


def test_what_lacks_nothing_is_added_and_nothing_installed(
    emulated_board: Board, reach: Callable[[Board], None]
) -> None:
    reach(emulated_board)
    for _ in range(2):  # to repeat the line does no harm
        added = benchbox("device", "add", "pi", "ssh://board", "--install")
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
    assert "try it: benchbox device check pi" in added.stdout
    arguments = ("run", "g2:scale=1,groups=8", "a.onnx", "-d", "pi", "--quick")
    result = benchbox(*arguments, "--export-csv", "out.csv")
    table = rows(Path("out.csv").read_text())
    assert [(row["status"], row["reason"]) for row in table] == [("skipped", EMULATED)] * 2
    assert "skipped" in result.stdout and EMULATED in result.stdout


def test_an_emulated_device_among_others_is_a_column_of_skipped_rows(
    emulated_board: Board, ssh_board: Board, home: Path
) -> None:
    config = (
        ssh_board.config.read_text().replace("Host board", "Host box"),
        emulated_board.config.read_text().replace("Host board", "Host pi"),
    )
    (home / ".ssh/config").write_text("\n".join(config))
    for name in ("box", "pi"):
        benchbox("device", "add", name, f"ssh://{name}")
    arguments = ("run", "a.onnx", "b.onnx", "-d", "cpu", "-d", "box", "-d", "pi", *SHORT)
    result = benchbox(*arguments, "--export-csv", "out.csv")
    lines = result.stdout.splitlines()
    headers = [line.split("  ") for line in lines if line.startswith("case ")]
    assert len(headers) == 2  # a table for each file
    for header in headers:
        names = [name.strip() for name in header if name]
        assert names[-3:] == ["cpu (ms)", "box (ms)", "pi (ms)"]
    for case in "ab":
        (line,) = [line for line in lines if line.startswith(f"{case} ")]
        assert line.rstrip().endswith("skipped")
        assert f"pi: {case} skipped: {EMULATED}" in result.stdout
    table = rows(Path("out.csv").read_text())
    assert {row["status"] for row in table if row["device"] == "pi"} == {"skipped"}
    assert all(list(bursts(newest(name))) == ["a", "b"] for name in ("cpu", "box"))
    found = [
        {record.case: record.graph["sha256"] for record in newest(name).records if record.graph}
        for name in ("cpu", "box", "pi")
    ]
    assert len(found[0]) == 2 and found[0] == found[1] == found[2]
