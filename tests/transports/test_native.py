"""The runner for devices without Python: built here, for this machine and for an emulated one."""

import json
import os
import platform
import random
import shutil
import string
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchbox.agent import stdio
from benchbox.agent.ort import inputs
from benchbox.devices import CPU_PROVIDER, Device
from benchbox.errors import AgentError, CaseError, DeviceError, UsageError
from benchbox.specs import TensorSpec
from benchbox.transports import Agent, native
from benchbox.transports.channel import ChannelClosed, ProcessChannel
from benchbox.transports.local import open_local
from benchbox.transports.native import download
from benchbox.transports.native.build import SOURCES, compile_to
from benchbox.transports.native.bundle import ONNXRUNTIME, RUNNER
from tests.board.fixtures import _do_without

WriteOnnx = Callable[..., Path]
X = TensorSpec("x", (32, 32))
IMAGE = (TensorSpec("x", (1, 3, 24, 24)), TensorSpec("w", (8, 3, 3, 3)))
CONV = """small (float[1,3,24,24] x, float[8,3,3,3] w) => (float[1,8,22,22] y, float[1,1] mean) {
    c = Conv (x, w)
    y = Relu (c)
    f = Flatten (y)
    mean = ReduceMean <keepdims = 1> (f)
}"""
LEFT_OUT = {"collections", "throttled_periods", "throttled_us"}  # of what Python's witness sees
ORDER = ("float32", "float64", "float16", "int8", "uint8", "int16", "uint16", "int32", "uint32")
DTYPES = (*ORDER, "int64", "uint64", "bool")
ONNX_NAMES = {"float32": "float", "float64": "double"}


class Runner(ProcessChannel):
    """A runner on this machine, which is given the data of inputs as a phone would be."""

    def __init__(self, argv: list[str], folder: Path) -> None:
        super().__init__(argv)
        self.folder = folder
        self.more: dict[str, object] = {}

    def send(self, message: stdio.Message) -> None:
        fed = native.with_data(message, self.folder, str)
        super().send({**fed, **self.more} if message["op"] == "load" else fed)

    def ask(self, op: str, **fields: object) -> dict[str, Any]:
        ProcessChannel.send(self, {"op": op, **fields})
        return self.receive(30)

    def line(self, text: bytes) -> dict[str, Any]:
        assert self._process.stdin is not None
        left = text + b"\n"
        while left:
            left = left[self._process.stdin.write(left) :]
        return self.receive(30)

    def orphan(self) -> int:
        """Close stdin; return how the runner ended by itself."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        return self._process.wait(20)


def library() -> str:
    return str(next((Path(ort.__file__).parent / "capi").glob("libonnxruntime.so*")))


def made(build: Callable[[], Path]) -> Path:
    try:
        return build()
    except (UsageError, DeviceError) as error:
        _do_without(str(error))


@pytest.fixture
def binary(shared_cache: Path) -> Path:
    assert shared_cache
    if sys.platform != "linux" or platform.machine() not in native.MACHINES:
        _do_without("a native runner needs Linux on x86-64 or Arm")
    return made(lambda: native.build(platform.machine()))


@pytest.fixture
def runner(binary: Path, tmp_path: Path) -> Iterator[Runner]:
    channel = Runner([str(binary), library()], tmp_path / "data")
    yield channel
    channel.kill()


@pytest.fixture
def greeted(runner: Runner) -> Runner:
    assert "error" not in runner.ask("hello", protocol=1, threads=1, cpus=None)
    return runner


def expected(path: Path, *tensors: TensorSpec, seed: int = 0) -> list[Any]:
    session = ort.InferenceSession(str(path), providers=[CPU_PROVIDER])
    feeds = {t.name: inputs.make(t.name, t.shape, t.dtype, seed) for t in tensors}
    return list(session.run(None, feeds))


def flat(arrays: list[Any]) -> Any:
    return np.concatenate([array.ravel() for array in arrays])


def test_the_parents_agent_works_on_a_runner(
    runner: Runner, cpu: Device, write_onnx: WriteOnnx
) -> None:
    with Agent(runner, cpu) as agent:
        loaded = agent.load("g", str(write_onnx()), [X], seed=0, denormals=True)
        assert loaded.load_s > 0
        assert loaded.first_call_s > 0
        assert loaded.peak_rss_bytes
        (first, slow, missing) = agent.time(
            [("g", 1200), ("g", 3, False, 0.01), ("other", 1)], [1, 1, 1]
        )
    assert 500 <= len(first.latencies_ns) < 1000
    assert min(first.latencies_ns) > 0
    assert slow.data["slept_ns"] > 10_000_000
    assert slow.data["marks"] == []
    assert missing.error == "no graph 'other' is loaded"


def test_a_runner_answers_with_the_fields_of_the_python_agent(
    runner: Runner, cpu: Device, write_onnx: WriteOnnx
) -> None:
    bursts: list[dict[str, Any]] = []
    hosts: list[dict[str, Any]] = []
    for channel in (runner, open_local()):
        with Agent(channel, cpu) as agent:
            hosts.append(agent.hello)
            agent.load("g", str(write_onnx()), [X], seed=0)
            for timed in agent.time([("g", 20), ("g", 20, True), ("g", 2, False, 0.01)], [1] * 3):
                bursts.append(dict(timed.data))
    for mine, theirs in zip(bursts[:3], bursts[3:], strict=True):
        optional = {"slept_ns"}
        assert mine.keys() - optional == theirs.keys() - optional
        assert mine["seen"].keys() == theirs["seen"].keys() - LEFT_OUT
        assert [at for at, _ in mine["marks"]][-1:] == [at for at, _ in theirs["marks"]][-1:]
    mine, theirs = hosts
    changing = {"memory_available_bytes", "clusters", "setting"}
    for name in theirs["host"].keys() - changing:
        assert mine["host"][name] == theirs["host"][name], name
    assert mine["cpus"] == theirs["cpus"]
    assert mine["affinity"] == theirs["affinity"]
    assert "emulated" not in mine["host"]


def test_outputs_are_those_of_onnxruntime(
    runner: Runner, cpu: Device, write_onnx: WriteOnnx, tmp_path: Path
) -> None:
    path = write_onnx("small", CONV)
    runner.more = {"outputs_file": str(tmp_path / "outputs")}
    with Agent(runner, cpu) as agent:
        agent.load("g", str(path), IMAGE, seed=7)
    got = np.fromfile(tmp_path / "outputs", np.float32)
    np.testing.assert_allclose(got, flat(expected(path, *IMAGE, seed=7)), rtol=0, atol=1e-6)


def test_every_dtype_goes_in_and_comes_out(
    greeted: Runner, write_onnx: WriteOnnx, tmp_path: Path
) -> None:
    kinds = [ONNX_NAMES.get(dtype, dtype) for dtype in DTYPES]
    names = string.ascii_lowercase
    given_, back = (
        ", ".join(f"{kind}[2,3] {name}{end}" for kind, name in zip(kinds, names, strict=False))
        for end in ("i", "o")
    )
    body = "\n".join(f"{name}o = Identity ({name}i)" for name, _ in zip(names, kinds, strict=False))
    path = write_onnx("kinds", f"kinds ({given_}) => ({back}) {{ {body} }}")
    specs = [TensorSpec(f"{n}i", (2, 3), d) for n, d in zip(names, DTYPES, strict=False)]
    files = native.input_files(specs, 0, tmp_path / "data")
    tensors = [
        {"name": spec.name, "shape": spec.shape, "dtype": spec.dtype, "data": str(file)}
        for spec, file in zip(specs, files, strict=True)
    ]
    reply = greeted.ask(
        "load",
        graph="g",
        path=str(path),
        provider=CPU_PROVIDER,
        inputs=tensors,
        outputs_file=str(tmp_path / "outputs"),
    )
    assert [output["type"] for output in reply["outputs"]] == [f"tensor({kind})" for kind in kinds]
    assert [output["shape"] for output in reply["outputs"]] == [[2, 3]] * len(DTYPES)
    assert (tmp_path / "outputs").read_bytes() == b"".join(file.read_bytes() for file in files)


def test_an_input_file_holds_what_the_python_agent_makes(tmp_path: Path) -> None:
    first, second = native.input_files([X, TensorSpec("y", (5,), "uint8")], 3, tmp_path)
    assert (np.fromfile(first, np.float32).reshape(32, 32) == inputs.make(*astuple(X), 3)).all()
    assert (np.fromfile(second, np.uint8) == inputs.make("y", (5,), "uint8", 3)).all()
    assert native.input_files([X], 3, tmp_path) == [first]
    assert native.input_files([X], 4, tmp_path) != [first]


def astuple(tensor: TensorSpec) -> tuple[str, tuple[int, ...], str]:
    return tensor.name, tensor.shape, tensor.dtype


def test_outputs_that_are_not_finite_are_told(
    runner: Runner, cpu: Device, write_onnx: WriteOnnx
) -> None:
    path = write_onnx("log", "log (float[32,32] x) => (float[32,32] y) { y = Log(x) }")
    with Agent(runner, cpu) as agent, pytest.raises(CaseError, match="not finite"):
        agent.load("g", str(path), [X], seed=0)


@pytest.mark.usefixtures("two_cpus")
def test_two_threads_have_processors_of_their_own(runner: Runner, write_onnx: WriteOnnx) -> None:
    first, second = sorted(os.sched_getaffinity(0))[:2]
    device = Device("cpu", CPU_PROVIDER, 2, "arm", cpus=(first, second))
    with Agent(runner, device) as agent:
        loaded = agent.load("g", str(write_onnx()), [X], seed=0)
        (timed,) = agent.time([("g", 5)], [1])
    assert sorted(loaded.affinity or ()) == sorted([str(first), str(second), str(second)])
    assert timed.data["pool"] is True


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"path": "/nowhere.onnx"}, "ONNX Runtime: Load model from /nowhere.onnx failed"),
        ({"provider": "CUDAExecutionProvider"}, "only the CPUExecutionProvider"),
        ({"provider": 1}, "no text 'provider'"),
        ({"inputs": []}, "ONNX Runtime: "),
        ({"inputs": 3}, "no 'inputs'"),
        ({"inputs": [{"name": "x", "shape": [32, 32], "dtype": "float32"}]}, "no text 'data'"),
        ({"data": "/nowhere.bin"}, "/nowhere.bin is no file of 4096 bytes"),
        ({"shape": [32, 31]}, "is no file of 3968 bytes"),
        ({"shape": [-1]}, "'shape' in the request is no whole number"),
        ({"shape": [1 << 39, 1 << 39]}, "too large"),
        ({"dtype": "complex64"}, "of type complex64"),
        ({"outputs_file": "/nowhere/at/all"}, "cannot be written to /nowhere/at/all"),
    ],
)
def test_a_load_that_fails_is_a_sentence(
    greeted: Runner, write_onnx: WriteOnnx, changed: dict[str, object], said: str, tmp_path: Path
) -> None:
    (data,) = native.input_files([X], 0, tmp_path / "data")
    tensor = {"name": "x", "shape": [32, 32], "dtype": "float32", "data": str(data)}
    tensor |= {name: value for name, value in changed.items() if name in tensor}
    fields = {"graph": "g", "path": str(write_onnx()), "provider": CPU_PROVIDER, "inputs": [tensor]}
    fields |= {name: value for name, value in changed.items() if name not in tensor}
    reply = greeted.ask("load", **fields)
    assert reply["reply"] == "load"
    assert said in reply["error"]
    assert "\n" not in reply["error"]
    assert greeted.ask("unload", graph="g") == {"reply": "unload"}


def test_a_graph_that_is_none_is_refused(greeted: Runner, tmp_path: Path) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"\x08\x07 no graph")
    reply = greeted.ask("load", graph="g", path=str(path), provider=CPU_PROVIDER, inputs=[])
    assert reply["error"].startswith("ONNX Runtime: ")


@pytest.mark.parametrize(
    ("op", "fields", "said"),
    [
        ("hello", {"protocol": 2, "threads": 1}, "'protocol'"),
        ("hello", {"protocol": 1, "threads": 0}, "'threads'"),
        ("hello", {"protocol": 1, "threads": 1, "cpus": [1023]}, "on processor 1023"),
        ("hello", {"protocol": 1, "threads": 1, "cpus": "big"}, "--cpus big has no meaning here"),
        ("load", {"graph": "g", "path": "x", "provider": CPU_PROVIDER}, "not been greeted"),
        ("look", {"cpu": 0, "seconds": 1}, "cannot do 'look'; with Python"),
        ("profile", {}, "cannot do 'profile'; with Python"),
        ("time", {}, "no 'bursts'"),
    ],
)
def test_what_cannot_be_done_is_a_sentence(
    runner: Runner, op: str, fields: dict[str, object], said: str
) -> None:
    reply = runner.ask(op, **fields)
    assert reply["reply"] == op
    assert said in reply["error"]


@pytest.mark.parametrize("calls", [-1, 1e300, 0.5, None, "many", [1]])
def test_a_burst_without_a_count_is_refused(greeted: Runner, calls: object) -> None:
    burst = greeted.ask("time", bursts=[["g", calls]])["burst"]
    assert "'calls'" in burst["error"]
    assert greeted.receive(10)["reply"] == "time"


def test_more_calls_than_memory_are_refused(
    runner: Runner, cpu: Device, write_onnx: WriteOnnx
) -> None:
    with Agent(runner, cpu) as agent:
        agent.load("g", str(write_onnx()), [X], seed=0)
        (timed,) = agent.time([("g", 1 << 40, False, 1e-9)], [1])
    assert timed.error is not None
    assert "no memory" in timed.error


BIG = """big (float[1] x) => (float[N,M] y) {
    shape = Constant <value_ints = [100000, 40000]> ()
    y = Expand (x, shape)
}"""


def test_a_graph_that_is_too_large_for_the_memory_is_a_sentence(
    binary: Path, write_onnx: WriteOnnx, cpu: Device, tmp_path: Path
) -> None:
    limited = ["sh", "-c", 'ulimit -v 4000000; exec "$@"', "sh", str(binary), library()]
    with Agent(Runner(limited, tmp_path), cpu) as agent:
        with pytest.raises(CaseError, match="buffer of size 16000000000"):
            agent.load("big", str(write_onnx("big", BIG)), [TensorSpec("x", (1,))], seed=0)
        assert agent.load("g", str(write_onnx()), [X], seed=0).first_call_s > 0


@pytest.mark.parametrize("period_s", [0.0, 0.05])
def test_a_runner_whose_parent_is_gone_stops_measuring(
    greeted: Runner, write_onnx: WriteOnnx, period_s: float
) -> None:
    request = {"graph": "g", "path": str(write_onnx()), "provider": CPU_PROVIDER, "seed": 0}
    tensor = {"name": "x", "shape": [32, 32], "dtype": "float32"}
    greeted.send({"op": "load", "inputs": [tensor], **request})
    assert "error" not in greeted.receive(30)
    calls = 10_000 if period_s else 1_000_000_000
    greeted.send({"op": "time", "bursts": [["g", calls, False, period_s]]})
    assert greeted.orphan() == 1


def test_a_runner_ends_when_its_stdin_closes(runner: Runner) -> None:
    assert runner.orphan() == 0


def test_a_runner_says_how_warm_it_is_where_it_can(greeted: Runner) -> None:
    said = greeted.ask("health")
    assert said.keys() == {"reply", "temperature_c", "setting"}
    assert said["temperature_c"] is None or 0 < said["temperature_c"] < 150


def test_a_runner_ends_when_told(greeted: Runner) -> None:
    assert greeted.ask("bye") == {"reply": "bye"}
    with pytest.raises(ChannelClosed, match="ended with code 0"):
        greeted.receive(10)


def test_a_library_that_is_none_is_said(binary: Path, tmp_path: Path, cpu: Device) -> None:
    channel = Runner([str(binary), "/nowhere.so"], tmp_path)
    with pytest.raises((DeviceError, AgentError), match="ONNX Runtime cannot be opened"):
        Agent(channel, cpu)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
SAME_RUNNER = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200
)


@SAME_RUNNER
@given(op=NAMES, junk=VALUES, ascii_only=st.booleans())
def test_any_json_is_understood(runner: Runner, op: str, junk: object, ascii_only: bool) -> None:
    text = json.dumps({"junk": junk, "op": f"~{op}"}, ensure_ascii=ascii_only)
    if "\\u0000" in text:
        return
    encoded = text.encode("utf-8", errors="surrogatepass")
    reply = runner.line(encoded)
    assert reply["reply"] == f"~{op}"
    assert "cannot do" in reply["error"]


REQUESTS = (
    b'{"op":"hello","protocol":1,"threads":1,"cpus":[0]}',
    b'{"op":"load","graph":"g","path":"/x\\u00e9\\ud83d\\ude00","provider":"p","seed":0,'
    b'"inputs":[{"name":"x","shape":[1,3,2.5e1],"dtype":"float32","data":"/dev/null"}]}',
    b'{"op":"time","bursts":[["g",3],["g",-1,true,0.5],[],[null]]}',
    b'{"op":"unload","graph":"g","other":[{},[[]],null,false,"\\n\\t\\"\\\\"]}',
)


def broken(generator: random.Random) -> bytes:
    """A request with a few bytes changed, taken away or doubled."""
    line = bytearray(generator.choice(REQUESTS))
    for _ in range(generator.randint(1, 6)):
        at = generator.randrange(len(line))
        how = generator.randrange(4)
        if how == 0:
            line[at] = generator.randrange(256)
        elif how == 1:
            line[at:at] = generator.choice([b'"', b"[", b"{", b"\\u", b"\\", b"1e999", b"\xff"])
        elif how == 2:
            del line[at : at + generator.randint(1, 9)]
        else:
            line[at:at] = line[at : at + generator.randint(1, 40)]
        if not line:
            break
    return bytes(line).replace(b"\n", b" ") or b"{"


@pytest.mark.slow
@pytest.mark.usefixtures("binary")
def test_no_line_breaks_a_runner(tmp_path: Path) -> None:
    """Undefined behaviour ends this build at once."""
    trap = ("-fsanitize=undefined", "-fno-sanitize-recover=all", "-g")
    checked = compile_to(tmp_path / "checked", platform.machine(), trap)
    channel, generator = Runner([str(checked), library()], tmp_path), random.Random(0)
    for _ in range(3000):
        replies = channel.line(broken(generator))
        while "burst" in replies:
            replies = channel.receive(10)
        assert "reply" in replies
    for line in (b"[" * 1_000_000, b'{"a":' * 1000, b"[" + b"0," * 3_000_000 + b"0]", b"\0", b""):
        assert "error" in channel.line(line)
    assert "error" in channel.line(b'{"op":"' + b"x" * (17 << 20) + b'"}')
    assert channel.line(b'{"op":"' + b"y" * (15 << 20) + b'"}')["reply"][:2] == "yy"
    assert channel.ask("bye") == {"reply": "bye"}
    channel.close()


@pytest.mark.slow
@pytest.mark.usefixtures("binary")
@pytest.mark.parametrize("machine", native.MACHINES)
def test_a_runner_compiles_without_a_warning(machine: str, tmp_path: Path) -> None:
    made = compile_to(tmp_path / "runner", machine, ("-Werror", "-Wshadow", "-Wpedantic"))
    assert made.read_bytes()[:4] == b"\x7fELF"


def test_a_runner_is_built_once(binary: Path) -> None:
    changed = binary.stat().st_mtime_ns
    assert native.build(platform.machine(), lambda: pytest.fail("built again")) == binary
    assert binary.stat().st_mtime_ns == changed


@pytest.mark.usefixtures("binary")
def test_what_waits_for_a_runner_hears_that_it_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCHBOX_CACHE_DIR", str(tmp_path / "empty"))
    heard: list[bool] = []
    native.build(platform.machine(), lambda: heard.append(True))
    assert heard == [True]


def test_there_is_no_runner_for_another_processor() -> None:
    with pytest.raises(DeviceError, match="of type armv7l; it can be built for aarch64 and x86_64"):
        native.build("armv7l")


@pytest.mark.usefixtures("binary")
def test_sources_that_do_not_compile_say_where(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot be compiled: .*error"):
        compile_to(tmp_path / "runner", platform.machine(), ("-include", "/nowhere.h"))


def test_the_lines_of_the_sources_are_short() -> None:
    lines = [line for path in SOURCES.glob("*.[ch]") for line in path.read_text().splitlines()]
    assert max(map(len, lines)) <= 100


def test_without_a_network_the_ways_out_are_named(
    binary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The indexes are looked for where none is; what apt and pip say of it is passed on."""
    assert binary
    for name in ("apt-get", "dpkg-deb"):
        if not shutil.which(name):
            pytest.skip(f"needs {name}")
    (tmp_path / "apt.conf").write_text(
        'Dir::Etc::sourcelist "/nowhere";\nDir::Etc::sourceparts "/nowhere";\n'
    )
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    with pytest.raises(DeviceError, match=r"cannot be fetched: E: .*; run benchbox once on Debian"):
        download.c_libraries("aarch64", ("libc.so.6",), tmp_path)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    with pytest.raises(DeviceError, match=r"cannot be fetched: ERROR: .*onnxruntime"):
        download.onnxruntime("aarch64", "1.0", tmp_path / "library")


@pytest.fixture
def no_tools(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.mark.usefixtures("no_tools")
def test_without_apt_the_ways_out_are_named(cache_dir: Path) -> None:
    with pytest.raises(DeviceError, match=r"comes by apt-get, which .* not; .*Termux"):
        download.c_libraries("aarch64", ("libc.so.6",), cache_dir)


@pytest.fixture
def arm_bundle(boards: Any, monkeypatch: pytest.MonkeyPatch) -> native.Bundle:
    """What is pushed to a phone; kept like the parts of boards, as it is fetched."""
    from tests.board.setup import cache_folder

    assert boards
    monkeypatch.setenv("BENCHBOX_CACHE_DIR", str(cache_folder() / "cache"))
    try:
        return native.bundle("aarch64")
    except (UsageError, DeviceError) as error:
        _do_without(str(error))


@pytest.fixture
def pushed(arm_bundle: native.Bundle, tmp_path: Path) -> Path:
    folder = tmp_path / "pushed"
    folder.mkdir()
    for name, path in arm_bundle.files.items():
        (folder / name).symlink_to(path)
    return folder


@pytest.fixture
def emulator(arm_bundle: native.Bundle) -> list[str]:
    """What runs a program of another processor; of the board's root it needs /proc/cpuinfo."""
    from tests.board.running import QEMU_CPU
    from tests.board.setup import parts

    assert arm_bundle
    made = parts(emulated=True)
    return [str(made.emulator), "-cpu", QEMU_CPU, "-L", str(made.root)]


@pytest.fixture
def emulated(
    emulator: list[str], arm_bundle: native.Bundle, pushed: Path, tmp_path: Path
) -> Iterator[Runner]:
    channel = Runner([*emulator, *arm_bundle.command(str(pushed))], tmp_path / "data")
    yield channel
    channel.kill()


@pytest.mark.slow
def test_an_emulated_runner_computes_the_same_and_says_what_it_is(
    emulated: Runner, cpu: Device, write_onnx: WriteOnnx, tmp_path: Path
) -> None:
    path = write_onnx("small", CONV)
    emulated.more = {"outputs_file": str(tmp_path / "outputs")}
    with Agent(emulated, cpu) as agent:
        assert agent.hello["host"]["machine"] == "aarch64"
        assert agent.hello["host"]["emulated"] == "qemu-user"
        agent.load("g", str(path), IMAGE, seed=7, denormals=True)
        (timed,) = agent.time([("g", 3)], [1])
    assert len(timed.latencies_ns) == 3
    got = np.fromfile(tmp_path / "outputs", np.float32)
    np.testing.assert_allclose(got, flat(expected(path, *IMAGE, seed=7)), rtol=0, atol=1e-4)


def test_the_loader_of_a_bundle_can_be_started(arm_bundle: native.Bundle) -> None:
    command = arm_bundle.command("/data/local/tmp/b")
    named = [word.rpartition("/")[2] for word in command if word.startswith("/data/local/tmp/b/")]
    assert set(named) <= arm_bundle.files.keys()
    assert os.access(arm_bundle.files[named[0]], os.X_OK)
    assert all(path.read_bytes()[:4] == b"\x7fELF" for path in arm_bundle.files.values())
    assert arm_bundle.size_bytes == sum(p.stat().st_size for p in arm_bundle.files.values())


@pytest.mark.slow
@pytest.mark.parametrize("name", [RUNNER, ONNXRUNTIME])
def test_a_bundle_needs_nothing_that_is_not_in_it(
    emulator: list[str], arm_bundle: native.Bundle, pushed: Path, name: str
) -> None:
    loader = arm_bundle.command(str(pushed))[:3]
    done = subprocess.run(
        [*emulator, *loader, "--list", str(pushed / name)],
        capture_output=True,
        text=True,
        check=True,
    )
    found = [line.split(" => ")[1] for line in done.stdout.splitlines() if " => " in line]
    assert found
    assert [path for path in found if not path.startswith(str(pushed))] == []
