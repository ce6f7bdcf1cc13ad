import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchbox.analysis.states import Histogram, Known, Readings
from benchbox.runner import known_states
from tests.helpers.record_files import context

HOST = {"machine": "x86_64", "cpu": "C", "cpus": 2, "virtual": True, "memory_bytes": 5}
CONTEXT = context(host=HOST, versions={"numpy": "2.1", "onnxruntime": "1.22"})


def known(*readings: float) -> Known:
    histogram = Histogram()
    for reading in readings:
        histogram.add(reading)
    return Known(histogram.after(Histogram()))


def bins(**weights: object) -> dict[str, object]:
    return {"bins": {name[1:]: weight for name, weight in weights.items()}, "base_ns": None}


NOTHING = bins()


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
    run = Readings()
    run.add("compute", [(0, 36_000)] * 30, (), [(0, 12_000)] * 30)
    run.update()
    known_states.save(file, run.after(), beside)
    assert Readings(known_states.load(file, beside)).gate == run.gate
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


def test_what_is_negligible_is_dropped(tmp_path: Path) -> None:
    file = tmp_path / "states.json"
    known_states.save(file, Known(Histogram({1: 0.99995, 2: 0.00005})))
    assert known_states.load(file).compute.bins == pytest.approx({1: 1.0}, abs=1e-3)


# what cannot be read or written


@pytest.mark.parametrize(
    "content",
    [
        "garbage",
        "\udcff",
        {"compute": NOTHING},
        {"compute": [1, 2], "stream": NOTHING},
        {"compute": {"bins": [1, 2], "base_ns": None}, "stream": NOTHING},
        {"compute": {"bins": {}}, "stream": NOTHING},
        {"compute": bins(_x=1.0), "stream": NOTHING},
        {"compute": {"bins": {"-1": 1.0}, "base_ns": None}, "stream": NOTHING},
        {"compute": bins(_100000=1.0), "stream": NOTHING},
        {"compute": bins(_5=0.0), "stream": NOTHING},
        {"compute": bins(_5=None), "stream": NOTHING},
        {"compute": bins(_5=float("nan")), "stream": NOTHING},
        {"compute": {"bins": {"5": 1.0}, "base_ns": "fast"}, "stream": NOTHING},
        {"compute": {"bins": {"5": 1.0}, "base_ns": -1}, "stream": NOTHING},
    ],
)
def test_a_file_that_makes_no_sense_says_nothing(tmp_path: Path, content: object) -> None:
    assert loaded(tmp_path, content) == Known()


@pytest.mark.parametrize(
    "content",
    [
        "[" * 100_000,
        {"compute": bins(_5=10**400), "stream": NOTHING},
        {"compute": bins(_5=1e308, _6=1e308), "stream": NOTHING},
        {"compute": {"bins": {"5": 1.0}, "base_ns": 10**400}, "stream": NOTHING},
    ],
    ids=["deep", "large", "together too large", "large base"],
)
def test_a_hostile_file_ends_no_run(tmp_path: Path, content: object) -> None:
    assert Readings(loaded(tmp_path, content)).gate


def test_saving_leaves_one_file_or_nothing_where_it_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.json").mkdir()
    for name in ("file/states/states.json", "folder.json", "deep/states.json", "deep/states.json"):
        known_states.save(tmp_path / name, known(12_000))
    names = [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")]
    assert sorted(names) == ["deep", "deep/states.json", "file", "folder.json"]
    assert known_states.load(tmp_path / "folder.json") == Known()
    assert known_states.load(tmp_path / "none" / "states.json") == Known()
    assert known_states.load(tmp_path / "deep/states.json") != Known()
