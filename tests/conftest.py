import ctypes
import importlib
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import onnx
import pytest

from benchbox.devices import CPU_PROVIDER, Device
from benchbox.specs import Case, OnnxFile, TensorSpec
from benchbox.transports import connect
from tests.board.fixtures import (
    _adb_server,
    adb_server,
    boards,
    emulated_board,
    emulated_phone,
    home,
    host_phone,
    reach,
    ssh_board,
)
from tests.fakegpu.building import built_gpu, fake_gpu
from tests.helpers import agents
from tests.helpers.exporter import WarmWorker

__all__ = [  # fixtures of all tests
    "_adb_server",
    "adb_server",
    "boards",
    "built_gpu",
    "emulated_board",
    "emulated_phone",
    "fake_gpu",
    "home",
    "host_phone",
    "reach",
    "ssh_board",
]

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before any test imports onnxruntime
# Ignored where these tests run in the background, as `nohup` and `&` have it: by our runs too.
for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler)

# A deadline would be a timed test: this machine may be busy.
hypothesis.settings.register_profile("untimed", deadline=None, max_examples=40)
hypothesis.settings.load_profile("untimed")

WriteOnnx = Callable[..., Path]
Files = Callable[..., list[str]]
HEADER = '<ir_version: 9, opset_import: ["" : 18, "com.microsoft" : 1, "nowhere" : 1]>\n'
# Its output's shape is known from a run alone, which takes years.
ENDLESS_LOOP = (
    HEADER
    + """g (float[4] x) => (float[?] y) {
    n = Constant<value = int64 {4611686018427387904}>() c = Constant<value = bool {1}>()
    z = Loop<body = b (int64 i, bool d, float[4] a) => (bool e, float[4] o) {
        e = Identity(d) o = Relu(a)
    }>(n, c, x)
    i = NonZero(z) y = Cast<to = 1>(i)
}"""
)
MATMUL = "tiny (float[32,32] x) => (float[32,32] y) { y = MatMul(x, x) }"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that have most slow tests, so that no process ends with one alone."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])


@pytest.fixture(autouse=True)
def floating_point_mode() -> Iterator[None]:
    """Every test leaves the thread's mode as it was: ONNX Runtime has it flush denormals."""
    library, mode = ctypes.CDLL(None), ctypes.create_string_buffer(64)
    library.fegetenv(mode)
    yield
    library.fesetenv(mode)


@pytest.fixture(autouse=True)
def cache_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test has a cache and settings of its own; `shared_cache` replaces the cache."""
    monkeypatch.setenv("BENCHBOX_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("BENCHBOX_CONFIG_DIR", str(tmp_path / "config"))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def session_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache, whose graphs are those of all pytest-xdist's processes: none is made twice."""
    folder, root = tmp_path_factory.mktemp("shared-cache"), tmp_path_factory.getbasetemp()
    graphs = (root.parent if "PYTEST_XDIST_WORKER" in os.environ else root) / "graphs"
    graphs.mkdir(exist_ok=True)
    (folder / "graphs").symlink_to(graphs)
    return folder


@pytest.fixture(scope="session")
def export_worker(session_cache: Path) -> Iterator[WarmWorker]:
    worker = WarmWorker(session_cache)
    yield worker
    worker.end()


@pytest.fixture
def warm(
    session_cache: Path, export_worker: WarmWorker, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Graphs and an export worker of all tests that ask for it, and agents that start at once.

    All else in the cache is the test's own.
    """
    cache_dir.mkdir()
    (cache_dir / "graphs").symlink_to(session_cache / "graphs")
    preparation = importlib.import_module("benchbox.export.prepare")
    monkeypatch.setattr(preparation, "python_child", export_worker.start)
    monkeypatch.setattr(connect, "open_local", agents.open_local)


@pytest.fixture
def shared_cache(session_cache: Path, warm: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One cache for all tests that ask for it, with what is `warm`."""
    assert warm is None
    monkeypatch.setenv("BENCHBOX_CACHE_DIR", str(session_cache))
    return session_cache


@pytest.fixture
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The test's current folder, empty."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def two_cpus() -> None:
    if not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2:
        pytest.skip("needs two processors")


@pytest.fixture(scope="session")
def cpu() -> Device:
    return Device("cpu", CPU_PROVIDER, 1, "arm")


@pytest.fixture
def write_onnx(tmp_path: Path) -> WriteOnnx:
    """Return a function that writes a graph in ONNX's textual syntax to <name>.onnx."""

    def write(name: str = "tiny", text: str = MATMUL) -> Path:
        path = tmp_path / f"{name}.onnx"
        onnx.save(onnx.parser.parse_model(HEADER + text), path)
        return path

    return write


@pytest.fixture
def onnx_cases(write_onnx: WriteOnnx) -> Callable[..., list[Case]]:
    """Return a function that makes a spec's cases, each a tiny .onnx file of its own."""

    def make(*names: str, spec: str = "tiny", size: int = 24) -> list[Case]:
        cases = []
        for index, name in enumerate(names):
            n = size + 8 * index
            path = write_onnx(
                name, f"{name} (float[{n},{n}] x) => (float[{n},{n}] y) {{ y = MatMul(x, x) }}"
            )
            tensors = (TensorSpec("x", (n, n)),)
            cases.append(
                Case(spec, name, {"n": n}, {}, tensors, 1, OnnxFile(path), reference=names[0])
            )
        return cases

    return make


@pytest.fixture
def restored_path(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Undo what a test does to sys.path."""
    import sys

    monkeypatch.setattr(sys, "path", list(sys.path))
    yield


@pytest.fixture
def files(in_tmp: Path) -> Files:
    """Return a function that writes graphs to these paths and returns them."""

    def write(*paths: str, text: str = MATMUL) -> list[str]:
        for path in paths:
            (in_tmp / path).parent.mkdir(parents=True, exist_ok=True)
            onnx.save(onnx.parser.parse_model(HEADER + text), path)
        return list(paths)

    return write
