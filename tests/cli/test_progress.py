"""The lines of a run, live and piped, and the look at how busy the machine is."""

import io
import re
from dataclasses import replace
from types import SimpleNamespace

import psutil
import pytest
from rich.console import Console

from benchbox import host
from benchbox.cli import bar, progress, timing
from benchbox.cli.bar import Bar
from benchbox.cli.progress import BUSY_CPUS, Live, Lives
from benchbox.devices import CPU_PROVIDER, Device
from benchbox.errors import DeviceError
from benchbox.sampling.plan import Plan
from benchbox.sampling.sampler import Sampler
from tests.helpers.sessions import Sampling, noisy
from tests.helpers.tables import record

START = {"user": 900.0, "nice": 5.0, "system": 80.0, "idle": 8000.0, "iowait": 3.0, "steal": 7.0}
LOOK = host.OBSERVED_S
BIG = Device("cpu-big", CPU_PROVIDER, 1, "arm", "big")
LITTLE = Device("cpu-little", CPU_PROVIDER, 1, "arm", "little")
PI = Device("pi", CPU_PROVIDER, 1, "arm", url="ssh://pi")


def console(width: int = 200, *, is_terminal: bool = False) -> Console:
    return Console(
        file=io.StringIO(), width=width, force_terminal=is_terminal, color_system=None, markup=False
    )


def shown(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def last_lines(console: Console, count: int) -> list[str]:
    """What the last drawing of the bars shows, without the bars."""
    drawn = re.sub(r"\x1b\[[?0-9;]*[a-zA-Z]", "", shown(console)).replace("\r", "\n")
    lines = [re.sub("[━─]+", "", line).strip() for line in drawn.splitlines() if line.strip()]
    return [re.sub(r" +", " ", line) for line in lines[-count:]]


@pytest.mark.parametrize(
    ("worked", "busy"),
    [
        ({"idle": 4 * LOOK}, 0.0),
        # psutil's own shares called 64 processors busy that had been idle for a fifth of a second
        ({"idle": 64 * LOOK - 0.01, "system": 0.01}, 0.01 / LOOK),
        ({"user": 1.5 * LOOK, "nice": 0.75 * LOOK, "system": 0.75 * LOOK}, 3.0),
        ({"iowait": 2.0, "steal": 2.0, "idle": 1.0}, 0.0),
        ({"user": -1.0}, 0.0),
    ],
)
def test_the_work_of_others_is_counted_in_processors(
    monkeypatch: pytest.MonkeyPatch, worked: dict[str, float], busy: float
) -> None:
    before = {name: START[name] for name in {"user", "system", *worked}}  # not all have them all
    after = {name: START[name] + worked.get(name, 0.0) for name in before}
    looks = iter([SimpleNamespace(**before), SimpleNamespace(**after)])
    clock = iter([1000.0, 1000.0 + LOOK])
    monkeypatch.setattr(psutil, "cpu_times", lambda *_, **__: next(looks))
    faked = SimpleNamespace(monotonic=lambda: next(clock), sleep=lambda _: None)
    monkeypatch.setattr(host, "time", faked)
    assert host.busy_cpus() == pytest.approx(busy)


@pytest.mark.parametrize(
    ("busy", "devices", "warnings"),
    [
        (BUSY_CPUS, [BIG], 0),
        (BUSY_CPUS + 0.1, [BIG], 1),
        (9.0, [PI, BIG, LITTLE], 1),
        (9.0, [PI], 0),
    ],
)
def test_a_busy_machine_is_warned_of_once_and_a_board_is_not_looked_at(
    monkeypatch: pytest.MonkeyPatch, busy: float, devices: list[Device], warnings: int
) -> None:
    monkeypatch.setattr(host, "busy_cpus", lambda: busy)
    screen = console()
    with Lives(screen, 1, devices) as lives:
        for live in lives:
            live.starting()
    assert shown(screen).count(f"Warning: others keep {busy:.1f} of ") == warnings
    assert shown(screen).count("\n") == warnings


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    clock = SimpleNamespace(now=1000.0)
    faked = SimpleNamespace(monotonic=lambda: clock.now)
    for module in (progress, bar, timing):
        monkeypatch.setattr(module, "time", faked)
    return clock


def test_an_export_shows_name_place_and_time_left_on_one_line(clock: SimpleNamespace) -> None:
    screen = console(80, is_terminal=True)
    with Live(screen, 120) as live:
        live.exporting(0, 120, "g2:groups=1,scale=1")
        assert last_lines(screen, 1) == ["exporting g2:groups=1,scale=1 1/120"]
        clock.now += 60.0  # the worker loads torch for the first: it says nothing of the others
        live.exporting(1, 120, "a")
        assert last_lines(screen, 1) == ["exporting a 2/120"]
        clock.now += 4.0
        live.exporting(3, 120, "g[2]" * 40)
        (line,) = last_lines(screen, 1)
        assert re.fullmatch(r"exporting (g\[2\])+g\[2… 4/120, about 3\.…", line)
        clock.now += 0.1  # too soon to be drawn
        live.exporting(120, 120, "")
        assert last_lines(screen, 1) == [line]


def test_a_piped_export_prints_a_line_now_and_then(clock: SimpleNamespace) -> None:
    screen = console()
    with Live(screen, 3) as live:
        for done in range(3):
            live.exporting(done, 3, f"g{done}")
            clock.now += 6.0
        live.exporting(3, 3, "")
    assert shown(screen).splitlines() == [
        "preparing 3 graphs, kept for later runs",
        "1 of 3 graphs left, about 6 s, g2",
    ]


def test_each_line_of_several_devices_begins_with_a_name() -> None:
    screen = console()
    with Lives(screen, 2, [PI, BIG]) as (pi, big):
        pi.finished(record({"n": 1}))
        big.finished(record({"n": 1}))
        pi.finished(record({"n": 2}, None, status="failed", reason="no [red] kernel"))
        big.failed(DeviceError("device 'cpu-big': no [big] cluster"))
    assert shown(screen).splitlines() == [
        "pi [1/2] g2:n=1 1.000 ± 0.004 ms",
        "cpu-big [1/2] g2:n=1 1.000 ± 0.004 ms",
        "pi [2/2] g2:n=2 failed (no [red] kernel)",
        "Error: device 'cpu-big': no [big] cluster",
    ]


def test_a_single_device_has_no_name_and_a_reason_is_printed_once() -> None:
    screen = console()
    with Lives(screen, 3, [PI]) as (pi,):
        pi.finished(record({"n": 0}, status="imprecise", reason="noisy"))  # the table tells why
        for n in (1, 2):
            pi.finished(record({"n": n}, None, status="skipped", reason="emulated"))
        pi.failed(DeviceError("device 'pi': gone"))  # for the command to print
    assert shown(screen).splitlines() == [
        "[1/3] g2:n=0 1.000 ± 0.004 ms imprecise",
        "[2/3] g2:n=1 skipped (emulated)",
        "[3/3] g2:n=2 skipped (as above)",
    ]


def test_a_terminal_has_a_line_for_each_device_in_the_given_order() -> None:
    screen = console(100, is_terminal=True)
    with Lives(screen, 1, [PI, BIG, LITTLE]) as (pi, big, _):
        assert last_lines(screen, 3) == ["pi waiting", "cpu-big waiting", "cpu-little waiting"]
        big.loading(0, 4)
        assert last_lines(screen, 3)[1] == "cpu-big loading 1 of 4 graphs"
        big.cooling(71.6, 48.0, 12.2)
        assert last_lines(screen, 3)[1].endswith("72 °C, 48 °C wanted, 12 s left at most")
        big.finished(record({"n": 1}))
        pi.failed(DeviceError("device 'pi': gone"))
        lines = ["pi failed", "cpu-big done 1 of 1 cases", "cpu-little waiting"]
        assert last_lines(screen, 3) == lines
    assert "Error: device 'pi': gone" in shown(screen)


GRAPHS = {f"g2:groups={n},scale=1": noisy(0.002 * n, seed=n) for n in range(1, 7)}
PLAN = Plan(precision=0.002, max_time_s=60.0, min_rounds=18, sessions=3)


class Watched:
    """A run in stages on a terminal, and what it showed after each drawing: rows and last line."""

    def __init__(
        self, clock: SimpleNamespace, plan: Plan = PLAN, *, height: int = 24, names: int = 1
    ) -> None:
        self.screen = console(100, is_terminal=True)
        self.screen.height = height
        self.shown: list[tuple[list[str], str]] = []
        devices = [BIG, LITTLE][:names]
        with Lives(self.screen, len(GRAPHS), devices) as (self.live, *_):
            run = Sampling(GRAPHS, plan, notify=self._look)
            self.bar, self.sampler, self.clock = self.live._bar, run.sampler, clock
            self.session = run.session
            for stage in range(plan.sessions):
                self.live.loading(0, len(GRAPHS))
                clock.now += 1.0
                run.sampler.begin(stage)
                run.measure(stage)

    def _look(self, sampler: Sampler) -> None:
        before = self.live._line._drawn_at
        self.clock.now = max(self.clock.now, 1001.0 + self.session.now + sampler.stage)
        self.live.measuring(sampler)
        if self.live._line._drawn_at != before:
            self.shown.append((list(self.bar.rows), self.live._line.at))
            self.check(sampler)

    def check(self, sampler: Sampler) -> None:
        """The bar agrees with the words, which promise no more than the plan allows."""
        text = self.live._line.at
        found = re.match(r"([\d.]+) s of (about|at most) ([\d.]+) s, ", text)
        assert found, text
        spent, total = float(found[1]), float(found[3])
        assert total - spent <= PLAN.max_time_s - sampler.elapsed_s + 1
        assert self.live._line.share == pytest.approx(spent / total, abs=0.1)


def test_a_terminal_shows_figures_that_close_in_and_an_honest_time(clock: SimpleNamespace) -> None:
    watched = Watched(clock)
    spent_s = clock.now - 1000.0
    first, *_, (rows, last) = watched.shown
    assert re.match(r"\d s of at most 6\d s, process 1 of 3, ±0\.2% asked", first[1])
    assert "process 3 of 3" in last
    assert rows[0].split() == ["case", "p50", "(ms)", "±"]
    assert len(rows) == 1 + len(GRAPHS)
    assert re.match(r"groups=1,scale=1 +2\.0\d+ +0\.\d%", rows[1])
    totals = [float(m[1]) for _, text in watched.shown if (m := re.search(r"about ([\d.]+)", text))]
    late = totals[len(totals) // 3 :]
    assert late
    assert all(each == pytest.approx(spent_s, rel=0.4) for each in late), f"{spent_s} {totals}"


def test_rows_fit_the_terminal_and_the_others_are_counted(clock: SimpleNamespace) -> None:
    watched = Watched(clock, replace(PLAN, margin=0.01), height=6)
    for rows, _ in watched.shown:
        assert len(rows) == 4
        assert rows[-1] == "… and 4 more"
    assert "relative" in watched.shown[-1][0][0]
    assert not Watched(clock, height=1).shown[-1][0]


def test_several_devices_have_a_line_each_and_no_table(clock: SimpleNamespace) -> None:
    rows, text = Watched(clock, names=2).shown[-1]
    assert not rows
    assert re.search(r"process 3 of 3, widest ±0\.\d%, ±0\.2% asked$", text)


def test_a_pipe_hears_of_no_case_before_it_is_finished() -> None:
    screen = console()
    with Lives(screen, len(GRAPHS), [BIG]) as (live,):
        run = Sampling(GRAPHS, PLAN, notify=live.measuring)
        run.sampler.begin(0)
        run.measure()
    assert shown(screen) == ""


def test_a_file_is_shown_as_it_is_sent_and_named_once_when_piped() -> None:
    screen = console(is_terminal=True)
    with Live(screen, 1) as live:
        live.sending("big.onnx", 4_500_000, 12_000_000)
        assert last_lines(screen, 1) == ["sending big.onnx, 4.5 of 12.0 MB"]
    screen = console()
    with Lives(screen, 1, [PI, BIG]) as (live, _):
        for sent in (0, 6_000_000, 12_000_000):
            live.sending("Python", 0, None)
            live.sending("big.onnx", sent, 12_000_000)
            live.sending("small.onnx", 0, 1_000)
    assert shown(screen).splitlines() == [
        "pi building Python, kept for later runs",
        "pi sending big.onnx, 12 MB",
    ]


def test_a_bar_of_unknown_length_shows_what_was_last_said() -> None:
    screen = console(80, is_terminal=True)
    with Bar(screen) as bar:
        bar.line().draw("0:12", None, "unpacking \x1bnumpy")
        (line,) = last_lines(screen, 1)
    assert line.startswith("0:12") and line.endswith("numpy")
    with Bar(console()) as bar:
        assert not bar.line().is_live
