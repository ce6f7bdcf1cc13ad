"""Names that a shell would take for commands, and boards that answer what no keeper does."""

import json
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchbox.lines import one_line
from tests.board import Board
from tests.helpers.command import rows
from tests.helpers.on_boards import SHORT, benchbox, bursts, graphs, newest, refused

__all__ = ["graphs"]  # fixture
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("home", "graphs")]
ODD = (
    "$(touch hit)",
    "`touch hit`",
    "a; touch hit; b",
    'it\'s "quoted" & touch hit',
    "two\nlines",
    "größe 🦆",
    "-rf",
    "*?[a]",
    "\x1b[31mred",
)
# Answers like a keeper, but for what the file beside it says.
LIAR = """\
#!{python}
import json, os, sys
lies = json.load(open({lies!r}))
hello = {{"python": [3, 11, 7], "machine": "x", "folder": "/run/home/x", "lacks": []}}
honest = {{"hello": hello, "watch": {{}}}}
honest |= {{"have": {{"files": []}}, "put": {{"from": 0}}, "clean": {{"bytes": 0}}}}
if "agent" in lies and sys.argv[1] == "-c":
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
stdin = open(0, "rb")
if sys.argv[1] == "-c":
    stdin.readline()
    lies["agent"] = lies
for line in stdin:
    asked = json.loads(line)
    lie = lies["agent"].get(asked["op"])
    if lie == "endless":
        while True:
            os.write(1, bytes(1 << 16))
    elif lie is not None:
        os.write(1, (lie if isinstance(lie, str) else json.dumps(lie)).encode() + b"\\n")
    elif asked["op"] in honest:
        os.write(1, json.dumps(honest[asked["op"]]).encode() + b"\\n")
    if asked["op"] == "put" and lie is None:
        stdin.read(asked["size"])
        os.write(1, b"{{}}\\n")
"""


@pytest.fixture
def lying(ssh_board: Board, reach: Callable[[Board], None]) -> Callable[[dict[str, object]], str]:
    """A function that runs on a board with these lies; its result is the one line."""
    reach(ssh_board)
    liar, lies = ssh_board.home / "liar", ssh_board.home / "lies"
    liar.write_text(LIAR.format(python=sys.executable, lies="/run/home/lies"))
    liar.chmod(liar.stat().st_mode | stat.S_IXUSR)
    benchbox("device", "add", "box", "ssh://board", "--python", "~/liar")

    def run(lie: dict[str, object]) -> str:
        lies.write_text(json.dumps(lie))
        line = refused("run", "a.onnx", "-d", "box")
        assert len(line) < 500 and line.isprintable(), line
        return line

    return run


HELLO = {"python": [3, 11, 7], "machine": "x", "folder": "/run/home/x", "lacks": []}


@pytest.mark.parametrize(
    ("lies", "sentence"),
    [
        ({"hello": "Welcome to your board\x1b[31m!"}, "its login shell prints "),
        ({"hello": "[" * 200_000}, "its login shell prints "),
        ({"hello": "endless"}, "its login shell prints "),
        ({"hello": {**HELLO, "python": [[], None]}}, "it answered no 'python'"),
        ({"hello": {**HELLO, "folder": "/etc\n; touch hit"}}, "it answered no 'folder'"),
        ({"hello": {**HELLO, "folder": "/etc/benchbox"}}, "no agent starts there"),
        ({"hello": {"error": "no\n\x1b[31mway " * 1000}}, "on the device: no"),
        ({"have": {"files": 5}}, "it answered no 'files'"),
        ({"put": {"from": 10**12}}, "it answered no 'from'"),
        ({"agent": {"hello": {"error": "no\n\x1b[31mway"}}}, "no \\x1b[31mway"),
    ],
)
def test_a_board_that_lies_is_one_line(
    lying: Callable[[dict[str, object]], str], lies: dict[str, object], sentence: str
) -> None:
    assert sentence in lying(lies)


def test_graphs_of_odd_names_are_timed(
    ssh_board: Board, reach: Callable[[Board], None], in_tmp: Path
) -> None:
    reach(ssh_board)
    for name in ODD:
        Path(f"{name}.onnx").write_bytes(Path("a.onnx").read_bytes())
    names = [f"./{name}.onnx" for name in ODD]
    more = (*SHORT, "--max-time", "15s", "--export-csv", "out.csv")
    result = benchbox("run", *names, "-d", "ssh://board", *more)
    assert len(bursts(newest())) == len(ODD) and all(bursts(newest()).values())
    assert "\x1b" not in result.output
    cases = [row["case"] for row in rows(Path("out.csv").read_bytes().decode())]
    assert [case.removeprefix("'") for case in cases] == list(map(one_line, ODD))  # no formula
    assert not list(in_tmp.rglob("hit")) and not list(ssh_board.home.rglob("hit"))


def test_an_odd_python_is_no_command(
    ssh_board: Board, reach: Callable[[Board], None], in_tmp: Path
) -> None:
    reach(ssh_board)
    for path in (*ODD, *(f"/run/home/{python}" for python in ODD)):
        benchbox("device", "remove", "box", code=None)
        added = benchbox("device", "add", "box", "ssh://board", f"--python={path}", code=None)
        if added.exit_code == 0:
            assert f"no {path} there" in refused("run", "a.onnx", "-d", "box")
        else:
            assert added.exit_code == 2 and "not the path of a program" in added.stderr
    assert not list(in_tmp.rglob("hit")) and not list(ssh_board.home.rglob("hit"))
