import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from benchbox.costs import Cost
from benchbox.errors import GraphError, SpecError, StorageError
from benchbox.export import cache
from benchbox.export.graph import MODEL, Graph
from benchbox.specs import Builder, Case, OnnxFile, TensorSpec
from benchbox.transports.local import ROOT
from tests.conftest import WriteOnnx
from tests.export.conftest import external_case

COST = Cost(1, 2, 3, 4, None, {"Relu": 1}, ())


@pytest.fixture
def builder(in_tmp: Path) -> Case:
    """A case of a builder in ./mine.py that imports ./helper.py."""
    (in_tmp / "mine.py").write_text("import helper\nimport json\n\ndef build(c): ...\n")
    (in_tmp / "helper.py").write_text("WIDTH = 1\n")
    source = Builder("mine.py:build", in_tmp / "mine.py")
    return Case("mine", "c=1", {"c": 1}, {"c": 1}, (TensorSpec("x", (1, 3, 8, 8)),), 1, source)


@pytest.fixture
def fresh_versions() -> Iterator[None]:
    cache.versions.cache_clear()
    yield
    cache.versions.cache_clear()


def fill(folder: Path, data: bytes = b"graph") -> Graph:
    """Write an entry the way the export worker does."""
    (folder / MODEL).write_bytes(data)
    path = folder / MODEL
    graph = Graph(path, cache.digest(path), COST, len(data), 18, "none", 0.0, {"onnx": "1"})
    (folder / cache.FACTS).write_text(json.dumps(graph.facts()))
    return graph


# keys


def test_a_key_stays_the_same_for_the_same_graph(builder: Case) -> None:
    key = cache.key(builder)
    assert len(key) == 64
    names = dict.fromkeys(("spec", "name", "reference", "note", "group"), "other")
    assert cache.key(replace(builder, labels={}, **names)) == key  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [
        *({"args": {"c": c}} for c in (2, 1.0, "1", True)),
        {"args": {"c": 1, "d": 1}},
        {"inputs": (TensorSpec("y", (1, 3, 8, 8)),)},
        {"inputs": (TensorSpec("x", (2, 3, 8, 8)),)},
        {"inputs": (TensorSpec("x", (1, 3, 8, 8), "int64"),)},
        {"inputs": (TensorSpec("x", (1, 3, 8, 8)), TensorSpec("y", (1,)))},
    ],
)
def test_a_key_changes_with_arguments_and_inputs(builder: Case, change: dict[str, object]) -> None:
    assert cache.key(replace(builder, **change)) != cache.key(builder)  # type: ignore[arg-type]


def test_a_key_changes_with_the_builders_source_and_what_it_imports(
    builder: Case, in_tmp: Path
) -> None:
    before = cache.key(builder)
    (in_tmp / "helper.py").write_text("WIDTH = 2\n")
    key = cache.key(builder)
    assert key != before
    source = Builder("mine.py:other", in_tmp / "mine.py")
    assert cache.key(replace(builder, source=source)) != key
    with pytest.raises(SpecError, match="nowhere:build"):
        cache.key(replace(builder, source=Builder("nowhere:build")))


@pytest.mark.usefixtures("fresh_versions")
def test_a_key_changes_with_the_libraries_that_export(
    builder: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = cache.key(builder)
    assert {"torch", "onnx", "onnxruntime"} <= cache.versions().keys()
    cache.versions.cache_clear()
    monkeypatch.setattr(cache, "version", lambda name: "99" if name == "torch" else "1")
    assert cache.key(builder) != key


def test_a_files_key_is_its_content_not_its_place(write_onnx: WriteOnnx, tmp_path: Path) -> None:
    path = write_onnx()
    case = Case("tiny", "tiny", {}, {}, (TensorSpec("x", (32, 32)),), 1, OnnxFile(path))
    copy = tmp_path / "copy.onnx"
    copy.write_bytes(path.read_bytes())
    assert cache.key(replace(case, source=OnnxFile(copy))) == cache.key(case)
    other = write_onnx("other", "o (float[32,32] x) => (float[32,32] y) { y = Relu(x) }")
    assert cache.key(replace(case, source=OnnxFile(other))) != cache.key(case)


def test_a_files_key_changes_with_its_external_data(tmp_path: Path) -> None:
    external = external_case(tmp_path)
    key = cache.key(external)
    data = tmp_path / "w.bin"
    data.write_bytes(b"\1" + data.read_bytes()[1:])
    assert cache.key(external) != key
    data.unlink()
    with pytest.raises(GraphError, match=r"external data 'w\.bin' is not beside it"):
        cache.key(external)


# entries


def test_an_entry_is_found_again(builder: Case) -> None:
    assert cache.lookup("k", builder) is None
    with cache.new_entry("k") as folder:
        made = fill(folder)
        assert cache.lookup("k", builder) is None
    found = cache.lookup("k", builder)
    assert found is not None
    assert found.path.read_bytes() == b"graph"
    assert found.facts() == made.facts()
    assert [p.name for p in cache.folder().iterdir()] == ["k"]


def test_a_graph_is_read_as_it_was_written() -> None:
    graph = Graph(Path("m"), "s", COST, 9, 18, "folded", 1e-6, {"torch": "2"}, ["w.bin"])
    assert Graph.of(Path("m"), json.loads(json.dumps(graph.facts()))) == graph


def break_graph(entry: Path) -> None:
    data = (entry / MODEL).read_bytes()
    (entry / MODEL).write_bytes(bytes([data[0] ^ 1]) + data[1:])


@pytest.mark.parametrize(
    "damage",
    [
        break_graph,
        lambda entry: (entry / MODEL).unlink(),
        lambda entry: (entry / cache.FACTS).unlink(),
        *(
            lambda entry, text=text: (entry / cache.FACTS).write_bytes(text)
            for text in (b"{", b"[]", b"{}", b"\xff\xfe")
        ),
    ],
)
def test_a_damaged_entry_is_not_found_and_a_new_one_replaces_it(
    builder: Case, damage: Callable[[Path], object]
) -> None:
    with cache.new_entry("k") as folder:
        fill(folder)
    damage(cache.folder() / "k")
    assert cache.lookup("k", builder) is None
    with cache.new_entry("k") as folder:
        fill(folder)
    assert cache.lookup("k", builder) is not None
    assert [p.name for p in cache.folder().iterdir()] == ["k"]


def test_a_block_that_fails_leaves_nothing(builder: Case) -> None:
    with pytest.raises(KeyboardInterrupt), cache.new_entry("k") as folder:
        fill(folder)
        raise KeyboardInterrupt
    assert list(cache.folder().iterdir()) == []
    assert cache.lookup("k", builder) is None


def test_of_two_that_make_one_entry_both_succeed_and_one_entry_remains(builder: Case) -> None:
    code = (
        "from benchbox.export import cache\nfrom tests.export.test_cache import fill\n"
        "for _ in range(15):\n    with cache.new_entry('k') as folder: fill(folder)"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    makers = [subprocess.Popen([sys.executable, "-c", code], env=env) for _ in range(2)]
    assert [maker.wait(60) for maker in makers] == [0, 0]
    assert cache.lookup("k", builder) is not None
    assert [p.name for p in cache.folder().iterdir()] == ["k"]


def test_what_a_killed_process_left_is_swept_when_it_is_old(builder: Case) -> None:
    code = (
        "import os, signal\nfrom benchbox.export import cache\n"
        "with cache.new_entry('k'): os.kill(os.getpid(), signal.SIGKILL)"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    assert subprocess.run([sys.executable, "-c", code], env=env, check=False).returncode == -9
    (left,) = cache.folder().iterdir()
    assert left.name.startswith("new-")
    assert cache.lookup("k", builder) is None
    cache.sweep()
    assert left.exists(), "another process may still be at it"
    old = time.time() - cache.ABANDONED_S - 60
    os.utime(left, (old, old))
    with cache.new_entry("k") as folder:
        fill(folder)
    cache.sweep()
    assert [p.name for p in cache.folder().iterdir()] == ["k"]


def test_the_cache_is_where_the_user_says_or_in_the_users_cache_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("BENCHBOX_CACHE_DIR", "~/mine")
    assert cache.folder() == Path.home() / "mine" / "graphs"
    monkeypatch.delenv("BENCHBOX_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if sys.platform == "linux":
        assert cache.folder() == tmp_path / "benchbox" / "graphs"


def test_a_cache_that_cannot_be_written_says_what_to_set(
    builder: Case, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BENCHBOX_CACHE_DIR", str(tmp_path / "file"))
    assert cache.lookup("k", builder) is None
    cache.sweep()
    with pytest.raises(StorageError, match="set BENCHBOX_CACHE_DIR"), cache.new_entry("k"):
        pass
