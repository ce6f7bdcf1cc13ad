"""The agent's program on the wire, and as the file that is sent to boards."""

import contextlib
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from benchbox.agent import PROTOCOL, stdio
from benchbox.agent.host import machine
from benchbox.agent.ort import inputs
from benchbox.devices import CPU_PROVIDER
from benchbox.sampling.session import Timed
from benchbox.transports.board import zipapp
from benchbox.transports.channel import ProcessChannel
from benchbox.transports.local import ROOT, open_local

WriteOnnx = Callable[..., Path]
Connect = Callable[[ProcessChannel], "Client"]
X = {"name": "x", "shape": [32, 32], "dtype": "float32"}
ONE_THREAD = pytest.mark.skipif(not machine.TASKS.exists(), reason="needs /proc")


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


# the wire


def test_what_cannot_be_answered_is_an_error_of_its_request_alone(client: Client) -> None:
    assert stdio.sentence(ValueError("a\n  b\tc")) == "ValueError: a b c"
    assert "unknown request 'dance'" in client.ask("dance")["error"]
    for line in (b"{broken\n", b"\n", b"[1]\n", b"\xff\xfe\n"):
        assert client.channel._process.stdin is not None
        client.channel._process.stdin.write(line)
        assert "unknown request" in client.channel.receive(10)["error"]
    assert "KeyError" in client.ask("time")["error"]
    assert client.ask("load", graph="g")["error"]
    assert client.ask("unload", graph="never loaded") == {"reply": "unload"}
    assert "protocol 99 asked for" in client.ask("hello", protocol=99, threads=1)["error"]
    assert client.hello()["protocol"] == PROTOCOL


@ONE_THREAD
def test_one_thread_stays_on_one_processor(client: Client, write_onnx: WriteOnnx) -> None:
    usable = machine.usable_cpus()
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


def run_alone(code: str, path: Path) -> list[str]:
    """The lines that code prints in a new process; `replies` yields those of an agent in it."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    program = f"""
import sys
from benchbox.agent.ort import session
from benchbox.agent.__main__ import AgentProgram
agent = AgentProgram()
def replies(threads):
    yield from agent.replies(dict(op="hello", protocol={PROTOCOL}, threads=threads))
    yield from agent.replies(dict(op="load", graph="g", path={str(path)!r},
                                  provider={CPU_PROVIDER!r}, inputs=[{X}], seed=0))
    yield from agent.replies(dict(op="time", bursts=[("g", 2)]))
{code}"""
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.usefixtures("two_cpus")
def test_a_pool_that_is_not_bound_is_an_error(write_onnx: WriteOnnx) -> None:
    code = """
bound = session.options
session.options = lambda threads, cpus: bound(threads, [])
print(list(replies(2))[1].get("error"))"""
    (line,) = run_alone(code, write_onnx())
    assert "no thread of the pool is bound to processor" in line


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
    log = "g (float[32,32] x) => (float[32,32] y) { y = Log(x) }"
    assert client.load("log", write_onnx("log", log))["finite"] is False
    assert client.load("good", write_onnx())["denormal_ratio"] is None
    fields = {"path": str(write_onnx()), "provider": CPU_PROVIDER, "inputs": [X], "seed": 0}
    ratio = client.ask("load", graph="h", denormals=True, **fields)["denormal_ratio"]
    assert ratio is None or ratio > 0


def test_every_dtype_reaches_the_graph(client: Client, write_onnx: WriteOnnx) -> None:
    client.hello()
    for dtype in inputs.DTYPES:
        kind = {"float32": "float", "float64": "double"}.get(dtype, dtype)
        text = f"g ({kind}[2] x) => (float[2] y) {{ y = Cast<to=1>(x) }}"
        tensor = {"name": "x", "shape": [2], "dtype": dtype}
        reply = client.load(dtype, write_onnx(dtype, text), tensor)
        assert "error" not in reply, (dtype, reply)
        assert reply["outputs"] == [{"name": "y", "type": "tensor(float)", "shape": [2]}]


@ONE_THREAD
def test_unloading_gives_the_memory_back(client: Client, write_onnx: WriteOnnx) -> None:
    size = 64 << 20
    gemm = "big (float[1,64] x) => (float[1,N] y) { y = Gemm<transB=1>(x, w) }"
    path = write_onnx("big", gemm)
    model = onnx.load(path)
    weight = np.ones((size // 4 // 64, 64), np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    onnx.save(model, path)

    def resident() -> int:
        status = machine._fields(Path(f"/proc/{client.channel.pid}/status"))
        return int(status["VmRSS"].split()[0]) * 1024

    before = client.hello()["rss_bytes"]
    reply = client.load("big", path, {**X, "shape": [1, 64]})
    assert reply["rss_bytes"] - before > size
    assert reply["peak_rss_bytes"] >= reply["rss_bytes"]
    assert reply["peak_bytes"] is None or reply["peak_bytes"] > size
    assert client.ask("unload", graph="big") == {"reply": "unload"}
    assert resident() - before < size / 2
    assert "KeyError" in client.time(("big", 1))[0]["error"]


# what the agent is made of


def test_the_agent_needs_nothing_of_benchbox_but_itself(write_onnx: WriteOnnx) -> None:
    code = """
assert not any("error" in str(reply) for reply in replies(1))
tops = {name.partition(".")[0] for name in sys.modules}
print(sorted(tops & {"torch", "onnx", "pandas", "rich", "typer", "psutil", "pydantic"}))
own = [name for name in sys.modules if name.startswith("benchbox")]
print([name for name in own if not name.startswith("benchbox.agent")])"""
    assert run_alone(code, write_onnx()) == ["[]", "['benchbox']"]


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


def test_the_zipapp_holds_the_agent_alone_and_serves_from_anywhere(
    tmp_path: Path, in_tmp: Path, write_onnx: WriteOnnx, connect: Connect
) -> None:
    path = zipapp.build(tmp_path / "agent.pyz")
    names = set(zipfile.ZipFile(path).namelist()) - {"__main__.py", "benchbox/__init__.py"}
    sources = (ROOT / "benchbox" / "agent").rglob("*.py")
    assert names == {str(source.relative_to(ROOT)) for source in sources}
    (in_tmp / "numpy.py").write_text("raise SystemExit('the wrong numpy')")
    client = connect(ProcessChannel([sys.executable, "-I", str(path)]))
    assert client.hello()["providers"]
    assert client.load("g", write_onnx())["finite"]
    assert len(client.time(("g", 5))[0]["latencies_ns"]) == 5
    assert client.channel.receive(5)["reply"] == "time"
    assert client.ask("bye") == {"reply": "bye"}
    assert client.channel._process.wait(10) == 0
