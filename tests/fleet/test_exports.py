"""Graphs made by workers that have torch: once by content, checked, and by nobody else."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchbox import host
from benchbox.errors import CaseError, DeviceError, SpecError, StorageError, UsageError
from benchbox.export import Graph
from benchbox.fleet import exports, store, task
from benchbox.specs import Builder, Case, OnnxFile
from tests.helpers.runs import graph_of, named

OWN = Builder("benchbox.networks.shufflenetv2:g2")


class Exporter:
    """A worker in this process, with a cache of its own."""

    def __init__(self, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cache, self.monkeypatch = cache, monkeypatch
        self.asked: list[str] = []
        self.fetched: list[str] = []

    def export(self, text: str, key: str) -> str:
        self.asked.append(key)
        return task.dump(self._there(exports.made, text, "tcp://1.2.3.4:5"))

    def call(self, host: str, function: Callable[..., Any], *args: object) -> Any:
        self.fetched.append(f"{host} {args[1]}")
        return self._there(function, *args)

    def _there(self, function: Callable[..., Any], *args: object) -> Any:
        with self.monkeypatch.context() as patched:
            patched.setattr(host, "cache_folder", lambda: self.cache)
            return function(*args)


@pytest.fixture
def exporter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Exporter:
    """One whose exports are the name of the case, and what its builder's file has."""

    def prepare(cases: Sequence[Case], *_: object) -> dict[str, Graph | CaseError]:
        found: dict[str, Graph | CaseError] = {}
        for case in cases:
            source = case.source
            assert isinstance(source, Builder)
            if case.name == "odd":
                found[case.key] = CaseError("it cannot be exported")
                continue
            path = tmp_path / f"{case.name}.onnx"
            path.write_text(case.name + (source.path.read_text() if source.path else ""))
            found[case.key] = graph_of(replace(case, source=OnnxFile(path)))
        return found

    monkeypatch.setattr(exports.export, "prepare", prepare)
    return Exporter(tmp_path / "there", monkeypatch)


def built(source: Builder, *names: str) -> list[Case]:
    return [replace(case, source=source) for case in named(*names)]


def prepared(exporter: Exporter, cases: Sequence[Case]) -> dict[str, Graph | CaseError]:
    return exports.prepare(exporter, (), cases, lambda *_: None)


def test_graphs_come_from_an_exporter_once(exporter: Exporter) -> None:
    first = prepared(exporter, built(OWN, "a", "b", "odd"))
    graph = first["tiny:a"]
    assert isinstance(graph, Graph)
    assert graph.path == store.path(graph.sha256)
    assert graph.path.read_text() == "a"
    assert str(first["tiny:odd"]) == "it cannot be exported"
    fetched = list(exporter.fetched)
    assert prepared(exporter, built(OWN, "a", "b", "odd")).keys() == first.keys()
    assert exporter.fetched == fetched, "they are here"
    assert len({*exporter.asked}) == 1, "one key for one content"


def test_a_builder_in_a_file_travels_with_what_it_imports(
    exporter: Exporter, tmp_path: Path
) -> None:
    (tmp_path / "mine.py").write_text("import beside\n")
    other = "# -*- coding: latin-1 -*-\nx = 'é'\n".encode("latin-1")
    (tmp_path / "beside.py").write_bytes(other)
    source = Builder("mine.py:build", tmp_path / "mine.py")
    found = prepared(exporter, built(source, "a"))["tiny:a"]
    assert isinstance(found, Graph)
    assert found.path.read_text() == "aimport beside\n"
    (folder,) = (exporter.cache / "fleet").glob("*-sources")
    assert {path.name for path in folder.iterdir()} == {"mine.py", "beside.py"}
    assert (folder / "beside.py").read_bytes() == other


def test_what_cannot_travel_is_named(exporter: Exporter, tmp_path: Path) -> None:
    checkpoint = Builder("benchbox.networks:x", weights=tmp_path / "w.pt")
    cases = [*built(OWN, "a"), *built(checkpoint, "b"), *built(Builder("theirs.m:f"), "c")]
    found = prepared(exporter, cases)
    assert isinstance(found["tiny:a"], Graph)
    assert [str(found[f"tiny:{name}"]) for name in "bc"] == [exports.AT_HOME] * 2


def test_a_graph_that_is_not_what_was_announced_is_not_used(
    exporter: Exporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = iter([b"another", b""])
    monkeypatch.setattr(exporter, "call", lambda *_: next(parts))
    with pytest.raises(StorageError, match="damaged"):
        prepared(exporter, built(OWN, "a"))


def test_an_exporter_that_sends_other_graphs_is_not_believed(
    exporter: Exporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = exports.Exported()
    monkeypatch.setattr(exporter, "export", lambda *_: task.dump(empty))
    with pytest.raises(DeviceError, match="other graphs"):
        prepared(exporter, built(OWN, "a"))


def test_a_wrong_builder_is_an_error_of_the_spec_as_it_is_here(
    exporter: Exporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made(*_: object) -> exports.Exported:
        raise SpecError("builder 'm.py:f' returned int, not an nn.Module")

    monkeypatch.setattr(exports, "made", made)
    monkeypatch.setattr("distributed.get_worker", lambda: SimpleNamespace(address="w"))
    monkeypatch.setattr(exporter, "export", lambda text, _: exports.perform(text))
    with pytest.raises(SpecError, match="returned int"):
        prepared(exporter, built(OWN, "a"))


@pytest.mark.parametrize("name", ["../x.py", "/etc/x.py", ""])
def test_sources_lead_out_of_no_folder(name: str) -> None:
    asked = exports.Export([task.bare(built(OWN, "a")[0])], name, {name: "x"})
    with pytest.raises(UsageError, match="sources"):
        exports.made(task.dump(asked), "tcp://1.2.3.4:5")
