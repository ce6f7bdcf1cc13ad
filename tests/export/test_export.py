import importlib
import json
import os
import queue
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from benchbox import export
from benchbox.errors import AgentError, CaseError, GraphError, SpecError
from benchbox.export import cache, user_builder, verify, worker
from benchbox.export.graph import Graph
from benchbox.export.prepare import _request
from benchbox.specs import Builder, Case, OnnxFile, TensorSpec
from benchbox.transports.channel import ProcessChannel
from benchbox.transports.local import ROOT
from tests.conftest import WriteOnnx
from tests.export.conftest import external_case
from tests.helpers.exporter import WarmWorker

Inputs = tuple[TensorSpec, ...]
IMAGE: Inputs = (TensorSpec("x", (1, 4, 8, 8)),)
MINE = """
import os, signal, torch
from torch import nn

calls = []

def conv(c=4):
    return nn.Conv2d(4, c, 1)

def normed():
    return nn.Sequential(nn.Conv2d(4, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU())

def norm_first():
    return nn.Sequential(nn.ReLU(), nn.BatchNorm2d(4))

class Scale(nn.Module):
    def __init__(self, by):
        super().__init__()
        self.by = by

    def forward(self, x):
        return x * self.by, x.sum()

def scaled(by):
    if by < 0:
        raise ValueError("negative\\nscales do not exist")
    return Scale(by)

class Embed(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(2, 8)

    def forward(self, ids, mask):
        return self.table(ids) * mask.unsqueeze(-1)

def embed():
    return Embed()

def no_module():
    return [1, 2]

not_callable = 3

class Deadly(nn.Module):
    def forward(self, x):
        if torch.compiler.is_exporting():
            os.kill(os.getpid(), signal.SIGKILL)
        return x + 1

def deadly():
    return Deadly()
"""


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("builders") / "mine.py"
    path.write_text(MINE)
    return path


class Exporter:
    """Builds cases of mine.py in the warm worker."""

    def __init__(self, worker: WarmWorker, mine: Path) -> None:
        self.worker, self.mine = worker, mine

    def case(self, name: str, inputs: Inputs = IMAGE, **args: Any) -> Case:
        return Case("mine", name, {}, args, inputs, 1, Builder(f"mine.py:{name}", self.mine))

    def ask(self, case: Case) -> dict[str, Any]:
        self.worker.start("benchbox.export.worker").send(_request(cache.key(case), case))
        return self.worker.receive(120)

    def graph(self, case: Case) -> Graph:
        reply = self.ask(case)
        assert "error" not in reply, reply
        graph = cache.lookup(cache.key(case), case)
        assert graph is not None
        return graph

    def error(self, case: Case) -> tuple[str, str]:
        reply = self.ask(case)
        assert cache.lookup(cache.key(case), case) is None
        return reply["kind"], reply["error"]


@pytest.fixture
def exporter(export_worker: WarmWorker, mine: Path, shared_cache: Path) -> Exporter:
    assert shared_cache
    return Exporter(export_worker, mine)


def file_case(path: Path, *inputs: TensorSpec) -> Case:
    return Case(path.stem, path.stem, {}, {}, inputs, 1, OnnxFile(path))


# a module


@pytest.mark.slow
def test_a_module_becomes_a_graph_that_equals_it(exporter: Exporter) -> None:
    graph = exporter.graph(exporter.case("conv", c=6))
    assert (graph.opset, graph.batch_norm, graph.beside) == (18, "none", [])
    assert graph.max_abs_error is not None
    assert 0 <= graph.max_abs_error <= 1e-4
    assert graph.cost.known_macs == 4 * 6 * 8 * 8
    assert graph.cost.params == 4 * 6 + 6
    assert graph.versions == cache.versions()
    assert graph.size_bytes == graph.path.stat().st_size
    model = onnx.load(graph.path)
    onnx.checker.check_model(model)
    assert [i.name for i in model.graph.input] == ["x"]
    assert model.opset_import[0].version == worker.OPSET
    (graph.path.parent / cache.FACTS).unlink()
    assert exporter.graph(exporter.case("conv", c=6)).sha256 == graph.sha256, "the same bytes"


@pytest.mark.slow
@pytest.mark.parametrize(("name", "what"), [("normed", "folded"), ("norm_first", "kept")])
def test_what_became_of_batch_norm_is_said(exporter: Exporter, name: str, what: str) -> None:
    graph = exporter.graph(exporter.case(name))
    assert graph.batch_norm == what
    assert ("BatchNormalization" in graph.cost.ops) == (what == "kept")


@pytest.mark.slow
def test_a_module_may_take_several_inputs_of_other_types(exporter: Exporter) -> None:
    inputs = (TensorSpec("ids", (1, 5), "int64"), TensorSpec("mask", (1, 5), "bool"))
    graph = exporter.graph(exporter.case("embed", inputs))
    assert [i.name for i in onnx.load(graph.path).graph.input] == ["ids", "mask"]


@pytest.mark.slow
def test_a_builder_that_raises_fails_its_case_alone(exporter: Exporter) -> None:
    kind, error = exporter.error(exporter.case("scaled", by=-1.0))
    assert (kind, error) == ("case", "ValueError: negative scales do not exist")
    kind, error = exporter.error(exporter.case("scaled", wrong=1))
    assert kind == "case"
    assert "unexpected keyword argument 'wrong'" in error
    assert exporter.graph(exporter.case("scaled", by=2.0)).cost.ops
    for by in (float("inf"), 3e38):
        kind, error = exporter.error(exporter.case("scaled", by=by))
        assert kind == "case"
        assert "output 1 is not finite" in error and "of 256 values" in error


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("no_module", "builder 'mine.py:no_module' returned list, not an nn.Module"),
        ("nothing", "has no 'nothing'"),
        ("not_callable", "has no callable 'not_callable'"),
    ],
)
def test_a_builder_that_can_never_work_is_a_spec_error(
    exporter: Exporter, name: str, reason: str
) -> None:
    kind, error = exporter.error(exporter.case(name))
    assert kind == "spec"
    assert reason in error


@pytest.mark.usefixtures("restored_path")
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import nowhere_at_all", "ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("def build(:", "SyntaxError"),
        ("raise SystemExit('usage: me')", "SystemExit: usage: me"),
        ("1 / 0", "ZeroDivisionError"),
    ],
)
def test_a_builder_that_does_not_import_says_why(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / f"broken_{abs(hash(text))}.py"
    path.write_text(text)
    with pytest.raises(SpecError, match=f"does not import: .*{reason}"):
        user_builder.resolve("broken.py:build", str(path))


@pytest.mark.usefixtures("restored_path")
def test_a_builder_imports_what_lies_beside_it_and_not_beside_another(tmp_path: Path) -> None:
    widths = []
    for name, width in (("a", 8), ("b", 16)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "beside_both.py").write_text(f"WIDTH = {width}")
        lone = tmp_path / name / "lone.py"
        lone.write_text("from beside_both import WIDTH\ndef build(): return WIDTH")
        with user_builder.own_modules():
            widths.append(user_builder.resolve("lone.py:build", str(lone))())
    assert widths == [8, 16]


def test_what_a_builder_brings_along_is_forgotten_even_on_the_search_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "brought_along.py").write_text("")
    with user_builder.own_modules():
        importlib.import_module("brought_along")
        assert "brought_along" in sys.modules
    assert "brought_along" not in sys.modules


def test_a_module_in_the_current_folder_is_found_last(in_tmp: Path) -> None:
    (in_tmp / "my_blocks.py").write_text("def build(): return 8")
    (in_tmp / "json.py").write_text("raise SystemExit('the wrong json')")
    assert user_builder.resolve("my_blocks:build", None)() == 8
    assert user_builder.resolve("json:dumps", None) is json.dumps
    sys.modules.pop("my_blocks")


def test_runtimes_that_disagree_fail_the_case() -> None:
    one = np.ones((2, 3), np.float32)
    assert verify.difference([one], [one + 5e-5]) == pytest.approx(5e-5, rel=0.1)
    with pytest.raises(CaseError, match=r"output 2: ONNX Runtime differs from torch by 0\.001"):
        verify.difference([one, one], [one, one + 1e-3])
    with pytest.raises(CaseError, match=r"is \(2, 3\) in torch, \(3,\) in ORT"):
        verify.difference([one], [one[0]])
    with pytest.raises(CaseError, match="1 outputs, its graph has 2"):
        verify.difference([one], [one, one])


# a file

OPEN = "g (float[n,m] x) => (float[n,n] y) { t = Transpose(x) y = MatMul(x, t) }"
OBSERVED = (
    "g (float[4,8] x) => (float[?,?] y) {"
    " i = NonZero(x) f = Cast<to = 1>(i) t = Transpose(f) y = MatMul(f, t) }"
)
MIXED = (
    "g (int64[4] i, bool[4] m, uint8[4] u) => (int64[4] y) {"
    " c = Cast<to = 7>(u) s = Add(i, c) y = Where(m, s, i) }"
)
TYPES = (("i", (4,), "int64"), ("m", (4,), "bool"), ("u", (4,), "uint8"))


def test_a_file_is_run_once_and_counted_where_it_lies(
    exporter: Exporter, write_onnx: WriteOnnx
) -> None:
    path = write_onnx()
    case = file_case(path, TensorSpec("x", (32, 32)))
    graph = exporter.graph(case)
    assert (graph.path, graph.max_abs_error, graph.batch_norm) == (path, None, "none")
    assert graph.cost.known_macs == 32**3
    assert graph.size_bytes == path.stat().st_size
    assert not list((cache.folder() / cache.key(case)).glob("*.onnx"))


@pytest.mark.parametrize(
    ("text", "tensors", "macs"),
    [
        (OPEN, [TensorSpec("x", (2, 8))], 2 * 2 * 8),
        (OPEN, [TensorSpec("x", (3, 8))], 3 * 3 * 8),
        (OBSERVED, [TensorSpec("x", (4, 8))], 2 * 32 * 2),  # sizes that only a run can tell
        (MIXED, [TensorSpec(*each) for each in TYPES], 0),
    ],
)
def test_open_sizes_are_filled_in_and_others_are_observed(
    exporter: Exporter, write_onnx: WriteOnnx, text: str, tensors: list[TensorSpec], macs: int
) -> None:
    path = write_onnx("open", text)
    assert exporter.graph(file_case(path, *tensors)).cost.known_macs == macs


def test_a_file_with_external_data_counts_and_verifies_it(
    exporter: Exporter, tmp_path: Path
) -> None:
    case = external_case(tmp_path)
    made = exporter.graph(case)
    assert made.beside == ["w.bin"]
    assert made.cost.params == 64 * 64
    assert made.size_bytes > 64 * 64 * 4
    key = cache.key(case)
    (tmp_path / "w.bin").write_bytes(b"\1" * 64 * 64 * 4)
    assert cache.lookup(key, case) is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("g (float[4] x) => (float[4] y) { y = nowhere.Magic(x) }", "Magic"),
        ("g (float[4] x) => (float[4] y) { y = Log(x) }", "output 1 is not finite"),
        ("g (float[4] z) => (float[4] y) { y = Relu(z) }", "z"),
        (
            "g (float[4] x) => (seq(float[4]) s) { s = SequenceConstruct(x) }",
            "output 's' is no tensor but of the kind sequence",
        ),
    ],
)
def test_a_file_that_does_not_run_fails_its_case(
    exporter: Exporter, write_onnx: WriteOnnx, text: str, reason: str
) -> None:
    kind, error = exporter.error(file_case(write_onnx("bad", text), TensorSpec("x", (4,))))
    assert kind == "case"
    assert reason in error


def test_an_unwritable_cache_names_the_variable_to_set(
    write_onnx: WriteOnnx, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BENCHBOX_CACHE_DIR", str(tmp_path / "file"))
    request = _request("key", file_case(write_onnx(), TensorSpec("x", (32, 32))))
    (reply,) = worker.replies(request)
    assert reply["kind"] == "storage"
    assert "set BENCHBOX_CACHE_DIR to a folder that can" in str(reply["error"])


# prepare


@pytest.mark.slow
def test_one_of_many_may_fail_or_die_and_the_others_have_their_graphs(
    export_worker: WarmWorker, mine: Path
) -> None:
    exporter = Exporter(export_worker, mine)  # whose cases die in processes of their own
    deadly, good = exporter.case("deadly"), exporter.case("scaled", by=3.0)
    raising = replace(exporter.case("scaled", by=-2.0), name="raising")
    heard: list[tuple[int, int, str]] = []
    graphs = export.prepare([deadly, raising, good], lambda *news: heard.append(news))
    died, raised, graph = (graphs[case.key] for case in (deadly, raising, good))
    assert isinstance(graph, Graph)
    assert isinstance(raised, CaseError)
    assert isinstance(died, AgentError)
    assert "the export process died: it was ended by SIGKILL" in str(died)
    assert heard[0] == (0, 3, deadly.key)
    assert heard[-1] == (3, 3, "")
    left = [p.name for p in cache.folder().iterdir() if not p.name.startswith("new-")]
    assert left == [cache.key(good)]


@pytest.mark.slow
def test_a_builder_that_can_never_work_stops_everything(exporter: Exporter) -> None:
    cases = [exporter.case("nothing"), exporter.case("conv", c=7)]
    with pytest.raises(SpecError, match="has no 'nothing'"):
        export.prepare(cases)


def test_a_process_that_starts_while_all_are_stopped_is_ended_too(
    monkeypatch: pytest.MonkeyPatch, mine: Path
) -> None:
    module = sys.modules["benchbox.export.prepare"]
    jobs: queue.SimpleQueue[Any] = queue.SimpleQueue()
    jobs.put(("k", Case("m", "m", {}, {}, (), 1, Builder("mine.py:conv", mine))))
    feeder = module.Worker(jobs, queue.SimpleQueue())
    started: list[ProcessChannel] = []

    def start(_: str) -> ProcessChannel:
        feeder.stop()
        started.append(ProcessChannel([sys.executable, "-c", "import time; time.sleep(60)"]))
        return started[0]

    monkeypatch.setattr(module, "python_child", start)
    feeder.start()
    feeder.join(10)
    assert not feeder.is_alive()
    with pytest.raises(ProcessLookupError):
        os.kill(started[0].pid, 0)


def test_a_flipped_byte_is_exported_again(exporter: Exporter, write_onnx: WriteOnnx) -> None:
    case = file_case(write_onnx("flipped"), TensorSpec("x", (32, 32)))
    exporter.graph(case)
    facts = cache.folder() / cache.key(case) / cache.FACTS
    facts.write_bytes(facts.read_bytes().replace(b'"sha256": "', b'"sha256": "0', 1))
    assert cache.lookup(cache.key(case), case) is None
    (graph,) = export.prepare([case]).values()
    assert isinstance(graph, Graph)


def test_a_warm_cache_starts_no_process_and_never_imports_torch(
    exporter: Exporter, write_onnx: WriteOnnx
) -> None:
    path = write_onnx("warm")
    exporter.graph(file_case(path, TensorSpec("x", (32, 32))))
    exporter.graph(exporter.case("conv", c=6))
    code = f"""
import subprocess, sys
from pathlib import Path
def refuse(*args, **more): raise AssertionError("a process was started")
subprocess.Popen.__init__ = refuse
from benchbox.export import Graph, prepare
from benchbox.specs import Builder, Case, OnnxFile, TensorSpec
source = Builder("mine.py:conv", Path({str(exporter.mine)!r}))
cases = [
    Case("mine", "conv", {{}}, {{"c": 6}}, (TensorSpec("x", (1, 4, 8, 8)),), 1, source),
    Case("warm", "w", {{}}, {{}}, (TensorSpec("x", (32, 32)),), 1, OnnxFile(Path({str(path)!r}))),
]
assert all(isinstance(graph, Graph) for graph in prepare(cases).values())
assert not {{"torch", "onnxruntime", "pandas"}} & sys.modules.keys()
"""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_file_that_is_no_graph_is_an_error_before_any_process_starts(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("no graph")
    with pytest.raises(GraphError, match="not an ONNX file"):
        export.prepare([file_case(tmp_path / "text.onnx", TensorSpec("x", (1,)))])
