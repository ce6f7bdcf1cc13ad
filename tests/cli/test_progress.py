"""How busy the machine is, and the warning of it before anything is measured."""

import io
import re
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from rich.console import Console

from benchbox import host
from benchbox.cli.progress import BUSY_CPUS, Live, Lives
from benchbox.devices import CPU_PROVIDER, Device
from benchbox.errors import DeviceError
from tests.helpers.tables import record

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
            share = (clock.now - 1000.0) / (host.OBSERVED_S * late)
            each = {name: START[name] + worked.get(name, 0.0) * share for name in names}
            return SimpleNamespace(**each)

        monkeypatch.setattr(psutil, "cpu_times", cpu_times)
        faked = SimpleNamespace(monotonic=lambda: clock.now, sleep=sleep)
        monkeypatch.setattr(host, "time", faked)
        return host.busy_cpus()

    return busy


LOOK = host.OBSERVED_S


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


def test_a_device_that_cools_down_is_shown_with_how_long_it_may_take() -> None:
    console = Console(file=io.StringIO(), width=200, force_terminal=True)
    with Live(console, 1) as live:
        live.cooling(61.4, 46.0, 41.7)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "cooling" in text
    assert "61 °C, 46 °C wanted, 42 s left at most" in text


# several devices

BIG = Device("cpu-big", CPU_PROVIDER, 1, "arm", "big")
LITTLE = Device("cpu-little", CPU_PROVIDER, 1, "arm", "little")
PI = Device("pi", CPU_PROVIDER, 1, "arm", url="ssh://pi")


def shown(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def terminal() -> Console:
    return Console(file=io.StringIO(), width=100, force_terminal=True, color_system=None)


def last_lines(console: Console, count: int) -> list[str]:
    """Return what the last drawing of the bars shows, without the bars."""
    drawn = re.sub(r"\x1b\[[?0-9;]*[a-zA-Z]", "", shown(console)).replace("\r", "\n")
    lines = [re.sub(r"[━╸╺]+", "", line).strip() for line in drawn.splitlines() if line.strip()]
    return [re.sub(r" +", " ", line) for line in lines[-count:]]


def test_on_several_devices_each_line_has_the_name_of_its_device() -> None:
    console = Console(file=io.StringIO(), width=200)
    with Lives(console, 2, [PI, BIG]) as (pi, big):
        pi.finished(record({"n": 1}))
        big.finished(record({"n": 1}))
        pi.finished(record({"n": 2}, None, status="failed", reason="no [red] kernel"))
        big.failed(DeviceError("device 'cpu-big': no [big] cluster"))
    assert shown(console).splitlines() == [
        "pi [1/2] g2:n=1 1 ms ±0.4%",
        "cpu-big [1/2] g2:n=1 1 ms ±0.4%",
        "pi [2/2] g2:n=2 failed (no [red] kernel)",
        "Error: device 'cpu-big': no [big] cluster",
    ]


def test_a_reason_is_said_of_the_first_case_and_then_only_referred_to() -> None:
    console = Console(file=io.StringIO(), width=200)
    with Lives(console, 3, [PI]) as (pi,):
        for n, why in ((1, "emulated"), (2, "emulated"), (3, "another")):
            pi.finished(record({"n": n}, None, status="skipped", reason=why))
    assert shown(console).splitlines() == [
        "[1/3] g2:n=1 skipped (emulated)",
        "[2/3] g2:n=2 skipped (as above)",
        "[3/3] g2:n=3 skipped (another)",
    ]


def test_a_single_device_is_not_named_and_its_failure_is_for_the_command_to_tell() -> None:
    console = Console(file=io.StringIO(), width=200)
    with Lives(console, 1, [PI]) as (pi,):
        pi.finished(record({"n": 1}))
        pi.failed(DeviceError("device 'pi': gone"))
    assert shown(console) == "[1/1] g2:n=1 1 ms ±0.4%\n"


def test_on_a_terminal_there_is_a_line_for_each_in_the_order_asked_for() -> None:
    console = terminal()
    with Lives(console, 1, [PI, BIG, LITTLE]) as (pi, big, _):
        assert last_lines(console, 3) == [
            "pi waiting",
            "cpu-big waiting",
            "cpu-little waiting",
        ]
        big.loading(0, 4)
        assert last_lines(console, 3)[1] == "cpu-big loading 0 of 4 graphs"
        big.cooling(71.6, 48.0, 12.2)
        assert last_lines(console, 3)[1] == (
            "cpu-big cooling 72 °C, 48 °C wanted, 12 s left at most"
        )
        big.finished(record({"n": 1}))
        pi.failed(DeviceError("device 'pi': gone"))
        assert last_lines(console, 3) == [
            "pi failed",
            "cpu-big done 1 of 1 cases",
            "cpu-little waiting",
        ]
    assert "Error: device 'pi': gone" in shown(console)


def test_what_is_sent_is_shown_as_it_goes_and_said_once_without_a_live_line() -> None:
    console = Console(file=io.StringIO(), width=200, force_terminal=True)
    with Lives(console, 1, [PI]) as (live,):
        live.sending("big.onnx", 4_500_000, 12_000_000)
        assert last_lines(console, 1) == ["sending big.onnx, 4.5 of 12.0 MB"]
    console = Console(file=io.StringIO(), width=200)
    with Lives(console, 1, [PI, BIG]) as (live, _):
        for sent in (0, 6_000_000, 12_000_000):
            live.sending("big.onnx", sent, 12_000_000)
            live.sending("small.onnx", 0, 1_000)
    assert shown(console) == "pi sending big.onnx, 12 MB\n"


def test_what_is_built_here_before_it_is_sent_is_said_once() -> None:
    console = Console(file=io.StringIO(), width=200)
    with Lives(console, 1, [PI]) as (live,):
        live.sending("Python", 0, None)
        live.sending("Python", 0, None)
    assert shown(console) == "building Python, kept for later runs\n"


@pytest.mark.parametrize(
    ("places", "warnings"), [([PI, BIG, LITTLE], 1), ([LITTLE, BIG], 1), ([PI], 0), ([PI, BIG], 1)]
)
def test_this_machine_is_looked_at_once_and_a_board_is_not(
    monkeypatch: pytest.MonkeyPatch, places: list[Device], warnings: int
) -> None:
    monkeypatch.setattr(host, "busy_cpus", lambda: 2.0)
    console = Console(file=io.StringIO(), width=200)
    with Lives(console, 1, places) as lives:
        for live in lives:
            live.starting()
    assert shown(console).count("Warning: others keep 2.0 of ") == warnings
