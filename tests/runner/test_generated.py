"""Generators of graphs: what they yield becomes cases, one after the other."""

import re
from itertools import islice
from pathlib import Path
from typing import Any

import onnx
import pytest

from benchbox import runner
from benchbox.api import fleet, job
from benchbox.api.job import Job
from benchbox.api.options import Cases, JobOptions
from benchbox.errors import SpecError, UsageError
from benchbox.export import Graph, cache
from benchbox.fleet.members import Member
from benchbox.runner import generated
from benchbox.specs import OnnxFile, Selection
from tests.export.conftest import external_case
from tests.helpers.onnx_models import product

SEARCH = """
import onnx
from pathlib import Path

FILE = Path(__file__).parent / "wide.onnx"

def variants():
    yield "small", onnx.load(FILE), 60
    yield "large", FILE.read_bytes()
    yield "wide", FILE
    raise KeyError("no such width")

def three():
    yield from list(variants_of(3))

def variants_of(count):
    for index in range(count):
        yield index, FILE

def nothing():
    yield from ()

def broken():
    yield "a", b"nothing"
    yield "b", FILE
    yield "c", "outside.onnx"
    yield 3
    yield "", FILE
    yield "f", None
    yield "b", FILE
    yield "h", "no-such.onnx"
    yield "i", FILE, "60%"
    yield "item 4", FILE
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    onnx.save(product((4, 8), (8, 2)), tmp_path / "wide.onnx")
    (tmp_path / "search.py").write_text(SEARCH)
    monkeypatch.chdir(tmp_path)
    members = [Member(n, "w", "i", "x86_64", "cpu", "runtime", "", ()) for n in "ab"]
    monkeypatch.setattr(fleet, "there", lambda _: members)
    return tmp_path


def test_a_function_that_yields_is_told_without_running_it(folder: Path) -> None:
    assert generated.is_generator("search.py:variants")
    (folder / "builder.py").write_text("raise SystemExit\ndef net(width): return width\n")
    assert not generated.is_generator("builder.py:net")
    assert not generated.is_generator("mobilenetv2")


def test_cases_come_one_by_one_each_alone_and_from_files_that_stay(folder: Path) -> None:
    cases = list(islice(generated.stream("search.py:variants", Selection()), 3))
    assert [(c.key, c.group, c.is_reference) for c in cases] == [
        (f"variants:{name}", name, True) for name in ("small", "large", "wide")
    ]
    paths = [c.source.path for c in cases if isinstance(c.source, OnnxFile)]
    assert paths[2] == folder / "wide.onnx"
    assert paths[1].read_bytes() == paths[2].read_bytes()
    kept = cache.settled(cases[1])
    assert isinstance(kept.source, OnnxFile) and kept.source.path == paths[1]


def test_all_cases_are_there_once_a_spec_is_unfolded() -> None:
    found = generated.spec("search.py:three")
    batched = found.cases(Selection())
    assert [case.name for case in batched] == ["0", "1", "2"]
    assert found.cases(Selection()) == batched


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("variants", "generator 'search.py:variants' fails: KeyError: 'no such width'"),
        ("nothing", "generator 'search.py:nothing' yields nothing"),
    ],
)
def test_a_generator_that_fails_is_an_error_in_one_line(name: str, says: str) -> None:
    with pytest.raises(SpecError, match=re.escape(says)) as raised:
        list(generated.stream(f"search.py:{name}", Selection()))
    assert "\n" not in str(raised.value)


def test_a_broken_graph_takes_no_other_with_it(folder: Path) -> None:
    external_case(folder)
    (folder / "w.bin").unlink()
    cases = list(generated.stream("search.py:broken", Selection()))
    graphs = runner.prepare((), cases)
    assert isinstance(graphs.pop("broken:b"), Graph)
    says = {name.split(":")[1]: str(each) for name, each in graphs.items()}
    assert says.pop("a").startswith("graph.onnx: not an ONNX file")
    assert says == {
        "c": "outside.onnx: its external data 'w.bin' is not beside it",
        "item 4": "it is no (name, model) or (name, model, accuracy)",
        "item 5": "its name is no text of 1 to 200 characters",
        "f": "it has no ONNX model, bytes or path of one",
        "b (item 7)": "a second graph 'b'; give each a name of its own",
        "h": "no-such.onnx: cannot be read: No such file or directory",
        "i": "its accuracy is no number",
        "item 4 (item 10)": "a second graph 'item 4'; give each a name of its own",
    }
    here = generated.spec("search.py:broken").cases(Selection())
    assert [case.key for case in here] == [case.key for case in cases]


def job_of(*names: str, **options: Any) -> Job:
    return job.of_run(JobOptions(cases=Cases(names), **options))


def test_a_fleet_waits_for_the_first_graph_alone() -> None:
    asked = job_of("search.py:variants", scheduler="tcp://127.0.0.1")
    assert [case.name for case in asked.cases] == ["small"]
    assert asked.stream is not None and next(asked.stream).name == "large"
    here = job_of("search.py:three")
    assert ([case.name for case in here.cases], here.stream) == (["0", "1", "2"], None)


def test_a_generator_is_run_alone_on_one_device() -> None:
    with pytest.raises(UsageError, match="a generator is run alone"):
        job_of("search.py:three", "g2")
    with pytest.raises(UsageError, match="give one -d"):
        job_of("search.py:three", scheduler="tcp://127.0.0.1", device=["a", "b"])
