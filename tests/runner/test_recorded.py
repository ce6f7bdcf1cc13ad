"""What recorded figures stand for cases of now: of the same graph, machine, versions and input."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from benchbox.errors import CaseError
from benchbox.records import Record
from benchbox.records.index import Index
from benchbox.runner import record, recorded
from benchbox.runner.recorded import Archive, Found
from tests.helpers.record_files import LATENCY, context, write
from tests.helpers.runs import graph_of, named

(CASE,) = named("a")
GRAPH = graph_of(CASE)
NOW = context("choose", created="2026-11-23T00:00:00Z")


def keep(folder: Path, changed: dict[str, Any] | None = None, **changes: Any) -> str:
    """Record the case as another run named it."""
    base = record.record(7, replace(CASE, spec="other", name="b"), GRAPH)
    timed = replace(base, **{"status": "ok", "latency": LATENCY, **(changed or {})})
    return write(folder, timed, of=context("earlier", **changes)).stem


def look(folder: Path, since: str = "2026-11-20", enough: bool = True) -> Found:
    with Index(folder) as index:
        archive = Archive(index, NOW, datetime.fromisoformat(since).replace(tzinfo=UTC))
        return recorded.look_up(archive, [CASE], {CASE.key: GRAPH}, lambda _: enough)


def test_a_record_of_the_graph_stands_for_the_case_under_its_name_of_now(tmp_path: Path) -> None:
    keep(tmp_path)
    newer = keep(tmp_path, created="2026-11-22T00:00:00Z")
    (found,) = look(tmp_path).known
    assert (found.record.key, found.record.index, found.record.latency) == ("tiny:a", 0, LATENCY)
    assert found.run.path.stem == newer


@pytest.mark.parametrize(
    "other",
    [
        {"versions": {"onnxruntime": "1.21"}},
        {"host": {**NOW.host, "kernel": "6.2"}},
        {"host": {**NOW.host, "cpu": "Another"}},
        {"benchbox": "0.0"},
        {"threads": 2},
        {"cpus": [1]},
        {"device": "pi"},
        {"plan": {**NOW.plan, "arrival_per_s": 5.0}},
        {"changed": {"values": {"x": "3"}}},
        {"changed": {"inputs": ["x=9x9"]}},
        {"changed": {"threads": 2}},
        {"changed": {"latency": None, "status": "failed"}},
        {"changed": {"graph": {"sha256": "f" * 64, "size_bytes": 1, "opset": 18}}},
        {"created": "2026-11-19T00:00:00Z"},
    ],
    ids=str,
)
def test_one_that_was_made_otherwise_or_long_ago_does_not(
    tmp_path: Path, other: dict[str, Any]
) -> None:
    keep(tmp_path, **other)
    found = look(tmp_path)
    assert (found.known, found.missing) == ([], [CASE])


def test_what_is_not_enough_is_missing_and_a_case_without_graph_has_failed(tmp_path: Path) -> None:
    keep(tmp_path)
    assert look(tmp_path, enough=False).missing == [CASE]
    with Index(tmp_path) as index:
        archive = Archive(index, NOW, datetime.now(UTC))
        graphs: dict[str, Any] = {CASE.key: CaseError("it cannot be exported")}
        (failed,) = recorded.look_up(archive, [CASE], graphs, _any).failed
    assert (failed.status, failed.reason) == ("failed", "it cannot be exported")


def _any(_: Record) -> bool:
    return True
