import multiprocessing
import os
import shutil
import struct
from dataclasses import replace
from pathlib import Path

import pytest

from benchbox import host, records
from benchbox.records import index
from benchbox.records.index import Index, ListedRun
from tests.helpers.record_files import LATENCY, context, cut, edit, record, write

GRAPH = {"sha256": "ab" * 32, "size_bytes": 1, "opset": 18}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "results"


def listed(folder: Path) -> list[ListedRun]:
    with Index(folder) as found:
        return found.runs()


def databases() -> list[Path]:
    return list((host.cache_folder() / "index").glob("*.sqlite"))


def test_the_list_has_what_a_reader_finds_the_newest_first(folder: Path) -> None:
    graph = {**GRAPH, "sha256": "cd" * 32}
    old = write(
        folder,
        record(status="imprecise", graph=GRAPH, latency=LATENCY),
        record(status="ok", graph=graph, latency=LATENCY),
        record(1, "b", status="failed"),
    )
    new = write(folder, of=context("g1", created="2026-11-22T00:00:00Z", device="pi"))
    assert listed(folder) == [
        ListedRun(
            *(folder, f"pi/{new.name}", "g1", "2026-11-22T00:00:00Z", "pi"),
            *(new.stat().st_size, {}),
        ),
        ListedRun(
            *(folder, f"cpu/{old.name}", "g2", context().created, "cpu"),
            *(old.stat().st_size, {"ok": 1, "failed": 1}),
        ),
    ]
    assert [run.path for run in listed(folder)] == [new, old]
    with Index(folder) as found:
        (number,) = found.of_graph("cd" * 32)
        ((same, path, its_context),) = found.contexts("cpu", "2026-11-21")
        assert (same, path, its_context) == (number, old, replace(context(), specs=()))
        assert found.of_graph("ef" * 32) == [*found.contexts("cpu", "2026-11-22")] == []


def test_only_what_is_new_or_changed_is_read_again(folder: Path) -> None:
    path = write(folder, record())
    counts: list[int] = []
    for _ in range(2):
        Index(folder, counts.append)
    assert counts == [1]
    with records.reopen(records.read(path)) as writer:
        writer.append(record(1, "b", status="skipped"))
    with Index(folder, counts.append) as found:
        assert found.runs()[0].cases == {"ok": 1, "skipped": 1}
    path.unlink()
    with Index(folder, counts.append) as found:
        assert (found.runs(), counts) == ([], [1, 1])


def test_broken_and_newer_files_are_named_and_the_others_listed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = write(folder, record())
    edit(write(folder, record()), 0, schema="9.0")
    edit(write(folder, record()), 1, status="splendid")
    cut(write(folder, record()), 5)  # its last line alone is left out
    monkeypatch.chdir(folder)
    with Index(Path()) as found:
        assert [run.cases for run in found.runs()].count({"ok": 1}) == 1
        newer, wrong = found.unreadable().values()
    assert newer.startswith(f"cpu/{good.stem}~2.jsonl: schema 9.0, this benchbox reads ")
    assert wrong == f"cpu/{good.stem}~3.jsonl: line 2: 'status' is of a wrong type"
    with Index(folder) as found:  # by another way to the folder
        assert [line.removeprefix(f"{folder}/") for line in found.unreadable().values()] == [
            newer,
            wrong,
        ]


def test_samples_that_are_not_the_last_field_hide_nothing(folder: Path) -> None:
    burst = {"session": 0, "round": 0, "latencies_ns": [1]}
    path = write(folder, record())
    edit(path, 1, bursts=[burst], status="imprecise")
    line = path.read_text().splitlines()[1].replace(' "bursts"', '"bursts"')
    rest = line.replace('"status": "imprecise", ', "").rstrip("}") + '},"status":"imprecise"}'
    for text in (line, rest.replace("]},", "],")):
        path.write_text(path.read_text().splitlines()[0] + "\n" + text + "\n")
        assert [run.cases for run in listed(folder)] == [{"imprecise": 1}], text


@pytest.mark.parametrize(
    "spoil",
    [
        lambda file: file.write_bytes(b"no database" * 999),
        lambda file: file.write_bytes(file.read_bytes()[:5000]),
        lambda file: file.write_bytes(
            file.read_bytes().replace(struct.pack("d", LATENCY.p50_s), struct.pack("d", 9.0))
        ),
        lambda file: (file.unlink(), file.mkdir()),
        lambda file: (shutil.rmtree(file.parent), file.parent.write_text("no folder")),
    ],
    ids=["nonsense", "truncated", "another figure", "folder", "no folder"],
)
def test_a_damaged_index_is_made_anew_or_done_without(folder: Path, spoil: object) -> None:
    write(folder, record(latency=LATENCY))
    with Index(folder) as found:
        before = found.runs(), found.dated("")
    (file,) = databases()
    spoil(file)  # type: ignore[operator]
    for _ in range(2):
        with Index(folder) as found:
            assert (found.runs(), found.dated("")) == before


def test_an_index_of_another_version_is_made_anew(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder, record())
    counts: list[int] = []
    for version in (1, 2, 2):
        monkeypatch.setattr(index, "VERSION", version)
        Index(folder, counts.append)
    assert counts == [1, 1]


def look(folder: Path, counts: "multiprocessing.Queue[int]") -> None:
    for _ in range(5):
        counts.put(len(listed(folder)))


def test_two_processes_may_use_it_at_once(folder: Path) -> None:
    for number in range(20):
        write(folder, record(), of=context(f"r{number}"))
    forked = multiprocessing.get_context("fork" if hasattr(os, "fork") else "spawn")
    counts = forked.Queue()
    processes = [forked.Process(target=look, args=(folder, counts)) for _ in range(2)]
    for process in processes:
        process.start()
    found = [counts.get() for _ in range(10)]
    for process in processes:
        process.join()
    assert found == [20] * 10


def test_a_folder_without_runs_has_an_empty_list(tmp_path: Path) -> None:
    assert listed(tmp_path / "nowhere") == []
    (tmp_path / "results/cpu").mkdir(parents=True)
    (tmp_path / "results/cpu/notes.jsonl").write_text("no run")
    (tmp_path / "results/readme").write_text("no folder")
    assert listed(tmp_path / "results") == []


@pytest.mark.skipif(os.name != "posix", reason="names of files are bytes")
def test_names_that_are_no_utf_8_are_listed(folder: Path) -> None:
    path = write(
        folder, record(case="\ud800", graph={**GRAPH, "sha256": "\udcff"}, latency=LATENCY)
    )
    edit(path, 0, name="\udcff")
    edit(path, 1, run=None)
    odd = path.rename(path.with_name(os.fsdecode(b"20261121T220007Z-\xff.jsonl")))
    edit(write(folder, record()), 1, case=5)
    (run,) = listed(folder)
    assert (run.path, run.name, run.cases) == (odd, "?", {"ok": 1})
    odd.write_text("{}")
    with Index(folder) as found:
        assert set(found.unreadable()) == {odd, path}


def test_runs_of_one_file_are_listed_each(folder: Path) -> None:
    first, second = write(folder, record()), write(folder, of=context("g1"))
    first.write_text(first.read_text() + second.read_text())
    second.unlink()
    names = sorted(run.name for run in listed(folder))
    assert names == ["g1", "g2"]
