import os
import re
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from benchbox import records
from benchbox.errors import RecordError, StorageError, UsageError
from benchbox.records import Run, SpecFacts, resume
from benchbox.records.journal import Journal
from tests.helpers.record_files import CREATED, LATENCY, cases, context, cut, record, write


def test_a_run_is_named_by_device_time_and_name_and_never_overwritten(tmp_path: Path) -> None:
    first, second = write(tmp_path), write(tmp_path)
    assert first == tmp_path / "cpu" / "20261121T220007Z-g2.jsonl" != second
    assert [records.read(path).context for path in (first, second)] == [context()] * 2
    assert re.fullmatch(r"[\d-]{10}T[\d:]{8}Z", records.now())


def test_the_latest_is_the_newest_of_its_very_name(tmp_path: Path) -> None:
    older, again = write(tmp_path), write(tmp_path)
    os.utime(older, (1, 1))
    other = write(tmp_path, of=context("g2-50"))
    later = write(tmp_path, of=context("g1", created="2026-11-21T22:00:08Z"))
    write(tmp_path, of=context(device="arm", created="2027-01-01T00:00:00Z"))
    newest = {"g2": again, "g2-50": other, "g1": later, "g": None, None: later}
    assert {name: records.latest(tmp_path, "cpu", name) for name in newest} == newest
    assert records.latest(tmp_path, "cuda", "g2") is None


def test_a_run_is_the_newest_whatever_the_clock_said_before(tmp_path: Path) -> None:
    write(tmp_path, of=context("g1", device="pi", created="2999-12-31T23:59:59Z"))
    back = write(tmp_path)
    (tmp_path / "cpu" / "99991231T235959Z-g2.jsonl").write_text("")
    (tmp_path / "cpu" / "20990230T000000Z-g2.jsonl").write_text("")
    assert back.name == "30000101T000000Z-g2.jsonl"
    assert records.latest(tmp_path, "cpu", "g2") == back
    assert write(tmp_path).name == "30000101T000001Z-g2.jsonl"


def test_blank_lines_and_a_line_that_only_lacks_its_break_cost_nothing(tmp_path: Path) -> None:
    path = write(tmp_path, record(), record(1, "groups=2"))
    path.write_text(path.read_text().replace("\n", "\n \n\r\n").rstrip())
    run = records.read(path)
    assert run.warnings == []
    with records.reopen(run) as writer:
        writer.append(record(2, "groups=4"))
    assert cases(path) == ["groups=1", "groups=2", "groups=4"]


def test_a_run_can_be_read_while_it_is_written_and_not_be_written_twice(tmp_path: Path) -> None:
    journal = Journal(tmp_path, context())
    for each in (record(1, "groups=2"), record(0), record(1, "groups=2", latency=LATENCY)):
        journal.append(each)
    run = records.read(journal.path)
    assert run == journal.run
    with pytest.raises(RecordError, match="another run is writing to it; wait for its end"):
        records.reopen(run)
    journal.close()
    hold = "import fcntl, sys; f = open(sys.argv[1]); fcntl.flock(f, 2); print(flush=True); input()"
    command = [sys.executable, "-c", hold, str(journal.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        with pytest.raises(RecordError, match="another run"):
            records.reopen(run)
        child.kill()  # and its lock is gone
    records.reopen(run).close()


def test_a_folder_is_checked_and_leaves_nothing_behind(tmp_path: Path) -> None:
    records.check_writable(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []  # a device that cannot be used has no folder
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(StorageError, match="choose another folder with --results"):
        records.create(file, context())
    with pytest.raises(StorageError, match="choose another folder with --results"):
        records.check_writable(file / "cpu")
    if os.geteuid():  # root may write everywhere
        tmp_path.chmod(0o500)
        with pytest.raises(StorageError, match="Permission denied"):
            records.check_writable(tmp_path)


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
    with no_file_longer_than(10), pytest.raises(StorageError):
        records.create(tmp_path, context())
    assert list((tmp_path / "cpu").iterdir()) == []
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
    assert cases(writer.path) == ["groups=1", "groups=2"]


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The system's temporary folder."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


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
    assert cases(rescued) == ["groups=1", "groups=2", "groups=4", "groups=8"]
    assert list(records.read(rescued).records) == list(journal.run.records)
    assert journal.lost.endswith(f"all records are in {rescued} instead")
    assert cases(journal.path) == ["groups=1", "groups=2"]


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


def test_a_journal_goes_on_where_a_run_stopped(tmp_path: Path) -> None:
    path = cut(write(tmp_path, record(), record(1, "groups=2")), 9)
    journal = Journal(tmp_path, context(created="2030-01-01T00:00:00Z"), records.read(path))
    journal.append(record(2, "groups=4"))
    journal.close()
    assert (journal.path, journal.context.created) == (path, CREATED)
    assert [each.case for each in journal.run.records] == ["groups=1", "groups=4"]
    assert journal.run.warnings == [f"{path}: the last line is truncated and was left out"]


def test_a_run_is_resumed_by_a_context_that_differs_in_nothing_that_counts(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--resume: .*cpu holds no run of g2; run it first"):
        resume.previous(tmp_path, context())
    path = write(tmp_path, record())
    for changes in (
        {"created": "2030-01-01T00:00:00Z", "benchbox": "0.2"},
        {"host": {**context().host, "memory_bytes": 6}},
        {"plan": {**context().plan, "precision": 0.05, "weights": {"n": "ab"}}},
        {"specs": [SpecFacts("g2", "Another title", "cd" * 32)]},
    ):
        run = resume.previous(tmp_path, context(**changes))
        assert isinstance(run, Run)
        assert (run.path, len(run.records)) == (path, 1)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"threads": 4}, "threads was 1 and is 4 now"),
        ({"provider": "CUDA"}, "provider was 'CPUExecutionProvider' and is 'CUDA' now"),
        ({"channels": "gpu"}, "channels was 'arm' and is 'gpu' now"),
        ({"seed": 7}, "seed was 0 and is 7 now"),
        ({"versions": {"onnxruntime": "9"}}, "versions was onnxruntime 1.22 and is onnxruntime 9"),
        ({"plan": {"batch": 8, "shapes": []}}, "batch was none and is 8 now"),
        ({"plan": {"batch": None, "shapes": ["x=1"]}}, "shapes was none and is ['x=1'] now"),
        ({"host": {"machine": "aarch64"}}, "machine was 'x86_64' and is 'aarch64' now; cpu was"),
    ],
)
def test_another_run_is_not_resumed_and_the_difference_is_said(
    tmp_path: Path, changes: dict[str, Any], sentence: str
) -> None:
    path = write(tmp_path, record())
    with pytest.raises(RecordError, match=re.escape(f"{path}: cannot be resumed: {sentence}")):
        resume.previous(tmp_path, context(**changes))
