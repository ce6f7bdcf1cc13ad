import contextlib
import hashlib
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from benchbox.agent import PROTOCOL, stdio
from benchbox.agent.__main__ import AgentProgram
from benchbox.agent.host import machine as host_machine
from benchbox.agent.ort import inputs, matmul_graph, session
from benchbox.agent.timing import burst as timing_burst
from benchbox.agent.timing import denormals, sentinel
from benchbox.agent.timing.sentinel import Sentinel
from benchbox.analysis.states import Gate, State
from benchbox.devices import CPU_PROVIDER
from benchbox.sampling.session import Timed
from benchbox.transports.board import zipapp
from benchbox.transports.channel import ProcessChannel
from benchbox.transports.local import ROOT, open_local
from tests.helpers.machine import Machine

WriteOnnx = Callable[..., Path]
Connect = Callable[[ProcessChannel], "Client"]
X = {"name": "x", "shape": [32, 32], "dtype": "float32"}
ONE_THREAD = pytest.mark.skipif(not host_machine.TASKS.exists(), reason="needs /proc")


class Client:
    """Speaks the protocol without the parent's classes: what is tested is the wire."""

    def __init__(self, channel: ProcessChannel) -> None:
        self.channel = channel

    def ask(self, op: str, **fields: object) -> dict[str, Any]:
        self.channel.send({"op": op, **fields})
        return self.channel.receive(30)

    def hello(self, threads: int = 1, cpus: list[int] | None = None) -> dict[str, Any]:
        return self.ask("hello", protocol=PROTOCOL, threads=threads, cpus=cpus)

    def load(self, graph: str, path: Path, *tensors: dict[str, object]) -> dict[str, Any]:
        chosen = list(tensors) or [X]
        fields = {"path": str(path), "provider": CPU_PROVIDER, "inputs": chosen, "seed": 0}
        return self.ask("load", graph=graph, **fields)

    def time(self, *bursts: tuple[str, int] | tuple[str, int, bool]) -> list[dict[str, Any]]:
        first = self.ask("time", bursts=bursts)
        return [first["burst"], *(self.channel.receive(30)["burst"] for _ in bursts[1:])]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Return a function that speaks to what runs behind a channel, which ends with the test."""
    with contextlib.ExitStack() as ends:

        def speak(channel: ProcessChannel) -> Client:
            ends.callback(channel.kill)
            return Client(channel)

        yield speak


@pytest.fixture
def client(connect: Connect) -> Client:
    return connect(open_local())


# inputs


@pytest.mark.parametrize("dtype", inputs.DTYPES)
@pytest.mark.parametrize("shape", [(), (1,), (2, 3), (1, 3, 32, 32)])
def test_inputs_have_the_shape_and_dtype_asked_for(dtype: str, shape: tuple[int, ...]) -> None:
    array = inputs.make("x", shape, dtype, 0)
    assert isinstance(array, np.ndarray)
    assert (array.shape, array.dtype.name) == (shape, dtype)
    assert np.isfinite(array.astype(np.float64)).all()


@settings(deadline=None)
@given(
    st.text(max_size=5),
    st.lists(st.integers(1, 3), max_size=3),
    st.sampled_from(inputs.DTYPES),
    st.integers(0, 2**32),
)
def test_inputs_are_never_all_zero_and_always_the_same(
    name: str, shape: list[int], dtype: str, seed: int
) -> None:
    array = inputs.make(name, shape, dtype, seed)
    assert array.any()
    assert np.array_equal(array, inputs.make(name, shape, dtype, seed))


def test_inputs_differ_by_name_and_by_seed() -> None:
    arrays = [inputs.make(name, (8,), "float32", seed) for name in "ab" for seed in (0, 1)]
    assert len({array.tobytes() for array in arrays}) == 4


def test_wide_integers_are_valid_indices_and_narrow_ones_span_their_range() -> None:
    assert set(inputs.make("x", (99,), "int64", 0)) == {0, 1}
    assert set(inputs.make("x", (9999,), "uint8", 0)) == set(range(256))


def test_inputs_are_the_same_in_every_process() -> None:
    code = (
        "import hashlib; from benchbox.agent.ort import inputs; h = hashlib.sha256()\n"
        "for d in inputs.DTYPES: h.update(inputs.make('x', (3, 5), d, 7).tobytes())\n"
        "print(h.hexdigest())"
    )
    here = hashlib.sha256()
    for dtype in inputs.DTYPES:
        here.update(inputs.make("x", (3, 5), dtype, 7).tobytes())
    env = {**os.environ, "PYTHONHASHSEED": "123", "PYTHONPATH": str(ROOT)}
    there = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, check=True)
    assert there.stdout.decode().strip() == here.hexdigest()


def test_a_dtype_that_cannot_be_filled_is_named() -> None:
    with pytest.raises(ValueError, match="'x' is of type complex64; benchbox can fill float16"):
        inputs.make("x", (1,), "complex64", 0)


# system


@pytest.fixture
def cpus_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that makes a /sys/devices/system/cpu with `name` holding `values`."""
    monkeypatch.setattr(host_machine, "CPUS", tmp_path)

    def make(name: str, *values: object) -> None:
        for index, value in enumerate(values):
            file = tmp_path / f"cpu{index}" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{value}\n")

    return make


def test_the_biggest_cluster_is_chosen(cpus_folder: Callable[..., None]) -> None:
    cpus_folder("cpu_capacity", 446, 446, 1024, 871)
    assert host_machine.choose_cpus(1, range(4)) == [2]
    assert host_machine.choose_cpus(3, range(4)) == [2, 3, 1]
    assert host_machine.choose_cpus(1, [0, 1]) == [1]


def test_without_capacities_the_clock_decides_and_of_equals_the_last(
    cpus_folder: Callable[..., None],
) -> None:
    cpus_folder("cpufreq/cpuinfo_max_freq", 3000000, 4000000, 4000000, 3000000)
    assert host_machine.choose_cpus(2, range(4)) == [2, 1]


def test_a_system_that_says_nothing_gets_its_last_processors(
    cpus_folder: Callable[..., None],
) -> None:
    cpus_folder("cpu_capacity", "nonsense", "", "nonsense")
    assert host_machine.choose_cpus(2, range(8)) == [7, 6]
    assert host_machine.choose_cpus(4, [0, 5]) == [5, 0]


def test_host_facts_do_not_name_the_machine_or_its_user() -> None:
    import getpass
    import socket

    host = host_machine.host()
    assert {"system", "machine", "cpus", "cpus_usable"} <= host.keys()
    assert None not in host.values()
    text = str(host)
    assert socket.gethostname() not in text
    assert getpass.getuser() == "root" or getpass.getuser() not in text


# timing


def counting(switches: list[int]) -> tuple[SimpleNamespace, list[int]]:
    """Return a stand-in for the resource module whose counter rises as told, and who was asked."""
    asked: list[int] = []
    values = iter(switches)

    def getrusage(who: int) -> SimpleNamespace:
        asked.append(who)
        return SimpleNamespace(ru_nivcsw=next(values))

    return SimpleNamespace(getrusage=getrusage, RUSAGE_SELF=0, RUSAGE_THREAD=1), asked


@pytest.mark.parametrize(("threads", "who"), [(1, 1), (2, 0)])
def test_a_burst_counts_its_calls_and_the_switches_in_each(
    monkeypatch: pytest.MonkeyPatch, threads: int, who: int
) -> None:
    resource, asked = counting([5, 5, 7, 7, 8])
    monkeypatch.setattr(timing_burst, "resource", resource)
    calls: list[int] = []
    burst = timing_burst.time_calls(lambda: calls.append(1), 4, threads)
    assert (len(burst.latencies_ns), burst.switches) == (4, [0, 2, 0, 1])
    assert len(calls) == 5  # one settles the graph
    assert (burst.marks, burst.probed_ns) == ([], 0)
    assert min(burst.latencies_ns) >= 0
    assert set(asked) == {who}


def test_a_system_without_counters_gives_latencies_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing_burst, "resource", None)
    burst = timing_burst.time_calls(lambda: None, 3, 1)
    assert (len(burst.latencies_ns), burst.switches) == (3, None)
    assert host_machine.host()


def machine(latency_s: float, **more: Any) -> Machine:
    return Machine({"g": latency_s}, noise=0.0, **more)


@given(st.floats(1e-6, 0.3), st.integers(1, 60))
def test_readings_bracket_every_burst_and_come_in_order(latency_s: float, calls: int) -> None:
    burst = machine(latency_s).burst("g", calls)
    before = [index for index, _ in burst["marks"]]
    assert (before[0], before[-1]) == (0, calls)
    assert before == sorted(set(before))
    assert burst["latencies_ns"] == pytest.approx([latency_s * 1e9] * calls, abs=1)
    assert burst["switches"] == [0] * calls


@pytest.mark.parametrize(("latency_s", "calls"), [(0.0001, 400), (0.002, 100), (0.03, 10)])
def test_the_sentinel_is_read_every_twenty_milliseconds(latency_s: float, calls: int) -> None:
    marks = machine(latency_s).burst("g", calls)["marks"]
    gaps = [(later - earlier) * latency_s for (earlier, _), (later, _) in pairwise(marks)]
    assert max(gaps) < timing_burst.MARK_NS * 1e-9 + 2 * latency_s
    assert all(gap >= timing_burst.MARK_NS * 1e-9 for gap in gaps[:-1])


def test_what_readings_take_is_told_and_in_no_latency() -> None:
    slow = machine(0.002)
    burst = slow.burst("g", 100)
    took = 4 * 12_000 * len(burst["marks"]) + 4 * sum(burst["stream_ns"])
    assert burst["probed_ns"] == pytest.approx(took, rel=0.01)
    assert max(burst["latencies_ns"]) <= 2_000_001


def test_switches_beside_the_calls_are_not_theirs() -> None:
    """Whatever hits the sentinel, or the calls that settle, hits no sample."""
    hit = machine(0.002)
    hit.interrupt = lambda seconds: (0.001, int(seconds < 0.001))
    burst = hit.burst("g", 100)
    assert hit.switches > 0
    assert burst["switches"] == [0] * 100


@pytest.mark.parametrize(("latency_s", "more"), [(0.0001, 1), (0.002, 0)])
def test_short_calls_settle_again_after_each_reading(latency_s: float, more: int) -> None:
    short = machine(latency_s)
    marks = short.burst("g", 600)["marks"]
    assert short.calls == 600 + 1 + more * (len(marks) - 1)


def test_a_probe_that_takes_long_is_read_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = machine(0.002)
    monkeypatch.setattr(slow, "compute", lambda: slow.sleep(0.01) or 12_000)
    burst = slow.burst("g", 1000)
    assert burst["probed_ns"] < 0.03 * 2e9
    assert len(burst["marks"]) > 2


def test_a_graph_settles_by_one_call() -> None:
    calls: list[int] = []
    timing_burst.settle(lambda: calls.append(1))
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("latencies", "calls"),
    [([8, 8], 2), ([8, 7, 6, 5, 5], 5), ([8, 9], 2), ([2.0**-n for n in range(99)], 11)],
)
def test_a_graph_that_waits_for_memory_settles_until_it_gets_no_faster(
    latencies: list[float], calls: int
) -> None:
    following = iter(latencies)
    bound = machine(0.0)
    bound.latencies["g"] = lambda: next(following)
    with patch.object(timing_burst, "time", bound):
        last_ns = timing_burst.settle(lambda: bound.call("g"), memory_bound=True)
    assert bound.calls == calls
    assert last_ns == pytest.approx(latencies[calls - 1] * 1e9)


# the sentinel


def test_the_sentinel_reads_whole_nanoseconds() -> None:
    probe = Sentinel()
    for reading in (probe.compute(), probe.stream()):
        assert isinstance(reading, int)
        assert reading > 0


def test_copying_four_megabytes_takes_longer_than_a_small_product() -> None:
    probe = Sentinel()
    assert min(probe.stream() for _ in range(5)) > min(probe.compute() for _ in range(5))


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="needs affinities")
@pytest.mark.usefixtures("two_cpus")
def test_every_processor_has_a_probe_of_its_own() -> None:
    before, usable = os.sched_getaffinity(0), host_machine.usable_cpus()
    probe = Sentinel(usable[:2])
    assert probe.compute() > 0
    assert os.sched_getaffinity(0) == before
    bound = [
        os.sched_getaffinity(thread.native_id or 0)
        for thread in threading.enumerate()
        if thread.name == f"sentinel-{usable[1]}"
    ]
    assert bound
    assert all(mask == {usable[1]} for mask in bound)


@pytest.mark.usefixtures("two_cpus")
def test_the_slowest_processor_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = threading.current_thread()
    probe = Sentinel(host_machine.usable_cpus()[:2])
    for here, there in ((5, 9), (9, 5)):
        readings = {True: here, False: there}
        monkeypatch.setattr(
            sentinel, "_compute", lambda _, r=readings: r[threading.current_thread() is mine]
        )
        assert probe.compute() == 9


def test_of_a_few_calls_the_fastest_but_the_first_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = machine(0.0)
    following = iter([1e-9, 7e-9, 5e-9, 6e-9])
    slow.latencies["g"] = lambda: next(following)
    monkeypatch.setattr(sentinel, "time", slow)
    assert sentinel.fastest(lambda: slow.call("g"), 4) == 5


@pytest.fixture
def crowded(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine on which the real stream sentinel copies, for 1.2 ms."""
    there = machine(0.002)
    there.agent.sentinel = Sentinel()
    monkeypatch.setattr(there.agent.sentinel, "copy", there.copy)
    monkeypatch.setattr(there.agent.sentinel, "compute", there.compute)
    monkeypatch.setattr(sentinel, "time", there)
    return there


def test_copying_takes_no_more_than_its_share_of_the_time(crowded: Machine) -> None:
    for _ in range(100):
        crowded.burst("g", 5)
    assert crowded.now / (100 * 6 * 0.002) < 1 + 2 * sentinel.STREAM_SHARE


def test_a_slow_stretch_of_two_bursts_shows_in_the_readings_of_the_stream_probe(
    crowded: Machine,
) -> None:
    crowded.state = lambda now: 1.35 if 0.02 < now < 0.055 else 1.0
    bursts = [crowded.burst("g", 10, True) for _ in range(3)]
    gate = Gate(stream=State(300_000, 290_000, 310_000))
    told = [Timed("g", burst).burst(session=0, round=0) for burst in bursts]
    assert max(ns for burst in told for ns in burst.quiet_ns(gate)) < 2_100_000


@pytest.mark.parametrize("stream", [True, False])
def test_what_the_sentinels_take_is_told_once(crowded: Machine, stream: bool) -> None:
    for _ in range(3):
        before, calls = crowded.now, crowded.calls
        burst = crowded.burst("g", 100, stream)
        beside = crowded.now - before - 0.002 * (crowded.calls - calls)
        assert burst["probed_ns"] == pytest.approx(beside * 1e9, rel=0.01)


def test_a_probe_does_the_same_work_on_pages_of_its_own_in_every_process() -> None:
    one, other = sentinel._matrices(), sentinel._matrices()
    for mine, theirs in zip(one, other, strict=True):
        assert np.array_equal(mine, theirs)
        assert mine.ctypes.data % sentinel.PAGE == 0
        assert mine.ctypes.data != theirs.ctypes.data


# denormals


@pytest.mark.parametrize(
    ("times", "ratio"),
    [
        ([10, 440, 11, 450, 12, 460, 10], 44.0),
        ([10, 440, 11, 450, 12, 12, 12], 1.0),  # a trial without a difference
        ([10, 10, 10], 1.0),
        ([10, 16, 15], 1.0),  # a slower state begins
        ([0, 3, 0, 3, 0, 3, 0], 3.0),
    ],
)
def test_denormals_cost_what_every_trial_shows(
    times: list[int], ratio: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = list(times)
    monkeypatch.setattr(denormals, "_environment", lambda: ())
    monkeypatch.setattr(denormals, "_denormals_kept", contextlib.nullcontext)
    monkeypatch.setattr(denormals, "_processor_ns", lambda _: left.pop(0))
    assert denormals.ratio(lambda: None) == ratio
    assert not left


def test_a_thread_that_flushes_denormals_keeps_them_for_a_while() -> None:
    def products() -> list[bool]:
        environment = denormals._environment()
        tiny = np.full(8, 1e-20, np.float32)
        if environment is None:  # Python alone never makes a thread flush
            options = session.options(1, ())
            ort.InferenceSession(matmul_graph.graph(2), options, providers=[CPU_PROVIDER])
            environment = denormals._environment()
        if environment is None:
            pytest.skip("the mode cannot be switched here")
        found = [(tiny * tiny).any()]
        with denormals._denormals_kept(*environment):
            found.append((tiny * tiny).any())
        return [*found, (tiny * tiny).any()]

    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(products).result() == [False, True, False]


def test_a_processor_whose_mode_does_not_flush_has_no_ratio(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Python alone never makes a thread flush denormals; sessions of other tests do, in theirs."""
    ask = "from benchbox.agent.timing import denormals; print(denormals.ratio(lambda: None))"
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    assert done.stdout == "None\n"
    monkeypatch.setattr(denormals.platform, "machine", lambda: "riscv64")
    assert denormals._environment() is None


# stdio


def serve(connect: Connect, code: str) -> ProcessChannel:
    program = f"import os\nfrom benchbox.agent import stdio\n{code}\nstdio.serve(replies)"
    channel = ProcessChannel([sys.executable, "-c", program], {"PYTHONPATH": str(ROOT)})
    return connect(channel).channel


def test_what_libraries_print_to_stdout_goes_to_stderr(connect: Connect) -> None:
    channel = serve(
        connect,
        "def replies(r):\n"
        "    os.write(1, b'native noise\\n'); print('more', flush=True); yield {'reply': r['op']}",
    )
    channel.send({"op": "bye"})
    assert channel.receive(10) == {"reply": "bye"}
    channel._process.wait(10)
    assert channel.stderr_tail().split("\n") == ["native noise", "more"]


def test_a_program_that_nobody_listens_to_any_more_ends_in_mid_reply(
    connect: Connect,
) -> None:
    channel = serve(connect, "def replies(r):\n    while True: yield {'n': 1}")
    channel.send({"op": "time"})
    channel.receive(10)
    channel._process.stdout.close()  # type: ignore[union-attr]
    assert channel._process.wait(10) == 1


def test_an_exception_is_told_in_one_line() -> None:
    assert stdio.sentence(ValueError("a\n  b\tc")) == "ValueError: a b c"


# the wire


def test_an_unknown_request_and_a_broken_line_are_answered(client: Client) -> None:
    assert "unknown request 'dance'" in client.ask("dance")["error"]
    for line in (b"{broken\n", b"\n", b"[1]\n", b"\xff\xfe\n"):
        assert client.channel._process.stdin is not None
        client.channel._process.stdin.write(line)
        assert "unknown request" in client.channel.receive(10)["error"]
    assert "KeyError" in client.ask("time")["error"]
    assert client.hello()["protocol"] == PROTOCOL


def test_another_protocol_is_refused(client: Client) -> None:
    assert "protocol 99 asked for" in client.ask("hello", protocol=99, threads=1)["error"]


@ONE_THREAD
def test_one_thread_stays_on_one_processor(client: Client, write_onnx: WriteOnnx) -> None:
    usable = host_machine.usable_cpus()
    hello = client.hello(1, [usable[0]])
    assert (hello["cpus"], set(hello["affinity"])) == ([usable[0]], {str(usable[0])})
    assert set(client.load("g", write_onnx())["affinity"]) == {str(usable[0])}


@ONE_THREAD
@pytest.mark.usefixtures("two_cpus")
def test_each_of_two_threads_has_a_processor_of_its_own(
    client: Client, write_onnx: WriteOnnx
) -> None:
    hello = client.hello(2)
    assert len(hello["cpus"]) == 2
    second = str(hello["cpus"][1])
    assert hello["affinity"].count(second) == 1  # the sentinel's
    masks = client.load("g", write_onnx())["affinity"]
    assert masks[0] == str(hello["cpus"][0])
    assert masks.count(second) == 2
    assert len(client.time(("g", 3))[0]["latencies_ns"]) == 3


def test_bursts_come_in_the_order_asked_for_and_a_failing_one_ends_no_other(
    client: Client, write_onnx: WriteOnnx
) -> None:
    client.hello()
    for name in ("a", "b"):
        assert client.load(name, write_onnx())["finite"] is True
    bursts = client.time(("b", 2), ("nothing", 3), ("a", 4))
    assert [b["graph"] for b in bursts] == ["b", "nothing", "a"]
    assert [len(b.get("latencies_ns", ())) for b in bursts] == [2, 0, 4]
    assert "KeyError" in bursts[1]["error"]
    assert client.channel.receive(5)["reply"] == "time"
    assert client.ask("bye") == {"reply": "bye"}
    assert client.channel._process.wait(10) == 0


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.usefixtures("two_cpus")
def test_a_burst_carries_its_samples_with_what_was_seen_beside_them(
    client: Client, write_onnx: WriteOnnx, threads: int
) -> None:
    client.hello(threads)
    client.load("g", write_onnx())
    for burst, probe in zip(
        client.time(("g", 40), ("g", 3, True)), ("compute", "stream"), strict=True
    ):
        calls = len(burst["latencies_ns"])
        before = [index for index, _ in burst["marks"]]
        assert (before[0], before[-1]) == (0, calls)
        assert before == sorted(set(before))
        assert all(isinstance(reading, int) and reading > 0 for _, reading in burst["marks"])
        assert burst["probed_ns"] > 0
        assert (burst["probe"], burst["pool"]) == (probe, threads > 1)
        assert all(isinstance(value, (int, float)) for value in burst["seen"].values())
        assert Timed("g", burst).burst(session=0, round=0).marks


@pytest.mark.usefixtures("two_cpus")
def test_a_pool_that_is_not_bound_is_an_error(write_onnx: WriteOnnx) -> None:
    code = f"""
from benchbox.agent.ort import session
from benchbox.agent.__main__ import AgentProgram
bound = session.options
session.options = lambda threads, cpus: bound(threads, [])
agent = AgentProgram()
list(agent.replies(dict(op="hello", protocol={PROTOCOL}, threads=2)))
(reply,) = agent.replies(dict(op="load", graph="g", path={str(write_onnx())!r},
                              provider={CPU_PROVIDER!r}, inputs=[{X}], seed=0))
print(reply.get("error"))
"""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert "no thread of the pool is bound to processor" in done.stdout, done.stderr


def test_denormals_are_looked_for_where_asked(client: Client, write_onnx: WriteOnnx) -> None:
    client.hello()
    assert client.load("g", write_onnx())["denormal_ratio"] is None
    fields = {"path": str(write_onnx()), "provider": CPU_PROVIDER, "inputs": [X], "seed": 0}
    ratio = client.ask("load", graph="h", denormals=True, **fields)["denormal_ratio"]
    assert ratio is None or ratio > 0


def test_a_graph_that_does_not_load_is_an_error_and_the_agent_goes_on(
    client: Client, write_onnx: WriteOnnx, tmp_path: Path
) -> None:
    client.hello()
    (tmp_path / "text.onnx").write_text("no graph")
    assert "text.onnx" in client.load("text", tmp_path / "text.onnx")["error"]
    assert "error" in client.load("gone", tmp_path / "gone.onnx")
    assert "error" in client.load("shape", write_onnx(), {**X, "shape": [2, 2]})
    custom = "g (float[32,32] x) => (float[32,32] y) { y = nowhere.Magic(x) }"
    assert "Magic" in client.load("custom", write_onnx("custom", custom))["error"]
    assert "error" not in client.load("good", write_onnx())


def test_an_output_that_is_not_finite_is_said(client: Client, write_onnx: WriteOnnx) -> None:
    client.hello()
    log = "g (float[32,32] x) => (float[32,32] y) { y = Log(x) }"
    assert client.load("log", write_onnx("log", log))["finite"] is False


def test_every_dtype_reaches_the_graph(client: Client, tmp_path: Path) -> None:
    client.hello()
    for dtype in inputs.DTYPES:
        code = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        y = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [2])
        x = helper.make_tensor_value_info("x", code, [2])
        node = helper.make_node("Cast", ["x"], ["y"], to=onnx.TensorProto.FLOAT)
        graph = helper.make_graph([node], "g", [x], [y])
        path = tmp_path / f"{dtype}.onnx"
        opset = [helper.make_opsetid("", 18)]
        onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)
        reply = client.load(dtype, path, {"name": "x", "shape": [2], "dtype": dtype})
        assert "error" not in reply, (dtype, reply)
        assert reply["outputs"] == [{"name": "y", "type": "tensor(float)", "shape": [2]}]


@ONE_THREAD
def test_unloading_gives_the_memory_back(client: Client, tmp_path: Path) -> None:
    size = 64 << 20
    weight = numpy_helper.from_array(np.ones((size // 4 // 64, 64), np.float32), "w")
    x = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 64])
    y = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)
    node = helper.make_node("Gemm", ["x", "w"], ["y"], transB=1)
    graph = helper.make_graph([node], "g", [x], [y], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, tmp_path / "big.onnx")

    def resident() -> int:
        status = host_machine._fields(Path(f"/proc/{client.channel.pid}/status"))
        return int(status["VmRSS"].split()[0]) * 1024

    before = client.hello()["rss_bytes"]
    reply = client.load("big", tmp_path / "big.onnx", {**X, "shape": [1, 64]})
    assert reply["rss_bytes"] - before > size
    assert reply["peak_rss_bytes"] >= reply["rss_bytes"]
    assert reply["peak_bytes"] is None or reply["peak_bytes"] > size
    assert client.ask("unload", graph="big") == {"reply": "unload"}
    assert resident() - before < size / 2
    assert "KeyError" in client.time(("big", 1))[0]["error"]


# what the agent is made of


def test_the_agent_needs_nothing_of_benchbox_but_itself(write_onnx: WriteOnnx) -> None:
    code = f"""
import sys
from benchbox.agent.__main__ import AgentProgram
agent = AgentProgram()
for request in (
    dict(op="hello", protocol={PROTOCOL}, threads=1),
    dict(op="load", graph="g", path={str(write_onnx())!r}, provider={CPU_PROVIDER!r},
         inputs=[{X}], seed=0),
    dict(op="time", bursts=[("g", 2)]),
):
    assert not any("error" in str(reply) for reply in agent.replies(request))
tops = {{name.partition(".")[0] for name in sys.modules}}
print(sorted(tops & {{"torch", "onnx", "pandas", "rich", "typer", "psutil", "pydantic"}}))
own = [name for name in sys.modules if name.startswith("benchbox")]
print([name for name in own if not name.startswith("benchbox.agent")])
"""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.stdout.splitlines() == ["[]", "['benchbox']"], done.stderr


def test_telemetry_is_off_before_onnxruntime_is_imported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, connect: Connect
) -> None:
    """The zipapp has no parent that could have set it."""
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY")
    spy = (
        "import os, runpy, sys\n"
        "class Spy:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'onnxruntime':\n"
        "            off = os.environ.get('ORT_DISABLE_TELEMETRY')\n"
        "            sys.stderr.write(f'off: {off}\\n')\n"
        "sys.meta_path.insert(0, Spy())\n"
        f"runpy.run_path({str(zipapp.build(tmp_path / 'agent.pyz'))!r}, run_name='__main__')"
    )
    client = connect(ProcessChannel([sys.executable, "-I", "-c", spy]))
    assert "error" not in client.hello()
    assert client.channel.stderr_tail() == "off: 1"


def test_the_zipapp_holds_the_agent_alone_and_equal_sources_give_equal_bytes(
    tmp_path: Path,
) -> None:
    one, other = zipapp.build(tmp_path / "one.pyz"), zipapp.build(tmp_path / "other.pyz")
    assert one.read_bytes() == other.read_bytes()
    names = zipfile.ZipFile(one).namelist()
    own = [n for n in names if n not in ("__main__.py", "benchbox/__init__.py")]
    assert all(n.startswith("benchbox/agent/") for n in own)
    assert len(own) == len(list((ROOT / "benchbox" / "agent").rglob("*.py")))


def test_the_zipapp_serves_from_anywhere(
    tmp_path: Path, in_tmp: Path, write_onnx: WriteOnnx, connect: Connect
) -> None:
    path = zipapp.build(tmp_path / "agent.pyz")
    (in_tmp / "numpy.py").write_text("raise SystemExit('the wrong numpy')")
    client = connect(ProcessChannel([sys.executable, "-I", str(path)]))
    assert client.hello()["providers"]
    assert client.load("g", write_onnx())["finite"]
    assert len(client.time(("g", 5))[0]["latencies_ns"]) == 5
    assert client.channel.receive(5)["reply"] == "time"
    assert client.ask("bye") == {"reply": "bye"}
    assert client.channel._process.wait(10) == 0


def test_a_runtime_error_belongs_to_its_request_alone() -> None:
    agent = AgentProgram()
    (reply,) = agent.replies({"op": "load", "graph": "g"})
    assert reply["error"]
    assert list(agent.replies({"op": "unload", "graph": "never loaded"})) == [{"reply": "unload"}]


def test_a_sentinel_without_its_processor_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="processor 4095"):
        Sentinel([0, 4095])
