"""The agent as one file that any Python with numpy and onnxruntime runs: `python agent.pyz`."""

import hashlib
import json
import sys
import zipfile
from pathlib import Path

import benchbox
from benchbox import agent

MAIN = "from benchbox.agent.__main__ import main\n\nmain()\n"
EPOCH = (1980, 1, 1, 0, 0, 0)  # equal sources give equal bytes, which a device keeps by hash


def sources() -> dict[str, str]:
    """Return the agent's sources by their paths."""
    package = Path(agent.__file__).parent
    files = {"benchbox/__init__.py": Path(benchbox.__file__).read_text()}
    paths = sorted(package.rglob("*.py"))
    return files | {
        f"benchbox/agent/{path.relative_to(package).as_posix()}": path.read_text() for path in paths
    }


def build(path: Path) -> Path:
    """Write the zipapp to `path` and return it; equal sources give equal bytes."""
    files = {"__main__.py": MAIN, **sources()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(zipfile.ZipInfo(name, EPOCH), text, zipfile.ZIP_DEFLATED)
    return path


def digest() -> str:
    """Return the sha256 of the agent's sources."""
    return hashlib.sha256(json.dumps(sources()).encode()).hexdigest()


def modules() -> dict[str, str]:
    """Return the agent's sources by the names of their modules."""
    return {path.removesuffix(".py").replace("/", "."): text for path, text in sources().items()}


if __name__ == "__main__":
    build(Path(sys.argv[1] if len(sys.argv) > 1 else "agent.pyz"))
