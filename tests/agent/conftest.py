import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from benchbox.agent.host import disturbances, health

Tree = Callable[[Mapping[str, object]], None]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Return a function that writes files, by their paths, below the test's own proc and sys."""

    def write(files: Mapping[str, object]) -> None:
        for name, content in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else f"{content}\n".encode())

    return write


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of programs, the only one that is searched."""
    monkeypatch.setattr(health, "PLACES", ())
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return tmp_path / "bin"


@pytest.fixture
def slow_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counters are read however long that takes on this machine."""
    monkeypatch.setattr(disturbances, "DEAREST_NS", 1e12)


@pytest.fixture
def mask() -> Iterator[None]:
    """This thread may run where it runs now again after the test."""
    before = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    yield
    if before:
        os.sched_setaffinity(0, before)
