"""Installing what an agent needs: the environment that is made on a device, and what fails."""

import io
from concurrent.futures import Future, ThreadPoolExecutor
from importlib import metadata
from pathlib import Path

import pytest
from rich.console import Console

from benchbox.cli import device_actions
from benchbox.devices import Device
from benchbox.errors import DeviceError
from benchbox.transports import open_target
from benchbox.transports.board import commands, setup, target
from benchbox.transports.board.target import Target
from tests.helpers import sent
from tests.transports.conftest import PYTHON, Shell, refused, wait_for

pytestmark = pytest.mark.slow
VENV = """if [ "$2" = venv ]; then mkdir -p "$3/bin"; cp "$0" "$3/bin/python"; else {rest}; fi"""
OWN_PIP = f'[ "$1" = -m ] || exec {PYTHON} "$@"; '  # all else is this machine's Python
# What Debian's Python says where its package python3-venv is missing.
NO_ENSUREPIP = """\
The virtual environment was not created successfully because ensurepip is not
available.  On Debian/Ubuntu systems, you need to install the python3-venv
package using the following command.

    apt install python3.11-venv

Failing command: /home/me/.cache/benchbox/venv/bin/python
"""


def with_pip(shell: Shell, text: str) -> Device:
    """A device whose environments have this in the place of pip."""
    return shell.with_python(VENV.format(rest=OWN_PIP + text))


def install(device: Device) -> None:
    with open_target(device) as board:
        setup.install(board)


def environments(shell: Shell) -> list[Path]:
    return list(shell.cache.glob("venv*"))


def test_install_makes_an_environment_of_its_own(shell: Shell) -> None:
    python = with_pip(
        shell,
        'echo "$@" >> "$HOME/asked"; '
        'case "$*" in *==*) echo ERROR: No matching distribution found; exit 1; esac',
    )
    install(python)
    asked = [line.split() for line in (shell.home / "asked").read_text().splitlines()]
    (shell.home / "asked").unlink()
    assert [line[:3] for line in asked] == [["-m", "pip", "install"]] * 2
    same, any_other = (line[-2:] for line in asked)
    assert same == ["numpy", f"onnxruntime=={metadata.version('onnxruntime')}"]
    assert any_other == ["numpy", "onnxruntime"]  # where the board can have no such version
    install(python)  # in place of the one before
    (made,) = environments(shell)
    (shell.home / "python here").write_text("#!/bin/sh\nexit 1\n")
    with open_target(python) as board:  # it is used in place of what it was made from
        assert setup.facts(board)["versions"]["onnxruntime"]
    (made / commands.COMPLETE).unlink()
    with pytest.raises(DeviceError, match="does not start there"):
        open_target(python)


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        ("echo ERROR: No matching distribution found; exit 1", "ERROR: No matching distribution"),
        (f'[ "$1" = -m ] || exec {PYTHON} -S "$@"', "No module named 'numpy'"),
        ("exit 7", "it ended with code 7"),
    ],
)
def test_an_environment_that_is_half_made_is_removed(shell: Shell, rest: str, said: str) -> None:
    """Its pip fails, or what that has installed cannot be imported."""
    # The Python that makes it starts the keeper; the one made is all that fails.
    maker = f'case "$0" in *venv*) ;; *) [ "$2" = venv ] || exec {PYTHON} "$@" ;; esac\n'
    broken = shell.with_python(maker + VENV.format(rest=rest))
    why = refused(broken, install)
    assert "nothing installed: " in why and said in why
    assert environments(shell) == []
    with open_target(broken) as board:
        assert not board.lacks


def test_a_python_without_ensurepip_is_told_what_to_install_and_stays_usable(
    shell: Shell,
) -> None:
    """Debian's says so on stdout, and has made a part of the environment by then."""
    bare = shell.with_python(
        f'if [ "$2" = venv ]; then mkdir -p "$3/bin"; ln -s {PYTHON} "$3/bin/python"; '
        f"cat <<'EOF'\n{NO_ENSUREPIP}EOF\nexit 1; fi; exec {PYTHON} \"$@\"",
    )
    assert refused(bare, install) == (
        "device 'board': nothing installed: its Python has no ensurepip; there: sudo apt install "
        "python3.11-venv, then run this again"
    )
    assert environments(shell) == []
    with open_target(bare) as board:
        assert not board.lacks


def test_a_runtime_that_is_broken_is_told_of_and_replaced(shell: Shell) -> None:
    (shell.home / "broken/numpy").mkdir(parents=True)
    (shell.home / "broken/numpy/__init__.py").write_text("raise ImportError('libopenblas.so.0')")
    script = VENV.format(rest=f'[ "$2" = pip ] || exec {PYTHON} "$@"')
    path = 'case "$0" in *venv*) unset PYTHONPATH ;; *) export PYTHONPATH="$HOME/broken" ;; esac\n'
    broken = shell.with_python(path + script)
    said = refused(broken)
    assert "no agent starts there: ImportError: " in said
    assert said.endswith("; benchbox device check board --install")
    stderr = Console(file=io.StringIO(), width=100)
    for each in ("installing what", "nothing to install: "):
        device_actions._prepare(broken, stderr, install=True, clean=False)
        assert each in stderr.file.getvalue()


def test_a_system_of_32_bits_on_a_kernel_of_64_is_told_what_helps(shell: Shell) -> None:
    pretend = "import ctypes, struct, sys; struct.calcsize = lambda _: 4; exec(sys.argv[1])"
    narrow = shell.with_python(f'exec {PYTHON} -S -c "{pretend}" "$2"')
    said = "its Python is 32-bit, and ONNX Runtime has 64-bit wheels only; use a 64-bit system"
    assert said in refused(narrow)
    assert f"nothing installed: {said}" in refused(narrow, install)
    with open_target(narrow) as board:
        assert setup.facts(board)["bits"] == 32


def test_what_pip_says_twice_is_told_once_and_no_version_is_blamed_for_it(
    shell: Shell,
) -> None:
    full = with_pip(
        shell,
        'echo "$@" >> "$HOME/asked"; '
        'for n in 1 2; do echo "ERROR: Could not install" >&2; done; exit 1',
    )
    said = refused(full, install)
    assert said == "device 'board': nothing installed: ERROR: Could not install"
    assert len((shell.home / "asked").read_text().splitlines()) == 1
    said = commands.why_not_installed("OSError(28, 'No space left on device')\n  at line 7", 250)
    assert said.startswith("no space left there: ")


@pytest.fixture
def slow_pip(shell: Shell) -> Device:
    """A device whose pip says something, and takes a minute as long as there is a file `slow`."""
    (shell.home / "slow").touch()
    return with_pip(shell, 'echo "Collecting numpy"; if [ -f "$HOME/slow" ]; then sleep 60; fi')


def begin(pool: ThreadPoolExecutor, board: Target) -> "Future[None]":
    """Begin an installation, and return once its pip runs."""
    told: list[str] = []
    future = pool.submit(setup.install, board, lambda _, said: told.append(said))
    assert wait_for(lambda: "Collecting numpy" in told), told
    return future


def test_an_installation_ends_with_its_link_and_the_next_one_begins_at_once(
    shell: Shell, slow_pip: Device
) -> None:
    with ThreadPoolExecutor() as pool:
        with open_target(slow_pip) as board:
            future = begin(pool, board)
            assert shell.pids("-m pip ")
        with pytest.raises(DeviceError, match="nothing installed: "):
            future.result(10)
        (shell.home / "slow").unlink()
        install(slow_pip)
    assert not shell.pids("-m pip ")
    (made,) = environments(shell)
    assert (made / commands.COMPLETE).exists()


def test_a_second_installation_leaves_the_first_one_alone_which_ends_when_nobody_asks_after_it(
    shell: Shell, slow_pip: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link that is lost may look open to the board for hours."""
    sent.change(monkeypatch, "remote_installer.py", "ENDING_S = 15.0", "ENDING_S = 0.2")
    sent.change(monkeypatch, "remote_installer.py", "SILENCE_S = 30.0", "SILENCE_S = 2.0")
    monkeypatch.setattr(target, "PING_S", 0.2)
    with ThreadPoolExecutor() as pool, open_target(slow_pip) as first:
        future = begin(pool, first)
        with pytest.raises(DeviceError, match="nothing installed: another benchbox installs there"):
            install(slow_pip)
        with pytest.raises(DeviceError, match="not emptied: on the device: another benchbox inst"):
            setup.clean(first)
        monkeypatch.setattr(target, "PING_S", 1000.0)
        with pytest.raises(DeviceError, match="nothing installed: "):
            future.result(15)
    assert wait_for(lambda: not shell.pids("-m pip ") and not environments(shell))
