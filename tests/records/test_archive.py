import gzip
import json
from pathlib import Path

import pytest

from benchbox import records
from benchbox.errors import RecordError
from tests.helpers.command import invoke
from tests.helpers.record_files import LATENCY, context, record, write

pytestmark = pytest.mark.usefixtures("in_tmp")
RESULTS = Path("results")
OLD, NEW = "2026-01-01T00:00:00Z", "2026-06-01T00:00:00Z"
BEFORE = ("--older-than", "2026-03-01")


def keep(created: str, device: str = "cpu") -> Path:
    return write(RESULTS, record(latency=LATENCY), of=context(created=created, device=device))


def there() -> list[str]:
    return sorted(p.relative_to(RESULTS).as_posix() for p in RESULTS.rglob("*") if p.is_file())


def test_archived_runs_read_as_before_by_every_command() -> None:
    old, new = keep(OLD), keep(NEW)
    kept, changed_ns = records.read(old), old.stat().st_mtime_ns
    commands = [
        ("report", "--list", "--format", "json"),
        ("report", "20260101T000000Z-g2", "--format", "csv"),
        ("report", "g2", "--diff", "--format", "csv"),
        ("report", "*g2", "--merge", "--format", "csv"),
        ("report", "cpu/2026*", "--format", "latex"),
        ("choose", "--from", "20260101T000000Z-g2", "--budget", "10ms"),
    ]
    before = [invoke(*each).stdout for each in commands]
    assert invoke("results", "archive", *BEFORE).stdout.startswith("Archived 1 run begun before ")
    packed = old.with_name(f"{old.name}.gz")
    assert there() == sorted(f"cpu/{path.name}" for path in (packed, new))
    assert packed.stat().st_mtime_ns == changed_ns
    read = records.read(packed)
    assert (read.stem, read.records, read.context) == (kept.stem, kept.records, kept.context)
    after = [invoke(*each).stdout for each in commands]
    assert after[1:] == before[1:]
    assert [run["run"] for run in json.loads(after[0])] == [new.stem, old.stem]
    assert "Nothing to archive" in invoke("results", "archive", *BEFORE).stdout
    with pytest.raises(RecordError, match="it is archived; gunzip it"):
        records.reopen(read)


def test_old_runs_of_a_device_are_removed_after_a_dry_run() -> None:
    old, _, other = keep(OLD), keep(NEW), keep(OLD, "pi")
    (RESULTS / "cpu/notes.jsonl").write_text("")
    (RESULTS / "cpu/99990101T000000Z-g2.jsonl").write_text("")
    before = there()
    command = ("results", "prune", *BEFORE, "--device", "c*")
    dry = invoke(*command, "--dry-run").stdout.splitlines()
    assert (dry[0], there()) == (str(old), before)
    assert dry[1].startswith("Would remove 1 run begun before 2026-03-01 00:00 UTC, of ")
    assert invoke(*command).stdout.startswith("Removed 1 run begun before ")
    assert there() == [name for name in before if name != f"cpu/{old.name}"]
    assert other.exists()


def test_a_run_that_is_packed_and_plain_is_one() -> None:
    old = keep(OLD)
    data = old.read_bytes()
    invoke("results", "archive", *BEFORE)
    old.write_bytes(data)
    for command in (("report", "--list"), ("history",), ("report", "*g2", "--format", "csv")):
        both = invoke(*command).stdout
        assert len(there()) == 2
        old.with_name(f"{old.name}.gz").rename("aside")
        assert invoke(*command).stdout == both
        Path("aside").rename(old.with_name(f"{old.name}.gz"))
    invoke("results", "prune", *BEFORE)
    assert there() == []


def test_runs_in_use_and_files_that_cannot_be_changed_stay_and_are_named() -> None:
    used, other = keep(OLD), keep(OLD)
    odd = used.with_name("20260101T000000Z-odd.jsonl")
    odd.mkdir()
    with records.reopen(records.read(used)):
        result = invoke("results", "prune", *BEFORE)
    assert (result.exit_code, used.exists(), other.exists()) == (1, True, False)
    assert f"{used}: another run is writing to it" in result.stderr
    assert f"{odd}: cannot be removed: " in result.stderr
    assert len(result.stderr.splitlines()) == 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--older-than", "soon"), "--older-than soon: write it as 12h, 30d"),
        ((), "missing option '--older-than'"),
        ((*BEFORE, "--results", "nowhere"), "nowhere: no such folder; another is --results"),
    ],
)
def test_wrong_usage_is_one_line(arguments: tuple[str, ...], says: str) -> None:
    result = invoke("results", "archive", *arguments)
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
    assert says in result.stderr.lower()


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda data: data[:-20], "cannot be read: Compressed file ended"),
        (lambda data: data[1:], "cannot be read: Not a gzipped file"),
        (lambda data: data[:40] + b"x" * 60 + data[100:], "cannot be read: "),
        (
            lambda data: gzip.compress(gzip.decompress(data) * 9_000),
            "more than 100 times as large unpacked",
        ),
        (lambda data: data[:0], "not a run: it has no context line"),
    ],
)
def test_a_broken_archive_is_one_line(spoil: object, says: str) -> None:
    path = keep(OLD)
    invoke("results", "archive", *BEFORE)
    packed = path.with_name(f"{path.name}.gz")
    packed.write_bytes(spoil(packed.read_bytes()))  # type: ignore[operator]
    for command in (("report",), ("report", "--list")):
        result = invoke(*command)
        assert result.exit_code in (1, 2)
        assert (len(result.stderr.splitlines()), says in result.stderr) == (1, True)
