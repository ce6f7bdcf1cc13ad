"""What somebody does who has a board and this command: add it, run on it, clean up."""

import re
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest

from tests.board import Board
from tests.helpers.command import rows
from tests.helpers.on_boards import EMULATED, SHORT, benchbox, bursts, graphs, newest

__all__ = ["graphs"]  # fixture
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("home", "graphs")]


def test_a_board_without_the_runtime_is_installed_run_on_and_cleaned(
    ssh_board: Board, reach: Callable[[Board], None]
) -> None:
    reach(ssh_board)
    ssh_board.run("rm", "-rf", "/run/home/.cache/benchbox")
    ssh_board.run("python3", "-m", "venv", "/run/home/bare")  # a standard library, nothing else
    add = ("device", "add", "box", "ssh://board", "--python", "/run/home/bare/bin/python")
    benchbox(*add)
    lacking = benchbox("run", "a.onnx", "-d", "box", code=6)
    assert "no numpy and no onnxruntime; benchbox device check box --install" in lacking.stderr
    benchbox("device", "remove", "box")
    added = benchbox(*add, "--install")
    assert "installing what an agent needs there" in added.stderr
    assert added.stdout.endswith("box is ready\n")
    version = metadata.version("onnxruntime")
    for row in ("model +.", "architecture +.", "processors +.", "free space +."):
        assert re.search(f"(?m)^{row}", added.stdout)
    assert re.search(rf"(?mi)^software +.*python 3.*onnxruntime {version}", added.stdout)
    (environment,) = (ssh_board.home / ".cache/benchbox").glob("venv-*")
    ssh_board.run("rm", "-rf", "/run/home/bare/lib")  # nothing but the environment is used
    benchbox("run", "a.onnx", "-d", "box", *SHORT)
    assert bursts(newest("box"))["a"]
    assert newest("box").context.versions["onnxruntime"] == version
    cleaned = benchbox("device", "check", "box", "--clean", code=6)
    assert "removed " in cleaned.stderr and not environment.exists()
    ssh_board.run("rm", "-rf", "/run/home/bare")


def test_what_lacks_nothing_is_added_and_nothing_installed(
    emulated_board: Board, reach: Callable[[Board], None]
) -> None:
    reach(emulated_board)
    added = benchbox("device", "add", "pi", "ssh://board", "--install")
    assert "nothing to install: an agent has what it needs there" in added.stderr
    assert "try it" not in added.stdout
    assert added.stdout.endswith("pi is ready\n")
    folder = emulated_board.home / ".cache/benchbox"
    assert {path.name for path in folder.iterdir()} == {"files", "whole", "sets", "run"}


def test_an_emulated_device_among_others_is_a_column_of_skipped_rows(
    emulated_board: Board, ssh_board: Board, home: Path
) -> None:
    config = (
        ssh_board.config.read_text().replace("Host board", "Host box"),
        emulated_board.config.read_text().replace("Host board", "Host pi"),
    )
    (home / ".ssh/config").write_text("\n".join(config))
    for name in ("box", "pi"):
        added = benchbox("device", "add", name, f"ssh://{name}")
        assert f"try it: benchbox device check {name}" in added.stdout
    devices = ("-d", "cpu", "-d", "box", "-d", "pi")
    result = benchbox("run", "a.onnx", *devices, *SHORT, "--export-csv", "out.csv")
    assert re.search(r"(?m)^case .* cpu \(ms\) +box \(ms\) +pi \(ms\)( |$)", result.stdout)
    assert re.search(r"(?m)^a .* skipped( |$)", result.stdout)
    assert f"pi: a skipped: {EMULATED}" in result.stdout
    table = rows(Path("out.csv").read_text())
    assert [row["device"] for row in table if row["status"] == "skipped"] == ["pi"]
    assert all(list(bursts(newest(name))) == ["a"] for name in ("cpu", "box"))
