"""torch.compile: its requirements, its compiler's version, and compiled modules."""

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
    """The C++ compiler that inductor calls, by inductor's own rule."""
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
    """The first line of the compiler's --version; empty where there is none."""
    try:
        done = subprocess.run(
            [compiler(), "--version"], capture_output=True, text=True, timeout=VERSION_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return next(iter(done.stdout.splitlines()), "")


def compiled(module: "nn.Module") -> "Callable[..., object]":
    """The module under torch.compile, compiled at its first call.

    As one graph, or else an error: parts left to eager mode would be timed as compiled. For fixed
    shapes, or else the second case of a spec would be compiled for many shapes at once.
    """
    import torch

    torch._dynamo.config.recompile_limit = MOST_CASES
    torch._dynamo.config.accumulated_recompile_limit = MOST_CASES
    return torch.compile(module, fullgraph=True, dynamic=False)
