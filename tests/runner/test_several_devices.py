"""One run on several devices: what is timed at once, what in turn, and what one takes with it."""

import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from benchbox import records
from benchbox.devices import Device, last_seen
from benchbox.errors import BenchboxError, DeviceError, RecordError, StorageError
from benchbox.runner import Request, several_devices
from benchbox.sampling import sampler
from benchbox.specs import Case, Selection
from benchbox.transports import Agent
from benchbox.transports.local import open_local
from tests.helpers.machine import Calm, open_calm
from tests.helpers.runs import ENDLESS, QUICK, Watcher, spec_of
from tests.runner.test_run import statuses

MakeCases = Callable[..., list[Case]]
WriteOnnx = Callable[..., Path]
LONG_S = 60.0  # for something that happens at once, on a machine that may be busy


class Place:
    """Runs cases on devices of this machine that say they are elsewhere."""

    def __init__(self, folder: Path, device: Device) -> None:
        self.folder, self._device = folder, device
        self.heard: list[tuple[int, str]] = []

    def device(self, name: str, url: str) -> Device:
        return replace(self._device, name=name, url=url)

    def request(self, cases: list[Case], device: Device, **more: Any) -> Request:
        fields = {"plan": QUICK, "results": self.folder, "open": elsewhere} | more
        return Request("tiny", [spec_of(cases)], Selection(), device, **fields)

    def failed(self, place: int, error: BenchboxError) -> None:
        self.heard.append((place, str(error)))


CPU, BOX = ("cpu", ""), ("box", "ssh://box")


def as_at(url: str, agent: Agent) -> Agent:
    """Have an agent of this machine say that it runs on a system of its own."""
    agent.hello["host"]["boot"] = url or "here"
    return agent


def elsewhere(device: Device) -> Agent:
    return as_at(device.url, open_calm(device))


@pytest.fixture
def place(
    tmp_path: Path, cpu: Device, monkeypatch: pytest.MonkeyPatch, shared_cache: Path
) -> Place:
    assert shared_cache
    monkeypatch.setattr(sampler, "CHUNK_S", 0.05)
    return Place(tmp_path / "results", cpu)


def absent(device: Device) -> Agent:
    raise DeviceError(f"device {device.name!r}: nobody is there")


def at_first(later: Callable[[Device], Agent]) -> Callable[[Device], Agent]:
    """Return what greets once, and opens in another way from then on."""
    greeted: list[Device] = []

    def open_(device: Device) -> Agent:
        if greeted:
            return later(device)
        greeted.append(device)
        return elsewhere(device)

    return open_


def broken(_: Device) -> Agent:
    raise ZeroDivisionError("a bug")


def test_two_devices_are_timed_at_the_same_time(place: Place, onnx_cases: MakeCases) -> None:
    """Each opens only when the other does, and goes on only when the other has samples."""
    opened, measured = threading.Barrier(2, timeout=LONG_S), threading.Barrier(2, timeout=LONG_S)

    def open_(device: Device) -> Agent:
        opened.wait()
        return elsewhere(device)

    cases = onnx_cases("a", "b")
    requests = [place.request(cases, place.device(*each), open=open_) for each in (CPU, BOX)]
    ends = several_devices.run(requests, [Watcher(measured.wait), Watcher(measured.wait)])
    assert (ends.failures, ends.interrupted) == ({}, False)
    assert [statuses(ends.outcomes[i]) for i in (0, 1)] == [{"a": "ok", "b": "ok"}] * 2
    assert [ends.outcomes[i].run.context.device for i in (0, 1)] == ["cpu", "box"]
    graphs = [[r.graph and r.graph["sha256"] for r in ends.outcomes[i].run.records] for i in (0, 1)]
    assert graphs[0] == graphs[1]
    assert len(set(graphs[0])) == 2


class Alone(Calm):
    """An agent that may not be there beside another one."""

    there: ClassVar[set[int]] = set()
    names: ClassVar[list[str]] = []

    def __init__(self, device: Device) -> None:
        assert not self.there, f"{device.name} beside another one"
        super().__init__(open_local(), device)
        as_at(device.url, self)
        self.there.add(id(self))
        self.names.append(device.name)

    def close(self) -> None:
        super().close()
        self.there.discard(id(self))


@pytest.mark.parametrize(
    "urls",
    [
        ("", ""),
        ("ssh://pi", "ssh://pi"),
        ("ssh://pi", "ssh://root@PI:22/"),
        ("ssh://pi:2200", "ssh://someone@pi:2200"),
        ("adb://R58", "adb://R58"),
    ],
)
def test_what_is_the_same_hardware_is_timed_in_turn(
    place: Place, onnx_cases: MakeCases, urls: tuple[str, str]
) -> None:
    """Even beside another device, whose agent is not counted."""
    Alone.there.clear()
    Alone.names.clear()
    cases = onnx_cases("a")
    plan = replace(QUICK, sessions=2)
    big, little = (place.device(n, url) for n, url in zip(("big", "little"), urls, strict=True))
    requests = [
        place.request(cases, big, open=Alone, plan=plan),
        place.request(cases, place.device("other", "ssh://other"), plan=plan),
        place.request(cases, little, open=Alone, plan=plan),
    ]
    ends = several_devices.run(requests, [Watcher() for _ in requests])
    assert ends.failures == {}
    assert sorted(ends.outcomes) == [0, 1, 2]
    assert Alone.names == ["big", "big", "little", "little"]
    assert not Alone.there


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("", "ssh://pi"),
        ("ssh://pi", "ssh://pi2"),
        ("ssh://pi:2201", "ssh://pi:2202"),  # two boards behind one gateway
        ("adb://R58", "adb://R59"),
        ("ssh://[::1]:22", "ssh://[::2]:22"),
    ],
)
def test_other_addresses_are_other_hardware(place: Place, one: str, other: str) -> None:
    assert place.device("a", one).hardware != place.device("b", other).hardware


@pytest.mark.parametrize(
    ("lacking", "urls"), [(0, ("", "ssh://box")), (1, ("", "ssh://box")), (0, ("", ""))]
)
def test_a_device_that_is_not_there_leaves_the_others_their_rows(
    place: Place, onnx_cases: MakeCases, lacking: int, urls: tuple[str, str]
) -> None:
    """Even where it is the same hardware."""
    cases = onnx_cases("a")
    devices = [place.device(name, url) for name, url in zip(("one", "two"), urls, strict=True)]
    requests = [place.request(cases, device) for device in devices]
    requests[lacking] = replace(requests[lacking], open=absent)
    ends = several_devices.run(requests, [Watcher(), Watcher()], place.failed)
    name = devices[lacking].name
    assert place.heard == [(lacking, f"device {name!r}: nobody is there")]
    assert {i: str(error) for i, error in ends.failures.items()} == dict(place.heard)
    assert list(ends.outcomes) == [1 - lacking]
    assert statuses(ends.outcomes[1 - lacking]) == {"a": "ok"}
    assert not ends.interrupted
    assert not (place.folder / name).exists()


@pytest.mark.parametrize("urls", [("", "ssh://box"), ("ssh://pi", "ssh://pi"), ("ssh://box",)])
def test_devices_of_which_none_is_there_cost_no_export(
    place: Place, onnx_cases: MakeCases, urls: tuple[str, ...]
) -> None:
    """A single one is an error of the run."""
    cases, watchers = onnx_cases("a"), [Watcher() for _ in urls]
    devices = [place.device(f"device-{index}", url) for index, url in enumerate(urls)]
    requests = [place.request(cases, device, open=absent) for device in devices]
    if len(urls) == 1:
        with pytest.raises(DeviceError, match="nobody is there"):
            several_devices.run(requests, watchers, place.failed)
    else:
        ends = several_devices.run(requests, watchers, place.failed)
        assert sorted(i for i, _ in place.heard) == sorted(ends.failures) == [0, 1]
        assert ends.outcomes == {}
    assert all(watcher.events == [] for watcher in watchers)
    assert not place.folder.exists()


@pytest.mark.parametrize("urls", [("", "ssh://box"), ("", "")])
def test_a_bug_on_one_device_takes_no_row_of_another_and_is_told_of(
    place: Place, onnx_cases: MakeCases, urls: tuple[str, str]
) -> None:
    def open_(_: Device) -> Agent:
        raise ZeroDivisionError("two\nlines\x1b[2J")

    cases, plan = onnx_cases("a"), replace(QUICK, sessions=2)
    bad = place.device("bad", urls[1])
    requests = [
        place.request(cases, bad, open=at_first(open_), plan=plan),
        place.request(cases, place.device("good", urls[0])),
    ]
    ends = several_devices.run(requests, [Watcher(), Watcher()], place.failed)
    told = "device 'bad': a bug in benchbox: ZeroDivisionError: two lines\\x1b[2J"
    assert place.heard == [(0, told)]
    assert isinstance(ends.bugs[0], ZeroDivisionError)
    assert statuses(ends.outcomes[1]) == {"a": "ok"}


def test_a_bug_while_a_device_is_reached_is_raised_where_it_is_the_only_one(
    place: Place, onnx_cases: MakeCases
) -> None:
    cases = onnx_cases("a")
    bad = place.request(cases, place.device(*BOX), open=broken)
    requests = [place.request(cases, place.device(*CPU)), bad]
    ends = several_devices.run(requests, [Watcher(), Watcher()], place.failed)
    assert (statuses(ends.outcomes[0]), list(ends.bugs)) == ({"a": "ok"}, [1])
    with pytest.raises(ZeroDivisionError):
        several_devices.run([bad], [Watcher()], place.failed)


def test_results_that_cannot_be_written_for_one_stop_all_before_anything_is_exported(
    place: Place, onnx_cases: MakeCases
) -> None:
    place.folder.mkdir()
    (place.folder / "box").write_text("")
    cases = onnx_cases("a")
    for order in ((CPU, BOX), (BOX, CPU)):
        watchers = [Watcher(), Watcher()]
        requests = [place.request(cases, place.device(*each), open=broken) for each in order]
        with pytest.raises(StorageError, match="box: results cannot be written"):
            several_devices.run(requests, watchers, place.failed)
        assert [watcher.events for watcher in watchers] == [[], []]


def test_every_device_is_reached_before_anything_is_exported_and_that_happens_once(
    place: Place, onnx_cases: MakeCases
) -> None:
    watchers = [Watcher(), Watcher(), Watcher()]
    events: list[list[str]] = []

    def open_(device: Device) -> Agent:
        events.append([event for watcher in watchers for event in watcher.events])
        return elsewhere(device)

    cases = onnx_cases("a", size=200)
    devices = [place.device(*each) for each in (CPU, BOX, ("cpu-2", ""))]
    requests = [place.request(cases, device, open=open_) for device in devices]
    several_devices.run(requests, watchers)
    assert events[:2] == [[], []]
    assert len(events) == 3  # what takes turns with another is opened in its turn
    assert events[2].count("starting") == 3
    assert [[e for e in w.events if "exporting" in e] for w in watchers[1:]] == [[], []]
    assert all(watcher.events.count("starting") == 1 for watcher in watchers)


def test_one_system_under_two_addresses_is_timed_in_turn(
    place: Place, onnx_cases: MakeCases
) -> None:
    devices = [place.device("pi", "ssh://pi"), place.device("other", "ssh://192.0.2.1")]
    there: list[str] = []

    class Watching(Watcher):
        def __init__(self, name: str) -> None:
            super().__init__(lambda: there.append(name))

    def open_(device: Device) -> Agent:
        return as_at("the same", open_calm(device))

    cases = onnx_cases("a", "b")
    requests = [place.request(cases, device, open=open_) for device in devices]
    ends = several_devices.run(requests, [Watching(device.name) for device in devices])
    assert sorted(ends.outcomes) == [0, 1]
    assert there == sorted(there, key=["pi", "other"].index)


def ctrl_c() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_keeps_what_was_measured_on_all_and_each_goes_on_from_there(
    place: Place, onnx_cases: MakeCases
) -> None:
    both = threading.Barrier(2, action=ctrl_c, timeout=LONG_S)
    cases = onnx_cases("a", "b")
    devices = [place.device(*CPU), place.device(*BOX)]
    requests = [place.request(cases, device, plan=ENDLESS) for device in devices]
    first = several_devices.run(requests, [Watcher(both.wait), Watcher(both.wait)])
    assert first.interrupted
    assert [first.outcomes[i].interrupted for i in (0, 1)] == [True, True]
    for outcome in first.outcomes.values():
        assert statuses(outcome) == {"a": "imprecise", "b": "imprecise"}
        assert all(record.bursts for record in outcome.run.records)
    again = [place.request(cases, device, resume=True) for device in devices]
    second = several_devices.run(again, [Watcher(), Watcher()])
    assert not second.interrupted
    for i, outcome in second.outcomes.items():
        assert outcome.run.path == first.outcomes[i].run.path
        assert statuses(outcome) == {"a": "ok", "b": "ok"}


def test_after_ctrl_c_what_waits_for_its_turn_is_not_begun(
    place: Place, onnx_cases: MakeCases
) -> None:
    cases = onnx_cases("a")
    others = threading.Event()

    def measuring() -> None:
        assert others.wait(LONG_S)
        ctrl_c()

    requests = [
        place.request(cases, place.device("big", ""), plan=ENDLESS),
        place.request(cases, place.device("little", ""), open=broken),
        place.request(cases, place.device(*BOX), plan=ENDLESS),
    ]
    ends = several_devices.run(requests, [Watcher(measuring), Watcher(), Watcher(others.set)])
    assert ends.interrupted
    assert (sorted(ends.outcomes), ends.failures) == ([0, 2], {})


@pytest.mark.parametrize("urls", [("", ""), ("", "ssh://box")])
def test_after_ctrl_c_a_device_that_was_done_keeps_its_run(
    place: Place, onnx_cases: MakeCases, urls: tuple[str, str]
) -> None:
    """Ctrl-C comes while the other one is still being reached."""
    done = threading.Event()

    class Done(Watcher):
        def finished(self, record: records.Record) -> None:
            super().finished(record)
            done.set()

    def open_(device: Device) -> Agent:
        assert done.wait(LONG_S)
        ctrl_c()
        return elsewhere(device)

    cases = onnx_cases("a")
    plan = replace(ENDLESS, sessions=2, max_time_s=1.0)
    requests = [
        place.request(cases, place.device("first", urls[0])),
        place.request(
            cases,
            place.device("second", urls[1]),
            open=at_first(open_) if urls[1] else open_,
            plan=plan,
        ),
    ]
    ends = several_devices.run(requests, [Done(), Watcher()])
    assert ends.interrupted
    assert statuses(ends.outcomes[0]) == {"a": "ok"}
    assert ends.failures == {}


def test_ctrl_c_before_there_is_anything_is_ctrl_c(place: Place, onnx_cases: MakeCases) -> None:
    def open_(device: Device) -> Agent:
        ctrl_c()
        time.sleep(1)
        return elsewhere(device)

    request = place.request(onnx_cases("a"), place.device(*CPU), open=open_)
    with pytest.raises(KeyboardInterrupt):
        several_devices.run([request], [Watcher()])


def test_a_run_that_cannot_go_on_does_not_keep_another_from_it(
    place: Place, onnx_cases: MakeCases
) -> None:
    cases = onnx_cases("a")
    devices = [place.device(*CPU), place.device(*BOX)]
    several_devices.run(
        [place.request(cases, device) for device in devices], [Watcher(), Watcher()]
    )
    again = [place.request(cases, device, resume=True) for device in devices]
    again[1] = replace(again[1], device=replace(devices[1], threads=2))
    ends = several_devices.run(again, [Watcher(), Watcher()], place.failed)
    assert [type(error) for error in ends.failures.values()] == [RecordError]
    assert statuses(ends.outcomes[0]) == {"a": "ok"}
    assert "threads was 1 and is 2 now" in place.heard[0][1]


def test_an_agent_that_is_lost_on_one_device_is_nothing_to_the_other(
    place: Place, onnx_cases: MakeCases
) -> None:
    pids: list[int] = []

    def open_(device: Device) -> Agent:
        channel = open_local()
        pids.append(channel.pid)
        return as_at(device.url, Calm(channel, device))

    cases = onnx_cases("a", "b")
    plan = replace(QUICK, min_rounds=60)
    requests = [
        place.request(cases, place.device(*CPU), open=open_, plan=plan),
        place.request(cases, place.device(*BOX), plan=plan),
    ]
    watchers = [Watcher(lambda: os.kill(pids[0], signal.SIGKILL)), Watcher()]
    ends = several_devices.run(requests, watchers)
    assert sorted(statuses(ends.outcomes[0]).values()) == ["failed", "ok"]
    assert statuses(ends.outcomes[1]) == {"a": "ok", "b": "ok"}


def test_devices_that_are_reached_at_once_are_all_remembered() -> None:
    names = [f"board-{i}" for i in range(20)]
    threads = [threading.Thread(target=last_seen.note, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(last_seen.last(name).at for name in names)
    assert [path.name for path in last_seen._file().parent.iterdir()] == [last_seen._file().name]
