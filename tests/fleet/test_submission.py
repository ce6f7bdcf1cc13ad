"""Submissions to a fleet of this process: who gets which cases, and when a run ends."""

import itertools
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchbox import host
from benchbox.errors import DeviceError, RecordError, SpecError, UsageError
from benchbox.fleet import roster, submit, worker
from benchbox.fleet.authority import FleetAddress
from benchbox.fleet.members import Member
from benchbox.fleet.task import Task
from benchbox.records import writer
from benchbox.specs import Case, OnnxFile
from tests.fleet import stand_in
from tests.fleet.lab import CONTROL, Hearer, Inside, Lab, once, waited


@pytest.fixture
def inside() -> Inside:
    return Inside("pi-1", "pi-2")


@pytest.fixture
def lab(
    inside: Inside, twelve: list[Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Lab]:
    (tmp_path / "state").mkdir()
    monkeypatch.setattr(worker, "get_worker", lambda: inside)
    monkeypatch.setattr(submit, "Connection", lambda _: inside)
    with stand_in.standing_in(tmp_path / "state"):
        yield Lab(FleetAddress(""), tmp_path / "state", tmp_path, twelve)


def test_one_device_by_name_gets_all(lab: Lab) -> None:
    lab.run(Hearer(), "pi-2")
    assert [*lab.recorded()] == ["pi-2"]
    assert Counter(lab.recorded()["pi-2"]) == lab.everything()


def test_a_reference_of_several_parts_is_recorded_once_on_a_device(lab: Lab) -> None:
    lab.cases = [replace(case, group="", reference="c0") for case in lab.cases]
    lab.run(Hearer())
    found = lab.recorded()
    assert all(Counter(each).most_common(1)[0][1] == 1 for each in found.values())
    assert all("c0" in each for each in found.values())
    assert {*found["pi-1"], *found["pi-2"]} == {*lab.everything()}


@pytest.mark.parametrize("flag", ["pi-1.lost", "pi-3.lost"])
def test_each_device_times_the_control_once(
    flag: str, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    hearer, there = Hearer(), Inside("pi-1", "pi-2", "pi-3")
    monkeypatch.setattr(worker, "get_worker", lambda: there)
    monkeypatch.setattr(submit, "Connection", lambda _: there)
    (lab.state / flag).touch()
    lab.run(hearer)
    begun = Counter(name for name, *keys in lab.begun() if f"tiny:{CONTROL}" in keys)
    assert {*begun.values()} == {1}
    lab.run(hearer, resume=True)
    assert Counter(case for _, case in hearer.finished_on) == lab.everything()


@pytest.mark.parametrize(
    ("flag", "says"), [("pi-1", "it is on fire"), ("pi-1.bare", "what was not asked for")]
)
def test_a_device_that_fails_is_put_aside_and_its_cases_go_elsewhere(
    flag: str, says: str, lab: Lab
) -> None:
    (lab.state / flag).touch()
    hearer = Hearer()
    ends = lab.run(hearer)
    assert [*hearer.put_aside] == ["pi-1"]
    assert says in hearer.put_aside["pi-1"]
    assert Counter(lab.recorded()["pi-2"]) == lab.everything()
    assert not ends.failures
    (lab.state / "pi-2").touch()
    with pytest.raises(DeviceError, match="no device is left"):
        lab.run(Hearer())


def test_a_device_whose_task_never_ends_is_put_aside(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    def most_s(asked: Task) -> float:
        return -1.0 if asked.device == "pi-1" else real(asked)

    real = Task.most_s.fget  # type: ignore[attr-defined]
    monkeypatch.setattr(Task, "most_s", property(most_s))
    monkeypatch.setattr(submit, "LOOK_S", 0.1)
    hold, hearer = lab.state / "hold-pi-1", Hearer()
    hold.touch()
    ends = lab.run(hearer)
    hold.unlink()
    assert [*hearer.put_aside] == ["pi-1"]
    assert Counter(lab.recorded()["pi-2"]) == lab.everything()
    assert not ends.failures


def test_what_no_device_can_do_ends_the_run_and_puts_none_aside(lab: Lab) -> None:
    hearer = Hearer()
    with pytest.raises(UsageError, match=r"^pi-[12]: more threads"):
        lab.run(hearer, threads=64)
    assert hearer.put_aside == {}


def test_what_is_left_is_timed_by_resume(lab: Lab) -> None:
    hearer = Hearer(lambda: (lab.state / "pi-1").touch())
    (lab.state / "pi-2").touch()
    ends = lab.run(hearer)
    assert isinstance(ends.failures[0], DeviceError)
    timed = {case for _, case in hearer.finished_on}
    assert 0 < len(timed) < len(lab.cases)
    for name in ("pi-1", "pi-2"):
        (lab.state / name).unlink()
    again = Hearer()
    lab.run(again, resume=True)
    assert {case for _, case in again.finished_on} == lab.everything().keys() - timed
    assert lab.timed() == lab.everything()
    shown = lab.run(Hearer(), resume=True).outcomes.values()
    assert once([r.case for each in shown for r in each.run.records]) == lab.everything()


def test_who_resumes_a_run_that_goes_on_is_refused_before_anything_is_timed(lab: Lab) -> None:
    replace(lab, cases=lab.cases[:6]).run(Hearer())
    begun, hearer = lab.begun(), Hearer()
    for path in (lab.folder / "results").glob("*/*.jsonl"):
        with writer.held(path), pytest.raises(RecordError, match=path.name):
            lab.run(hearer, resume=True)
    assert (hearer.put_aside, lab.begun()) == ({}, begun)
    lab.run(hearer, resume=True)
    assert lab.timed() == lab.everything()


def test_figures_are_of_the_graphs_that_are_asked_for_now(lab: Lab) -> None:
    def shown() -> set[str]:
        outcomes = lab.run(hearer, resume=True).outcomes.values()
        return {r.sha256 for o in outcomes for r in o.run.records if r.case == "c1"}

    hearer, graph = Hearer(), lab.cases[1].source
    assert isinstance(graph, OnnxFile)
    first = graph.path.read_text()
    lab.run(hearer)
    for text in ("another", first):
        graph.path.write_text(text)
        broken = lab.state / next(name for name, case in hearer.finished_on[::-1] if case == "c1")
        broken.touch()
        assert shown() == {host.sha256(graph.path)}
        broken.unlink()
    assert [case for _, case in hearer.finished_on][12:] == ["c1", "c1"]


def test_what_failed_and_is_timed_by_another_device_has_not_failed(lab: Lab) -> None:
    lost, broken = lab.state / "pi-1.lost", lab.state / "pi-1"
    lost.touch()
    (lab.state / "pi-2").touch()
    lab.run(Hearer())
    (lab.state / "pi-2").unlink()
    broken.touch()
    outcomes = lab.run(Hearer(), resume=True).outcomes.values()
    assert Counter(r.status for o in outcomes for r in o.run.records) == {"ok": len(lab.cases)}


def test_what_a_device_has_begun_waits_for_it_alone(
    lab: Lab, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    def once_it(is_so: Callable[[], object], *then: Callable[[], None]) -> threading.Thread:
        def act() -> None:
            waited(lambda: bool(is_so()))
            for each in then:
                each()

        thread = threading.Thread(target=act)
        thread.start()
        return thread

    hold, first = lab.state / "hold-pi-1", lab.state / "pi-1"
    other = inside.offered.pop("pi-2")
    hold.touch()
    begun = once_it(lambda: lab.recorded(is_finished=False), first.touch, hold.unlink)
    assert replace(lab, cases=lab.cases[6:7]).run(Hearer()).failures
    begun.join()
    assert lab.recorded(is_finished=False) == {"pi-1": ["c6"]}

    first.unlink()
    inside.offered["pi-2"] = other
    hold.touch()
    hearer, real, sent = Hearer(), inside.submit, Counter[str]()

    def submitted(asked: Task, there: Member, priority: int) -> Future[str]:
        sent.update(case.name for case in asked.cases)
        return real(asked, there, priority)

    monkeypatch.setattr(inside, "submit", submitted)
    others = once_it(lambda: len(hearer.finished_on) >= 7, hold.unlink)
    lab.run(hearer, resume=True)
    others.join()
    assert ("pi-1", "c6") in hearer.finished_on
    assert sent["c6"] == 1


@pytest.mark.parametrize(
    ("device", "threads", "runtime", "says"),
    [
        ("pool:pi", 2, "ONNX Runtime 1.22", "threads was 1 and is 2 now"),
        ("pi-1", 1, "ONNX Runtime 1.23", "runtime was 'ONNX Runtime 1.22' and is"),
    ],
)
def test_figures_of_other_settings_are_not_shown_as_those_asked_for(
    device: str, threads: int, runtime: str, says: str, lab: Lab, inside: Inside
) -> None:
    lab.run(Hearer(), device)
    for each in inside.offered.values():
        each.facts = {**each.facts, "runtime": runtime}
    with pytest.raises(RecordError, match=says):
        lab.run(Hearer(), device, threads=threads, resume=True)


@pytest.mark.parametrize("flag", ["slow", "lost"])
def test_what_had_no_call_or_failed_is_timed_elsewhere_or_by_resume(flag: str, lab: Lab) -> None:
    (lab.state / f"pi-1.{flag}").touch()
    alone = replace(lab, folder=lab.folder / "alone")
    alone.run(Hearer(), "pi-1")
    assert alone.timed() == lab.everything(), "without a figure"
    lab.run(Hearer())
    assert {*lab.recorded(lab.folder / "results")} == {"pi-2"}
    (lab.state / f"pi-1.{flag}").unlink()
    again = Hearer()
    alone.run(again, "pi-1", resume=True)
    assert Counter(case for _, case in again.finished_on) == lab.everything()


def test_what_comes_in_a_stream_is_timed_as_it_comes(lab: Lab) -> None:
    def stream() -> Iterator[Case]:
        for number, case in enumerate(lab.cases):
            waited(partial(are_finished, number))
            yield case
        raise SpecError("generator 'search.py:variants' fails: it is over")

    def are_finished(count: int) -> bool:
        return len(hearer.finished_on) == count

    hearer = Hearer()
    ends = lab.run(hearer, stream=stream())
    assert str(ends.failures[0]).endswith("it is over")
    assert lab.timed() == lab.everything()
    again = Hearer()
    lab.run(again, resume=True, stream=iter(lab.cases))
    assert again.finished_on == []


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[float]:
    """A clock of submissions by which each look at it takes a second."""
    seconds = map(float, itertools.count())
    for module in (submit, roster):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: next(seconds)))
    monkeypatch.setattr(submit, "LOOK_S", 0.0)
    return seconds


def test_devices_that_all_rest_are_told_of_once_and_time_what_comes(
    lab: Lab, inside: Inside
) -> None:
    for each in inside.offered.values():
        each.condition.word = "it drifts"
    hearer = Hearer()
    lab.run(hearer)
    assert hearer.rested == [{*inside.offered}]
    assert lab.timed() == lab.everything()


@pytest.mark.parametrize("looks_usual", [False, True])
@pytest.mark.usefixtures("clock")
def test_a_run_ends_where_every_task_reads_otherwise(
    lab: Lab, inside: Inside, monkeypatch: pytest.MonkeyPatch, *, looks_usual: bool
) -> None:
    def members() -> list[Member] | None:
        for each in inside.offered.values() if looks_usual else ():
            each.condition.look(stand_in.IDLE)
        return found()

    found, readings = inside.members, itertools.count(100_000, 20_000)
    monkeypatch.setattr(inside, "members", members)
    monkeypatch.setattr(stand_in, "reading_ns", lambda *_: next(readings))
    monkeypatch.setattr(roster, "TOLD_S", 0.0)
    hearer = Hearer()
    assert not lab.run(hearer).failures
    assert Counter(case for _, case in hearer.finished_on) == lab.everything()
    assert lab.timed() == lab.everything()
    begun = Counter(key for _, *keys in lab.begun() for key in keys)
    assert {count for key, count in begun.items() if key != "tiny:c0"} <= {1, 2}


@pytest.mark.parametrize(
    ("found", "says"), [(None, "the scheduler has gone"), ([], "no device is left to time on")]
)
def test_a_run_without_a_fleet_ends_after_two_minutes(
    found: list[Member] | None, says: str, lab: Lab, inside: Inside, clock: Iterator[float]
) -> None:
    left, hold = list[float](), lab.state / "hold"

    def leave() -> None:
        hold.touch()
        inside.members = lambda: found  # type: ignore[method-assign]
        left.append(next(clock))

    ends = lab.run(Hearer(leave), "pi-1")
    hold.unlink()
    assert says in str(ends.failures[0])
    assert 0 < next(clock) - left[-1] - roster.AWAY_S < 20


def test_a_scheduler_that_falls_silent_at_once_is_no_fleet_without_devices(
    lab: Lab, inside: Inside
) -> None:
    inside.members = lambda: None  # type: ignore[method-assign]
    with pytest.raises(DeviceError, match="does not answer"):
        lab.run(Hearer())


def test_a_device_that_is_there_and_cannot_be_reached_is_put_aside(
    lab: Lab, inside: Inside, clock: Iterator[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    def send(*_: object) -> None:
        raise OSError("timed out")

    monkeypatch.setattr(inside, "send", send)
    hearer = Hearer()
    with pytest.raises(DeviceError, match="no device is left"):
        lab.run(hearer, "pi-1")
    assert hearer.put_aside == {"pi-1": "its worker cannot be reached: timed out"}
    assert next(clock) > roster.AWAY_S
