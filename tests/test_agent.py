import contextlib
import hashlib
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from benchbox.agent import PROTOCOL, inputs, stdio, system, timing
from benchbox.agent.__main__ import Agent
from benchbox.devices import CPU_PROVIDER
from benchbox.transports import zipapp
from benchbox.transports.channel import ProcessChannel
from benchbox.transports.local import ROOT, open_local

WriteOnnx = Callable[..., Path]
Connect = Callable[[ProcessChannel], "Client"]
X = {"name": "x", "shape": [32, 32], "dtype": "float32"}
ONE_THREAD = pytest.mark.skipif(not system.TASKS.exists(), reason="needs /proc")


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

    def time(self, *bursts: tuple[str, int]) -> list[dict[str, Any]]:
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
        "import hashlib; from benchbox.agent import inputs; h = hashlib.sha256()\n"
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
    monkeypatch.setattr(system, "CPUS", tmp_path)

    def make(name: str, *values: object) -> None:
        for index, value in enumerate(values):
            file = tmp_path / f"cpu{index}" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{value}\n")

    return make


def test_the_biggest_cluster_is_chosen(cpus_folder: Callable[..., None]) -> None:
    cpus_folder("cpu_capacity", 446, 446, 1024, 871)
    assert system.choose_cpus(1, range(4)) == [2]
    assert system.choose_cpus(3, range(4)) == [2, 3, 1]
    assert system.choose_cpus(1, [0, 1]) == [1]


def test_without_capacities_the_clock_decides_and_of_equals_the_last(
    cpus_folder: Callable[..., None],
) -> None:
    cpus_folder("cpufreq/cpuinfo_max_freq", 3000000, 4000000, 4000000, 3000000)
    assert system.choose_cpus(2, range(4)) == [2, 1]


def test_a_system_that_says_nothing_gets_its_last_processors(
    cpus_folder: Callable[..., None],
) -> None:
    cpus_folder("cpu_capacity", "nonsense", "", "nonsense")
    assert system.choose_cpus(2, range(8)) == [7, 6]
    assert system.choose_cpus(4, [0, 5]) == [5, 0]


def test_host_facts_do_not_name_the_machine_or_its_user() -> None:
    import getpass
    import socket

    host = system.host()
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
    monkeypatch.setattr(timing, "resource", resource)
    calls: list[int] = []
    burst = timing.burst(lambda: calls.append(1), 4, threads)
    assert (len(calls), len(burst.latencies_ns), burst.switches) == (4, 4, [0, 2, 0, 1])
    assert min(burst.latencies_ns) >= 0
    assert set(asked) == {who}


def test_a_system_without_counters_gives_latencies_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "resource", None)
    burst = timing.burst(lambda: None, 3, 1)
    assert (len(burst.latencies_ns), burst.switches) == (3, None)
    assert system.host()


@pytest.mark.parametrize(("threads", "least", "most"), [(1, 1, 1), (2, 2, 10**9)])
def test_settling_is_one_call_or_lasts_until_pools_sleep(
    threads: int, least: int, most: int
) -> None:
    calls: list[int] = []
    timing.settle(lambda: calls.append(1), threads)
    assert least <= len(calls) <= most


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
    usable = system.usable_cpus()
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
    masks = client.load("g", write_onnx())["affinity"]
    assert masks[0] == str(hello["cpus"][0])
    assert str(hello["cpus"][1]) in masks
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
        status = system._fields(Path(f"/proc/{client.channel.pid}/status"))
        return int(status["VmRSS"].split()[0]) * 1024

    before = client.hello()["rss_bytes"]
    reply = client.load("big", tmp_path / "big.onnx", {**X, "shape": [1, 64]})
    assert reply["rss_bytes"] - before > size
    assert reply["peak_rss_bytes"] >= reply["rss_bytes"]
    assert client.ask("unload", graph="big") == {"reply": "unload"}
    assert resident() - before < size / 2
    assert "KeyError" in client.time(("big", 1))[0]["error"]


# what the agent is made of


def test_the_agent_needs_nothing_of_benchbox_but_itself(write_onnx: WriteOnnx) -> None:
    code = f"""
import sys
from benchbox.agent.__main__ import Agent
agent = Agent()
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
    assert len(own) == len(list((ROOT / "benchbox" / "agent").glob("*.py")))


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
    agent = Agent()
    (reply,) = agent.replies({"op": "load", "graph": "g"})
    assert reply["error"]
    assert list(agent.replies({"op": "unload", "graph": "never loaded"})) == [{"reply": "unload"}]
