from pathlib import Path

import pytest

from benchbox.sampling import sampler
from tests.helpers.runs import Bench, RealAgents, SimulatedAgents


@pytest.fixture
def short_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Watchers hear of samples often enough for short runs."""
    monkeypatch.setattr(sampler, "CHUNK_S", 0.05)


@pytest.fixture
def real(tmp_path: Path, short_chunks: None) -> Bench:
    """A bench with real agents."""
    assert short_chunks is None
    return Bench(tmp_path / "results", RealAgents())


@pytest.fixture
def devices() -> SimulatedAgents:
    return SimulatedAgents()


@pytest.fixture
def bench(tmp_path: Path, devices: SimulatedAgents, short_chunks: None) -> Bench:
    """A bench with simulated agents."""
    assert short_chunks is None
    return Bench(tmp_path / "results", devices)
