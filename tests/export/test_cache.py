import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchbox.costs import Cost
from benchbox.errors import GraphError, SpecError, StorageError
from benchbox.export import cache, entries
from benchbox.export.graph import MODEL, Graph
from benchbox.specs import Builder, Case, OnnxFile, TensorSpec
from tests.conftest import WriteOnnx
from tests.export.conftest import external_case

COST = Cost(1, 2, 3, 4, None, {"Relu": 1}, ("DFT",))


@pytest.fixture
def builder(in_tmp: Path) -> Case:
    """A case of a builder in ./mine.py that imports ./helper.py."""
    (in_tmp / "mine.py").write_text("import helper\nimport json\n\ndef build(c): ...\n")
    (in_tmp / "helper.py").write_text("WIDTH = 1\n")
    source = Builder("mine.py:build", in_tmp / "mine.py")
    return Case("mine", "c=1", {"c": 1}, {"c": 1}, (TensorSpec("x", (1, 3, 8, 8)),), 1, source)


def fill(folder: Path, data: bytes = b"graph", key: str = "k") -> Graph:
    """Write an entry the way the export worker does."""
    (folder / MODEL).write_bytes(data)
    path = folder / MODEL
    graph = Graph(path, cache.digest(path), COST, len(data), 18, "none", 0.0, {"onnx": "1"}, [])
    cache.write_facts(folder, key, graph)
    return graph


# keys


@pytest.mark.parametrize(
    "change",
    [
        *({"args": args} for args in ({"c": 2}, {"c": 1.0}, {"c": True}, {"c": 1, "d": 1})),
        *(
            {"inputs": (TensorSpec(*each),)}
            for each in (("y", (1, 3, 8, 8)), ("x", (2, 3, 8, 8)), ("x", (1, 3, 8, 8), "int64"))
        ),
    ],
)
def test_a_key_changes_with_arguments_and_inputs_and_not_with_names(
    builder: Case, change: dict[str, Any]
) -> None:
    key = cache.key(builder)
    names: dict[str, Any] = dict.fromkeys(("spec", "name", "reference", "note", "group"), "other")
    assert cache.key(replace(builder, labels={}, **names)) == key
    assert cache.key(replace(builder, **change)) != key


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


def test_a_key_changes_with_the_libraries_that_export(
    builder: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = cache.versions()
    assert {"torch", "onnx", "onnxruntime"} <= versions.keys()
    key = cache.key(builder)
    monkeypatch.setattr(cache, "versions", lambda: versions | {"torch": "99"})
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


def test_an_entry_is_found_again_once_it_is_whole(builder: Case) -> None:
    with pytest.raises(KeyboardInterrupt), cache.new_entry("k") as folder:
        fill(folder)
        raise KeyboardInterrupt
    assert list(entries.graphs().iterdir()) == []
    assert cache.lookup("k", builder) is None
    with cache.new_entry("k") as folder:
        made = fill(folder)
        assert cache.lookup("k", builder) is None
    found = cache.lookup("k", builder)
    assert found is not None
    assert found.path.read_bytes() == b"graph"
    assert replace(found, path=made.path) == made
    assert [p.name for p in entries.graphs().iterdir()] == ["k"]


def test_of_two_that_make_one_entry_both_succeed_and_one_entry_remains(builder: Case) -> None:
    with cache.new_entry("k") as first, cache.new_entry("k") as second:
        fill(first)
        fill(second)
    assert cache.lookup("k", builder) is not None
    assert [p.name for p in entries.graphs().iterdir()] == ["k"]


def test_what_a_killed_process_left_is_swept_when_it_is_old() -> None:
    with cache.new_entry("k") as folder:
        left = folder.with_name(f"{folder.name}-left")
        left.mkdir()
        fill(folder)
    entries.sweep()
    assert left.exists(), "another process may still be at it"
    old = time.time() - entries.ABANDONED_S - 60
    os.utime(left, (old, old))
    entries.sweep()
    assert [p.name for p in entries.graphs().iterdir()] == ["k"]


def test_the_cache_is_where_the_user_says_if_it_can_be_written(
    builder: Case, monkeypatch: pytest.MonkeyPatch, in_tmp: Path
) -> None:
    monkeypatch.delenv("BENCHBOX_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(in_tmp))
    if sys.platform == "linux":
        assert entries.graphs() == in_tmp / "benchbox" / "graphs"
    monkeypatch.setenv("BENCHBOX_CACHE_DIR", "~/mine")
    assert entries.graphs() == Path.home() / "mine" / "graphs"
    (in_tmp / "file").write_text("")
    monkeypatch.setenv("BENCHBOX_CACHE_DIR", str(in_tmp / "file"))
    assert cache.lookup("k", builder) is None
    entries.sweep()
    with pytest.raises(StorageError, match="set BENCHBOX_CACHE_DIR"), cache.new_entry("k"):
        pass
