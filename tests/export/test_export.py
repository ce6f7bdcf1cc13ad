import json
import os
import queue
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest

from benchbox import costs, export, host
from benchbox.errors import AgentError, CaseError, SpecError
from benchbox.export import cache, entries, fork, user_builder, worker
from benchbox.export.graph import OPSET, Graph
from benchbox.export.prepare import _request
from benchbox.specs import Builder, Case, OnnxFile, TensorSpec
from benchbox.transports import local
from benchbox.transports.channel import ProcessChannel
from benchbox.transports.local import ROOT
from tests.conftest import ENDLESS_LOOP, WriteOnnx
from tests.export.conftest import builders, external_case
from tests.helpers.exporter import WarmWorker

Inputs = tuple[TensorSpec, ...]
IMAGE: Inputs = (TensorSpec("x", (1, 4, 8, 8)),)
EVERY: Inputs = (TensorSpec("x", (1, 3, 16, 16)), TensorSpec("y", (3, 4, 5)))
ODD: Inputs = (TensorSpec("x", (1, 4, 5, 9)),)
MINE = """
from benchbox.networks.dfc import DFC
from torch import nn

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
    if by == 0:
        raise BaseException("none at all")
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

class Branch(nn.Module):
    def forward(self, x):
        if x.sum() > 0:
            return x
        return -x

def branch():
    return Branch()

class Everything(nn.Module):
    def __init__(self):
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU())
        self.deep = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.wide = nn.Conv2d(8, 8, 1, groups=2, bias=False)
        self.up = nn.ConvTranspose2d(8, 4, 2, stride=2)
        self.head, self.rows = nn.Linear(4, 10), nn.Linear(5, 7)

    def forward(self, x, y):
        x = self.down(x)
        x = self.up(x + self.wide(self.deep(x)))
        return self.head(x.mean((2, 3))), self.rows((y @ y.transpose(1, 2)) @ y)

def everything():
    return Everything()

class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU())

    def forward(self, x):
        return self.body(self.body(x))

def twice():
    return Twice()

def gate(upsample):
    return DFC(4, 4, upsample=upsample)

def no_module():
    return [1, 2]

not_callable = 3
"""


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return builders(tmp_path_factory, MINE)


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
    assert model.opset_import[0].version == OPSET
    (graph.path.parent / cache.FACTS).unlink()
    assert exporter.graph(exporter.case("conv", c=6)).sha256 == graph.sha256, "the same bytes"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "inputs", "batch_norm"),
    [
        ("normed", IMAGE, "folded"),
        ("norm_first", IMAGE, "kept"),
        ("embed", (TensorSpec("ids", (1, 5), "int64"), TensorSpec("mask", (1, 5), "bool")), "none"),
    ],
)
def test_inputs_are_named_and_what_became_of_batch_norm_is_said(
    exporter: Exporter, name: str, inputs: Inputs, batch_norm: str
) -> None:
    graph = exporter.graph(exporter.case(name, inputs))
    assert graph.batch_norm == batch_norm
    assert ("BatchNormalization" in graph.cost.ops) == (batch_norm == "kept")
    assert [i.name for i in onnx.load(graph.path).graph.input] == [each.name for each in inputs]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "names"),
    [
        (
            "everything",
            "down.0/Conv down.1/Relu deep/Conv wide/Conv /Add up/ConvTranspose /ReduceMean "
            "head/Gemm /Transpose /MatMul /MatMul_1 rows/MatMul rows/Add",
        ),
        ("twice", "body.0/Conv body.1/Relu body.0/Conv_1 body.1/Relu_1"),
    ],
)
def test_nodes_carry_the_path_of_their_module(exporter: Exporter, name: str, names: str) -> None:
    graph = exporter.graph(exporter.case(name, EVERY if name == "everything" else IMAGE))
    found = onnx.load(graph.path).graph
    assert [node.name for node in found.node] == names.split()
    results = {node.output[0] for node in found.node} - {each.name for each in found.output}
    assert results < set(names.split())
    if name == "everything":
        assert (graph.cost.known_macs, graph.cost.params) == (29612, 560), "FlopCounterMode's"


@pytest.mark.slow
@pytest.mark.parametrize("upsample", ["nearest", "bilinear"])
def test_a_gate_is_resized_to_an_odd_size_by_one_operator(
    exporter: Exporter, upsample: str
) -> None:
    ops = exporter.graph(exporter.case("gate", ODD, upsample=upsample)).cost.ops
    assert "Resize" in ops
    assert not ops.keys() & {"Shape", "Gather", "Cast", "Slice", "Expand", "Unsqueeze"}


READER = """
import json, pathlib, torch
def build():
    return torch.nn.Linear(8, json.loads((pathlib.Path(__file__).parent / "size.json").read_text()))
"""


@pytest.mark.slow
def test_a_graph_is_made_anew_when_what_its_builder_read_has_changed(
    exporter: Exporter, tmp_path: Path
) -> None:
    (tmp_path / "reader.py").write_text(READER)
    source = Builder("reader.py:build", tmp_path / "reader.py")
    case = Case("reader", "reader", {}, {}, IMAGE, 1, source)
    params = []
    for text in ("4", "6", "6 "):
        (tmp_path / "size.json").write_text(text)
        assert cache.lookup(cache.key(case), case) is None
        params.append(exporter.graph(case).cost.params)
    assert params == [36, 54, 54]
    shutil.copytree(tmp_path, copy := tmp_path / "copy")
    moved = replace(case, source=Builder("reader.py:build", copy / "reader.py"))
    assert cache.lookup(cache.key(moved), moved)
    (copy / "size.json").unlink()
    assert cache.lookup(cache.key(moved), moved) is None
    assert cache.lookup(cache.key(case), case)


@pytest.mark.slow
def test_a_builder_that_raises_fails_its_case_alone(exporter: Exporter) -> None:
    failing = exporter.case("scaled", by=-1.0)
    line = 1 + MINE[: MINE.index("raise ValueError")].count("\n")
    said = f"ValueError: negative scales do not exist (mine.py:{line})"
    assert exporter.error(failing) == ("case", said)
    ended = exporter.case("scaled", by=0)
    assert exporter.error(ended) == ("case", "BaseException: none at all")
    kind, error = exporter.error(exporter.case("scaled", wrong=1))
    assert (kind, "unexpected keyword argument 'wrong'" in error) == ("case", True)
    assert exporter.graph(exporter.case("scaled", by=2.0)).cost.ops
    kind, error = exporter.error(exporter.case("scaled", by=3e38))
    assert (kind, error.startswith("output 1 is not finite")) == ("case", True)
    assert "of 256 values" in error
    kind, error = exporter.error(exporter.case("branch"))
    assert kind == "case"
    assert re.search(r"\(mine.py:\d+\)$", error), error
    assert "\x1b" not in error
    assert "Exception summary" not in error


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("no_module", "builder 'mine.py:no_module' returned list, not an nn.Module"),
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
    for width in (8, 16):
        (tmp_path / str(width)).mkdir()
        (tmp_path / str(width) / "beside_both.py").write_text(f"WIDTH = {width}")
        lone = tmp_path / str(width) / "lone.py"
        lone.write_text("from beside_both import WIDTH\ndef build(): return WIDTH")
        with user_builder.own_modules():
            assert user_builder.resolve("lone.py:build", str(lone))() == width


def test_a_module_in_the_current_folder_is_found_last(in_tmp: Path) -> None:
    (in_tmp / "my_blocks.py").write_text("def build(): return 8")
    (in_tmp / "json.py").write_text("raise SystemExit('the wrong json')")
    (in_tmp / "my_json.py").write_text("from json import dumps\ndef build(): return dumps")
    assert user_builder.resolve("my_blocks:build", None)() == 8
    assert user_builder.resolve("my_json:build", None)() is json.dumps
    for name in ("my_blocks", "my_json"):
        sys.modules.pop(name)


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
    assert not list((entries.graphs() / cache.key(case)).glob("*.onnx"))


@pytest.mark.parametrize(
    ("text", "tensors", "macs"),
    [
        (OPEN, [TensorSpec("x", (2, 8))], 2 * 2 * 8),
        (OBSERVED, [TensorSpec("x", (4, 8))], 2 * 32 * 2),  # sizes that only a run can tell
        (MIXED, [TensorSpec(*each) for each in TYPES], 0),
    ],
)
def test_open_sizes_are_filled_in_and_others_are_observed(
    exporter: Exporter, write_onnx: WriteOnnx, text: str, tensors: list[TensorSpec], macs: int
) -> None:
    path = write_onnx("open", text)
    graph = exporter.graph(file_case(path, *tensors))
    assert graph.cost.known_macs == macs
    shapes = {tensor.name: tensor.shape for tensor in tensors}
    steps = costs.of_steps(onnx.load(path), shapes, graph.observed)
    assert sum(own or 0 for _, own, _ in steps) == macs


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


NOTED = {
    "log": ("float[a,b,c] y", "y = Log(x)", "values of output y are NaN or infinite"),
    "rank": (
        "float[1,4] y",
        "r = Relu(x) y = Squeeze(r)",
        "output y is declared as 1x4 and is 4, so each call",
    ),
    "seq": ("seq(float[4]) y", "y = SequenceConstruct(x)", "output y is of the kind seq(tensor("),
}


@pytest.mark.parametrize("name", NOTED)
def test_a_file_with_odd_outputs_has_a_note(
    exporter: Exporter, write_onnx: WriteOnnx, name: str
) -> None:
    output, body, note = NOTED[name]
    text = f"g (float[a,b,c] x) => ({output}) {{ {body} }}"
    graph = exporter.graph(file_case(write_onnx(name, text), TensorSpec("x", (1, 4, 1))))
    (found,) = graph.notes
    assert note in found
    assert graph.finite == (name != "log")


def test_integers_that_a_graph_cannot_take_stay_small_or_are_asked_for(
    exporter: Exporter, write_onnx: WriteOnnx
) -> None:
    table = "t = Constant<value = float[5] {1, 2, 3, 4, 5}>() v = Gather(t, ids)"
    size = "k = Constant<value = int64[1] {1}>() d = Sub(k, ids) u = ConstantOfShape(d)"
    ids = TensorSpec("ids", (3,), "int64")
    for output, body, how in (
        ("float[3] y", "y = Relu(v)", {"below": 5}),
        ("float[?,?,?] y", f"{size} y = Relu(u)", {}),
    ):
        text = f"g (int64[3] ids) => ({output}) {{ {table} {body} }}"
        graph = exporter.graph(file_case(write_onnx("ids", text), ids))
        assert graph.made_up == {"ids": how}
        spread = graph.filled([ids])[0].values
        assert (spread.below if spread else None) == how.get("below")
    axis = TensorSpec("axis", (), "int64")
    text = f"g (int64 axis, int64[3] ids) => (float[3] y) {{ {table} y = CumSum(v, axis) }}"
    graph = exporter.graph(file_case(write_onnx("axis", text), axis, ids))
    assert graph.made_up == {"axis": {"number": 0}, "ids": {"below": 5}}
    text = "g (float[1,1,4,4] x, float[4] s) => (float[?,?,?,?] y) { y = Resize(x, , s) }"
    scales = TensorSpec("s", (4,))
    graph = exporter.graph(
        file_case(write_onnx("resize", text), TensorSpec("x", (1, 1, 4, 4)), scales)
    )
    assert graph.made_up == {"s": {"number": 1}}
    text = f"g (int64[3] ids) => (float[?,?] y) {{ {table} y = Reshape(t, ids) }}"
    kind, error = exporter.error(file_case(write_onnx("bad", text), ids))
    assert kind == "case"
    assert error.endswith("; values were made up: give them with --input ids=FILE.npy")


# prepare


DYING = """
import os, signal
from benchbox.agent import stdio
from benchbox.export import worker
def replies(request):
    if "deadly" in request["file"]:
        os.kill(os.getpid(), signal.SIGKILL)
    yield from worker.replies(request)
stdio.serve(replies)
"""


@pytest.mark.slow
def test_one_of_many_may_fail_or_die_and_the_others_have_their_graphs(
    write_onnx: WriteOnnx, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(_: str) -> ProcessChannel:
        return ProcessChannel([sys.executable, "-c", DYING], {"PYTHONPATH": str(ROOT)})

    monkeypatch.setattr(sys.modules["benchbox.export.prepare"], "python_child", start)
    bodies = {"deadly": "Abs(x)", "raising": "nowhere.Magic(x)", "good": "Exp(x)"}
    texts = {n: f"g (float[4] x) => (float[4] y) {{ y = {body} }}" for n, body in bodies.items()}
    x = TensorSpec("x", (4,))
    deadly, raising, good = (file_case(write_onnx(name, text), x) for name, text in texts.items())
    heard: list[tuple[int, int, str]] = []
    graphs = export.prepare([deadly, raising, good], lambda *news: heard.append(news))
    died, raised, graph = (graphs[case.key] for case in (deadly, raising, good))
    assert isinstance(graph, Graph)
    assert isinstance(raised, CaseError) and "Magic" in str(raised)
    assert isinstance(died, AgentError)
    assert "the export process died: it was ended by SIGKILL" in str(died)
    assert heard[0] == (0, 3, deadly.key)
    assert heard[-1] == (3, 3, "")
    left = [p.name for p in entries.graphs().iterdir() if not p.name.startswith("new-")]
    assert left == [cache.key(good)]


def test_a_graph_that_counts_for_ever_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "from benchbox.export import fork, worker; fork.COUNTING_S = 1; worker.main()"
    channel = ProcessChannel([sys.executable, "-c", code], {"PYTHONPATH": str(ROOT)})
    monkeypatch.setattr(sys.modules["benchbox.export.prepare"], "python_child", lambda _: channel)
    path = tmp_path / "loop.onnx"
    onnx.save(onnx.parser.parse_model(ENDLESS_LOOP), path)
    case = file_case(path, TensorSpec("x", (4,)))
    error = export.prepare([case], timed=False)[case.key]
    assert str(error) == "it was not counted after 1 s of processor time"


MEDDLING = """
import torch
torch.nn.ReLU.forward = lambda self, x: -x
def build():
    return torch.nn.ReLU()
"""


@pytest.mark.slow
def test_where_no_process_forks_each_builder_of_a_user_has_one_of_its_own(
    exporter: Exporter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = exporter.graph(exporter.case("normed"))
    monkeypatch.setenv("BENCHBOX_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(host, "usable_cpus", lambda: [0])  # one after the other
    monkeypatch.setattr(fork, "AVAILABLE", False)
    started: list[str] = []
    prepare = sys.modules["benchbox.export.prepare"]
    start = local.python_child  # no warm one
    monkeypatch.setattr(prepare, "python_child", lambda m: started.append(m) or start(m))
    (tmp_path / "own.py").write_text(MEDDLING)
    source = Builder("own.py:build", tmp_path / "own.py")
    meddling = Case("own", "own", {}, {}, IMAGE, 1, source)
    graphs = export.prepare([meddling, honest := exporter.case("normed")])
    assert isinstance(graphs[meddling.key], Graph)
    graph = graphs[honest.key]
    assert isinstance(graph, Graph) and graph.sha256 == expected.sha256
    assert started == ["benchbox.export.worker"] * 2


@pytest.mark.slow
def test_what_can_never_work_stops_everything(
    exporter: Exporter, write_onnx: WriteOnnx, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SpecError, match="has no 'nothing'"):
        export.prepare([exporter.case("nothing"), exporter.case("conv", c=6)])
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BENCHBOX_CACHE_DIR", str(tmp_path / "file"))
    request = _request("key", file_case(write_onnx(), TensorSpec("x", (32, 32))))
    (reply,) = worker.replies(request)
    assert reply["kind"] == "storage"
    assert "set BENCHBOX_CACHE_DIR to a folder that can" in str(reply["error"])


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


def test_a_warm_cache_starts_no_process(
    exporter: Exporter, write_onnx: WriteOnnx, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = [file_case(write_onnx("warm"), TensorSpec("x", (32, 32))), exporter.case("conv", c=6)]
    graphs = [exporter.graph(case) for case in cases]
    monkeypatch.setattr(sys.modules["benchbox.export.prepare"], "python_child", None)
    found = export.prepare(cases).values()
    assert [g.sha256 for g in found if isinstance(g, Graph)] == [g.sha256 for g in graphs]
