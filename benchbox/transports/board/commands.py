"""Command lines for the shell of a device, in which every word from outside is quoted."""

import errno
import hashlib
import json
import os
import re
import shlex
from importlib import resources

from benchbox.transports import replies

# As in remote_keeper.py: the home folder of Android's shell is /, or cannot be written.
FOLDER = (
    'folder="$HOME/.cache/benchbox"; if [ ! -w "$HOME" ] && [ -w /data/local/tmp ]; '
    "then folder=/data/local/tmp/benchbox; fi"
)
# What a shell itself says of its child's end is not that child's.
WAITING = 'exec 3>&2 2>/dev/null; sh -c "$0" 2>&3 3>&-; exit $?'
SAID_LINES = 3  # of what an installation says last
VENV_PACKAGE = re.compile(r"install (python3[0-9.]*-venv)$", re.MULTILINE)
RUNTIME = "onnxruntime"
OFFLINE = ("connection broken by", "Failed to establish a new connection")  # as pip says it
COMPLETE = "complete"  # a file in an environment that has all; one half made is never used
FLOOR = (3, 10)  # of the agent: slots of dataclasses; an older one would only show a traceback
# The first line of input is the program; what follows is for that. Any Python can say its version.
BOOTSTRAP = (
    "import json, sys; exec(json.loads(open(0, 'rb', 0, closefd=False).readline()) "
    f"if sys.version_info >= {FLOOR} else "
    "\"print(json.dumps({'python': list(sys.version_info[:3])}))\")"
)


def script(name: str) -> bytes:
    """A program of this package as the line that BOOTSTRAP reads."""
    text = resources.files("benchbox.transports.board").joinpath(name).read_text(encoding="utf-8")
    return json.dumps(text).encode() + b"\n"


def shell(text: str) -> str:
    """A command line that means the same in any login shell.

    In csh that is so of a text without a newline; it takes `!` for an old command in quotes, too.
    A shell waits for the one that has the text, as ssh does not tell of a signal that ended it.
    """
    return f"exec sh -c {shlex.quote(WAITING)} {shlex.quote(text)}".replace("!", "'\\!'")


def _base(python: str) -> str:
    """Shell words that set `$python` to the one asked for."""
    if python.startswith("~/"):
        return f'python="$HOME"/{shlex.quote(python[2:])}'
    return f"python={shlex.quote(python or 'python3')}"


def _environment(python: str, *, gpu: bool) -> str:
    """The name of the folder of the environment that is made from a Python, for a GPU or not."""
    kind = "venv-cuda" if gpu else "venv"
    return f"{kind}-{hashlib.sha256(python.encode()).hexdigest()[:8]}" if python else kind


def interpreter(python: str, *, gpu: bool = False) -> str:
    """Shell words that set `$python` to the environment made from it, or else to itself."""
    own = f'"$folder/{_environment(python, gpu=gpu)}"'
    return (
        f"{FOLDER}; {_base(python)}; "
        f"if [ -f {own}/{COMPLETE} ] && [ -x {own}/bin/python ]; then python={own}/bin/python; fi"
    )


def program(python: str, *, gpu: bool = False) -> str:
    """The command that runs the `script` sent to it first."""
    return shell(f'{interpreter(python, gpu=gpu)}; exec "$python" -c {shlex.quote(BOOTSTRAP)}')


def agent(
    python: str, path: str, pid_file: str, settings: dict[str, str], *, gpu: bool = False
) -> str:
    """The command that starts the agent at `path`; its process id goes to `pid_file`."""
    words = " ".join(f"{name}={shlex.quote(value)}" for name, value in settings.items())
    return shell(
        f"{interpreter(python, gpu=gpu)}; echo $$ > {shlex.quote(pid_file)}; "
        f'exec env {words} "$python" {shlex.quote(path)}'
    )


def installation(python: str, folder: str, version: str, *, gpu: bool) -> dict[str, object]:
    """Request to remote_installer.py: an environment from a Python, in a folder there.

    With the `version` of ONNX Runtime asked for, so that figures can be compared, unless there is
    none of it for the board.
    """
    runtime, others = ("onnxruntime-gpu[cuda,cudnn]", ["nvidia-ml-py"]) if gpu else (RUNTIME, [])
    return {
        "python": python or "python3",
        "folder": folder,
        "name": _environment(python, gpu=gpu),
        "packages": ["numpy", *others, f"{runtime}=={version}" if version else runtime],
        "otherwise": ["numpy", *others, runtime],
    }


def why_not_installed(said: str, size_mb: int) -> str:
    """The last output of a failed installation, or what to do about it where that is known."""
    if "ensurepip is not" in said:  # as Debian's Python says it, with the name of the package
        package = VENV_PACKAGE.search(said)
        name = package[1] if package else "python3-venv"
        return f"its Python has no ensurepip; there: sudo apt install {name}, then run this again"
    if os.strerror(errno.ENOSPC) in said:
        return f"no space left there: {size_mb} MB are needed; free some, then run this again"
    if any(words in said for words in OFFLINE):
        return "its pip reaches no package index: it needs the internet, or a proxy for pip there"
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return replies.line(" ".join(dict.fromkeys(lines[-SAID_LINES:])))
