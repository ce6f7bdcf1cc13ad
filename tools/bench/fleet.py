"""Fleets: what a hundred stand-in devices wait for, the submitter's memory, and a timed call."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from unittest.mock import patch

import onnx
import psutil

from tests.board.running import free_port
from tests.helpers.onnx_models import convolution
from tools.bench.common import BENCHBOX, UNLIMITED, Row, counted, recorded
from tools.bench.fleet_parts import SPEED

DEVICES, HOSTS, CASES = 100, 10, 10_000
MEMORY = Path("/dev/shm")  # noqa: S108 - for the disks of hosts that are one machine here
MOST_MB, MOST_REPORT_MB = 500, 300
LONG_S = 60.0
PAIRS = 8
WATCHED_S = 14
EFFORT = ["--sessions", "2", "--max-time", "6s", "--precision", "0.01%"]
PARTS = [sys.executable, "-m", "tools.bench.fleet_parts"]


def fleet() -> Iterator[Row]:
    """All of it over TLS, as in a lab, with certificates that are made for it."""
    with (
        tempfile.TemporaryDirectory() as folder,
        patch.dict(os.environ, BENCHBOX_CERTIFICATES=folder),
    ):
        subprocess.run([*BENCHBOX, "fleet", "init"], check=True, stdout=subprocess.DEVNULL)
        yield from scaled()
        yield from calls()


def scaled() -> Iterator[Row]:
    """A search of 10,000 cases on a hundred devices, many times as fast as in earnest.

    So what is lost between two tasks weighs as many times as much as it would.
    """
    memory = MEMORY if MEMORY.is_dir() else None
    with (
        tempfile.TemporaryDirectory() as folder,
        tempfile.TemporaryDirectory(dir=memory) as others,
        ExitStack() as stack,
    ):
        url = f"tls://127.0.0.1:{free_port()}"
        running = [stack.enter_context(_started([*PARTS, "scheduler", url], "scheduler is at"))]
        names = [f"pi-{index}" for index in range(DEVICES)]
        hosts = [[*PARTS, "host", url, others, *names[at::HOSTS]] for at in range(HOSTS)]
        running += stack.enter_context(_all_started(hosts, "joined"))
        argv = [*PARTS, "submitter", url, folder, str(CASES)]
        told = json.loads(subprocess.check_output(argv, text=True))
        spent = [sum(psutil.Process(each.pid).cpu_times()[:2]) for each in running]
        logs = [log.read_text().splitlines() for log in Path(others).glob("log-*")]
        report_mb = _reported_mb(Path(folder))
        paths = [*(Path(folder) / "results").glob("*/*.jsonl")]
        lines = (json.loads(line) for path in paths for line in path.read_text().splitlines())
        kept = len({line["case"] for line in lines if line["kind"] == "record"})
    tasks = defaultdict(list)
    for device, begin, end, busy_s in (json.loads(line) for log in logs for line in log):
        tasks[device].append((begin, end, busy_s))
    gaps = [b[0] - a[1] for each in tasks.values() for a, b in pairwise(sorted(each))]
    took = told["end"] - told["begin"]
    busy_s = sum(each[2] for found in tasks.values() for each in found)
    yield (
        f"{CASES:,} cases on {DEVICES} devices, {SPEED:.0f} times as fast",
        f"{took:.0f} s",
        UNLIMITED,
        True,
    )
    yield "  cases that have records", str(kept), str(CASES), kept == CASES
    share = sum(gaps) / busy_s
    text = f"{share:.2%} ({1e3 * statistics.median(gaps):.0f} ms a task)"
    yield "  between two tasks, of the time that they take", text, "< 5%", share < 0.05
    idle = 1 - sum(e - b for found in tasks.values() for b, e, _ in found) / (DEVICES * took)
    yield "  idle share of the devices", f"{idle:.1%}", "< 5%", idle < 0.05
    bound = busy_s / SPEED / DEVICES / took
    yield "  throughput, of what the devices could do", f"{bound:.0%}", ">= 90%", bound >= 0.9
    rss = told["rss_mb"]
    yield "  peak memory of the submitter", f"{rss:.0f} MB", f"<= {MOST_MB} MB", rss <= MOST_MB
    text, held = f"{report_mb:.0f} MB", report_mb <= MOST_REPORT_MB
    yield "  peak memory of a report of all as CSV", text, f"<= {MOST_REPORT_MB} MB", held
    each = [told["cpu_s"], spent[0], sum(spent[1:])]
    text = ", ".join(f"{1e3 * seconds / CASES:.1f}" for seconds in each)
    yield "  processor time a case: submitter, scheduler, hosts", f"{text} ms", UNLIMITED, True


def _reported_mb(folder: Path) -> float:
    """The peak memory of a report of the search in a folder."""
    argv = [*BENCHBOX, "report", "search", "--output", "search.csv"]
    with subprocess.Popen(argv, cwd=folder) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, "it says why"
    return used.ru_maxrss / 1e3


def calls() -> Iterator[Row]:
    """The same graph on this processor, as it is and as the only device of a fleet, in turn."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        path = Path(folder) / "graph.onnx"
        onnx.save(convolution((1, 32, 56, 56), (32, 32, 3, 3)), path)
        url = f"tls://127.0.0.1:{free_port()}"
        start = [*BENCHBOX, "fleet", "start", "--listen", url]
        process = stack.enter_context(_started(start, "joined"))
        places = {"here": [], "fleet": ["--scheduler", url]}
        found: dict[str, list[float]] = {place: [] for place in places}
        for index in counted("calls", PAIRS):
            for place in list(places) if index % 2 else reversed(places):
                found[place].append(_p50(path, Path(folder) / place, [*places[place], *EFFORT]))
        share = _share(process, path, Path(folder), url)
    ratios = [there / here for here, there in zip(found["here"], found["fleet"], strict=True)]
    ratio = statistics.median(ratios)
    low, high = sorted(ratios)[1], sorted(ratios)[-2]
    text = f"{ratio:.4f} ({low:.4f} to {high:.4f})"
    yield "a timed call through a fleet over one without", text, "0.99-1.01", abs(ratio - 1) <= 0.01
    what = "share of a core of scheduler and worker while they time"
    yield what, f"{share:.2%}", "<= 1%", share <= 0.01


def _p50(path: Path, results: Path, options: list[str]) -> float:
    run = recorded("run", str(path), "--device", "cpu", *options, results=results)
    (record,) = run.records
    assert record.latency is not None, record.reason
    return record.latency.p50_s


def _share(process: psutil.Process, path: Path, folder: Path, url: str) -> float:
    """The processor time of a fleet's process while its only device is timed."""
    argv = [*BENCHBOX, "run", str(path), "--results", str(folder), "--scheduler", url]
    argv += ["--sessions", "1", "--max-time", f"{WATCHED_S}s", "--precision", "0.01%"]
    readings = []
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as run:
        while run.poll() is None:
            if process.children():
                times = process.cpu_times()
                readings.append((time.monotonic(), times.user + times.system))
            time.sleep(0.1)
        _, told = run.communicate()
    assert run.returncode == 0, told.decode()
    window = [r for r in readings if readings[0][0] + 3 < r[0] < readings[-1][0] - 1.5]
    return (window[-1][1] - window[0][1]) / (window[-1][0] - window[0][0])


@contextmanager
def _started(argv: list[str], until: str) -> Iterator[psutil.Process]:
    with _all_started([argv], until) as (process,):
        yield process


@contextmanager
def _all_started(commands: list[list[str]], until: str) -> Iterator[list[psutil.Process]]:
    """Processes each of which has printed a text, and that are ended with the block."""
    env = {**os.environ, "PYTHONUNBUFFERED": "1"}
    pipe, both = subprocess.PIPE, subprocess.STDOUT
    started = [
        subprocess.Popen(argv, text=True, env=env, stdout=pipe, stderr=both) for argv in commands
    ]
    try:
        for process in started:
            assert process.stdout is not None, "a pipe"
            assert any(until in line for line in process.stdout), "it ended"
        yield [psutil.Process(process.pid) for process in started]
    finally:
        for process in started:
            process.kill()
            process.communicate()
