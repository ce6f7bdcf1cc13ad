"""What the agent reads of /proc and /sys, against trees of files that hold what a test wants."""

import os
import shutil
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from benchbox.agent.host import cgroups, counters, disturbances
from benchbox.agent.host.disturbances import CounterReader, between
from tests.agent.conftest import Tree

TICKS = os.sysconf("SC_CLK_TCK")
CPU = "sys/devices/system/cpu"
GROUP = "sys/fs/cgroup"
OWN = {"collections", "switches", "faults_minor", "faults_major"}

Parse = Callable[[list[bytes]], counters.Counters]
Watch = Callable[..., CounterReader]


@pytest.fixture
def watch(tmp_path: Path, slow_files: None) -> Watch:
    """Return a function that makes a reader of the test's own proc and sys, however slow."""
    assert slow_files is None

    def make(threads: int = 1) -> CounterReader:
        return CounterReader(threads, (1,), tmp_path / "proc", tmp_path / "sys")

    return make


def stat(processor: object) -> str:
    """A /proc/thread-self/stat whose program is called `a (b) c`."""
    return f"42 (a (b) c) R {'0 ' * 35}{processor} 0 0 0"


def stolen(ticks: object, cpu: int = 1) -> str:
    return f"cpu  9 9 9 9 9 9 9 9 9 9\ncpu{cpu} 1 2 3 4 5 6 7 {ticks} 0 0\nintr 77 0 0\n"


FULL: Mapping[str, object] = {
    "proc/thread-self/sched": "head (1, #threads: 1)\n---\nse.nr_migrations   :     3\nprio : 120",
    "proc/thread-self/stat": stat(1),
    "proc/thread-self/schedstat": "1000 2000 3",
    "proc/self/cgroup": "4:cpu,cpuacct:/\n0::/box",
    "proc/self/task/11/schedstat": "10 100 1",
    "proc/self/task/12/schedstat": "0 0 0",
    "proc/stat": stolen(50),
    "proc/pressure/cpu": "some avg10=0.00 avg60=0.21 avg300=1.57 total=900\nfull avg10=0 total=5",
    "proc/pressure/memory": "some avg10=0.00 avg60=0.21 avg300=1.57 total=7\n",
    "proc/pressure/io": "some avg10=0.00 avg60=0.21 avg300=1.57 total=8\n",
    f"{GROUP}/box/cpu.stat": "usage_usec 5\nnr_periods 9\nnr_throttled 2\nthrottled_usec 30",
    f"{CPU}/cpu1/cpufreq/scaling_cur_freq": 2100000,
    f"{CPU}/cpu1/thermal_throttle/core_throttle_count": 4,
    "sys/class/thermal/thermal_zone0/temp": 51000,
    "sys/class/thermal/thermal_zone0/type": "x86_pkg_temp",
}


def test_a_burst_has_differences_and_worse_gauges(tree: Tree, watch: Watch, tmp_path: Path) -> None:
    tree(FULL)
    with watch() as own:
        before = own.read_counters()
        tree(
            {
                "proc/thread-self/schedstat": "5000 2500 4",
                "proc/stat": stolen(53),
                f"{CPU}/cpu1/cpufreq/scaling_cur_freq": 1800000,
                "sys/class/thermal/thermal_zone0/temp": 49000,
            }
        )
        seen = between(before, own.read_counters())
    assert {name: value for name, value in before.items() if name not in OWN} == {
        "migrations": 3,
        "queued_ns": 2000,
        "steal_s": 50 / TICKS,
        "pressure_us": 900,
        "memory_pressure_us": 7,
        "io_pressure_us": 8,
        "throttled_periods": 2,
        "throttled_us": 30,
        "clock_khz": 2100000,
        "thermal_throttles": 4,
        "temperature_c": 51.0,
    }
    assert (seen["queued_ns"], seen["steal_s"]) == (500, 3 / TICKS)
    assert (seen["clock_khz"], seen["temperature_c"]) == (1800000, 51.0)
    assert (seen["migrations"], seen["throttled_us"], seen["pressure_us"]) == (0, 0, 0)
    assert between({"a": 5, "b": 1}, {"a": 4, "b": 3, "c": 9}) == {"b": 2}  # a began anew
    # Without a count of migrations it has moved or has not.
    (tmp_path / "proc/thread-self/sched").unlink()
    with watch() as own:
        before = own.read_counters()
        assert between(before, own.read_counters())["moved"] == 0
        tree({"proc/thread-self/stat": stat(0)})
        assert between(before, own.read_counters())["moved"] == 1


@pytest.mark.parametrize("threads", [1, 2])
def test_any_system_is_watched(monkeypatch: pytest.MonkeyPatch, watch: Watch, threads: int) -> None:
    with CounterReader(threads, [0]) as own:
        seen = between(own.read_counters(), own.read_counters())
    assert seen.keys() >= {"collections"}
    assert all(value >= 0 for value in seen.values())
    monkeypatch.setattr(disturbances, "resource", None)
    with watch(threads) as own:
        before = own.read_counters()
        assert between(before, own.read_counters()) == {"collections": 0}


def test_a_broken_file_loses_its_own_counters(tree: Tree, watch: Watch, tmp_path: Path) -> None:
    for name in FULL:
        tree(FULL)
        with watch() as own:
            before = own.read_counters()
            tree({name: b""})
            after = own.read_counters()
        assert len(before.keys() - after.keys()) <= 2, name
        assert between(before, after).keys() == after.keys()
        (tmp_path / name).unlink()
        (tmp_path / name).mkdir()
        with watch() as own:
            assert own.read_counters().keys() >= {"collections"}, name
        (tmp_path / name).rmdir()
    tree(dict.fromkeys(FULL, b"\xff garbage"))
    for threads in (1, 2):
        with watch(threads) as own:
            assert own.read_counters().keys() <= OWN


def test_slow_files_are_left_out(tree: Tree, watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(FULL)
    before = len(list(Path("/dev/fd").iterdir()))
    for threads in (1, 2):
        with watch(threads) as own:
            own.read_counters()
            assert len(list(Path("/dev/fd").iterdir())) > before
        own.close()
    assert len(list(Path("/dev/fd").iterdir())) == before
    monkeypatch.setattr(disturbances, "DEAREST_NS", -1)
    with watch() as own:
        assert own.read_counters().keys() <= OWN


def test_waits_of_all_threads_are_added_up(tree: Tree, watch: Watch, tmp_path: Path) -> None:
    task = "proc/self/task/{}/schedstat"
    tree(FULL)
    with watch(2) as own:
        assert own.read_counters()["queued_ns"] == 100
        tree({task.format(12): "5 30 1", task.format(13): "5 7 1"})
        assert own.read_counters()["queued_ns"] == 137
        shutil.rmtree(tmp_path / "proc/self/task/11")
        assert own.read_counters()["queued_ns"] == 137
        tree({task.format(11): "1 2 1"})  # a thread with the number of one that ended
        assert own.read_counters()["queued_ns"] == 139
        shutil.rmtree(tmp_path / "proc/self/task")
        assert "queued_ns" not in own.read_counters()


BOTH = (stolen(20, 0) + stolen(3, 1)).encode()
V1 = b"nr_periods 0\nnr_throttled 3\nthrottled_time 5999\n"
V2 = b"usage_usec 1\nnr_throttled 4\nthrottled_usec 10\n"
WORK = b"cpu 1 1 1 1 1 1 1 1\ncpu0 1 10 100 5 5 1000 10000 5 5 5\ncpu1 1 2\nintr 0 0 0 0 0 0 0"
ROOT_GROUP = b"usage_usec 9688554244\nuser_usec 9237682960\n"


@pytest.mark.parametrize(
    ("parse", "texts", "found"),
    [
        (counters.queued, [b"0 0 0"], {}),  # the kernel does not count them
        (counters.queued, [b"5 0 1"], {"queued_ns": 0}),
        (partial(counters.steal, [0, 1]), [BOTH], {"steal_s": 23 / TICKS}),
        (partial(counters.steal, [1, 2]), [BOTH], {}),
        (partial(counters.steal, [1]), [b"cpu1 1 2 3 4 5 6 7\n"], {}),
        (partial(counters.steal, [1]), [b"cpu10 1 2 3 4 5 6 7 8\n"], {}),
        (counters.throttling, [V1], {"throttled_periods": 3, "throttled_us": 5}),
        (counters.throttling, [V2, V2, ROOT_GROUP], {"throttled_periods": 8, "throttled_us": 20}),
        (counters.throttling, [ROOT_GROUP], {}),
        (counters.clock, [b"2100000\n", b"0\n", b"800000\n"], {"clock_khz": 800000}),
        (counters.temperature, [b"45000\n", b"61500\n", b"255000\n"], {"temperature_c": 61.5}),
        (counters.temperature, [b"62\n", b"45000\n", b"-273000\n"], {"temperature_c": 62}),
        (counters.heat, [b"3\n", b"x\n"], {}),
        (lambda texts: counters.busy_s(texts[0]), [WORK], {0: 11111 / TICKS}),
    ],
)
def test_a_counter_is_of_all_files(parse: Parse, texts: list[bytes], found: object) -> None:
    assert parse(texts) == found


def test_sensors_of_a_processor_are_preferred_to_others(tree: Tree, watch: Watch) -> None:
    zones = "sys/class/thermal/thermal_zone{}/{}"
    tree({zones.format(9, "type"): "battery", zones.format(9, "temp"): 80000})
    with watch() as own:
        assert own.read_counters()["temperature_c"] == 80
    for index in range(9):
        tree({zones.format(index, "type"): "cpu-thermal", zones.format(index, "temp"): 50_000})
    with watch() as own:
        assert own.read_counters()["temperature_c"] == 50


BYTES = st.binary(max_size=200) | st.text("cpu 0123456789\n:sometal=", max_size=200).map(str.encode)
PARSERS: list[Parse] = [
    counters.migrations,
    counters.processor,
    counters.queued,
    partial(counters.steal, [0, 1]),
    partial(counters.pressure, "pressure_us"),
    counters.throttling,
    counters.clock,
    counters.heat,
    counters.temperature,
]


@given(st.lists(BYTES, min_size=1, max_size=3))
@example([b""])
@example([b"9" * 5000])
def test_any_bytes_are_read_as_positive_numbers_or_nothing(texts: list[bytes]) -> None:
    for parse in PARSERS:
        assert all(value >= 0 for value in parse(texts).values())
    assert all(seconds >= 0 for seconds in counters.busy_s(texts[0]).values())


# control groups


@pytest.mark.parametrize(
    ("lines", "files", "found"),
    [
        ("0::/", ["cpu.stat"], [""]),
        ("0::/a/b", ["a/b/cpu.stat", "a/cpu.stat", "cpu.stat"], ["a/b", "a", ""]),
        ("0::/a", ["unified/a/cpu.stat"], ["unified/a"]),
        ("3:cpu,cpuacct:/a", ["cpu,cpuacct/a/cpu.stat"], ["cpu,cpuacct/a"]),
        ("0::/docker/0123", ["cpu.stat"], [""]),  # a container that sees its own tree only
        ("0::/../outside", ["cpu.stat"], [""]),
        ("0::/a", [], []),
        ("nonsense\n::\n0:\n\0:cpu:/\0", ["cpu.stat"], []),
    ],
)
def test_the_groups_that_limit_this_process_are_found(
    tree: Tree, tmp_path: Path, lines: str, files: list[str], found: list[str]
) -> None:
    tree({"proc/self/cgroup": lines, **{f"{GROUP}/{name}": "" for name in files}})
    folders = cgroups.folders(tmp_path / "proc", tmp_path / "sys")
    assert folders == [tmp_path / GROUP / name for name in found]
