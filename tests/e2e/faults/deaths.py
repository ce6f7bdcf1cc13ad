"""Faults of processes: a command that is killed, ended or interrupted, an agent that dies."""

import contextlib
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable

import onnx
import psutil

from benchbox.cli import ENDINGS
from tests.conftest import ENDLESS_LOOP
from tests.e2e.faults.bench import QUICK, Bench, check_end, fault, samples

ENDLESS = ("--quick", "--precision", "0.0001%", "--max-time", "60s")
LONGEST_S = 4.0  # before the fault: most of it is start-up, the rest sampling
ENDED_S = 20.0


def _begin(bench: Bench, rng: random.Random) -> list[str]:
    """Graphs in the folder, of which a run takes some seconds; their names."""
    names = [f"./{name}.onnx" for name in "abc"[: rng.randint(1, 3)]]
    for name in names:
        bench.graph(name[2:-5], rng.randrange(8, 64))
    return names


def _wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + ENDED_S
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.02)


def _agents(process: "subprocess.Popen[bytes]") -> list[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        children = psutil.Process(process.pid).children()
        return [each for each in children if "benchbox.agent" in each.cmdline()]
    return []


def _resumed(bench: Bench, names: list[str]) -> None:
    """What is on record can be read and is gone on with: nothing of it is lost."""
    before = samples(bench.runs())
    done = bench.command("run", *names, *QUICK, *(["--resume"] if before else []))
    assert done.returncode == 0, done.stderr
    after = samples(bench.runs())
    assert all(after[sha] >= count for sha, count in before.items()), (before, after)


@fault("losses", "a run is killed at any moment")
def killed(bench: Bench, rng: random.Random) -> None:
    names = _begin(bench, rng)
    with bench.started("run", *names, *ENDLESS) as process:
        time.sleep(rng.uniform(0.1, LONGEST_S))
        children = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.wait()
        _, alive = psutil.wait_procs(children, ENDED_S)
        assert not alive, f"left running: {alive}"
    _resumed(bench, names)


@fault("losses", "Ctrl-C or a request to end comes at any moment, once or twice")
def interrupted(bench: Bench, rng: random.Random) -> None:
    names = _begin(bench, rng)
    number = rng.choice(ENDINGS)
    with bench.started("run", *names, *ENDLESS) as process:
        _wait_until(lambda: (bench.folder / "cache").exists())  # it has begun, and handles signals
        time.sleep(rng.uniform(0.0, LONGEST_S))
        times = rng.randint(1, 2)
        for _ in range(times):
            process.send_signal(number)
            time.sleep(rng.uniform(0.0, 0.5))
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(ENDED_S)
        assert process.poll() is not None, "it goes on"
        stdout, stderr = process.communicate()
    if times == 1 or process.returncode != -number:  # the second may come when all is said
        check_end(process.returncode, stdout, stderr)
    _resumed(bench, names)


@fault("losses", "a command is ended while it counts a graph")
def left_counting(bench: Bench, rng: random.Random) -> None:
    onnx.save(onnx.parser.parse_model(ENDLESS_LOOP), bench.folder / "loop.onnx")
    with bench.started("show", "./loop.onnx") as process:
        own = psutil.Process(process.pid)
        _wait_until(lambda: len(own.children(recursive=True)) > 1)
        children = own.children(recursive=True)
        process.send_signal(rng.choice((*ENDINGS, signal.SIGKILL)))
        _, alive = psutil.wait_procs(children, ENDED_S)
        assert children and not alive, f"left running: {alive} of {children}"


@fault("losses", "an agent dies while it times")
def agent_lost(bench: Bench, rng: random.Random) -> None:
    names = _begin(bench, rng)
    number = rng.choice([signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT, signal.SIGTERM])
    with bench.started("run", *names, *QUICK, "--sessions", "2") as process:
        _wait_until(lambda: process.poll() is not None or bool(_agents(process)))
        time.sleep(rng.uniform(0.0, 1.0))
        for agent in _agents(process):
            with contextlib.suppress(psutil.Error):
                os.kill(agent.pid, number)
        stdout, stderr = process.communicate(timeout=60)
    check_end(process.returncode, stdout, stderr)
    _resumed(bench, names)
