"""How busy the machine is, and the warning of it before anything is measured."""

import io
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from rich.console import Console

from benchbox import host
from benchbox.cli.progress import BUSY_CPUS, Live

Times = dict[str, float]
START = {"user": 900.0, "nice": 5.0, "system": 80.0, "idle": 8000.0, "iowait": 3.0, "steal": 7.0}


@pytest.fixture
def look(monkeypatch: pytest.MonkeyPatch) -> Callable[..., float]:
    """Return a function that looks at a machine whose processors do so much during the look."""

    def busy(names: Sequence[str] = tuple(START), late: float = 1.0, **worked: float) -> float:
        clock = SimpleNamespace(now=1000.0)

        def sleep(seconds: float) -> None:
            clock.now += seconds * late

        def cpu_times(*_: Any, **__: Any) -> SimpleNamespace:
            share = (clock.now - 1000.0) / (host.LOOK_S * late)
            each = {name: START[name] + worked.get(name, 0.0) * share for name in names}
            return SimpleNamespace(**each)

        monkeypatch.setattr(psutil, "cpu_times", cpu_times)
        faked = SimpleNamespace(monotonic=lambda: clock.now, sleep=sleep)
        monkeypatch.setattr(host, "time", faked)
        return host.busy_cpus()

    return busy


LOOK = host.LOOK_S


@pytest.mark.parametrize("cpus", [1, 4, 64])
def test_an_idle_machine_is_not_busy(look: Callable[..., float], cpus: int) -> None:
    """psutil's own shares called 64 processors busy that had been idle for a fifth of a second."""
    assert look(idle=cpus * LOOK) == 0.0
    assert look(idle=cpus * LOOK - 0.01, system=0.01) == pytest.approx(0.01 / LOOK)


@pytest.mark.parametrize("busy", [0.5, 1.0, 3.0, 16.0])
def test_what_others_work_is_counted_in_processors(look: Callable[..., float], busy: float) -> None:
    assert look(user=busy * LOOK, idle=5.0) == pytest.approx(busy)
    assert look(system=busy * LOOK) == pytest.approx(busy)
    assert look(user=busy * LOOK / 2, nice=busy * LOOK / 4, system=busy * LOOK / 4) == (
        pytest.approx(busy)
    )


def test_waiting_and_what_a_hypervisor_takes_is_no_work(look: Callable[..., float]) -> None:
    assert look(iowait=2.0, steal=2.0, idle=1.0) == 0.0


def test_a_look_that_takes_longer_is_divided_by_the_time_that_it_took(
    look: Callable[..., float],
) -> None:
    assert look(late=5.0, user=2 * LOOK * 5) == pytest.approx(2.0)


def test_a_system_that_tells_of_no_nice_time_will_do(look: Callable[..., float]) -> None:
    assert look(("user", "system", "idle"), user=LOOK) == pytest.approx(1.0)


def test_a_counter_that_goes_back_is_nothing_rather_than_less(look: Callable[..., float]) -> None:
    assert look(user=-1.0) == 0.0


def test_this_machine_can_be_looked_at() -> None:
    count = psutil.cpu_count() or 1
    assert 0 <= host.busy_cpus() <= 2 * count + 1


@pytest.mark.parametrize(
    ("busy", "warned"), [(0.0, False), (BUSY_CPUS, False), (BUSY_CPUS + 0.1, True), (9.0, True)]
)
def test_others_that_are_busy_are_warned_of(
    monkeypatch: pytest.MonkeyPatch, busy: float, warned: bool
) -> None:
    monkeypatch.setattr(host, "busy_cpus", lambda: busy)
    console = Console(file=io.StringIO(), width=200)
    with Live(console, 1) as live:
        live.starting()
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert (f"Warning: others keep {busy:.1f} of " in text) == warned
    assert bool(text) == warned
