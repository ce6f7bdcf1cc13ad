"""The agent's program on the wire, and as the file that is sent to boards."""

import contextlib
import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from benchbox.agent import PROTOCOL, stdio
from benchbox.agent.host import machine
from benchbox.agent.ort import ceilings, inputs, matmul_graph, session
from benchbox.agent.ort.runtime import OnnxRuntime
from benchbox.devices import CPU_PROVIDER
from benchbox.sampling.session import samples
from benchbox.transports import reply_schema
from benchbox.transports.board import zipapp
from benchbox.transports.channel import ProcessChannel
from benchbox.transports.local import ROOT, open_local
from tests.conftest import WriteOnnx
from tests.helpers.machine import Inside

X = {"name": "x", "shape": [32, 32], "dtype": "float32"}


class Client:
    """Speaks the protocol without the parent's classes: what is tested is the wire."""

    def __init__(self, channel: ProcessChannel) -> None:
        self.channel = channel

    def ask(self, op: str, **fields: object) -> dict[str, Any]:
        self.channel.send({"op": op, **fields})
        return self.channel.receive(30)

    def hello(self, threads: int = 1) -> dict[str, Any]:
        return self.ask("hello", protocol=PROTOCOL, threads=threads)

    def load(self, graph: str, path: Path, *tensors: dict[str, object]) -> dict[str, Any]:
        chosen = list(tensors) or [X]
        fields = {"path": str(path), "provider": CPU_PROVIDER, "inputs": chosen, "seed": 0}
        return self.ask("load", graph=graph, **fields)

    def time(self, *bursts: tuple[str, int] | tuple[str, int, bool]) -> list[dict[str, Any]]:
        first = self.ask("time", bursts=bursts)
        return [first["burst"], *(self.channel.receive(30)["burst"] for _ in bursts[1:])]


@contextlib.contextmanager
def speaking(channel: ProcessChannel) -> Iterator[Client]:
    """Speak to a process, which ends with this context."""
    try:
        yield Client(channel)
    finally:
        channel.kill()


@pytest.fixture
def client() -> Iterator[Client]:
    """An agent that was not greeted yet."""
    with speaking(open_local()) as client:
        yield client


@pytest.fixture(scope="module")
def greeted() -> Iterator[Client]:
    """An agent with one thread, for all tests whose graphs do not care about others."""
    with speaking(open_local()) as client:
        client.hello()
        yield client


def served(code: str, op: str) -> tuple[ProcessChannel, dict[str, Any]]:
    program = f"import os\nfrom benchbox.agent import stdio\n{code}\nstdio.serve(replies)"
    channel = ProcessChannel([sys.executable, "-c", program], {"PYTHONPATH": str(ROOT)})
    channel.send({"op": op})
    return channel, channel.receive(10)


def test_what_libraries_print_to_stdout_goes_to_stderr() -> None:
    code = "os.write(1, b'native noise\\n'); print('more', flush=True); yield {'reply': r['op']}"
    channel, reply = served(f"def replies(r):\n    {code}", "bye")
    assert reply == {"reply": "bye"}
    channel._process.wait(10)
    assert channel.stderr_tail().split("\n") == ["native noise", "more"]
    channel.kill()


def test_a_program_that_nobody_listens_to_any_more_ends_in_mid_reply() -> None:
    channel, _ = served("def replies(r):\n    while True: yield {'n': 1}", "time")
    channel._process.stdout.close()  # type: ignore[union-attr]
    assert channel._process.wait(10) == 1
    channel.kill()


def test_what_cannot_be_answered_is_an_error_of_its_request_alone(client: Client) -> None:
    assert stdio.sentence(ValueError("a\n  b\tc")) == "ValueError: a b c"
    assert "unknown request 'dance'" in client.ask("dance")["error"]
    for line in (b"{broken\n", b"[1]\n", b"\xff\xfe\n"):
        assert client.channel._process.stdin is not None
        client.channel._process.stdin.write(line)
        assert "unknown request" in client.channel.receive(10)["error"]
    assert "KeyError" in client.ask("time")["error"]
    assert client.ask("unload", graph="never loaded") == {"reply": "unload"}
    assert "protocol 99 asked for" in client.ask("hello", protocol=99, threads=1)["error"]
    assert client.hello()["protocol"] == PROTOCOL
    assert client.ask("bye") == {"reply": "bye"}
    assert client.channel._process.wait(10) == 0


def check_samples(burst: Mapping[str, Any], probe: str, *, pool: bool) -> None:
    """A burst carries its samples with what was seen beside them."""
    assert all(isinstance(reading, int) and reading > 0 for _, reading in burst["marks"])
    assert burst["probed_ns"] > 0
    assert (burst["probe"], burst["pool"]) == (probe, pool)
    assert all(isinstance(value, (int, float)) for value in burst["seen"].values())
    assert samples(burst).marks


def test_bursts_come_in_order_despite_a_failing_one(greeted: Client, write_onnx: WriteOnnx) -> None:
    for name in ("a", "b"):
        assert greeted.load(name, write_onnx())["finite"] is True
    bursts = greeted.time(("b", 40), ("nothing", 3), ("a", 4, True))
    assert [b["graph"] for b in bursts] == ["b", "nothing", "a"]
    assert [len(b.get("latencies_ns", ())) for b in bursts] == [40, 0, 4]
    assert "KeyError" in bursts[1]["error"]
    for burst, probe in ((bursts[0], "compute"), (bursts[2], "stream")):
        check_samples(burst, probe, pool=False)
    assert greeted.channel.receive(5)["reply"] == "time"


@pytest.mark.skipif(not machine.TASKS.exists(), reason="needs /proc")
@pytest.mark.usefixtures("two_cpus")
def test_each_thread_has_a_processor_of_its_own(client: Client, write_onnx: WriteOnnx) -> None:
    hello = client.hello(2)
    assert len(hello["cpus"]) == 2
    second = str(hello["cpus"][1])
    assert hello["affinity"].count(second) == 1  # the sentinel's
    masks = client.load("g", write_onnx())["affinity"]
    assert masks[0] == str(hello["cpus"][0])
    assert masks.count(second) == 2
    check_samples(client.time(("g", 3))[0], "compute", pool=True)


@pytest.mark.usefixtures("two_cpus")
def test_a_pool_that_is_not_bound_is_an_error(
    tmp_path: Path, write_onnx: WriteOnnx, monkeypatch: pytest.MonkeyPatch
) -> None:
    bound = session.options
    monkeypatch.setattr(session, "options", lambda threads, _: bound(threads, []))
    channel = Inside(tmp_path)
    client = Client(channel)  # type: ignore[arg-type]
    client.hello(2)
    error = client.load("g", write_onnx())["error"]
    channel.close()
    assert "no thread of the pool is bound to processor" in error


def test_a_graph_may_fail_to_load(greeted: Client, write_onnx: WriteOnnx, tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("no graph")
    assert "text.onnx" in greeted.load("text", tmp_path / "text.onnx")["error"]
    assert "error" in greeted.load("gone", tmp_path / "gone.onnx")
    assert "error" in greeted.load("shape", write_onnx(), {**X, "shape": [2, 2]})
    custom = "g (float[32,32] x) => (float[32,32] y) { y = nowhere.Magic(x) }"
    assert "Magic" in greeted.load("custom", write_onnx("custom", custom))["error"]
    log = "g (float[32,32] x) => (float[32,32] y) { y = Log(x) }"
    assert greeted.load("log", write_onnx("log", log))["finite"] is False
    assert greeted.load("good", write_onnx())["denormal_ratio"] is None
    fields = {"path": str(write_onnx()), "provider": CPU_PROVIDER, "inputs": [X], "seed": 0}
    ratio = greeted.ask("load", graph="h", denormals=True, **fields)["denormal_ratio"]
    assert ratio is None or ratio > 0


ODD = {
    "sequence": "g (float[2] x) => (seq(float[2]) y) { y = SequenceConstruct(x) }",
    "optional": "g (float[2] x) => (optional(float[2]) y) { y = Optional(x) }",
    "string": "g (float[2] x) => (string[2] y) { y = Cast<to = 8>(x) }",
    "bfloat16": "g (float[2] x) => (bfloat16[2] y) { y = Cast<to = 16>(x) }",
    "scalar": "g (float[2] x) => (float y) { y = ReduceMax<keepdims = 0>(x) }",
    "empty": "g (float[2] x) => (float[0] y) { k = Constant<value = int64[1] {0}>() "
    "y = Slice(x, k, k) }",
    "misdeclared": "g (float[2] x) => (float[1,n] y) { y = Relu(x) }",
    "drawn": "g (float[2] x) => (float[n] y) { u = RandomUniform<shape = [64]>() "
    "h = Constant<value = float {0.5}>() b = Greater(u, h) y = Compress(u, b) }",
}


@pytest.mark.parametrize("kind", ODD)
def test_any_output_is_taken_and_none_grows(
    greeted: Client, write_onnx: WriteOnnx, kind: str
) -> None:
    tensor = {"name": "x", "shape": [2], "dtype": "float32"}
    reply = greeted.load(kind, write_onnx(kind, ODD[kind]), tensor)
    assert "error" not in reply, reply
    (burst,) = greeted.time((kind, 20))
    assert len(burst["latencies_ns"]) == 20
    assert greeted.channel.receive(5)["reply"] == "time"


def test_every_dtype_reaches_the_graph(greeted: Client, write_onnx: WriteOnnx) -> None:
    for dtype in inputs.DTYPES:
        kind = {"float32": "float", "float64": "double"}.get(dtype, dtype)
        text = f"g ({kind}[2] x) => (float[2] y) {{ y = Cast<to=1>(x) }}"
        tensor = {"name": "x", "shape": [2], "dtype": dtype}
        reply = greeted.load(dtype, write_onnx(dtype, text), tensor)
        assert "error" not in reply, (dtype, reply)
        assert reply["outputs"] == [{"name": "y", "type": "tensor(float)", "shape": [2]}]


@pytest.mark.skipif(not machine.TASKS.exists(), reason="needs /proc")
def test_unloading_gives_the_memory_back(greeted: Client, write_onnx: WriteOnnx) -> None:
    size = 64 << 20
    gemm = "big (float[1,64] x) => (float[1,N] y) { y = Gemm<transB=1>(x, w) }"
    path = write_onnx("big", gemm)
    model = onnx.load(path)
    weight = np.ones((size // 4 // 64, 64), np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    onnx.save(model, path)

    def resident() -> int:
        status = machine.proc_fields(Path(f"/proc/{greeted.channel.pid}/status"))
        return int(status["VmRSS"].split()[0]) * 1024

    before = resident()
    reply = greeted.load("big", path, {**X, "shape": [1, 64]})
    assert reply["rss_bytes"] - before > size
    assert reply["peak_rss_bytes"] >= reply["rss_bytes"]
    assert reply["peak_bytes"] is None or reply["peak_bytes"] > size
    assert greeted.ask("unload", graph="big") == {"reply": "unload"}
    assert resident() - before < size / 2
    assert "KeyError" in greeted.time(("big", 1))[0]["error"]
    assert greeted.channel.receive(5)["reply"] == "time"


def test_ceilings_of_processors_are_those_of_each_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ceilings, "EACH_S", 0.0)
    runtime = OnnxRuntime()
    runtime.begin({"threads": 1}, ())
    one, two = (ceilings.measure(runtime.load, machine.usable_cpus()[:1] * n) for n in (1, 2))
    assert (
        one.keys()
        == two.keys()
        == {*reply_schema.ProcessorRates.model_fields} | {"fp16_macs_per_s", "int8_macs_per_s"}
    )
    assert min(*one.values(), *two.values()) > 0
    monkeypatch.setattr(matmul_graph, "ELEMENTS", {**matmul_graph.ELEMENTS, "float16": 99})
    assert "fp16_macs_per_s" not in ceilings.measure(runtime.load, machine.usable_cpus()[:1])


# what the agent is made of


SPY = """
import os, runpy, sys
class Spy:
    def find_spec(self, name, path=None, target=None):
        if name == "onnxruntime":
            sys.stderr.write("off: " + os.environ.get("ORT_DISABLE_TELEMETRY", "no") + "\\n")
        if name in ("torch", "onnx", "pandas", "rich", "typer", "psutil", "pydantic"):
            sys.stderr.write(name + "\\n")
sys.meta_path.insert(0, Spy())
runpy.run_path(sys.argv[1], run_name="__main__")
"""


def test_the_zipapp_holds_the_agent_alone_and_serves_from_anywhere(
    tmp_path: Path, in_tmp: Path, write_onnx: WriteOnnx, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has no parent that could have set that no telemetry is sent."""
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY")
    path = zipapp.build(tmp_path / "agent.pyz")
    names = set(zipfile.ZipFile(path).namelist()) - {"__main__.py", "benchbox/__init__.py"}
    sources = (ROOT / "benchbox" / "agent").rglob("*.py")
    assert names == {str(source.relative_to(ROOT)) for source in sources}
    bare = [sys.executable, "-I", "-S", str(path), "--facts"]  # a Python without any package
    facts = json.loads(subprocess.run(bare, capture_output=True, check=True).stdout)
    assert facts["versions"].keys() == {"Python"}
    (in_tmp / "numpy.py").write_text("raise SystemExit('the wrong numpy')")
    channel = ProcessChannel([sys.executable, "-I", "-c", SPY, str(path)])
    with speaking(channel) as client:
        assert client.hello()["providers"]
        assert client.load("g", write_onnx())["finite"]
        assert len(client.time(("g", 5))[0]["latencies_ns"]) == 5
        assert channel.receive(5)["reply"] == "time"
        assert client.ask("bye") == {"reply": "bye"}
        assert channel._process.wait(10) == 0
        assert channel.stderr_tail() == "off: 1"


def test_the_memory_of_a_graph_does_not_depend_on_its_place(write_onnx: WriteOnnx) -> None:
    with speaking(open_local()) as client:
        client.hello()
        first, second = (client.load(name, write_onnx(name))["peak_bytes"] for name in "ab")
    if first is not None:  # where the system tells it
        assert abs(first - second) < 2 << 20
