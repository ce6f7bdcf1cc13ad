"""Compiles the runner for a device's processor with zig, a C compiler that pip installs."""

import hashlib
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path

from benchbox import host
from benchbox.errors import DeviceError, UsageError

MACHINES = ("aarch64", "x86_64")  # as uname calls them
GLIBC = "2.28"  # what ONNX Runtime's wheels are built for
SOURCES = Path(__file__).parent / "src"
FLAGS = ("-std=gnu17", "-O2", "-Wall", "-Wextra", "-pthread")
LIBRARIES = ("-ldl", "-lm")


def build(machine: str, making: Callable[[], None] = lambda: None) -> Path:
    """Return the runner for a machine, compiled now where the cache has none of these sources.

    `making` is called first where it is compiled.
    Raises UsageError where there is no compiler, DeviceError where there is no runner for it.
    """
    if machine not in MACHINES:
        raise DeviceError(
            f"there is no native runner for a processor of type {machine}; "
            f"it can be built for {' and '.join(MACHINES)}"
        )
    runner = cache_folder() / f"runner-{machine}-{_digest()}"
    if not runner.exists():
        making()
        runner.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=runner.parent) as folder:
            compile_to(Path(folder, runner.name), machine, ("-s",)).replace(runner)
    return runner


def compile_to(output: Path, machine: str, flags: Sequence[str] = ()) -> Path:
    """Compile the runner with further flags and return it; raises UsageError where it cannot."""
    target = f"{machine}-linux-gnu.{GLIBC}"
    argv = [sys.executable, "-m", "ziglang", "cc", "-target", target, *FLAGS, *flags]
    argv += [*map(str, sorted(SOURCES.glob("*.c"))), "-o", str(output), *LIBRARIES]
    done = subprocess.run(argv, capture_output=True, text=True, errors="replace")
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "error" in line] or [done.stderr]
        raise UsageError(f"the native runner cannot be compiled: {lines[0].strip()}")
    return output


def cache_folder() -> Path:
    """Return where runners, and what they need, are kept."""
    return host.cache_folder() / "native"


def _digest() -> str:
    sources = sorted([*SOURCES.glob("*.c"), *SOURCES.glob("*.h")])
    parts = [_compiler(), *FLAGS, *(path.read_text(encoding="utf-8") for path in sources)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _compiler() -> str:
    try:
        return metadata.version("ziglang")
    except metadata.PackageNotFoundError:
        raise UsageError(
            "a device without Python needs a runner built here: pip install 'benchbox[native]'"
        ) from None
