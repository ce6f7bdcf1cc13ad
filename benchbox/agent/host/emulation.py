"""Detection of an emulated processor, on which a latency means nothing."""

import contextlib
import errno
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ctypes

PROC = Path("/proc")
USER_MODE = "qemu-user"
SYSTEM_MODE = "qemu-system"
# get_robust_list and rseq, by what uname calls the machine.
SYSCALLS = {"aarch64": (100, 293), "riscv64": (100, 293), "x86_64": (274, 334)}
ELF_MACHINE = slice(18, 20)  # e_machine, after 16 bytes of identification and e_type


def emulator() -> str | None:
    """Name of the emulator of this processor, None where none is detected.

    Emulation of a whole machine is detected only where its processor's model shows it: one that
    takes a real model's name is like that model, in a virtual machine or not.
    """
    try:
        return _translator() or _intercepted() or _left_out() or _said_to_be()
    except Exception:  # a guess about the machine must not cost the run
        return None


def _translator() -> str | None:
    """Return the program that translates this one: it is built for another processor.

    /proc/self/exe is the program that this process believes to run, as an emulator answers for it.
    The same link of the thread is the one that the kernel started, as no emulator of today answers
    for that. On a real processor both are one file.
    """
    threads = PROC / "thread-self/exe"
    with contextlib.suppress(OSError):
        believed, started = _elf_machine(PROC / "self/exe"), _elf_machine(threads)
        if believed and started and believed != started:
            name = threads.readlink().name
            return USER_MODE if "qemu" in name else name
    return None


def _elf_machine(path: Path) -> bytes:
    with path.open("rb") as file:
        header = file.read(ELF_MACHINE.stop)
    return header[ELF_MACHINE] if header.startswith(b"\x7fELF") else b""


def _intercepted() -> str | None:
    """Return qemu-user where a file of /proc/self is not in /proc.

    Its auxv describes the process as the emulator started it, so qemu-user answers with a file in
    memory of its own, whether or not there is a /proc. A kernel opens what is in a folder from the
    folder's own file system: nobody mounts another one on this file.
    """
    with contextlib.suppress(OSError), (PROC / "self/auxv").open("rb") as opened:
        try:
            folder = (PROC / "self").stat().st_dev
        except FileNotFoundError:
            return USER_MODE
        return None if os.fstat(opened.fileno()).st_dev == folder else USER_MODE
    return None


def _left_out() -> str | None:
    """Return qemu-user where two system calls are missing that it does not translate.

    It cannot follow lists of robust futexes and restartable sequences through translated code.
    Every Linux since 2.6.17 has the first. What forbids calls answers EPERM, or spares these, which
    the C library needs; Android may end the process over them, and is not asked.
    """
    numbers = SYSCALLS.get(os.uname().machine) if hasattr(os, "uname") else None
    is_64_bit = sys.maxsize > 1 << 32  # else the numbers are others
    is_android = hasattr(sys, "getandroidapilevel")
    if sys.platform != "linux" or is_android or not is_64_bit or not numbers:
        return None
    import ctypes  # a Python built without it has the other signs

    libc = ctypes.CDLL(None, use_errno=True)
    head, length = ctypes.c_void_p(), ctypes.c_size_t()
    lists, sequences = numbers
    missing = [
        _is_missing(libc, lists, 0, ctypes.byref(head), ctypes.byref(length)),
        _is_missing(libc, sequences, None, 0, -1, 0),  # flags that there are not: it does nothing
    ]
    return USER_MODE if all(missing) else None


def _is_missing(libc: "ctypes.CDLL", number: int, *arguments: object) -> bool:
    import ctypes

    ctypes.set_errno(0)
    result = libc.syscall(number, *arguments)
    return result == -1 and ctypes.get_errno() == errno.ENOSYS


def _said_to_be() -> str | None:
    """Return qemu-system where the processor is a model that only its translator has.

    Arm keeps implementer 0 for software, and qemu calls its own processor part 'Q' (0x51). On x86
    the model's name says TCG; "QEMU Virtual CPU" is not told, as KVM runs that one as well.
    """
    text = (PROC / "cpuinfo").read_text(errors="replace")
    fields = {
        (key.strip(), value.strip())
        for key, colon, value in (line.partition(":") for line in text.splitlines())
        if colon
    }
    is_arm = {("CPU implementer", "0x00"), ("CPU part", "0x051")} <= fields
    is_x86 = any(key == "model name" and value.startswith("QEMU TCG") for key, value in fields)
    return SYSTEM_MODE if is_arm or is_x86 else None
