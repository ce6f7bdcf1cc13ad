"""Graphs of files as they are run and counted, and the processes that prepare graphs."""

import os
import queue
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest

from benchbox import costs, export, host
from benchbox.errors import AgentError, CaseError, SpecError
from benchbox.export import cache, entries, fork, worker
from benchbox.export.graph import Graph
from benchbox.export.prepare import _request
from benchbox.specs import Builder, Case, TensorSpec
from benchbox.transports.channel import ProcessChannel
from benchbox.transports.local import ROOT
from tests.conftest import ENDLESS_LOOP, MATMUL, WriteOnnx
from tests.export.conftest import IMAGE, Exporter, external_case, file_case

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


COUNTING = """
import os
from itertools import count
from benchbox.agent import stdio
from benchbox.export import fork
served = count(1)
def replies(request):
    yield {**fork.echo(request), "error": f"{os.getpid()} {next(served)}", "kind": "case"}
stdio.serve(replies)
"""


@pytest.mark.slow
def test_where_no_process_forks_nothing_follows_a_users_builder_in_its_process(
    mine: Path, write_onnx: WriteOnnx, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(_: str) -> ProcessChannel:
        return ProcessChannel([sys.executable, "-c", COUNTING], {"PYTHONPATH": str(ROOT)})

    monkeypatch.setattr(host, "usable_cpus", lambda: [0])  # one after the other
    monkeypatch.setattr(fork, "AVAILABLE", False)
    monkeypatch.setattr(sys.modules["benchbox.export.prepare"], "python_child", start)
    cases = [
        Case("own", "conv", {}, {}, IMAGE, 1, Builder("mine.py:conv", mine)),
        file_case(write_onnx("file"), x := TensorSpec("x", (32, 32))),
        Case("own", "normed", {}, {}, IMAGE, 1, Builder("mine.py:normed", mine)),
        file_case(write_onnx("other", MATMUL.replace("MatMul", "Add")), x),
    ]
    found = export.prepare(cases)
    processes, counts = zip(*(str(found[case.key]).split() for case in cases), strict=True)
    assert counts == ("1", "1", "2", "1")
    assert processes[1] == processes[2] and len({*processes}) == 3


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
