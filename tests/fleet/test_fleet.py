"""Fleets of stand-in devices on loopback: real schedulers, workers and certificates."""

import asyncio
import signal
import socket
import ssl
import threading
from collections import Counter
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psutil
import pytest
from distributed import Scheduler

from benchbox.errors import BenchboxError, DeviceError
from benchbox.fleet import authority, chunks, connection, engine, exports, submit, worker
from benchbox.fleet.authority import FleetAddress
from benchbox.fleet.connection import Connection
from benchbox.specs import Builder
from tests.board.running import free_port
from tests.fleet import stand_in
from tests.fleet.lab import CONTROL, LONG_S, Fleet, Hearer, Lab, a_fleet, waited

pytestmark = pytest.mark.slow


def test_devices_of_a_kind_share_the_cases(lab: Lab) -> None:
    hearer = Hearer()
    ends = lab.run(hearer)
    assert {device for device, _ in hearer.finished_on} == {"pi-1", "pi-2"}
    assert Counter(case for _, case in hearer.finished_on) == lab.everything()
    found = lab.recorded()
    assert lab.timed() == lab.everything()
    assert CONTROL in found["pi-1"]
    assert CONTROL in found["pi-2"]
    runs = [outcome.run for outcome in ends.outcomes.values()]
    assert {run.context.device: [r.case for r in run.records] for run in runs} == found
    assert runs[0].context.specs[0].name == "tiny"


def test_ctrl_c_ends_what_has_begun_and_resume_goes_on_from_it(lab: Lab) -> None:
    hold, heard, real = lab.state / "hold", set[str](), submit.Submission._hear
    hold.touch()

    def hear(submission: submit.Submission, key: str, lines: str) -> None:
        real(submission, key, lines)
        heard.add(key)

    def interrupt() -> None:
        waited(lambda: len(heard) == 2)  # on each device, the others wait
        signal.raise_signal(signal.SIGINT)

    with patch.object(submit.Submission, "_hear", hear):
        thread = threading.Thread(target=interrupt)
        thread.start()
        ends = lab.run(Hearer())
        thread.join()
    assert ends.interrupted
    # Its first task: before the next one is known to be taken back, a worker may have begun it.
    tasks = reversed(lab.begun())
    begun = {name: [key.removeprefix("tiny:") for key in keys] for name, *keys in tasks}
    assert lab.recorded(is_finished=False) == begun
    hold.unlink()
    outcomes = lab.run(Hearer(), resume=True).outcomes.values()
    assert lab.timed() == lab.everything()
    sessions = {
        (run.context.device, record.case): [burst.session for burst in record.bursts]
        for run in (each.run for each in outcomes)
        for record in run.records
    }
    assert all(sessions[name, case] == [0, 1] for name, cases in begun.items() for case in cases)


def test_a_device_that_drifts_rests_and_its_cases_go_elsewhere(lab: Lab) -> None:
    lab.run(Hearer(), "pi-1")
    drifted = lab.state / "pi-1.ns"
    drifted.write_text("120000")
    fresh = replace(lab, folder=lab.folder / "fresh")
    hearer = Hearer()
    fresh.run(hearer)
    assert hearer.put_aside == {}
    assert [*fresh.recorded()] == ["pi-2"]
    drifted.unlink()
    with closing(Connection(lab.address)) as watched:
        waited(lambda: not any(each.rests for each in watched.members() or ()))


def test_graphs_are_exported_by_whoever_has_torch(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "is_needed", lambda: True)
    source = Builder("benchbox.networks.shufflenetv2:g2")
    lab.cases = [replace(case, source=source) for case in lab.cases]
    ends = lab.run(Hearer())
    assert not ends.failures
    assert lab.timed() == lab.everything()


def tasks(dask_scheduler: Any) -> int:
    return sum(task.state == "processing" for task in dask_scheduler.tasks.values())


@pytest.mark.parametrize(("priority", "least", "most"), [(0, 0.4, 0.6), (1, 1.0, 1.0)])
def test_two_runs_share_a_device_and_one_with_priority_has_it(
    priority: int, least: float, most: float, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "MOST_CASES", 1)
    hearer, hold = Hearer(), lab.state / "hold"
    hold.touch()

    def run(name: str, priority: int) -> threading.Thread:
        labels = [(f"{name}-{case.name}", case) for case in lab.cases]
        cases = [replace(c, name=own, group=own, reference=own) for own, c in labels]
        own = replace(lab, folder=lab.folder / name, cases=cases)
        thread = threading.Thread(target=partial(own.run, hearer, "pi-1", priority=priority))
        thread.start()
        return thread

    with closing(Connection(lab.address)) as watched:
        first = run("a", 0)
        waited(lambda: watched.ask(tasks) == 2)
        second = run("b", priority)
        for count in range(11):  # both have a task that waits whenever one begins
            waited(lambda n=count: (len(hearer.finished_on), watched.ask(tasks)) == (n, 4))
            (lab.state / "go").touch()
    hold.unlink()
    first.join()
    second.join()
    order = [case[0] for _, case in hearer.finished_on[1:11]]
    assert least <= order.count("b") / len(order) <= most


def test_no_device_waits_for_another_of_its_worker(lab: Lab) -> None:
    hold = lab.state / "hold-pi-1"
    hold.touch()
    slow = replace(lab, folder=lab.folder / "slow")
    thread = threading.Thread(target=partial(slow.run, Hearer(), "pi-1"))
    thread.start()
    with closing(Connection(lab.address)) as watched:
        waited(lambda: watched.ask(tasks) == 2)  # one is timed, one waits
    lab.run(Hearer(), "pi-2")
    assert lab.timed() == lab.everything()
    assert slow.recorded() == {}
    hold.unlink()
    thread.join()


def test_a_scheduler_that_does_not_answer_is_away(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "ASK_S", 0.5)
    with closing(Connection(fleet.address)) as watched:
        fleet.processes[0].send_signal(signal.SIGSTOP)
        assert watched.members() is None
        fleet.processes[0].send_signal(signal.SIGCONT)
        waited(lambda: watched.members() is not None)


def test_a_graph_is_sent_to_a_host_once(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.run(Hearer())
    monkeypatch.setattr(
        connection.store, "loads", lambda files: pytest.fail("sent again") if files else ()
    )
    lab.run(Hearer())


def test_whoever_has_no_certificate_of_the_fleet_is_left_outside(
    fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "CONNECT_S", 2.0)
    authority.init(tmp_path / "other")
    with pytest.raises(BenchboxError, match="of two fleets"):
        Connection(FleetAddress(fleet.address.url, tmp_path / "other"))
    assert fleet.address.certificates is not None
    port = int(fleet.address.url.rpartition(":")[2])
    is_heard = {
        of: greeted(port, of) for of in (fleet.address.certificates, tmp_path / "other", None)
    }
    assert [*is_heard.values()] == [True, False, False], "by the scheduler"


@pytest.mark.parametrize("said", [b"", b"SSH-2.0-OpenSSH_9.2\r\n"])
def test_what_is_no_scheduler_is_not_waited_for(
    said: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "CONNECT_S", 1.0)
    over = threading.Event()

    def speak() -> None:
        taken, _ = server.accept()
        with taken:
            taken.sendall(said)
            over.wait(LONG_S)

    with socket.create_server(("127.0.0.1", 0)) as server:
        speaker = threading.Thread(target=speak)
        speaker.start()
        with pytest.raises(DeviceError, match="no scheduler answers"):
            Connection(FleetAddress(f"tcp://127.0.0.1:{server.getsockname()[1]}"))
        over.set()
        speaker.join()


def test_a_scheduler_of_dask_alone_is_none_of_a_fleet() -> None:
    async def greet() -> None:
        async with Scheduler(host="127.0.0.1", dashboard_address=":0") as plain:
            await engine.greet(FleetAddress(plain.address), LONG_S)

    with pytest.raises(DeviceError, match="Dask alone"):
        asyncio.run(greet())


def greeted(port: int, certificates: Path | None) -> bool:
    """Whether a scheduler speaks to whoever believes any, with that certificate or none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if certificates is not None:
        context.load_cert_chain(certificates / "member.pem", certificates / "member-key.pem")
    plain = socket.create_connection(("127.0.0.1", port), LONG_S)
    with context.wrap_socket(plain) as encrypted, suppress(OSError):
        return bool(encrypted.recv(1))
    return False


def test_a_worker_is_reached_at_the_port_that_it_is_given(fleet: Fleet) -> None:
    offered = {each.device.name: each for each in stand_in.offers("pi-9")}

    async def joined(port: int) -> str:
        member = await worker._join(fleet.address, offered, port, exports_graphs=False)
        await member.close()
        return str(member.address)

    port = free_port()
    assert asyncio.run(joined(port)).endswith(f":{port}")


def test_without_certificates_nothing_listens_beyond_loopback(tmp_path: Path) -> None:
    with a_fleet(tmp_path) as fleet:
        url = fleet.address.url.replace("tls", "tcp")
        process = Fleet(FleetAddress(url), tmp_path, fleet.processes).start("start", "pi-1")
        there = psutil.Process(process.pid).net_connections()
    listening = {each.laddr[0] for each in there if each.status == psutil.CONN_LISTEN}
    assert listening == {"127.0.0.1"}
