"""Trust in project files: which benchbox.toml may say where to write, and whom to call.

Whoever clones a repository gets its benchbox.toml. Until its user trusts that file, as it is and
where it is, only what it says of how to measure counts.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from benchbox import host
from benchbox.errors import StorageError

PROJECT = Path("benchbox.toml")
TRUST = "benchbox trust"


def trusted() -> dict[str, str]:
    """The sha256 that each trusted file had when the user trusted it, by its path."""
    found = host.read_json(_file())
    return {str(k): str(v) for k, v in found.items()} if isinstance(found, dict) else {}


def is_trusted(path: Path, text: str) -> bool:
    """Whether a file with this text is the user's own, or one that the user trusts."""
    place = path.resolve()
    if place == (host.config_folder() / PROJECT).resolve():
        return True
    return trusted().get(str(place)) == sha256(text)


def trust(path: Path, text: str) -> None:
    """Trust a file for as long as it has this text; raises StorageError."""
    _write({**trusted(), str(path.resolve()): sha256(text)})


def forget(path: Path) -> bool:
    """Trust a file no more; whether it was trusted. Raises StorageError."""
    known = trusted()
    if known.pop(str(path.resolve()), None) is None:
        return False
    _write(known)
    return True


def _file() -> Path:
    return host.config_folder() / "trusted.json"


def sha256(text: str) -> str:
    """The digest by which a file is known again."""
    return hashlib.sha256(text.encode()).hexdigest()


def _write(known: Mapping[str, str]) -> None:
    try:
        host.write(_file(), json.dumps(known, indent=1))
    except OSError as error:
        raise StorageError(f"{_file()}: cannot be written: {error.strerror}") from None
