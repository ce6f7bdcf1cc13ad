"""An agent on this machine: a child process of the same Python."""

import os
import sys
from pathlib import Path
from typing import Any

import benchbox
from benchbox import host
from benchbox.agent.host import facts as host_facts
from benchbox.transports.board import zipapp
from benchbox.transports.channel import ProcessChannel

ROOT = Path(benchbox.__file__).parent.parent


def python_child(module: str, **env: str) -> ProcessChannel:
    """Start `python -m module` of this benchbox, whatever lies in the current folder."""
    # -P keeps the current folder off sys.path: a random.py there must not become the standard one.
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return ProcessChannel(
        [sys.executable, "-P", "-m", module], {"PYTHONPATH": path, **env, **SINGLE_THREADED}
    )


# Pools that the agent does not use would only add threads beside the timed one.
SINGLE_THREADED = {
    "ORT_DISABLE_TELEMETRY": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}


def open_local(program: str = "benchbox.agent") -> ProcessChannel:
    """Start an agent on this machine."""
    return python_child(program)


def open_python(python: str) -> ProcessChannel:
    """Start an agent on this machine by another Python, with the libraries that it has.

    Of benchbox it gets the agent alone, as a board does. Raises OSError where there is no such
    program.
    """
    program = host.cache_folder() / "agent" / f"{zipapp.digest()}.pyz"
    if not program.is_file():
        program.parent.mkdir(parents=True, exist_ok=True)
        fresh = zipapp.build(program.with_suffix(f".{os.getpid()}"))
        fresh.replace(program)
    path = str(Path(python).expanduser())
    return ProcessChannel([path, str(program)], SINGLE_THREADED)


def facts() -> dict[str, Any]:
    """This machine's model, processors and memory, as a board's agent would report them."""
    return host_facts.read()
