"""Speed and memory of benchbox itself: starts, the timed call, the parent, exports, whole runs."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import psutil

from benchbox import devices, records
from benchbox.specs import TensorSpec
from benchbox.transports import open_agent
from benchbox.transports.local import SINGLE_THREADED
from tools.bench.common import BENCHBOX, Row

EMPTY_APP = """
import typer
app = typer.Typer()
@app.command()
def one(): print("one")
@app.command()
def two(): print("two")
app()
"""
HEAVY = "{'torch', 'onnxruntime', 'pandas'}"


def wall(argv: list[str], **kwargs: object) -> float:
    start = time.perf_counter()
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, **kwargs)  # type: ignore[call-overload]
    return time.perf_counter() - start


def startup() -> Iterator[Row]:
    """Whole processes, in turn: an empty Typer app, `--help`, `list`."""
    with tempfile.TemporaryDirectory() as folder:
        empty = Path(folder) / "empty.py"
        empty.write_text(EMPTY_APP)
        commands = {
            "empty": [sys.executable, str(empty), "one"],
            "--help": [*BENCHBOX, "--help"],
            "list": [*BENCHBOX, "list"],
        }
        times: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(12):
            for name, argv in commands.items():
                times[name].append(wall(argv))
    base = statistics.median(times["empty"])
    for name in ("--help", "list"):
        ratio = statistics.median(times[name]) / base
        yield f"benchbox {name} over an empty Typer app", f"{ratio:.2f}x", "<= 2.5x", ratio <= 2.5
        code = f"import sys; sys.argv = ['benchbox', {name!r}]\nfrom benchbox.cli import main\n" + (
            "try: main()\nexcept SystemExit: "
            f"print(sorted({HEAVY} & sys.modules.keys()), file=sys.stderr)"
        )
        loaded = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stderr.strip()
        yield f"benchbox {name} imports of {HEAVY}", loaded, "[]", loaded == "[]"


def overhead() -> Iterator[Row]:
    """The agent's timed call against a bare loop on the same graph and processor, in turn."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "relu.onnx"
        shape = [1, 16]
        value = onnx.helper.make_tensor_value_info
        graph = onnx.helper.make_graph(
            [onnx.helper.make_node("Relu", ["x"], ["y"])],
            "relu",
            [value("x", onnx.TensorProto.FLOAT, shape)],
            [value("y", onnx.TensorProto.FLOAT, shape)],
        )
        opset = [onnx.helper.make_opsetid("", 18)]
        onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=10), str(path))
        with open_agent(devices.resolve("cpu")) as agent:
            agent.load("relu", str(path), [TensorSpec("x", (1, 16))], 0)
            os.sched_setaffinity(0, set(agent.hello["cpus"]))
            bare = bare_loop(path)
            there: list[float] = []
            here: list[float] = []
            for _ in range(60):
                (timed,) = agent.time([("relu", 500)], [0.01])
                there.append(statistics.median(timed.latencies_ns))
                here.append(statistics.median(bare(500)))
            os.sched_setaffinity(0, set(range(os.cpu_count() or 1)))
    extra = (statistics.median(there) - statistics.median(here)) / 1e3
    text = f"{extra:+.2f} us ({statistics.median(here) / 1e3:.2f} us bare)"
    yield "timed call through the agent over a bare loop, one node", text, "<= 1 us", extra <= 1


WAIT_S = 10.0
IMPORTS = "import numpy, onnxruntime, sys; print(flush=True); sys.stdin.read()"


def idle() -> Iterator[Row]:
    """What an agent costs that waits, beside what it cannot do without."""
    argv = [sys.executable, "-c", IMPORTS]
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, stdin=pipe, stdout=pipe, env=quiet_env()) as imports:
        assert imports.stdout is not None, "a pipe"
        imports.stdout.readline()
        least = psutil.Process(imports.pid).memory_info().rss / 1e6
        imports.communicate()
    with open_agent(devices.resolve("cpu")) as agent:
        (child,) = psutil.Process().children()
        before = sum(child.cpu_times()[:2])
        time.sleep(WAIT_S)
        spent = sum(child.cpu_times()[:2]) - before
        rss = child.memory_info().rss / 1e6
        assert agent.hello["versions"]["onnxruntime"], "it is loaded"
    text = f"{rss:.1f} MB ({least:.1f} MB imports)"
    yield "memory of a waiting agent", text, "<= imports + 6 MB", rss <= least + 6
    yield "processor time of a waiting agent", f"{spent / WAIT_S:.2%}", "0%", spent == 0


def quiet_env() -> dict[str, str]:
    return {**os.environ, **SINGLE_THREADED}


def bare_loop(path: Path) -> Callable[[int], list[int]]:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    value = ort.OrtValue.ortvalue_from_numpy(np.ones((1, 16), np.float32))
    binding.bind_ortvalue_input("x", value)
    binding.bind_ortvalue_output(
        "y", ort.OrtValue.ortvalue_from_numpy(np.ones((1, 16), np.float32))
    )

    def loop(calls: int) -> list[int]:
        latencies = [0] * calls
        for index in range(calls):
            start = time.perf_counter_ns()
            session.run_with_iobinding(binding)
            latencies[index] = time.perf_counter_ns() - start
        return latencies

    return loop


def parent() -> Iterator[Row]:
    """The parent's processor time while its agent measures, with the live view on a terminal."""
    with tempfile.TemporaryDirectory() as results:
        argv = [*BENCHBOX, "run", "g1", "--results", results, "--precision", "0.01%"]
        argv += ["--max-time", "14s", "--sessions", "1"]
        leader, follower = os.openpty()
        process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=follower, stdin=follower)
        os.close(follower)
        watched = psutil.Process(process.pid)
        readings: list[tuple[float, float]] = []
        drawn = 0
        while process.poll() is None:
            drawn += drain(leader)
            if watched.children():
                times = watched.cpu_times()
                readings.append((time.monotonic(), times.user + times.system))
            time.sleep(0.1)
        os.close(leader)
    assert drawn, "the live view was not drawn"
    window = [r for r in readings if readings[0][0] + 3 < r[0] < readings[-1][0] - 1.5]
    share = (window[-1][1] - window[0][1]) / (window[-1][0] - window[0][0])
    yield (
        "parent's share of a core while the agent measures",
        f"{share:.2%}",
        "<= 1%",
        share <= 0.01,
    )


def drain(descriptor: int) -> int:
    os.set_blocking(descriptor, False)
    try:
        return len(os.read(descriptor, 1 << 16))
    except (BlockingIOError, OSError):
        return 0


def cold() -> Iterator[Row]:
    """All 51 guideline graphs exported into an empty cache."""
    with tempfile.TemporaryDirectory() as cache:
        env = {**os.environ, "BENCHBOX_CACHE_DIR": cache}
        seconds = wall([*BENCHBOX, "show", "all"], env=env, stderr=subprocess.DEVNULL)
    yield "cold export of all 51 graphs", f"{seconds:.0f} s", "<= 90 s", seconds <= 90


def warm() -> Iterator[Row]:
    """Whole warm runs, and how much of one is spent inside timed calls."""
    wall([*BENCHBOX, "show", "all"], stderr=subprocess.DEVNULL)
    with tempfile.TemporaryDirectory() as folder:
        results = ["--results", folder]
        quiet = {"stderr": subprocess.DEVNULL}
        seconds = wall([*BENCHBOX, "run", "g1", "--quick", *results], **quiet)
        yield "warm run g1 --quick", f"{seconds:.1f} s", "<= 10 s", seconds <= 10
        argv = [*BENCHBOX, "run", "all", "--precision", "2%", "--strict", *results]
        start = time.perf_counter()
        subprocess.run(argv, check=False, stdout=subprocess.DEVNULL, **quiet)  # type: ignore[call-overload]
        seconds = time.perf_counter() - start
        path = records.latest(Path(folder), "cpu", "all")
        assert path is not None
        run = records.read(path)
    timed = sum(sum(b.latencies_ns) for r in run.records for b in r.bursts) / 1e9
    good = sum(record.status == "ok" for record in run.records)
    yield "warm run all at 2% precision", f"{seconds:.0f} s", "<= 300 s", seconds <= 300
    yield "  cases that reached it", f"{good} of {len(run.records)}", "51 of 51", good == 51
    share = timed / seconds
    yield "  share of it inside timed calls", f"{share:.0%}", ">= 75%", share >= 0.75
