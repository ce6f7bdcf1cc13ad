"""Signs of an emulated processor, on trees of files and on devices."""

import inspect
import json
from pathlib import Path

import pytest

from benchbox.agent.host import emulation
from tests.board import Phone, inside

AARCH64, X86_64 = b"\xb7\x00", b"\x3e\x00"
PI = "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd0b\nModel : Raspberry Pi 5 Model B\n"
SIGNS = ("_translator", "_intercepted", "_left_out", "emulator")
# What each sign says on the device, by the source as the agent has it there.
ASK = (
    inspect.getsource(emulation)
    + f"""
import json
print(json.dumps([globals()[name]() for name in {SIGNS}]))
"""
)


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A /proc of plain files, with nothing remarkable in it."""
    for name in ("self", "thread-self"):
        (tmp_path / name).mkdir()
    (tmp_path / "self/auxv").write_bytes(bytes(16))
    (tmp_path / "cpuinfo").write_text(PI)
    monkeypatch.setattr(emulation, "PROC", tmp_path)
    return tmp_path


def test_this_machine_is_not_emulated() -> None:
    assert emulation.emulator() is None


@pytest.mark.slow
def test_an_emulated_device_shows_all_signs_of_a_translator(emulated_phone: Phone) -> None:
    said = emulated_phone.run("chroot", str(inside.ROOT), "/usr/bin/python3", "-c", ASK)
    assert json.loads(said) == ["qemu-user"] * len(SIGNS)


def elf(machine: bytes) -> bytes:
    return b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00" + machine + bytes(44)


@pytest.mark.parametrize(
    ("started", "content", "emulator"),
    [
        ("qemu-aarch64-static", elf(X86_64), "qemu-user"),
        ("rosetta", elf(X86_64), "rosetta"),
        ("ld-linux-aarch64.so.1", elf(AARCH64), None),  # a program of this processor
        ("script", b"#!/bin/sh\n", None),
    ],
)
def test_a_translator_shows(proc: Path, started: str, content: bytes, emulator: str | None) -> None:
    for name, (program, own) in {
        "self/exe": ("python3", elf(AARCH64)),
        "thread-self/exe": (started, content),
    }.items():
        (proc / program).write_bytes(own)
        (proc / name).symlink_to(proc / program)
    assert emulation.emulator() == emulator


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
def test_a_processor_says_that_it_is_emulated(proc: Path, cpuinfo: str, said: str | None) -> None:
    (proc / "cpuinfo").write_text(cpuinfo)
    assert emulation.emulator() == said


@pytest.mark.parametrize("missing", [(True, False), (False, True)])
def test_one_missing_call_is_an_old_kernel_or_a_filter(
    proc: Path, missing: tuple[bool, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter(missing)
    monkeypatch.setattr(emulation, "_is_missing", lambda *_: next(answers))
    assert emulation.emulator() is None
    assert proc
    monkeypatch.setattr(emulation, "_translator", lambda: 1 / 0)
    assert emulation.emulator() is None
