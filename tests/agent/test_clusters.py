"""Processors: their clusters, which of them are chosen, threads bound to them, and their facts."""

import getpass
import os
import re
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from benchbox.agent import PROTOCOL
from benchbox.agent.host import clusters, machine
from benchbox.agent.host.clusters import Cluster
from benchbox.report.formatting import cpu_list
from tests.board.files import plant
from tests.helpers.machine import Inside, cpuinfo, phone, processor, small_phone

pytestmark = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs affinities")


def read(root: Path, count: int) -> list[Cluster]:
    return clusters.read(range(count), root / "proc", root / "sys")


A78 = (4, 5, 6), 774, 2_400_000, "Cortex-A78"
A55 = (0, 1, 2, 3), 250, 1_800_000, "Cortex-A55"
UNKNOWN_CORE = cpuinfo({0: "0xd08"}, implementer="0x99")
NO_CORE = {"proc/cpuinfo": "processor : 0\nmodel name : Intel\n\n\0nonsense\n"}


@pytest.mark.parametrize(
    ("files", "count", "found"),
    [
        (phone(), 8, [((7,), 1024, 2_900_000, "Cortex-X1"), A78, A55]),
        (phone(), 2, [((0, 1), *A55[1:])]),
        (
            *(processor(0, None, 1_400_000) | processor(1, None, 2_000_000), 2),
            [((1,), None, 2_000_000), ((0,), None, 1_400_000)],
        ),
        ({}, 4, [((0, 1, 2, 3),)]),
        (UNKNOWN_CORE, 1, [((0,), None, None, "0x99 0xd08")]),
        (NO_CORE, 1, [((0,),)]),
    ],
)
def test_clusters_come_the_fastest_first(
    tmp_path: Path, files: dict[str, str], count: int, found: list[tuple[Any, ...]]
) -> None:
    plant(tmp_path, files)
    assert read(tmp_path, count) == [Cluster(*each) for each in found]
    assert Cluster((0, 1)).facts() == {"cpus": [0, 1]}


NO_MIDDLE = "it has the clusters big (1) and little (0): --cpus middle has no meaning here"
HUGE = "--cpus huge: write processors as 0,1 or one of big, middle, little"
LITTLE = "the little cluster has the processors 0-3, 5 threads asked for"


@pytest.mark.parametrize(
    ("files", "count", "word", "threads", "chosen"),
    [
        (phone(), 8, "big", 1, [7]),
        (phone(), 8, "middle", 3, [6, 5, 4]),
        (phone(), 8, "little", 2, [3, 2]),
        (phone(), 8, "little", 5, LITTLE),
        (phone(), 8, "big", 2, "the big cluster has the processor 7, 2 threads asked for"),
        (phone(), 8, "huge", 1, HUGE),
        ({}, 4, "little", 1, "all 4 processors are equal: --cpus little has no meaning here"),
        (small_phone(), 2, "middle", 1, NO_MIDDLE),
    ],
)
def test_a_word_names_processors_of_one_cluster_or_is_refused(
    tmp_path: Path, files: dict[str, str], count: int, word: str, threads: int, chosen: object
) -> None:
    plant(tmp_path, files)
    if isinstance(chosen, list):
        assert clusters.choose(word, threads, read(tmp_path, count), tmp_path / "sys") == chosen
    else:
        with pytest.raises(ValueError, match=re.escape(str(chosen))):
            clusters.choose(word, threads, read(tmp_path, count), tmp_path / "sys")


PHONE = (250,) * 4 + (774,) * 3 + (1024,)


@pytest.mark.parametrize(
    ("file", "values", "threads", "chosen"),
    [
        ("cpu_capacity", PHONE, 1, [7]),
        ("cpu_capacity", PHONE[:7], 3, [6, 5, 4]),
        ("cpu_capacity", (446, 446, 1024, 871), 3, [2, 3, 1]),
        # without capacities the clock, and of equals the last
        ("cpufreq/cpuinfo_max_freq", (3000, 4000, 4000, 3000), 2, [2, 1]),
        ("cpu_capacity", ("nonsense", "", "nonsense"), 2, [2, 1]),
    ],
)
def test_the_fastest_processors_are_chosen_and_of_equals_the_last(
    tmp_path: Path, file: str, values: Sequence[object], threads: int, chosen: list[int]
) -> None:
    plant(tmp_path, {f"cpu{cpu}/{file}": f"{value}\n" for cpu, value in enumerate(values)})
    assert machine.choose_cpus(threads, range(len(values)), tmp_path) == chosen


@pytest.mark.usefixtures("two_cpus")
@pytest.mark.parametrize(("asked", "cpu"), [("big", 1), ("little", 0), (None, 1), ([0], 0)])
def test_the_agent_runs_where_it_was_asked_to(tmp_path: Path, asked: object, cpu: int) -> None:
    plant(tmp_path, small_phone())
    inside = Inside(tmp_path)
    inside.send({"op": "hello", "protocol": PROTOCOL, "threads": 1, "cpus": asked})
    reply = inside.receive(60)
    assert reply["cpus"] == [cpu]
    assert inside.mask() == {cpu}
    assert reply["host"]["clusters"] == [
        {"cpus": [1], "capacity": 1024, "top_khz": 1_200_000, "core": "Cortex-A72"},
        {"cpus": [0], "capacity": 446, "top_khz": 950_000, "core": "Cortex-A53"},
    ]
    inside.close()


@pytest.mark.usefixtures("two_cpus", "mask")
@pytest.mark.parametrize(("cpu", "shown"), [(4000, True), (0, True), (0, False)])
def test_a_processor_that_is_refused_or_ignored_is_an_error_that_names_the_mask(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cpu: int, shown: bool
) -> None:
    """By the mask that the kernel shows, and by what it answers where it shows none."""
    if not shown:
        monkeypatch.setattr(machine, "THREAD", tmp_path)
    have = machine.ranges(os.sched_getaffinity(0))
    if cpu == 0:
        monkeypatch.setattr(os, "sched_setaffinity", lambda *_: None)
    with pytest.raises(RuntimeError) as raised:
        machine.pin([cpu])
    why = ": Invalid argument" if cpu else ""
    sentence = f"the thread is not bound to processor {cpu}, its mask is {have}{why}"
    assert str(raised.value) == sentence
    monkeypatch.setattr(machine, "THREAD", tmp_path)
    monkeypatch.delattr(os, "sched_getaffinity")
    machine.check_bound([3])  # a system without masks is taken at its word


@pytest.mark.parametrize(
    ("cpus", "text"), [([0], "0"), ([0, 1, 2, 5], "0-2,5"), ([4, 3], "3-4"), ([], "")]
)
def test_processors_are_written_as_the_kernel_does(cpus: list[int], text: str) -> None:
    assert machine.ranges(cpus) == cpu_list(cpus) == text


def test_host_facts_do_not_name_the_machine_or_its_user() -> None:
    host = machine.host()
    assert {"system", "machine", "cpus", "cpus_usable"} <= host.keys()
    assert None not in host.values()
    text = str(host)
    assert socket.gethostname() not in text
    assert getpass.getuser() == "root" or getpass.getuser() not in text
