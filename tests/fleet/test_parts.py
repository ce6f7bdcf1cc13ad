"""The parts of a fleet: tasks, the store, chunks, the roster of devices, and who matches."""

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from rich.console import Console

from benchbox import host
from benchbox.api import fleet, job
from benchbox.api.job import Job
from benchbox.api.options import Cases, JobOptions
from benchbox.cli import fleet_list
from benchbox.devices import CPU_PROVIDER, Device, providers
from benchbox.errors import CaseError, DeviceError, SpecError, StorageError, UsageError
from benchbox.fleet import chunks, engine, members, offered, roster, store, targets, task
from benchbox.fleet.control import Control
from benchbox.fleet.members import Member
from benchbox.fleet.task import Files
from benchbox.report.console import show_tables
from benchbox.specs import Builder, Case, OnnxFile, TensorSpec, Values
from tests.fleet import stand_in
from tests.fleet.lab import waited
from tests.helpers.command import invoke
from tests.helpers.record_files import context
from tests.helpers.runs import QUICK, graph_of, named

TOKEN = "ab" * 32


def test_a_missing_extra_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "NEEDED", ("no_such_package",))
    done = invoke("worker", "--scheduler", "tcp://127.0.0.1")
    assert (done.exit_code, done.stderr) == (2, f"Error: {engine.INSTALL}\n")


@pytest.mark.parametrize("option", ["--cpus=0", "--arrival=5/s", "--profile", "--tf32"])
def test_what_a_fleet_cannot_follow_is_refused(
    option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = invoke("run", "g2", "--scheduler", "tcp://127.0.0.1", option)
    assert done.exit_code == 2
    assert "not with --scheduler" in done.stderr


@pytest.mark.parametrize("priority", [1 << 64, -1 << 64])
def test_a_priority_is_one_that_schedulers_can_read(priority: int) -> None:
    done = invoke("run", "g2", "--scheduler", "tcp://127.0.0.1", f"--priority={priority}")
    assert done.exit_code == 2


def asked(tmp_path: Path) -> task.Task:
    (tmp_path / "secret.npy").write_bytes(b"x")
    values = Values(file=tmp_path / "secret.npy", sha256="cd" * 32, shape=(4, 4), dtype="float32")
    first, other = named("a", "b")
    first = replace(first, inputs=(TensorSpec("x", (4, 4), values=values),))
    built = replace(other, source=Builder("secret.py:build", tmp_path / "secret.py"))
    graph = task.sent(replace(graph_of(first), path=tmp_path / "secret.onnx"))
    return task.Task(
        device="pi-1",
        run="g2",
        cases=[task.bare(first), task.bare(built)],
        graphs={first.key: graph, built.key: "it cannot be exported"},
        plan=QUICK,
        channels="arm",
    )


def test_a_task_survives_json_without_a_path_of_the_submitter(tmp_path: Path) -> None:
    sent = asked(tmp_path)
    text = task.dump(sent)
    assert str(tmp_path) not in text
    again = task.parse_task(text)
    assert task.dump(again) == text
    cases, graphs = task.placed(again, store.path)
    assert cases[0].inputs[0].values is not None
    assert cases[0].inputs[0].values.file == store.path("cd" * 32)
    assert isinstance(graphs[cases[1].key], CaseError)
    assert isinstance(cases[1].source, Builder)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"device": "../x"}, "device"),
        ({"run": "a/b"}, "run"),
        ({"cases": []}, "cases"),
        ({"graphs": {}}, "graphs"),
        ({"channels": "dsp"}, "channels"),
        ({"benchbox": "0.0.1"}, "benchbox 0.0.1"),
    ],
)
def test_a_wrong_task_is_refused_by_name(
    changes: dict[str, object], says: str, tmp_path: Path
) -> None:
    text = json.dumps({**json.loads(task.dump(asked(tmp_path))), **changes})
    with pytest.raises(UsageError, match=says):
        task.parse_task(text)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("precision", "1%"),
        ("precision", 0.0),
        ("max_time_s", -1.0),
        ("min_rounds", -1),
        ("burst_s", 0.0),
        ("burst_s", 1e12),
        ("min_calls", 10**9),
        ("seed", 10**30),
        ("sessions", 1000),
        ("arrival_per_s", 1e-9),
        ("sustained_s", 60.0),
        ("margin", -1.0),
        ("limits", [-1.0]),
        ("cooldown_s", 1e9),
        ("aim", 0.0),
        ("percentiles", [200.0]),
    ],
)
def test_a_plan_that_no_fleet_is_asked_for_is_refused(
    name: str, value: object, tmp_path: Path
) -> None:
    text = json.dumps({**json.loads(task.dump(asked(tmp_path))), "plan": {name: value}})
    with pytest.raises(UsageError, match=f"plan.{name}"):
        task.parse_task(text)


@pytest.mark.parametrize("where", ["name", "values"])
def test_what_is_no_text_is_refused_before_anything_is_sent(where: str) -> None:
    (odd,) = named("\udcff" if where == "name" else "a")
    text = Values(text="\udcff" if where == "values" else "a")
    odd = replace(odd, inputs=(TensorSpec("x", (1,), values=text),))
    with pytest.raises(UsageError, match="tiny:"):
        task.require_text([*named("b"), odd])
    json.dumps(task.sent(CaseError("\udcff"))).encode()


@pytest.mark.parametrize("where", ["sha256", "beside"])
def test_a_graph_leads_out_of_no_folder(where: str, tmp_path: Path) -> None:
    fields = json.loads(task.dump(asked(tmp_path)))
    graph = next(each for each in fields["graphs"].values() if isinstance(each, dict))
    graph[where] = {"sha256": "../../x", "beside": ["../x"]}[where]
    with pytest.raises(UsageError, match=f"graphs.{where}"):
        task.parse_task(json.dumps(fields))


def test_what_arrives_whole_is_kept_and_what_is_damaged_is_not(tmp_path: Path) -> None:
    graph = tmp_path / "g.onnx"
    graph.write_bytes(b"graph" * 3)
    sha256 = host.sha256(graph)
    assert store.lacking([sha256]) == [sha256]
    for load in store.loads({sha256: Files(graph)}):
        store.receive(*load)
    other = "00" * 32
    with pytest.raises(StorageError, match="damaged"):
        store.receive([(other, TOKEN, "model.onnx", b"other")], [(other, TOKEN, [])])
    assert store.lacking([sha256, other]) == [other]
    assert store.path(sha256).read_bytes() == graph.read_bytes()
    assert len(list(store.path(sha256).parent.parent.iterdir())) == 1


def test_files_travel_in_few_messages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "PART_BYTES", 10)
    files = {}
    for index, size in enumerate((3, 3, 25, 3)):
        path = tmp_path / f"{index}.onnx"
        path.write_bytes(bytes([index]) * size)
        files[host.sha256(path)] = Files(path)
    loads = list(store.loads(files))
    assert [sum(len(part[-1]) for part in parts) for parts, _ in loads] == [16, 10, 8]
    for load in loads:
        store.receive(*load)
    assert store.lacking([*files]) == []


def test_a_full_disk_is_said_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "g.onnx"
    path.write_bytes(b"graph")
    sha256 = host.sha256(path)

    def full(*_: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store.cache, "digest", full)
    with pytest.raises(StorageError, match="its cache cannot be written: No space left"):
        for load in store.loads({sha256: Files(path)}):
            store.receive(*load)
    assert not any(sha256 in entry.name for entry in (host.cache_folder() / "fleet").iterdir())


def cases(**groups: int) -> list[Case]:
    return [
        Case("s", f"{group}{n}", {}, {}, (), 1, OnnxFile(Path()), group, reference=f"{group}0")
        for group, count in groups.items()
        for n in range(count)
    ]


def test_a_reference_goes_along_with_each_part_of_its_group() -> None:
    parts = chunks.groups(cases(a=10, b=1, c=1), 1, is_comparison=False)
    assert [[case.name for case in part] for part in parts] == [
        ["b0"],
        ["c0"],
        ["a0", "a1", "a2", "a3", "a4", "a5"],
        ["a0", "a6", "a7"],
        ["a0", "a8", "a9"],
    ]
    whole = chunks.groups(cases(a=10), 4, is_comparison=True)
    assert [len(part) for part in whole] == [10]


def test_what_comes_before_an_error_is_made_in_few_batches_where_nobody_waits() -> None:
    def parts() -> Iterator[chunks.Part]:
        yield from ([case] for case in cases(a=40))
        raise SpecError("it fails")

    def made(batches: Iterator[Sequence[chunks.Part]]) -> Iterator[chunks.Chunk]:
        for batch in batches:
            for part in chunks._joined(batch, 50):
                yield chunks.Chunk(part, {}, (), {})

    preparation = chunks.Preparation(parts(), made, lambda: None)
    waited(lambda: preparation.is_over)
    assert isinstance(preparation.error, SpecError)
    found = list(iter(preparation.next, None))
    assert [case for chunk in found for case in chunk.cases] == cases(a=40)
    assert len(found) <= 3


HOST = {"machine": "aarch64", "cpu": "Cortex-A76", "cpus": 4, "boot": "b"}


@pytest.mark.parametrize(
    ("host", "runtime", "changed"),
    [
        ({"kernel": "6.9", "memory_bytes": 1}, "1.22", ""),
        ({"setting": {"limit": "1200 MHz"}}, "1.22", ""),  # by heat
        ({"setting": {"governor": "powersave"}}, "1.22", "governor powersave, not unknown"),
        ({}, "1.23", "runtime ONNX Runtime 1.23, not ONNX Runtime 1.22"),
    ],
)
def test_a_device_has_the_identity_of_its_processor_runtime_and_governor(
    host: dict[str, object], runtime: str, changed: str
) -> None:
    device = Device("pi-1", CPU_PROVIDER, 1, "arm")
    facts = members.described(device, HOST, {"onnxruntime": "1.22"})
    own = context(host={**HOST, **host}, versions={"onnxruntime": runtime, "torch": "3"})
    assert members.changes(facts, own) == changed
    is_same = members.described(device, own.host, own.versions)["identity"] == facts["identity"]
    assert is_same is not bool(changed)


def test_the_last_chunks_are_shared_case_by_case() -> None:
    alone, together = cases(a=1, b=1, c=1), cases(d=3)
    graphs = {case.key: CaseError("none") for case in (*alone, *together)}
    parts = [chunks.Chunk(e, graphs, {c.key for c in e}, {}) for e in (alone, together)]
    assert [[len(c.cases) for c in part.split()] for part in parts] == [[1, 1, 1], [3]]


def member(name: str, identity: str = "one", machine: str = "aarch64") -> Member:
    return Member(name, "w", identity, machine, "A76", "ONNX Runtime 1", "", ("pi", identity))


class Told:
    def __init__(self) -> None:
        self.heard: list[tuple[str, str]] = []

    def aside(self, device: str, reason: str) -> None:
        self.heard.append((device, reason))

    def resting(self, reasons: Mapping[str, str]) -> None:
        self.heard += reasons.items()

    def usual(self, device: str) -> None:
        self.aside(device, "")

    def left(self, device: str) -> None:
        self.aside(device, "left")

    def back(self, device: str) -> None:
        self.aside(device, "back")


def test_a_device_rests_for_a_run_until_its_worker_tells_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    times = iter((0.0, 0.0, 1.0, *[roster.TOLD_S] * 2, *[roster.TOLD_S + 1.0] * 2))
    monkeypatch.setattr(roster, "time", SimpleNamespace(monotonic=lambda: next(times)))
    told = Told()
    own = roster.Roster(told)
    hot, other = replace(member("pi-1"), rests="hot"), replace(member("pc", "two"), rests="hot")
    own.look([hot, member("pi-2"), other], {"one"})
    assert [each.name for each in own.usable("", "one")] == ["pi-2"]
    own.rest({"pi-2": "it drifts"})
    usual = [member("pi-1"), member("pi-2")]
    own.look(usual, {"one"})
    assert own.usable("", "one") == usual, "all rest"
    own.look(usual, {"one"})
    assert own.usable("", "one") == usual[:1]
    assert told.heard == [("pi-1", "hot"), ("pi-2", "it drifts"), ("pi-1", "")]


def test_a_device_that_leaves_is_told_of_and_one_that_is_back() -> None:
    told = Told()
    own = roster.Roster(told)
    first, other, third = member("pi-1"), member("pc", "two"), member("pi-3")
    own.put_aside("pi-3", "it is on fire")
    for found in ([first, other, third], [], [first], [replace(first, worker="v")]):
        own.look(found, {"one"})
    own.look([], ())
    own.look([first], {"one"})
    told_of_first = [what for name, what in told.heard if name == "pi-1"]
    assert told_of_first == ["left", "back"] * 2
    assert [name for name, _ in told.heard if name != "pi-1"] == ["pi-3"]


def test_a_device_is_hung_while_a_task_takes_far_longer_than_it_may(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    monkeypatch.setattr(offered, "time", SimpleNamespace(monotonic=lambda: now))
    (device,) = stand_in.offers("pi-1")
    with device.at("tiny:a", 600.0):
        now = 600.0
        assert not device.is_hung
        now = 1000.0
        assert device.is_hung
    assert not device.is_hung


def test_cases_with_which_worker_after_worker_is_lost_are_given_up() -> None:
    ahead, unused = chunks.Ahead[chunks.Chunk](iter(()), lambda: None), cast("Any", None)
    target = targets.FleetTarget("pool:pi", "one", unused, unused, ahead, 1.0, Control(unused))
    for left in range(targets.MOST_LOSSES):
        assert target.given_up() is None, f"after {left}"
        chunk = target.next("pi-1", 1, False) or chunks.Chunk(cases(a=2), {}, {"s:a0", "s:a1"}, {})
        target.take_back(chunk, is_loss=True)
    assert target.next("pi-1", 1, False) is None
    assert str(target.given_up()).startswith("s:a0 and 1 more: not timed")


def test_a_fleets_gpu_gets_what_a_gpu_here_gets(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = replace(member("gpu"), provider=providers.CUDA, channels="gpu")
    monkeypatch.setattr(fleet, "there", lambda _: [gpu])

    def asked(**options: Any) -> Job:
        cases = Cases(("g1",), **options)
        return job.of_run(JobOptions(cases=cases, scheduler="tcp://127.0.0.1"))

    assert [request.selection.channels for request in asked().requests] == ["gpu"]
    with pytest.raises(UsageError, match="is a GPU"):
        asked(dtype="int8")


FLEET = [member("pi1"), member("pi2"), member("pi3", "two"), member("pc", "three", "x86_64")]


@pytest.mark.parametrize(
    ("target", "names"),
    [("pi1", ["pi1"]), ("pool:one", ["pi1", "pi2"]), ("arch:x86_64", ["pc"])],
)
def test_names_pools_and_machines_stand_for_devices(target: str, names: list[str]) -> None:
    assert [each.name for each in members.matching(target, FLEET)] == names


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("pool:pi", "they differ, choose one: pool:one is .*pool:two"),
        ("", "they differ"),
        ("pi9", "the fleet has pc, pi1, pi2, pi3"),
    ],
)
def test_devices_that_differ_are_never_mixed(target: str, says: str) -> None:
    with pytest.raises(DeviceError, match=says):
        members.matching(target, FLEET)


def test_the_list_fits_a_terminal_and_says_who_rests() -> None:
    busy = replace(member("pi-1"), case="g2:groups=8,scale=1", left_s=2.0, task_s=20.0, waiting=1)
    hot = replace(member("pi-2"), rests="heat slows it down at 85 °C", temperature_c=85.0)
    read = replace(member("pi-3"), reading_ns=96_100.0, p50_s=0.0123, done=12)
    out = io.StringIO()
    wrong = members.parse([{**fleet_list.row(busy), "name": "pi-4", "cpu": 1}])[1]
    table = fleet_list.of([busy, hot, read], 2, "http://127.0.0.1:8787/status", wrong)
    show_tables([table], Console(file=out, width=80, force_terminal=True, color_system=None))
    text = out.getvalue()
    assert max(map(len, text.splitlines())) <= 80
    for words in (
        "22 s",
        "12.3",
        "pi-2 rests: heat",
        "pool:one or pool:pi: A76",
        "2 workers export graphs",
        "8787/status",
    ):
        assert words in text
    assert "pi-4 is left out: w tells nonsense of it, 'cpu'" in " ".join(text.split())
    assert fleet_list.NO_DASHBOARD in str(fleet_list.of([], 0, None, {}))
    assert fleet_list.row(busy)["queued_s"] == 22.0
    json.dumps(fleet_list.row(hot))
