"""Faults of identity: graphs, runs, files and devices that could pass for each other."""

import contextlib
import json
import os
import random
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import onnx
import pytest

from benchbox import devices, records, runner, specs
from benchbox.analysis.samples import NS
from benchbox.api import selection
from benchbox.cli import export as cli_export
from benchbox.costs import Cost
from benchbox.devices import CPU_PROVIDER, Device, registry
from benchbox.devices.registry import Entry
from benchbox.errors import CaseError, DeviceError, RecordError, SpecError, UsageError
from benchbox.export import Graph, cache
from benchbox.records import Record, Run
from benchbox.sampling.plan import Plan
from benchbox.specs import Case, OnnxFile, Selection, TensorSpec, onnx_file, toml
from tests.conftest import HEADER
from tests.e2e.faults.bench import QUICK, Bench, check_end, fault, samples
from tests.helpers import runs
from tests.helpers.record_files import context, record, write

GRAPHS = {f"{digit}" * 64: 0.002 * 1.7**digit for digit in range(3)}  # what each takes, by sha256
GRAPH_FACTS = (Cost(1, 0, 1, 1, 1, {}, ()), 1, 18, "none", None, dict[str, str]())
ONE = threading.Lock()  # simulated machines take the place of the program's own clock
LONG = Plan(sustained_s=10.0, max_time_s=20.0, burst_s=0.05)


@fault("figures", "a graph is replaced between a run and its resume")
def replaced_before_resume(bench: Bench, rng: random.Random) -> None:
    bench.graph("net", first := rng.randrange(8, 40))
    bench.command("run", "./net.onnx", *QUICK)
    before = samples(bench.runs())
    bench.graph("net", rng.choice((first, first + 40)))
    report = bench.command("run", "./net.onnx", *QUICK, "--resume").stdout.decode()
    after = samples(bench.runs())
    assert all(after[sha256] >= count for sha256, count in before.items()), (before, after)
    assert ("samples of an earlier graph" in report) == (len(after) > 1), report


@fault("losses", "a run is resumed again and again, with other graphs")
def resumed_again(bench: Bench, rng: random.Random) -> None:
    plan = rng.choice((runs.QUICK, LONG))
    before: Run | None = None
    for _ in range(5):
        _measure_a_part(bench.folder, before, rng, plan)
        after = records.read(*bench.folder.glob("cpu/*.jsonl"))
        _check_resumed(before, after)
        before = _by_a_newer_benchbox(after, rng)


def _measure_a_part(folder: Path, before: Run | None, rng: random.Random, plan: Plan) -> None:
    """Run, or resume, three cases: each of some graph or of none, until it ends in some way."""
    devices = runs.SimulatedAgents()
    devices.lost_at = {rng.randrange(3): rng.randrange(400)} if rng.random() < 0.5 else {}
    devices.refused = {0: rng.choice(("tiny:a", "tiny:b"))} if rng.random() < 0.2 else {}
    cases = runs.named(*rng.sample("abc", 3))
    graphs = {case.key: _graph(case, rng) for case in cases}
    chosen = {k: g.sha256 for k, g in graphs.items() if isinstance(g, Graph)}
    devices.take(**{key.partition(":")[2]: 1e3 * GRAPHS[sha] for key, sha in chosen.items()})
    with ONE:
        simulated = runs.Bench(folder, devices, before)
        simulated.measure(cases, _Stopping(rng.randrange(1, 20)), plan, graphs)
    if rng.random() < 0.8:  # else it was killed before its end
        simulated.journal.close()
    else:
        assert simulated.journal._writer is not None
        simulated.journal._writer.close()


def _graph(case: Case, rng: random.Random) -> Graph | CaseError:
    graph = replace(runs.graph_of(case), sha256=rng.choice([*GRAPHS]))
    return CaseError("it cannot be exported") if rng.random() < 0.2 else graph


class _Stopping(runs.Watcher):
    """Ends a run, as Ctrl-C does, when it has heard that often of samples."""

    def __init__(self, left: int) -> None:
        super().__init__()
        self.left = left

    def measuring(self, _: object) -> None:
        self.left -= 1
        if self.left == 0:
            runs.interrupt()


def _by_a_newer_benchbox(run: Run, rng: random.Random) -> Run:
    """The run with a field that this benchbox does not know in one of its lines."""
    lines = run.path.read_text().splitlines()
    at = rng.randrange(len(lines))
    line = json.loads(lines[at])
    inner = [line.get("graph"), *line.get("bursts", ())[:1]]
    rng.choice([line, *filter(None, inner)])["later"] = 1
    lines[at] = json.dumps(line)
    run.path.write_text("\n".join(lines) + "\n")
    return records.read(run.path)


def _later(run: Run) -> set[tuple[str, str]]:
    """The cases and graphs with a field that is not known here, and the context's."""
    lines = [json.loads(line) for line in run.path.read_text().splitlines()]
    return {
        (f"{line.get('spec')}:{line.get('case')}", (line.get("graph") or {}).get("sha256", ""))
        for line in lines
        if '"later"' in json.dumps(line)
    }


def _check_resumed(before: Run | None, after: Run) -> None:
    now = {(each.key, each.sha256): each for each in (*after.records, *after.earlier)}
    for each in now.values():
        wrong = [p50 for p50 in _p50s(each) if abs(p50 / GRAPHS[each.sha256] - 1) > 0.1]
        assert not wrong, f"{each.key}: {wrong[0]} s are not of its graph"
    was = {(each.key, each.sha256): each for each in _all(before) if each.has_samples}
    for key, each in was.items():
        assert len(_p50s(now[key])) >= len(_p50s(each)), f"{key} has lost samples"
        assert now[key].latency or not each.latency, f"{key} has lost its figure"
    _check_ratios(after)
    if before is not None:
        assert _later(before) & {*was, ("None:None", "")} <= _later(after), "a newer field is lost"


@fault("figures", "records of several runs are put into one file")
def mixed_records(bench: Bench, rng: random.Random) -> None:
    devices = rng.sample(("cpu", "cuda", "pi", "phone"), rng.randrange(2, 4))
    texts = [_lines_of_a_run(bench.folder / str(at), name) for at, name in enumerate(devices)]
    texts += rng.sample(texts, rng.randrange(2))  # one of them twice
    heads = [lines[: rng.randrange(1, len(lines) + 1)] for lines in texts]
    strayed = rng.random() < 0.5
    mixed = heads[0] + [line for lines in heads[1:] for line in lines[strayed:]]
    path = bench.folder / "mixed.jsonl"
    path.write_text("".join(mixed))
    with contextlib.suppress(RecordError):
        for run in records.read_all(path):
            wrong = [each.note for each in run.records if each.note != run.context.device]
            assert not wrong, f"a record of {wrong[0]} among those of {run.context.device}"
    if sum('"context"' in line for line in mixed) > 1:
        with pytest.raises(RecordError, match="runs"):
            records.read(path)


def _lines_of_a_run(folder: Path, device: str) -> list[str]:
    written = [record(at, case, note=device) for at, case in enumerate(("a", "b", "c"))]
    path = write(folder, *written, of=context(device=device))
    return path.read_text().splitlines(keepends=True)


def _all(run: Run | None) -> list[Record]:
    return [*run.records, *run.earlier] if run else []


def _p50s(found: Record) -> list[float]:
    if found.sustained:
        return [window.p50_s for window in found.sustained.windows]
    return [ns * NS for burst in found.bursts for ns in burst.latencies_ns]


def _check_ratios(run: Run) -> None:
    for each in run.records:
        reference = run.record(f"tiny:{each.reference}")
        if each.relative is None:
            continue
        assert reference is not None
        right = GRAPHS[each.sha256] / GRAPHS[reference.sha256]
        assert abs(each.relative.value / right - 1) < 0.1, f"{each.key}: a ratio of two graphs"


@fault("figures", "an .onnx file or its external data changes while it is timed")
def replaced_in_mid_run(bench: Bench, rng: random.Random) -> None:
    with ONE, patch.dict(os.environ, {"BENCHBOX_CACHE_DIR": str(bench.folder / "cache")}):
        path, files = _model_with_external_data(bench.folder, rng)
        x = TensorSpec("x", (4,))
        case = Case("net", "net", {}, {}, (x,), 1, OnnxFile(path))
        limit = rng.choice((0, cache.COPIED_BYTES))
        with patch.object(cache, "COPIED_BYTES", limit):
            settled = cache.settled(case)
        before, key = _digest(settled), cache.key(settled)
        graph = Graph(settled.source.path, before, *GRAPH_FACTS, files)
        cache.require_unchanged(settled, graph)
        changed = path if rng.random() < 0.4 or not files else path.parent / rng.choice(files)
        _overwrite(changed, rng)
        assert cache.key(cache.settled(case)) != key, "another graph under the same key"
        if cache.is_copy(graph):
            assert _digest(settled) == before, "the copy changed with the file"
        else:
            with pytest.raises(CaseError):
                cache.require_unchanged(settled, graph)


@fault("figures", "an .onnx file is replaced in mid-run")
def replaced_between_processes(bench: Bench, rng: random.Random) -> None:
    path = bench.graph("net", rng.randrange(8, 40))
    with bench.started("run", "./net.onnx", *QUICK, "--sessions", "3") as process:
        time.sleep(rng.uniform(0.2, 2.0))
        other = bench.graph("other", rng.randrange(40, 80)).read_bytes()
        path.write_bytes(other)
        check_end(process.wait(60), *process.communicate())
    bench.runs()


def _overwrite(path: Path, rng: random.Random) -> None:
    """Change a byte of a file in place, or put another file there; its time may stay as it was."""
    stat, data = path.stat(), bytearray(path.read_bytes())
    data[-1] ^= 1
    if rng.random() < 0.5:
        path.unlink()
    path.write_bytes(data)
    if rng.random() < 0.5:
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def _digest(case: Case) -> str:
    assert isinstance(case.source, OnnxFile)
    return cache.digest(case.source.path, onnx_file.external_files(case.source.path))


def _model_with_external_data(folder: Path, rng: random.Random) -> tuple[Path, list[str]]:
    """A model whose tensors lie in files, wherever a model may have tensors."""
    model = onnx.parser.parse_model(HEADER + "g (float[4] x) => (float[4] y) { y = Abs(x) }")
    files = []
    for place in rng.sample(sorted(PLACES), rng.randrange(4)):
        name = rng.choice((f"{place}.bin", f"sub/{place}.bin"))
        tensor = PLACES[place](model)
        tensor.name, tensor.data_type = place, onnx.TensorProto.FLOAT
        tensor.dims[:] = [4]
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=name)
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(rng.randbytes(16))
        files.append(name)
    path = folder / "net.onnx"
    path.write_bytes(model.SerializeToString())
    return path, sorted(files)


def _attribute(nodes: Any) -> Any:
    return nodes.add(op_type="Constant").attribute.add(name="value")


PLACES = {
    "initializer": lambda m: m.graph.initializer.add(),
    "sparse values": lambda m: m.graph.sparse_initializer.add().values,
    "sparse indices": lambda m: m.graph.sparse_initializer.add().indices,
    "attribute": lambda m: _attribute(m.graph.node).t,
    "attributes": lambda m: _attribute(m.graph.node).tensors.add(),
    "sparse attribute": lambda m: _attribute(m.graph.node).sparse_tensor.values,
    "sparse attributes": lambda m: _attribute(m.graph.node).sparse_tensors.add().values,
    "subgraph without nodes": lambda m: _attribute(m.graph.node).g.initializer.add(),
    "subgraphs": lambda m: _attribute(_attribute(m.graph.node).graphs.add().node).t,
    "function": lambda m: _attribute(m.functions.add(name="f").node).t,
    "subgraph of a function": lambda m: _attribute(
        m.functions.add(name="g").node
    ).g.initializer.add(),
    "default of a function": lambda m: m.functions.add(name="h").attribute_proto.add().t,
    "training": lambda m: m.training_info.add().initialization.initializer.add(),
}


@fault("figures", "a device's name says what it is not")
def false_names(_: Bench, rng: random.Random) -> None:
    machine, words = rng.choice(sorted(FALSE.items()))
    parts = [rng.choice(words), *rng.sample(("my", "lab", "box", "2"), rng.randrange(3))]
    rng.shuffle(parts)
    name = rng.choice("-_").join(parts)
    device = Device(name, CPU_PROVIDER, 1, "arm", url=rng.choice(("", "ssh://x")), typed=name)
    with pytest.raises((DeviceError, UsageError), match=r"name|ARM"):
        registry.check(Entry(name, device.url or "local"))
        devices.require_claims(device, machine, rng.choice(("", "Some Board 3")))
    honest = rng.choice(HONEST[machine])
    registry.check(Entry(honest, "local"))
    devices.require_claims(replace(device, name=honest), machine, "NVIDIA Jetson")
    with pytest.raises(DeviceError, match=r"mean 'cuda'.*add NAME"):
        devices.resolve(rng.choice(("gpu", "gpu0", "nvidia", "cuda0", "my-gpu", "rtx4090")))


FALSE = {
    "x86_64": (
        "arm",
        "arm64",
        "aarch64",
        "armv8",
        "riscv64",
        "gpu",
        "nvidia",
        "npu",
        "radeon",
        "apple-m2",
    ),
    "aarch64": ("x86", "x86_64", "x86-64", "amd64", "intel", "i686", "cuda", "nvidia", "rtx4090"),
}
HONEST = {
    "x86_64": ("x86-box", "charm", "alarm-2", "amd64", "mygpus-not", "nvidia-nano"),
    "aarch64": ("arm-box", "arm64", "pi-aarch64", "cudahy", "nvidia-nano", "jetson"),
}


@fault("figures", "two things are given one name")
def shared_names(bench: Bench, rng: random.Random) -> None:
    _two_files_of_one_stem(bench, rng)
    text = rng.choice(("a b", "A-b", "é", "x=1:2", "n" * 150))
    others = [text.swapcase(), text + " ", f"-{text}", *(text.replace(c, "-") for c in " :")]
    pair = [text, rng.choice([other for other in others if other != text])]
    assert len({selection.file_name(name) for name in pair}) == 2, pair
    cases = runs.named(*pair)
    stems = cli_export.file_stems(cases)
    assert len({stem.casefold() for stem in stems.values()}) == 2, stems
    values = rng.choice(ALIKE)
    rows = [
        f"[[cases]]\nlabels = {{ x = {json.dumps(value)}, n = {n} }}\n"
        for n, value in enumerate(values)
    ]
    path = bench.folder / "spec.toml"
    head = 'title = "T"\nbuilder = "m:f"\ninput = [3]\ngroup_by = "x"\n'
    path.write_text(head + "".join(rows))
    with contextlib.suppress(SpecError):
        found = toml.load(path, "spec").cases(Selection())
        assert len({case.group for case in found}) == 2, found


ALIKE = [(0.3, 0.30000001), (8, "8"), (1.0, "1"), (True, "yes"), (1e-7, 1.00000001e-7)]


def _two_files_of_one_stem(bench: Bench, rng: random.Random) -> None:
    paths = []
    for folder, size in (("a", rng.randrange(2, 9)), ("b", rng.randrange(2, 9))):
        (bench.folder / folder).mkdir(exist_ok=True)
        path = bench.graph(f"{folder}/net", size)
        paths.append(path)
    other = bench.folder / "net.toml"
    other.write_text('title = "T"\nbuilder = "m:f"\ninput = [3]\n[[cases]]\nargs = { x = 1 }\n')
    pair = rng.choice([paths, [paths[0], other], [other, paths[1]]])
    cases = runner.unfold(specs.find_all(map(str, pair)), Selection())
    assert len({case.key for case in cases}) == 2, cases
