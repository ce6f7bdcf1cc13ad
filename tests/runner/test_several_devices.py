"""One run on several devices: what is timed at once, what in turn, and what one takes with it."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from benchbox import records
from benchbox.devices import Device, last_seen
from benchbox.errors import AgentError, BenchboxError, DeviceError, RecordError, StorageError
from benchbox.export import Graph
from benchbox.runner import Request, loader, several_devices
from benchbox.runner.several_devices import Ends
from benchbox.sampling import sampler
from benchbox.sampling.session import Ask, Timed, samples
from benchbox.specs import Case, Selection
from tests.helpers.machine import HELLO
from tests.helpers.runs import (
    ENDLESS,
    QUICK,
    SimulatedAgent,
    SimulatedAgents,
    Watcher,
    graph_of,
    named,
    spec_of,
)
from tests.runner.test_run import statuses

LONG_S = 60.0  # for something that happens at once, on a machine that may be busy
CPU, BOX = ("cpu", ""), ("box", "ssh://box")
AT_ONCE, IN_TURN = ("", "ssh://box"), ("", "")  # addresses of two devices
Open = Callable[[Device], Any]


class Steady(SimulatedAgent):
    """An agent whose calls take about 2 ms, on a system of its own unless another is named."""

    def __init__(self, device: Device, boot: str = "", lost_at: int = 10**9) -> None:
        super().__init__(SimulatedAgents(), 0)
        host = {"boot": boot or device.url or "here", "memory_available_bytes": None}
        self.hello: dict[str, Any] = HELLO | {"host": host, "affinity": None}
        self.timed, self.lost_at = 0, lost_at

    def time(self, bursts: Sequence[Ask], _: Sequence[float]) -> Iterator[Timed]:
        time.sleep(0.001)
        for graph, calls, *_ in bursts:
            self.timed += 1
            if self.timed > self.lost_at:
                raise AgentError("it is gone")
            latency = 2_000_000 + self.timed * 7 % 11 * 1000  # so that no interval is a point
            yield Timed(graph, samples({"latencies_ns": [latency] * calls}))


class Alone(Steady):
    """An agent that may not be there beside another one."""

    there: ClassVar[set[int]] = set()
    names: ClassVar[list[str]] = []

    def __init__(self, device: Device) -> None:
        assert not self.there, f"{device.name} beside another one"
        super().__init__(device)
        self.there.add(id(self))
        self.names.append(device.name)

    def close(self) -> None:
        self.there.discard(id(self))


class Place:
    """Runs cases without a file on devices that are simulated."""

    def __init__(self, folder: Path, device: Device) -> None:
        self.folder, self._device = folder, device
        self.names = "a"
        self.failures: list[tuple[int, str]] = []

    def device(self, name: str, url: str) -> Device:
        return replace(self._device, name=name, url=url)

    def request(self, name: str, url: str, **more: Any) -> Request:
        fields = {"plan": QUICK, "results": self.folder, "open": Steady} | more
        specs = [spec_of(named(*self.names))]
        return Request("tiny", specs, Selection(), self.device(name, url), **fields)

    def run(self, *requests: Request, watchers: Sequence[Watcher] = ()) -> Ends:
        chosen = watchers or [Watcher() for _ in requests]
        return several_devices.run(requests, chosen, self._failed)

    def _failed(self, place: int, error: BenchboxError) -> None:
        self.failures.append((place, str(error)))


@pytest.fixture
def place(tmp_path: Path, cpu: Device, monkeypatch: pytest.MonkeyPatch) -> Place:
    def prepare(
        _: object, cases: Sequence[Case], exporting: Callable[[int, int, str], None]
    ) -> Mapping[str, Graph]:
        exporting(0, len(cases), "all")
        return {case.key: graph_of(case) for case in cases}

    monkeypatch.setattr(several_devices, "prepare", prepare)
    monkeypatch.setattr(loader, "require_unchanged", lambda *_, **__: None)
    monkeypatch.setattr(sampler, "CHUNK_S", 0.05)
    return Place(tmp_path / "results", cpu)


def absent(device: Device) -> Any:
    raise DeviceError(f"device {device.name!r}: nobody is there")


def broken(_: Device) -> Any:
    raise ZeroDivisionError("two\nlines\x1b[2J")


def at_first(later: Open) -> Open:
    """Return what greets once, and opens in another way from then on."""
    greeted: list[Device] = []

    def open_(device: Device) -> Any:
        if greeted:
            return later(device)
        greeted.append(device)
        return Steady(device)

    return open_


def ctrl_c() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_two_devices_are_timed_at_the_same_time(place: Place) -> None:
    """Each opens only when the other does, and goes on only when the other has samples."""
    opened, measured = threading.Barrier(2, timeout=LONG_S), threading.Barrier(2, timeout=LONG_S)

    def open_(device: Device) -> Steady:
        opened.wait()
        return Steady(device)

    place.names = "ab"
    requests = [place.request(*each, open=open_) for each in (CPU, BOX)]
    watchers = [Watcher(measured.wait), Watcher(measured.wait)]
    ends = place.run(*requests, watchers=watchers)
    assert [sum("exporting" in event for event in w.events) for w in watchers] == [1, 0]
    assert [watcher.events.count("starting") for watcher in watchers] == [1, 1]
    assert (ends.failures, ends.interrupted) == ({}, False)
    outcomes = [ends.outcomes[i] for i in (0, 1)]
    assert [statuses(each) for each in outcomes] == [{"a": "ok", "b": "ok"}] * 2
    assert [each.run.context.device for each in outcomes] == ["cpu", "box"]


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("", "", True),
        ("ssh://pi", "ssh://root@PI:22/", True),
        ("ssh://pi:2200", "ssh://someone@pi:2200", True),
        ("adb://R58", "adb://R58", True),
        ("", "ssh://pi", False),
        ("ssh://pi", "ssh://pi2", False),
        ("ssh://pi:2201", "ssh://pi:2202", False),  # two boards behind one gateway
        ("adb://R58", "adb://R59", False),
        ("ssh://[::1]:22", "ssh://[::2]:22", False),
    ],
)
def test_addresses_tell_hardware_apart(place: Place, one: str, other: str, is_same: bool) -> None:
    assert (place.device("a", one).hardware == place.device("b", other).hardware) == is_same


def test_what_is_the_same_hardware_is_timed_in_turn(place: Place) -> None:
    """Even beside another device, whose agent is not counted."""
    Alone.there.clear()
    Alone.names.clear()
    plan = replace(QUICK, sessions=2)
    ends = place.run(
        place.request("big", "ssh://pi", open=Alone, plan=plan),
        place.request("other", "ssh://other", plan=plan),
        place.request("little", "ssh://root@PI:22/", open=Alone, plan=plan),
    )
    assert (ends.failures, sorted(ends.outcomes)) == ({}, [0, 1, 2])
    assert Alone.names == ["big", "big", "little", "little"]
    assert not Alone.there


@pytest.mark.parametrize(("lacking", "urls"), [(0, AT_ONCE), (1, AT_ONCE), (0, IN_TURN)])
def test_a_device_that_is_not_there_leaves_the_others_their_rows(
    place: Place, lacking: int, urls: tuple[str, str]
) -> None:
    """Even where it is the same hardware."""
    requests = [place.request(*each) for each in zip(("one", "two"), urls, strict=True)]
    requests[lacking] = replace(requests[lacking], open=absent)
    ends = place.run(*requests)
    name = requests[lacking].device.name
    assert place.failures == [(lacking, f"device {name!r}: nobody is there")]
    assert {i: str(error) for i, error in ends.failures.items()} == dict(place.failures)
    assert list(ends.outcomes) == [1 - lacking]
    assert statuses(ends.outcomes[1 - lacking]) == {"a": "ok"}
    assert not ends.interrupted
    assert not (place.folder / name).exists()


@pytest.mark.parametrize("urls", [AT_ONCE, IN_TURN, ("ssh://box",)])
def test_devices_of_which_none_is_there_cost_no_export(place: Place, urls: tuple[str, ...]) -> None:
    """A single one is an error of the run."""
    watchers = [Watcher() for _ in urls]
    requests = [place.request(f"d{i}", url, open=absent) for i, url in enumerate(urls)]
    if len(urls) == 1:
        with pytest.raises(DeviceError, match="nobody is there"):
            place.run(*requests, watchers=watchers)
    else:
        ends = place.run(*requests, watchers=watchers)
        assert sorted(i for i, _ in place.failures) == sorted(ends.failures) == [0, 1]
        assert ends.outcomes == {}
    assert all(watcher.events == [] for watcher in watchers)
    assert not place.folder.exists()


@pytest.mark.parametrize("urls", [AT_ONCE, IN_TURN])
@pytest.mark.parametrize("open_", [at_first(broken), broken], ids=["later", "at once"])
def test_a_bug_on_one_device_takes_no_row_of_another_and_is_told_of(
    place: Place, urls: tuple[str, str], open_: Open
) -> None:
    bad = place.request("bad", urls[1], open=open_, plan=replace(QUICK, sessions=2))
    ends = place.run(bad, place.request("good", urls[0]))
    text = "device 'bad': a bug in benchbox: ZeroDivisionError: two lines\\x1b[2J"
    assert place.failures == [(0, text)]
    assert isinstance(ends.bugs[0], ZeroDivisionError)
    assert statuses(ends.outcomes[1]) == {"a": "ok"}


def test_a_bug_on_the_only_device_is_raised(place: Place) -> None:
    with pytest.raises(ZeroDivisionError):
        place.run(place.request(*BOX, open=broken))


def test_results_that_cannot_be_written_for_one_stop_all_before_anything_is_exported(
    place: Place,
) -> None:
    place.folder.mkdir()
    (place.folder / "box").write_text("")
    watchers = [Watcher(), Watcher()]
    with pytest.raises(StorageError, match="box: results cannot be written"):
        place.run(*(place.request(*each, open=broken) for each in (CPU, BOX)), watchers=watchers)
    assert [watcher.events for watcher in watchers] == [[], []]


def test_one_system_under_two_addresses_is_timed_in_turn(place: Place) -> None:
    """The first waits a little for the other, which is to begin when it is over."""
    begun, over = threading.Event(), list[int]()
    first = Watcher(lambda: begun.wait(0.3))
    second = Watcher(lambda: (over.append(len(first.records)), begun.set()))
    same = {
        "open": lambda device: Steady(device, "the same"),
        "plan": replace(QUICK, min_rounds=60),
    }
    urls = {"pi": "ssh://pi", "other": "ssh://192.0.2.1"}
    ends = place.run(
        *(place.request(*each, **same) for each in urls.items()), watchers=[first, second]
    )
    assert sorted(ends.outcomes) == [0, 1]
    assert over == [1]


def test_ctrl_c_keeps_what_was_measured_on_all_and_each_goes_on_from_there(place: Place) -> None:
    both = threading.Barrier(2, action=ctrl_c, timeout=LONG_S)
    place.names = "ab"
    first = place.run(
        *(place.request(*each, plan=ENDLESS) for each in (CPU, BOX)),
        watchers=[Watcher(both.wait), Watcher(both.wait)],
    )
    assert first.interrupted
    assert [first.outcomes[i].interrupted for i in (0, 1)] == [True, True]
    for outcome in first.outcomes.values():
        assert statuses(outcome) == {"a": "imprecise", "b": "imprecise"}
        assert all(record.bursts for record in outcome.run.records)
    second = place.run(*(place.request(*each, resume=True) for each in (CPU, BOX)))
    assert not second.interrupted
    for i, outcome in second.outcomes.items():
        assert outcome.run.path == first.outcomes[i].run.path
        assert statuses(outcome) == {"a": "ok", "b": "ok"}


def test_after_ctrl_c_what_waits_for_its_turn_is_not_begun(place: Place) -> None:
    others = threading.Event()

    def measuring() -> None:
        assert others.wait(LONG_S)
        ctrl_c()

    ends = place.run(
        place.request("big", "", plan=ENDLESS),
        place.request("little", "", open=broken),
        place.request(*BOX, plan=ENDLESS),
        watchers=[Watcher(measuring), Watcher(), Watcher(others.set)],
    )
    assert ends.interrupted
    assert (sorted(ends.outcomes), ends.failures) == ([0, 2], {})


@pytest.mark.parametrize("urls", [AT_ONCE, IN_TURN])
def test_after_ctrl_c_a_device_that_was_done_keeps_its_run(
    place: Place, urls: tuple[str, str]
) -> None:
    """Ctrl-C comes while the other one is still being reached."""
    done = threading.Event()

    class Done(Watcher):
        def finished(self, record: records.Record) -> None:
            super().finished(record)
            done.set()

    def open_(device: Device) -> Steady:
        assert done.wait(LONG_S)
        ctrl_c()
        return Steady(device)

    ends = place.run(
        place.request("first", urls[0]),
        place.request(
            *("second", urls[1]),
            open=at_first(open_) if urls == AT_ONCE else open_,
            plan=replace(ENDLESS, sessions=2, max_time_s=2.0),
        ),
        watchers=[Done(), Watcher()],
    )
    assert ends.interrupted
    assert statuses(ends.outcomes[0]) == {"a": "ok"}
    assert ends.failures == {}


def test_ctrl_c_before_there_is_anything_is_ctrl_c(place: Place) -> None:
    def open_(_: Device) -> None:
        ctrl_c()
        time.sleep(1)

    with pytest.raises(KeyboardInterrupt):
        place.run(place.request(*CPU, open=open_))


def test_a_run_that_cannot_go_on_does_not_keep_another_from_it(place: Place) -> None:
    place.run(place.request(*CPU), place.request(*BOX))
    good, bad = (place.request(*each, resume=True) for each in (CPU, BOX))
    ends = place.run(good, replace(bad, device=replace(bad.device, threads=2)))
    assert [type(error) for error in ends.failures.values()] == [RecordError]
    assert statuses(ends.outcomes[0]) == {"a": "ok"}
    assert "threads was 1 and is 2 now" in place.failures[0][1]


def test_devices_that_are_reached_at_once_are_all_remembered() -> None:
    names = [f"board-{i}" for i in range(20)]
    threads = [threading.Thread(target=last_seen.note, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(last_seen.last(name).at for name in names)
    assert [path.name for path in last_seen._file().parent.iterdir()] == [last_seen._file().name]
