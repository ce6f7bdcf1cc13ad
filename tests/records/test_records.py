import fcntl
import getpass
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchbox import records
from benchbox.agent.gpu.cudart import Properties
from benchbox.agent.host import disturbances
from benchbox.analysis.arrival import Arrival
from benchbox.analysis.gpu_time import Spans
from benchbox.analysis.samples import Burst, Latency
from benchbox.analysis.states import Gate, State
from benchbox.analysis.stats import Interval
from benchbox.analysis.sustained import Sustained, Window
from benchbox.devices.gpu_options import Driving
from benchbox.errors import RecordError, StorageError, UsageError
from benchbox.records import Context, Record, Run, SpecFacts, resume
from benchbox.records.cooldown import Cooldown
from benchbox.records.journal import Journal
from benchbox.runner import record as runner_record
from benchbox.sampling.plan import Plan
from tests.helpers import explained

CREATED = "2026-11-21T22:00:07Z"
LATENCY = Latency(0.002, 0.0019, 0.0021, 0.003, None, 0.002, 0.001, 64, 0.9, 20)


def context(name: str = "g2", **changes: Any) -> Context:
    base = Context(
        name=name,
        created=CREATED,
        benchbox="0.1",
        device="cpu",
        provider="CPUExecutionProvider",
        threads=1,
        channels="arm",
        seed=0,
        plan={"precision": 0.01, "batch": None, "shapes": []},
        specs=[SpecFacts("g2", "G2", "ab" * 32, claim={"slower": {"groups": 8}})],
        host={"machine": "x86_64", "cpu": "C", "cpus": 2, "kernel": "6.1", "memory_bytes": 5},
        versions={"onnxruntime": "1.22"},
        cpus=[0],
        affinity=["0"],
    )
    return replace(base, **changes)


def record(index: int = 0, case: str = "groups=1", **changes: Any) -> Record:
    base = Record(
        index=index,
        spec="g2",
        case=case,
        labels={"groups": 1},
        args={"c": 64},
        group="scale=1",
        reference="groups=1",
        batch=1,
        dtype="float32",
        inputs=["x=1x64x56x56"],
        status="ok",
        bursts=[],
    )
    return replace(base, **changes)


def write(folder: Path, *written: Record, of: Context | None = None) -> Path:
    with records.create(folder, of or context()) as writer:
        for each in written:
            writer.append(each)
        return writer.path


def edit(path: Path, line: int, **changes: object) -> Path:
    """Change fields of a line, numbered from 0."""
    lines = path.read_text().splitlines()
    lines[line] = json.dumps({**json.loads(lines[line]), **changes})
    path.write_text("\n".join(lines) + "\n")
    return path


# Round trips

numbers = st.floats(allow_nan=False, allow_infinity=False)
optional = st.none() | numbers
scalars = st.text() | st.integers() | numbers | st.booleans()
tables = st.dictionaries(st.text(), scalars, max_size=3)
whole = st.integers(0, 2**63)


@st.composite
def bursts(draw: st.DrawFn) -> Burst:
    latencies = tuple(draw(st.lists(whole, min_size=1, max_size=4)))
    switches = draw(st.none() | st.just(tuple(range(len(latencies)))))
    bare = Burst(draw(whole), draw(whole), latencies, switches)
    return replace(
        bare,
        kind=draw(st.sampled_from(["ordinary", "paced", "beside"])),
        setting=draw(st.dictionaries(st.text(), st.text(), max_size=1)),
        spans_ns=tuple(draw(st.lists(whole, max_size=2))),
        host_marks=tuple(draw(st.lists(st.tuples(whole, whole), max_size=2))),
        marks=tuple(draw(st.lists(st.tuples(whole, whole), max_size=3))),
        probe=draw(st.sampled_from(["compute", "stream"])),
        pool=draw(st.booleans()),
        probed_ns=draw(whole),
        seen=draw(st.dictionaries(st.text(), st.integers() | numbers, max_size=2)),
        tags=tuple(draw(st.lists(st.text(), max_size=2))),
    )


states = st.none() | st.builds(State, numbers, numbers, numbers)


latencies = st.builds(
    Latency,
    numbers,
    optional,
    optional,
    optional,
    optional,
    numbers,
    numbers,
    whole,
    optional,
    whole,
    st.none() | whole,
    st.lists(numbers, max_size=3).map(tuple),
    optional,
    optional,
)
intervals = st.builds(Interval, numbers, numbers, numbers)
counted = st.dictionaries(st.text(), st.integers() | numbers, max_size=2)
windows = st.builds(
    Window, numbers, numbers, numbers, numbers, numbers, whole, whole, optional | whole, counted
)
any_record = st.builds(
    record,
    spans=st.none() | st.builds(Spans, numbers, optional, optional, optional, optional, numbers),
    arrival=st.none()
    | st.builds(Arrival, numbers, st.none() | latencies, st.none() | intervals, numbers),
    sustained=st.none()
    | st.builds(
        Sustained, numbers, st.lists(windows, max_size=2), optional, optional, st.none() | intervals
    ),
    cooldowns=st.lists(st.builds(Cooldown, whole, numbers, optional), max_size=2).map(tuple),
    index=whole,
    case=st.text(),
    labels=tables,
    args=tables,
    inputs=st.lists(st.text(), max_size=2),
    status=st.sampled_from(["ok", "imprecise", "failed", "skipped"]),
    reason=st.text(),
    published=optional,
    printed=tables,
    note=st.text(),
    graph=st.none() | tables,
    peak_rss_bytes=st.none() | whole,
    affinity=st.none() | st.lists(st.text(), max_size=2),
    denormal_ratio=optional,
    latency=st.none() | latencies,
    gate=st.builds(Gate, states, states),
    relative=st.none() | intervals,
    bursts=st.lists(bursts(), max_size=3),
)
any_context = st.builds(
    context,
    plan=tables,
    host=tables,
    versions=st.dictionaries(st.text(), st.text(), max_size=3),
    specs=st.lists(st.builds(SpecFacts, st.text(), st.text(), st.text(), claim=tables), max_size=2),
    cpus=st.lists(whole, max_size=3),
    affinity=st.none() | st.lists(st.text(), max_size=2),
    seed=whole,
)


@settings(deadline=None)
@given(any_context, any_record)
def test_what_is_written_is_what_is_read(given_context: Context, given_record: Record) -> None:
    with tempfile.TemporaryDirectory() as folder:
        run = records.read(write(Path(folder), given_record, of=given_context))
    assert run.context == given_context
    assert list(run.records) == [given_record]
    assert run.warnings == []


def test_a_file_is_one_json_object_a_line(tmp_path: Path) -> None:
    path = write(tmp_path, record(reason="two\nlines \u2028 and \x85 more"), record(1, "groups=2"))
    kinds = [json.loads(line)["kind"] for line in path.read_bytes().split(b"\n")[:-1]]
    assert kinds == ["context", "record", "record"]


def test_the_context_says_which_schema_it_has(tmp_path: Path) -> None:
    first = json.loads(write(tmp_path).read_text().splitlines()[0])
    assert first["schema"] == records.SCHEMA


def test_what_is_not_a_number_is_never_written(tmp_path: Path) -> None:
    with records.create(tmp_path, context()) as writer, pytest.raises(ValueError, match="JSON"):
        writer.append(record(published=float("nan")))
    assert records.read(writer.path).records == []


def test_the_last_record_of_a_case_counts_and_cases_keep_their_order(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        record(2, "groups=4"),
        record(0, status="imprecise"),
        record(1, "groups=2"),
        record(0, status="ok", latency=LATENCY),
    )
    run = records.read(path)
    assert [each.case for each in run.records] == ["groups=1", "groups=2", "groups=4"]
    found = run.record("g2:groups=1")
    assert found is not None
    assert (found.status, found.latency) == ("ok", LATENCY)
    assert run.record("g2:groups=9") is None


def test_a_context_knows_its_specs() -> None:
    assert context().spec("g2").title == "G2"
    assert context().spec("g9") == SpecFacts("g9", "g9", "")


# Broken files


def test_a_truncated_last_line_is_left_out_and_reported(tmp_path: Path) -> None:
    path = write(tmp_path, record(), record(1, "groups=2"))
    whole_file = path.read_bytes()
    start_of_last = whole_file.rstrip(b"\n").rfind(b"\n") + 1
    for end in (start_of_last + 1, len(whole_file) - 20, len(whole_file) - 1):
        path.write_bytes(whole_file[:end])
        run = records.read(path)
        assert [each.case for each in run.records] == ["groups=1"]
        assert run.warnings == [f"{path}: the last line is truncated and was left out"]


def test_an_append_after_a_truncated_line_cuts_it_off(tmp_path: Path) -> None:
    path = write(tmp_path, record(), record(1, "groups=2"))
    path.write_bytes(path.read_bytes()[:-20])
    with records.reopen(records.read(path)) as writer:
        writer.append(record(2, "groups=4"))
    run = records.read(path)
    assert [each.case for each in run.records] == ["groups=1", "groups=4"]
    assert run.warnings == []


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "not a run: it has no context line"),
        (b'{"kind":"context"', "not a run: it has no context line"),
        (b"garbage\n", "line 1 is not JSON: "),
        (b"\xff\xfe\n", "line 1 is not JSON: "),
        (b"[1]\n", "line 1 is not a JSON object"),
        (b'{"kind":"record"}\n', "not a run: its first line is no context"),
        (b'{"kind":"context","schema":"1.0"}\n', "line 1: 'name' is missing"),
        (b'{"kind":"context","schema":"1.0","specs":[]}\n', "line 1: "),
        (b'{"kind":"context","schema":"1.0","specs":[1]}\n', "line 1: "),
        (b'{"kind":"context","schema":"1.0","specs":1}\n', "line 1: "),
    ],
)
def test_a_file_that_is_no_run_is_refused(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "run.jsonl"
    path.write_bytes(content)
    with pytest.raises(RecordError) as caught:
        records.read(path)
    assert str(caught.value).startswith(f"{path}: {sentence}")


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("garbage", "line 3 is not JSON: "),
        ("", "line 3 is not JSON: "),
        ("3", "line 3 is not a JSON object"),
        ('{"kind":"record"}', "line 3: "),
    ],
)
def test_a_broken_line_in_the_middle_is_refused_with_its_number(
    tmp_path: Path, line: str, sentence: str
) -> None:
    path = write(tmp_path, record(), record(1, "groups=2"))
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2], line, lines[2], ""]))
    with pytest.raises(RecordError) as caught:
        records.read(path)
    assert str(caught.value).startswith(f"{path}: {sentence}")


@pytest.mark.parametrize(
    "changes",
    [
        {"latency": 1},
        {"bursts": [[1]]},
        {"bursts": 1},
        {"bursts": [{}]},
        {"relative": [1, 2, 3]},
        {"gate": 1},
        {"gate": {"compute": 1}},
        {"gate": {"compute": {"centre_ns": 1.0}}},
        {"bursts": [{"session": 0, "round": 0, "latencies_ns": ["x"]}]},
        {"bursts": [{"session": 0, "round": 0, "latencies_ns": [1], "seen": "x"}]},
        {"bursts": [{"session": 0, "round": 0, "latencies_ns": [1], "probed_ns": "x"}]},
        {"load_s": "x"},
        {"nodes": ["p"]},
        {"status": "fine"},
        {"batch": "x"},
    ],
)
def test_a_field_of_the_wrong_kind_is_refused_with_its_line(
    tmp_path: Path, changes: dict[str, object]
) -> None:
    path = edit(write(tmp_path, record()), 1, **changes)
    with pytest.raises(RecordError, match="line 2: "):
        records.read(path)


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"host": {"clusters": None}}, "host.clusters"),
        ({"host": {"clusters": [{"cpus": "x"}]}}, "host.clusters.0.cpus"),
        ({"host": {"setting": [1]}}, "host.setting"),
        ({"host": {"gpu": {"name": 5}}}, "host.gpu.name"),
        ({"host": 5}, "host"),
        ({"versions": ["a"]}, "versions"),
        ({"cpus": "abc"}, "cpus"),
        ({"threads": "x"}, "threads"),
        ({"plan": None}, "plan"),
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
    path = edit(write(tmp_path, record()), 1, case="caf\udce9")
    assert records.read(path).records[0].case == "caf\udce9"


def test_brackets_without_end_are_no_run(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    path.write_text("[" * 200_000 + "\n")
    with pytest.raises(RecordError, match="line 1 is not JSON"):
        records.read(path)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="cannot be read: No such file"):
        records.read(tmp_path / "run.jsonl")


def test_a_newer_major_schema_is_refused_and_names_who_wrote_it(tmp_path: Path) -> None:
    path = edit(write(tmp_path, record()), 0, schema="2.0", benchbox="9.9")
    with pytest.raises(RecordError) as caught:
        records.read(path)
    assert "schema 2.0, this benchbox reads 1.0" in str(caught.value)
    assert "(9.9)" in str(caught.value)


def test_a_newer_minor_schema_with_fields_and_lines_of_its_own_is_read(tmp_path: Path) -> None:
    path = write(tmp_path, record(latency=LATENCY, bursts=[Burst(0, 0, (1,))]))
    edit(path, 0, schema="1.7", mood="good", specs=[{**vars_of(SpecFacts("g", "G", "")), "new": 1}])
    old = json.loads(path.read_text().splitlines()[1])
    edit(path, 1, new={}, latency={**old["latency"], "p75_s": 1.0})
    edit(path, 1, bursts=[{**old["bursts"][0], "heat": 1}])
    with path.open("a") as file:
        file.write('{"kind":"weather"}\n')
    run = records.read(path)
    assert run.context.spec("g").title == "G"
    assert run.records == [record(latency=LATENCY, bursts=[Burst(0, 0, (1,))])]


def test_a_record_of_an_earlier_benchbox_has_no_gate(tmp_path: Path) -> None:
    path = write(tmp_path, record(latency=LATENCY))
    assert "gate" not in json.loads(path.read_text().splitlines()[1])
    (read,) = records.read(path).records
    assert read.gate == Gate()


@pytest.mark.parametrize(
    "gate",
    [
        {"compute": {"centre_ns": 2.0, "low_ns": 1.0, "high_ns": 3.0, "share": 0.5}},
        {"compute": {"centre_ns": 2.0, "low_ns": 1.0, "high_ns": 3.0}, "heat": {"low_c": 1.0}},
    ],
)
def test_a_newer_minor_schema_may_know_more_of_a_gate(tmp_path: Path, gate: object) -> None:
    path = edit(write(tmp_path, record()), 1, gate=gate)
    assert records.read(path).records == [record(gate=Gate(State(2.0, 1.0, 3.0)))]


def vars_of(facts: SpecFacts) -> dict[str, object]:
    return {"name": facts.name, "title": facts.title, "sha256": facts.sha256}


# Files


def test_a_run_is_named_by_device_time_and_name(tmp_path: Path) -> None:
    assert write(tmp_path) == tmp_path / "cpu" / "20261121T220007Z-g2.jsonl"


def test_two_runs_that_start_in_one_second_get_two_files(tmp_path: Path) -> None:
    first, second = write(tmp_path), write(tmp_path)
    assert first != second
    assert [records.read(path).context for path in (first, second)] == [context(), context()]


def test_the_latest_is_the_newest_of_its_very_name(tmp_path: Path) -> None:
    older = write(tmp_path)
    again = write(tmp_path)
    os.utime(older, (1, 1))
    other = write(tmp_path, of=context("g2-50"))
    later = write(tmp_path, of=context("g1", created="2026-11-21T22:00:08Z"))
    write(tmp_path, of=context(device="arm", created="2027-01-01T00:00:00Z"))
    assert records.latest(tmp_path, "cpu", "g2") == again
    assert records.latest(tmp_path, "cpu", "g2-50") == other
    assert records.latest(tmp_path, "cpu", "g1") == later
    assert records.latest(tmp_path, "cpu") == later
    assert records.latest(tmp_path, "cpu", "g") is None
    assert records.latest(tmp_path, "cuda", "g2") is None


def test_now_is_utc_to_the_second() -> None:
    assert len(records.now()) == len(CREATED)
    assert records.now()[-1] == "Z"


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    with records.create(tmp_path, context()) as writer:
        run = records.read(writer.path)
        with pytest.raises(RecordError, match="another run is writing to it; wait for its end"):
            records.reopen(run)
    records.reopen(run).close()


def test_a_run_can_be_read_while_it_is_written(tmp_path: Path) -> None:
    with records.create(tmp_path, context()) as writer:
        writer.append(record())
        assert len(records.read(writer.path).records) == 1


def test_the_lock_of_a_killed_writer_is_gone(tmp_path: Path) -> None:
    path = write(tmp_path)
    hold = "import fcntl, sys; f = open(sys.argv[1]); fcntl.flock(f, 2); print(flush=True); input()"
    command = [sys.executable, "-c", hold, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        with pytest.raises(RecordError, match="another run"):
            records.reopen(records.read(path))
        child.send_signal(signal.SIGKILL)
    records.reopen(records.read(path)).close()


def test_a_folder_that_cannot_be_made_is_refused_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for attempt in (
        lambda: records.create(tmp_path / "file", context()),
        lambda: records.check_writable(tmp_path / "file" / "cpu"),
    ):
        with pytest.raises(StorageError, match="choose another folder with --results"):
            attempt()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StorageError, match="Permission denied"):
        records.check_writable(tmp_path)


def test_checking_a_folder_leaves_nothing_behind(tmp_path: Path) -> None:
    records.check_writable(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []  # a device that cannot be used has no folder


# A disk that is full


@contextmanager
def no_file_longer_than(size: int) -> Iterator[None]:
    """Make the system refuse to write past `size`, as a full disk would."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_write_that_fails_leaves_the_file_at_the_record_before(tmp_path: Path) -> None:
    with records.create(tmp_path, context()) as writer:
        writer.append(record())
        before = writer.path.read_bytes()
        with (
            no_file_longer_than(len(before) + 50),
            pytest.raises(StorageError, match="cannot be written: File too large"),
        ):
            writer.append(record(1, "groups=2"))
        assert writer.path.read_bytes() == before
        writer.append(record(1, "groups=2"))
    assert len(records.read(writer.path).records) == 2


def test_a_context_that_cannot_be_written_leaves_no_file(tmp_path: Path) -> None:
    with no_file_longer_than(10), pytest.raises(StorageError):
        records.create(tmp_path, context())
    assert list((tmp_path / "cpu").iterdir()) == []


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The system's temporary folder."""
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    return place


def test_a_journal_rescues_every_record_when_its_file_fails(
    tmp_path: Path, temporary: Path
) -> None:
    journal = Journal(tmp_path / "results", context())
    journal.append(record(reason="kept"))
    for _ in range(20):  # of these the rescue needs only the last: it is shorter than the file
        journal.append(record(1, "groups=2", status="imprecise"))
    with no_file_longer_than(journal.path.stat().st_size + 50):
        journal.append(record(2, "groups=4"))
    journal.append(record(3, "groups=8"))
    journal.close()
    (rescued,) = temporary.rglob("*.jsonl")
    assert [each.case for each in records.read(rescued).records] == [
        "groups=1",
        "groups=2",
        "groups=4",
        "groups=8",
    ]
    assert list(records.read(rescued).records) == list(journal.run.records)
    assert journal.lost.endswith(f"all records are in {rescued} instead")
    assert [each.case for each in records.read(journal.path).records] == ["groups=1", "groups=2"]


def test_a_journal_goes_on_in_memory_when_nothing_can_be_written(
    tmp_path: Path, temporary: Path
) -> None:
    journal = Journal(tmp_path / "results", context())
    with no_file_longer_than(10):
        journal.append(record())
        journal.append(record(1, "groups=2"))
    assert "nor can the temporary folder" in journal.lost
    assert [each.case for each in journal.run.records] == ["groups=1", "groups=2"]
    assert list(temporary.rglob("*.jsonl")) == []
    journal.close()


def test_a_journal_shows_what_a_reader_of_its_file_sees(tmp_path: Path) -> None:
    journal = Journal(tmp_path, context())
    journal.append(record(1, "groups=2"))
    journal.append(record(0))
    journal.append(record(1, "groups=2", latency=LATENCY))
    assert journal.run == records.read(journal.path)
    journal.close()


def test_a_journal_goes_on_where_a_run_stopped(tmp_path: Path) -> None:
    path = write(tmp_path, record(), record(1, "groups=2"))
    path.write_bytes(path.read_bytes()[:-9])
    journal = Journal(tmp_path, context(created="2030-01-01T00:00:00Z"), records.read(path))
    journal.append(record(2, "groups=4"))
    journal.close()
    assert journal.path == path
    assert journal.context.created == CREATED
    assert [each.case for each in journal.run.records] == ["groups=1", "groups=4"]
    assert journal.run.warnings == [f"{path}: the last line is truncated and was left out"]


def test_closing_a_journal_gives_up_its_lock(tmp_path: Path) -> None:
    journal = Journal(tmp_path, context())
    journal.close()
    with journal.path.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


# Resuming


def test_a_run_is_resumed_by_the_same_context(tmp_path: Path) -> None:
    path = write(tmp_path, record())
    run = resume.previous(tmp_path, context(created="2030-01-01T00:00:00Z", benchbox="0.2"))
    assert isinstance(run, Run)
    assert (run.path, len(run.records)) == (path, 1)


def test_there_must_be_a_run_to_resume(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--resume: .*cpu holds no run of g2; run it first"):
        resume.previous(tmp_path, context())


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"threads": 4}, "threads was 1 and is 4 now"),
        ({"provider": "CUDA"}, "provider was 'CPUExecutionProvider' and is 'CUDA' now"),
        ({"channels": "gpu"}, "channels was 'arm' and is 'gpu' now"),
        ({"seed": 7}, "seed was 0 and is 7 now"),
        (
            {"versions": {"onnxruntime": "9"}},
            "versions was onnxruntime 1.22 and is onnxruntime 9 now",
        ),
        ({"specs": [SpecFacts("g2", "G2", "cd" * 32)]}, "spec g2 was 'abab"),
        ({"plan": {"batch": 8, "shapes": []}}, "batch was none and is 8 now"),
        ({"plan": {"batch": None, "shapes": ["x=1"]}}, "shapes was none and is ['x=1'] now"),
        ({"plan": {"weights": {"n": "ab" * 32}}}, "weights was none and is n abababababab now"),
        ({"host": {"machine": "aarch64"}}, "machine was 'x86_64' and is 'aarch64' now; cpu was"),
    ],
)
def test_another_run_is_not_resumed_and_the_difference_is_said(
    tmp_path: Path, changes: dict[str, Any], sentence: str
) -> None:
    path = write(tmp_path, record())
    with pytest.raises(RecordError) as caught:
        resume.previous(tmp_path, context(**changes))
    assert str(caught.value).startswith(f"{path}: cannot be resumed: {sentence}")


@pytest.mark.parametrize("now", [{}, {"n": "cd"}, {"m": "ab"}, {"n": "ab", "m": "ab"}])
def test_a_run_with_other_weights_is_not_resumed(tmp_path: Path, now: dict[str, str]) -> None:
    plan = context().plan
    before = context(plan={**plan, "weights": {"n": "ab"}})
    write(tmp_path, record(), of=before)
    assert resume.previous(tmp_path, before)
    with pytest.raises(RecordError) as caught:
        resume.previous(tmp_path, replace(before, plan={**plan, "weights": now}))
    shown = ", ".join(f"{name} {sha}" for name, sha in now.items()) or "none"
    said = f"cannot be resumed: weights was n ab and is {shown} now"
    assert str(caught.value).endswith(said)


def test_what_changes_from_minute_to_minute_does_not_matter(tmp_path: Path) -> None:
    write(tmp_path)
    host = {**context().host, "memory_bytes": 6}
    plan = {**context().plan, "precision": 0.05}
    assert resume.previous(tmp_path, context(host=host, plan=plan))


# A reason that can be shared


def test_a_reason_names_neither_folders_nor_machine_nor_user(in_tmp: Path) -> None:
    home, here = Path.home(), in_tmp.resolve()
    text = (
        f"{here}/models/net.onnx: {home}/.cache/x.py, line 3; '/opt/lib/a.so' "
        f"(/usr/lib/b.so) on {socket.gethostname()} by {getpass.getuser()}"
    )
    shared = runner_record.shareable(text)
    assert shared.startswith("models/net.onnx: .cache/x.py, line 3; 'a.so' (b.so) on ")
    for secret in (str(home) + "/", str(here), "/opt", "/usr"):
        assert secret not in shared
    assert socket.gethostname() not in shared.split() or socket.gethostname() == "localhost"
    assert getpass.getuser() not in shared.split() or getpass.getuser() == "root"


@pytest.mark.parametrize(
    "text",
    ["ONNX Runtime differs by 3.1e-05", "a/b of 1/2", "./mine.py:build has no 'c'", "8x8: too big"],
)
def test_a_reason_without_places_stays_as_it_is(text: str) -> None:
    assert runner_record.shareable(text) == text


def test_a_folder_that_ends_like_the_current_one_is_dropped_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/jobs")
    monkeypatch.chdir(tmp_path)
    assert runner_record.shareable("/data/jobs/net.onnx is broken") == "net.onnx is broken"


@pytest.mark.parametrize("user", ["mary", "o'hara", "a.b"])
def test_a_user_is_left_out_by_name(user: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", user)
    assert user not in runner_record.shareable(f"denied to {user}, says the system")


@pytest.mark.parametrize(
    "kind",
    [
        *(Context, Record, SpecFacts, Burst, Latency, Spans, Gate, State, Interval),
        *(Plan, Driving, Properties, Arrival, Sustained, Window, Cooldown),
    ],
)
def test_every_field_that_a_record_may_have_is_explained(kind: type) -> None:
    own = {field.name for field in fields(kind)}
    assert own
    assert own <= explained.names()


def test_what_is_seen_of_a_burst_is_explained() -> None:
    with disturbances.CounterReader(2, [0]) as own:
        seen = own.read_counters().keys() - {"processor"}
    assert {*disturbances.GAUGES, *seen, "moved"} <= explained.names()
