"""torch.compile: what it needs on the machine, and a module compiled by it."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

MOST_CASES = 1 << 16  # graphs of one forward method; torch gives up on a method after 8
VERSION_S = 10.0


def compiler() -> str:
    """Return the C++ compiler that inductor calls, by the rule that it has."""
    return os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")


def require() -> None:
    """Raise ValueError, with what to install, where torch.compile has nothing to compile with."""
    if shutil.which(compiler()) is None:
        raise ValueError(
            f"torch.compile needs a C++ compiler, and there is no {compiler()}; install one, or "
            "name one in CXX"
        )
    folder = Path(sysconfig.get_path("include"))
    if not (folder / "Python.h").exists():
        raise ValueError("torch.compile needs Python.h; install the headers of this Python")


def compiler_version() -> str:
    """Return the first line that the compiler says of itself, nothing where it says none."""
    try:
        done = subprocess.run(
            [compiler(), "--version"], capture_output=True, text=True, timeout=VERSION_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return next(iter(done.stdout.splitlines()), "")


def compiled(module: "nn.Module") -> "Callable[..., object]":
    """Return the module as torch.compile makes it, compiled with its first call.

    As one graph, else an error: what torch leaves to eager mode would be timed as compiled. For
    fixed shapes: else the second case of a spec would be compiled for many at once.
    """
    import torch

    torch._dynamo.config.recompile_limit = MOST_CASES
    torch._dynamo.config.accumulated_recompile_limit = MOST_CASES
    return torch.compile(module, fullgraph=True, dynamic=False)
