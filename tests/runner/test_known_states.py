import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchbox.analysis import adjusted
from benchbox.analysis.adjusted import Slopes
from benchbox.analysis.levels import Usual
from benchbox.analysis.machine import Known, Machine
from benchbox.analysis.samples import Burst
from benchbox.analysis.states import Bases
from benchbox.runner import known_states
from tests.helpers.record_files import context

HOST = {"machine": "x86_64", "cpu": "C", "cpus": 2, "virtual": True, "memory_bytes": 5}
CONTEXT = context(host=HOST, versions={"numpy": "2.1", "onnxruntime": "1.22"})


SLOPES = {"ab" * 32: Slopes(0.9, 0.1, 0.2, 0.05)}
USUAL = Usual(12_100.0, 290_000.0)
KNOWN = Known(Bases(12_000.0, 300_000.0), USUAL, SLOPES, (1e-4,))


def content(**changes: object) -> dict[str, Any]:
    """What a file says, with parts of it changed."""
    parts: dict[str, dict[str, object]] = {
        "bases": {"compute": 12_000.0, "stream": 3e5, "host": None},
        "usual": {"compute_ns": 12_100.0, "stream_ns": 2.9e5},
        "slopes": {"clock": 0.9, "clock_se": 0.1, "memory": 0.2, "memory_se": 0.05},
    }
    for part in parts.values():
        part |= {name: changes.pop(name) for name in list(changes) if name in part}
    bases, usual, slopes = parts.values()
    whole = {"bases": bases, "usual": usual, "slopes": {"ab" * 32: slopes}, "variances": [1e-4]}
    return whole | changes


def loaded(folder: Path, content: object) -> Known:
    """What a file of this content says."""
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / "states.json").write_bytes(text.encode(errors="surrogateescape"))
    return known_states.load(folder / "states.json")


# a file for each machine


@pytest.mark.parametrize(
    ("changes", "is_same"),
    [
        ({"device": "arm"}, False),
        ({"threads": 2}, False),
        ({"plan": {"threads": [1, 2]}}, False),
        ({"versions": {"numpy": "2.2", "onnxruntime": "1.22"}}, False),
        ({"host": {**HOST, "cpu": "D"}}, False),
        ({"host": {**HOST, "cpus": 4}}, False),
        ({"host": {**HOST, "virtual": False}}, False),
        ({"name": "g1", "created": "2027-01-01T00:00:00Z", "seed": 7, "plan": {"a": 1}}, True),
        ({"versions": {"numpy": "2.1", "onnxruntime": "1.23"}}, True),
        ({"host": {**HOST, "memory_bytes": 6}}, True),
    ],
)
def test_what_changes_the_readings_makes_another_machine(
    changes: dict[str, Any], is_same: bool
) -> None:
    path = known_states.path(replace(CONTEXT, **changes))
    assert (path == known_states.path(CONTEXT)) == is_same


def test_a_gpu_is_another_machine_for_each_library_whose_product_is_its_probe() -> None:
    versions = {"onnxruntime": "1.31", "torch": "2.13"}
    cuda, torch, captured = (
        known_states.path(
            replace(CONTEXT, provider=each, host={"gpu": {"name": "G"}}, versions=versions)
        )
        for each in ("CUDAExecutionProvider", "torch", "torch-cudagraph")
    )
    assert torch == captured != cuda


# there and back


def test_a_gpu_and_the_processor_beside_it_are_known_apart(cache_dir: Path) -> None:
    gpu = replace(CONTEXT, device="cuda", host={**HOST, "gpu": {"name": "A", "driver": "1"}})
    file, beside = known_states.path(gpu), known_states.host_path(gpu)
    assert beside is not None
    assert known_states.host_path(CONTEXT) is None
    assert cache_dir in beside.parents
    assert cache_dir in file.parents
    run = Machine()
    run.add(Burst(0, 0, (1,), marks=((0, 36_000),) * 30, host_marks=((0, 12_000),) * 30))
    run.update()
    known_states.save(file, run.after(), beside)
    assert Machine(known_states.load(file, beside)).gate == run.gate
    assert run.gate.host is not None
    other = replace(gpu, host={**gpu.host, "gpu": {"name": "B", "driver": "1"}})
    assert (known_states.path(other), known_states.host_path(other)) != (file, beside)
    assert known_states.host_path(other) == beside
    assert known_states.host_path(replace(gpu, device="cuda-eager")) == beside


@pytest.mark.parametrize(
    "changes", [{"versions": {"python": "3.9"}}, {"cpus": [3]}, {"host": {**HOST, "gpu": {}}}]
)
def test_another_processor_or_python_beside_a_gpu_is_known_anew(changes: dict[str, Any]) -> None:
    gpu = replace(CONTEXT, host={**HOST, "cpu": "D", "gpu": {}})
    assert known_states.host_path(replace(gpu, **changes)) != known_states.host_path(gpu)


def test_what_was_learned_is_read_back_and_the_slopes_of_the_oldest_graphs_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert loaded(tmp_path, content()) == KNOWN
    known_states.save(tmp_path / "states.json", KNOWN)
    assert known_states.load(tmp_path / "states.json") == KNOWN
    monkeypatch.setattr(known_states, "MOST_GRAPHS", 2)
    many = {name: replace(SLOPES["ab" * 32], clock=n) for n, name in enumerate("cba")}
    known_states.save(tmp_path / "states.json", replace(KNOWN, slopes=many))
    assert known_states.load(tmp_path / "states.json").slopes == {"b": many["b"], "a": many["a"]}


def test_forgetting_deletes_what_is_known_of_every_machine(cache_dir: Path) -> None:
    files = [known_states.path(replace(CONTEXT, threads=n)) for n in (1, 2)]
    assert all(cache_dir in file.parents for file in files)
    for file in files:
        known_states.save(file, KNOWN)
    assert known_states.forget() == 2
    assert not any(file.exists() for file in files)
    assert known_states.forget() == 0


# what cannot be read or written


@pytest.mark.parametrize(
    "text",
    [
        "garbage",
        "\udcff",
        "[" * 100_000,
        [1, 2],
        {"compute": {"bins": {"5": 1.0}, "base_ns": 12_000.0}, "stream": {"bins": {}}},
        content(bases=[1, 2]),
        *(content(compute=odd) for odd in ("fast", 0.0, -1, float("nan"), 10**400, 1e300, True)),
        *(content(stream_ns=odd) for odd in ("high", 0.0, -1.0, float("inf"), 10**400)),
        content(variances=[None]),
        content(slopes=[1]),
        *(content(clock=odd) for odd in (None, "steep", float("nan"), 1e300)),
        *(content(memory_se=odd) for odd in (-0.1, float("inf"), 10**400)),
    ],
    ids=lambda text: str(text)[:200],
)
def test_a_file_that_makes_no_sense_says_nothing(tmp_path: Path, text: object) -> None:
    assert loaded(tmp_path, text) == Known()


@pytest.mark.parametrize("odd", [0.0, 1e-300, 1e18])
@pytest.mark.parametrize("name", ["clock", "clock_se", "memory", "memory_se"])
def test_slopes_that_no_graph_has_end_no_run(tmp_path: Path, name: str, odd: float) -> None:
    machine = Machine(loaded(tmp_path, content(**{name: odd})), adjusts=True)
    marks = ((0, 12_100), (1, 12_000))
    bursts = [Burst(0, n, (1000 + n,), marks=marks, stream_ns=(310_000,)) for n in range(9)]
    for burst in bursts:
        machine.add(burst)
    machine.update()
    case = machine.adjust("a", "ab" * 32, bursts)
    found = case and adjusted.interval(case, 0.0)
    assert found and found[0].half_width < 0.3
    assert found[0].value == pytest.approx(1004e-9, rel=0.2)


def test_saving_leaves_one_file_or_nothing_where_it_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.json").mkdir()
    for name in ("file/states/states.json", "folder.json", "deep/states.json", "deep/states.json"):
        known_states.save(tmp_path / name, KNOWN)
    names = [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")]
    assert sorted(names) == ["deep", "deep/states.json", "file", "folder.json"]
    assert known_states.load(tmp_path / "folder.json") == Known()
    assert known_states.load(tmp_path / "none" / "states.json") == Known()
    assert known_states.load(tmp_path / "deep/states.json") == KNOWN
