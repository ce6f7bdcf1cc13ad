"""Processors that are chosen, and facts that name nobody."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from benchbox.agent.host import machine as host_machine
from tests.board.files import plant


@pytest.mark.parametrize(
    ("file", "values", "threads", "usable", "chosen"),
    [
        ("cpu_capacity", (446, 446, 1024, 871), 1, range(4), [2]),  # the biggest cluster
        ("cpu_capacity", (446, 446, 1024, 871), 3, range(4), [2, 3, 1]),
        ("cpu_capacity", (446, 446, 1024, 871), 1, [0, 1], [1]),
        # without capacities the clock, and of equals the last
        ("cpufreq/cpuinfo_max_freq", (3000, 4000, 4000, 3000), 2, range(4), [2, 1]),
        ("cpu_capacity", ("nonsense", "", "nonsense"), 2, range(8), [7, 6]),
        ("cpu_capacity", ("nonsense", "", "nonsense"), 4, [0, 5], [5, 0]),
    ],
)
def test_the_fastest_processors_are_chosen_and_of_equals_the_last(
    tmp_path: Path,
    file: str,
    values: Sequence[object],
    threads: int,
    usable: Sequence[int],
    chosen: list[int],
) -> None:
    plant(tmp_path, {f"cpu{cpu}/{file}": f"{value}\n" for cpu, value in enumerate(values)})
    assert host_machine.choose_cpus(threads, usable, tmp_path) == chosen


def test_host_facts_do_not_name_the_machine_or_its_user() -> None:
    import getpass
    import socket

    host = host_machine.host()
    assert {"system", "machine", "cpus", "cpus_usable"} <= host.keys()
    assert None not in host.values()
    text = str(host)
    assert socket.gethostname() not in text
    assert getpass.getuser() == "root" or getpass.getuser() not in text
