import json
import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchbox import records
from benchbox.agent.gpu.cudart import Properties
from benchbox.agent.host import disturbances
from benchbox.analysis.adjusted import Adjustment, Slopes, Widths
from benchbox.analysis.arrival import Arrival
from benchbox.analysis.gpu_time import Spans
from benchbox.analysis.latency import Latency
from benchbox.analysis.samples import Burst
from benchbox.analysis.states import Gate, State
from benchbox.analysis.stats import Interval
from benchbox.analysis.sustained import Sustained, Window
from benchbox.devices.gpu_options import Driving
from benchbox.devices.host_schema import Host
from benchbox.errors import RecordError
from benchbox.records import Context, Record, SpecFacts
from benchbox.records.cooldown import Cooldown
from benchbox.records.parts import GpuPlanPart, GraphPart, PaperPart
from benchbox.sampling.plan import Plan
from tests.helpers import explained
from tests.helpers.record_files import CLAIM, CREATED, LATENCY, cases, context, edit, record, write

PLAIN: dict[Any, st.SearchStrategy[Any]] = {
    str: st.text(),
    bool: st.booleans(),
    type(None): st.none(),
    Any: st.text() | st.integers(-(2**60), 2**60) | st.floats(-1e18, 1e18) | st.booleans(),
}

DECLARED = {
    name for part in (Host, PaperPart, GraphPart, GpuPlanPart) for name in part.model_fields
}


def number(kind: type, limits: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    """Numbers of a kind within the limits that its annotation has."""
    least, most = limits.get("ge", limits.get("gt")), limits.get("le", limits.get("lt"))
    if kind is int and not limits:
        return st.integers(0, 2**60)
    if kind is int:
        return st.integers(least + ("gt" in limits), most - ("lt" in limits))
    return st.floats(
        float(least), float(most), exclude_min="gt" in limits, exclude_max="lt" in limits
    )


def fitting(drawn: dict[str, Any]) -> Burst:
    """A burst whose parts are of as many calls."""
    calls = len(drawn["latencies_ns"]) or 1
    drawn["latencies_ns"] = drawn["latencies_ns"] or (1,)
    for name in ("switches", "spans_ns"):
        drawn[name] = drawn[name] and (drawn[name] * 2)[:calls]
    for name in ("marks", "host_marks"):
        drawn[name] = tuple(sorted((min(after, calls), ns) for after, ns in drawn[name]))
    return Burst(**{**drawn, "switches": drawn["switches"] or None, "unheld": 0})


def any_of(hint: Any) -> st.SearchStrategy[Any]:
    """Values of a type, as JSON gives them back; of a dataclass with every field drawn."""
    if hint in PLAIN:
        return PLAIN[hint]
    if is_dataclass(hint):
        hints = get_type_hints(hint, include_extras=True)
        own = st.fixed_dictionaries({each.name: any_of(hints[each.name]) for each in fields(hint)})
        return own.map(fitting if hint is Burst else lambda drawn: hint(**drawn))
    if get_origin(hint) is Annotated:
        kind, *limits = get_args(hint)
        return any_of(kind) if kind in PLAIN else number(kind, limits[0].limits)
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Literal:
        return st.sampled_from(inner)
    if origin in (Union, UnionType):
        return st.one_of(map(any_of, inner))
    if origin is Mapping:
        # What is of any type has no part that is of one.
        names = any_of(inner[0]).filter(lambda name: inner[1] is not Any or name not in DECLARED)
        return st.dictionaries(names, any_of(inner[1]), max_size=2)
    if origin is tuple and inner[-1] is not ...:
        return st.tuples(*map(any_of, inner))
    several = st.lists(any_of(inner[0]), max_size=2)
    return several.map(tuple) if origin is tuple else several


NAMED = {
    "name": "g2",
    "device": "cpu",
    "created": CREATED,
    "benchbox": "0.1",
    "schema": records.SCHEMA,
}
COST = {"macs": 3, "params": 2**40, "memory_access_bytes": None, "uncounted": ["Foo"], "later": "x"}
any_context = any_of(Context).map(
    lambda drawn: replace(
        drawn,
        **NAMED,
        specs=[replace(each, claim=None if each.claim is None else CLAIM) for each in drawn.specs],
    )
)
any_record = any_of(Record).map(
    lambda drawn: replace(
        drawn,
        cost=None if drawn.cost is None else COST,
        graph=None if drawn.graph is None else {**drawn.graph, "sha256": "ab"},
        latency=None if drawn.bursts else drawn.latency,  # which would have to be of these
    )
)


@settings(max_examples=40)  # drawing a record takes its time
@given(any_context, any_record)
def test_what_is_written_is_what_is_read(given_context: Context, given_record: Record) -> None:
    with tempfile.TemporaryDirectory() as folder:
        run = records.read(write(Path(folder), given_record, of=given_context))
    assert run.context == given_context
    assert list(run.records) == [given_record]
    assert run.warnings == []


def test_what_is_not_a_number_is_never_written(tmp_path: Path) -> None:
    with records.create(tmp_path, context()) as writer, pytest.raises(ValueError, match="JSON"):
        writer.append(record(published=float("nan")))
    assert records.read(writer.path).records == []


def test_the_last_record_of_a_case_counts_and_cases_keep_their_order(tmp_path: Path) -> None:
    before, after = record(0, status="imprecise"), record(0, latency=LATENCY)
    four, two = record(2, "groups=4"), record(1, "groups=2")
    run = records.read(write(tmp_path, four, before, two, after))
    assert run.records == [after, two, four]
    assert run.record("g2:groups=1") == after
    assert run.record("g2:groups=9") is None


def test_a_truncated_last_line_is_left_out_and_reported(tmp_path: Path) -> None:
    path = write(tmp_path, record(), record(1, "groups=2"))
    whole_file = path.read_bytes()
    start_of_last = whole_file.rstrip(b"\n").rfind(b"\n") + 1
    for end in (start_of_last + 1, len(whole_file) - 2):
        path.write_bytes(whole_file[:end])
        assert cases(path) == ["groups=1"]
        warning = f"{path}: the last line is truncated and was left out"
        assert records.read(path).warnings == [warning]
    with records.reopen(records.read(path)) as writer:
        writer.append(record(2, "groups=4"))
    assert cases(path) == ["groups=1", "groups=4"]
    assert records.read(path).warnings == []


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "not a run: it has no context line"),
        (b'{"kind":"context"', "not a run: it has no context line"),
        (b"\xff\xfe\n", "line 1 is not JSON: "),
        (b"[" * 200_000 + b"\n", "line 1 is not JSON: "),
        (b"[1]\n", "line 1 is not a JSON object"),
        (b'{"kind":"record"}\n', "not a run: its first line is no context"),
        (b'{"kind":"context","schema":"1.0"}\n', "line 1: 'name' is missing"),
        (b'{"kind":"context","schema":"1.0","specs":[1]}\n', "line 1: "),
    ],
    ids=range(8),
)
def test_a_file_that_is_no_run_is_refused(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "run.jsonl"
    with pytest.raises(RecordError, match="cannot be read: No such file"):
        records.read(path)
    path.write_bytes(content)
    with pytest.raises(RecordError, match=re.escape(f"{path}: {sentence}")):
        records.read(path)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [("garbage", " is not JSON: "), ("3", " is not a JSON object"), ('{"kind":"record"}', ": ")],
)
def test_a_broken_line_in_the_middle_is_refused_with_its_number(
    tmp_path: Path, line: str, sentence: str
) -> None:
    path = write(tmp_path, record(), record(1, "groups=2"))
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2], line, lines[2], ""]))
    with pytest.raises(RecordError, match=re.escape(f"{path}: line 3{sentence}")):
        records.read(path)


BURST = {"session": 0, "round": 0}


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("bursts", [1, [[1]], [{}], [{**BURST, "latencies_ns": ["x"]}]]),
        ("bursts", [[{**BURST, "latencies_ns": [1], name: "x"}] for name in ("seen", "probed_ns")]),
        ("relative", [[1, 2, 3]]),
        ("gate", [1, {"compute": 1}, {"compute": {"centre_ns": 1.0}}]),
        ("cost", [{"macs": "x", "params": 1}, {"macs": 1, "params": [1]}]),
        ("cost", [{"macs": 1, "params": 1, "uncounted": [1]}]),
        ("nodes", [["p"]]),
        ("status", ["fine"]),
    ],
)
def test_a_field_of_the_wrong_kind_is_refused_with_its_line(
    tmp_path: Path, field: str, values: list[object]
) -> None:
    for value in values:
        path = edit(write(tmp_path, record()), 1, **{field: value})
        with pytest.raises(RecordError, match="line 2: "):
            records.read(path)


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"host": {"clusters": [{"cpus": "x"}]}}, "host.clusters.0.cpus"),
        ({"host": {"setting": [1]}}, "host.setting"),
        ({"host": {"gpu": {"name": 5}}}, "host.gpu.name"),
        ({"host": 5}, "host"),
        ({"cpus": "abc"}, "cpus"),
        ({"threads": "x"}, "threads"),
        ({"plan": {"margin": "many"}}, "plan.margin"),
    ],
)
def test_a_context_of_the_wrong_kind_is_refused_with_the_part(
    tmp_path: Path, changes: dict[str, object], part: str
) -> None:
    path = edit(write(tmp_path, record()), 0, **changes)
    with pytest.raises(RecordError) as caught:
        records.read(path)
    assert str(caught.value) == f"{path}: line 1: {part!r} is of a wrong type"


def test_a_name_that_is_no_utf8_is_read(tmp_path: Path) -> None:
    assert cases(edit(write(tmp_path, record()), 1, case="caf\udce9")) == ["caf\udce9"]


def test_a_newer_major_schema_is_refused_and_names_who_wrote_it(tmp_path: Path) -> None:
    path = edit(write(tmp_path, record()), 0, schema="2.0", benchbox="9.9")
    with pytest.raises(RecordError, match=r"schema 2\.0, this benchbox reads 1\.1.*\(9\.9\)"):
        records.read(path)


BURSTS = [Burst(0, 0, (1_000_000, 3_000_000))]


@pytest.mark.parametrize("field", ["p50_s", "raw_p50_s", "min_s", "p90_s"])
@pytest.mark.parametrize("value", [0.00099, 0.00301])
def test_figures_that_are_not_of_their_samples_are_refused(
    tmp_path: Path, field: str, value: float
) -> None:
    wrong = replace(LATENCY, **{field: value})
    path = write(tmp_path, record(latency=wrong, bursts=BURSTS))
    with pytest.raises(RecordError, match="line 2: 'latency' is outside of the samples in 'burs"):
        records.read(path)


STATE = {"centre_ns": 2.0, "low_ns": 1.0, "high_ns": 3.0}


@pytest.mark.parametrize(
    "gate", [{"compute": {**STATE, "share": 0.5}}, {"compute": STATE, "heat": {"low_c": 1.0}}]
)
def test_a_newer_minor_schema_with_fields_and_lines_of_its_own_is_read(
    tmp_path: Path, gate: object
) -> None:
    path = write(tmp_path, record(latency=LATENCY, bursts=BURSTS))
    facts = {"name": "g", "title": "G", "sha256": "", "new": 1}
    edit(path, 0, schema="1.7", mood="good", specs=[facts])
    old = json.loads(path.read_text().splitlines()[1])
    assert "gate" not in old
    assert records.read(path).records[0].gate == Gate()
    edit(path, 1, new={}, latency={**old["latency"], "p75_s": 1.0}, gate=gate)
    edit(path, 1, bursts=[{**old["bursts"][0], "heat": 1}])
    with path.open("a") as file:
        file.write('{"kind":"weather"}\n')
    run = records.read(path)
    assert run.context.specs == [run.context.spec("g")] == [SpecFacts("g", "G", "")]
    assert run.context.spec("g9") == SpecFacts("g9", "g9", "")
    (read,) = run.records
    assert (read.latency, read.bursts) == (LATENCY, BURSTS)
    assert read.gate == Gate(State(2.0, 1.0, 3.0))


def test_every_field_that_a_record_may_have_is_explained() -> None:
    kinds = [Context, Record, SpecFacts, Burst, Latency, Spans, Gate, State, Interval]
    kinds += [Plan, Driving, Properties, Arrival, Sustained, Window, Cooldown]
    kinds += [Adjustment, Slopes, Widths]
    own = {field.name for kind in kinds for field in fields(kind)}  # type: ignore[arg-type]
    with disturbances.CounterReader(2, [0]) as counters:
        counted = counters.read_counters().keys() - {"processor"}
    assert {*own, *disturbances.GAUGES, *counted, "moved"} - explained.names() == set()


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path, make: Any) -> None:
    path = tmp_path / "cpu" / "20261122T030625Z-g2.jsonl"
    path.parent.mkdir()
    make(path)
    with pytest.raises(RecordError, match=rf"{path}: cannot be read: it is "):
        records.read_all(records.newest_first([path.parent])[0])
