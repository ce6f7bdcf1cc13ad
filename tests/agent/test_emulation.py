import inspect
import json
import time
from pathlib import Path

import pytest

from benchbox.agent.host import emulation
from tests.board import Board, board, fixtures, why_not

emulated_board = fixtures.emulated_board
ssh_board = fixtures.ssh_board

AARCH64, X86_64 = b"\xb7\x00", b"\x3e\x00"
PI = "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd0b\nModel : Raspberry Pi 5 Model B\n"
SIGNS = ("_translator", "_intercepted", "_left_out", "_said_to_be", "emulator")
# What each sign says on the device, by the source as the agent has it there.
ASK = (
    inspect.getsource(emulation)
    + f"""
import json
print(json.dumps([globals()[name]() for name in {SIGNS}]))
"""
)


def ask(there: Board) -> dict[str, str | None]:
    done = there.ssh("python3 -", given=ASK.encode())
    assert done.returncode == 0, done.stderr
    return dict(zip(SIGNS, json.loads(done.stdout), strict=True))


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A /proc of plain files, with nothing remarkable in it."""
    for name in ("self", "thread-self"):
        (tmp_path / name).mkdir()
    (tmp_path / "self/auxv").write_bytes(bytes(16))
    (tmp_path / "cpuinfo").write_text(PI)
    monkeypatch.setattr(emulation, "PROC", tmp_path)
    return tmp_path


def program(path: Path, machine: bytes) -> Path:
    path.write_bytes(b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00" + machine + bytes(44))
    return path


def test_this_machine_is_not_emulated() -> None:
    assert emulation.emulator() is None


def test_looking_takes_no_time() -> None:
    emulation.emulator()
    took = []
    for _ in range(20):
        start = time.perf_counter()
        emulation.emulator()
        took.append(time.perf_counter() - start)
    assert min(took) < 0.005


# on devices


@pytest.mark.slow
def test_a_device_that_is_not_emulated_is_not_said_to_be(ssh_board: Board) -> None:
    assert set(ask(ssh_board).values()) == {None}


@pytest.mark.slow
def test_two_signs_tell_of_emulation_where_there_is_no_proc(emulated_board: Board) -> None:
    said = ask(emulated_board)
    assert said["emulator"] == said["_intercepted"] == said["_left_out"] == "qemu-user"
    assert said["_translator"] is None


@pytest.mark.slow
def test_three_signs_tell_of_emulation_where_there_is_a_proc() -> None:
    if reason := why_not():
        pytest.skip(reason)
    with board(real_proc=True) as there:
        said = ask(there)
    assert said["emulator"] == said["_intercepted"] == said["_left_out"] == "qemu-user"
    assert said["_translator"] == "qemu-user"


# on trees


def test_nothing_is_said_of_a_plain_tree(proc: Path) -> None:
    assert emulation.emulator() is None
    assert proc


@pytest.mark.parametrize(
    ("name", "said"), [("qemu-aarch64-static", "qemu-user"), ("rosetta", "rosetta")]
)
def test_a_translator_is_built_for_another_processor(proc: Path, name: str, said: str) -> None:
    (proc / "self/exe").symlink_to(program(proc / "python3", AARCH64))
    (proc / "thread-self/exe").symlink_to(program(proc / name, X86_64))
    assert emulation.emulator() == said


def test_a_program_of_this_processor_is_no_translator(proc: Path) -> None:
    (proc / "self/exe").symlink_to(program(proc / "python3", AARCH64))
    (proc / "thread-self/exe").symlink_to(program(proc / "ld-linux-aarch64.so.1", AARCH64))
    assert emulation.emulator() is None


def test_a_file_that_is_no_program_tells_nothing(proc: Path) -> None:
    (proc / "self/exe").symlink_to(program(proc / "python3", AARCH64))
    (proc / "thread-self/exe").write_text("#!/bin/sh\n")
    assert emulation.emulator() is None


@pytest.mark.parametrize(
    ("cpuinfo", "said"),
    [
        ("CPU implementer\t: 0x00\nCPU variant\t: 0x0\nCPU part\t: 0x051\n", "qemu-system"),
        ("model name\t: QEMU TCG CPU version 2.5+\n", "qemu-system"),
        ("model name\t: QEMU Virtual CPU version 2.5+\nflags\t: fpu hypervisor\n", None),
        ("model name\t: Intel(R) Xeon(R) Processor\nflags\t: fpu hypervisor\n", None),
        (PI, None),
        ("", None),
    ],
)
def test_a_machine_is_emulated_where_its_processor_says_so(
    proc: Path, cpuinfo: str, said: str | None
) -> None:
    (proc / "cpuinfo").write_text(cpuinfo)
    assert emulation.emulator() == said


@pytest.mark.parametrize("missing", [(True, False), (False, True), (False, False)])
def test_one_missing_call_is_an_old_kernel_or_a_filter(
    proc: Path, missing: tuple[bool, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter(missing)
    monkeypatch.setattr(emulation, "_is_missing", lambda *_: next(answers))
    assert emulation.emulator() is None
    assert proc


def test_no_proc_at_all_tells_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emulation, "PROC", tmp_path / "none")
    assert emulation.emulator() is None


def test_whatever_goes_wrong_nothing_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise RuntimeError

    monkeypatch.setattr(emulation, "_translator", fail)
    assert emulation.emulator() is None
