from datetime import UTC, datetime
from pathlib import Path

import pytest

from benchbox.errors import RecordError
from benchbox.records import names
from benchbox.records.names import Wanted

STEMS = {
    "cpu": ("20261101T000000Z-g1", "20261102T000000Z-g2", "20261103T000000Z-g2~2"),
    "pi": ("20261104T000000Z-g2",),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for device, stems in STEMS.items():
        (tmp_path / device).mkdir()
        for stem in stems:
            (tmp_path / device / f"{stem}.jsonl").touch()
    return tmp_path


def found(name: str | None, wanted: Wanted) -> list[list[str]]:
    return [[f"{p.parent.name} {p.name[6:8]}" for p in each] for each in names.files(name, wanted)]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (None, [["pi 04", "cpu 03", "cpu 02", "cpu 01"]]),
        ("g2", [["pi 04", "cpu 03", "cpu 02"]]),
        ("cpu/g2", [["cpu 03", "cpu 02"]]),
        ("20261102T000000Z-g2", [["cpu 02"]]),
        ("g?", [["cpu 01"], ["cpu 02"], ["cpu 03"], ["pi 04"]]),
        ("cpu/2026110[13]*", [["cpu 01"], ["cpu 03"]]),
        ("*/g1", [["cpu 01"]]),
    ],
)
def test_a_name_is_the_newest_of_it_and_a_glob_every_run(
    folder: Path, name: str | None, expected: list[list[str]]
) -> None:
    assert found(name, Wanted(folder)) == expected


def test_device_and_date_leave_the_others_out(folder: Path) -> None:
    assert found("g2", Wanted(folder, "c*")) == [["cpu 03", "cpu 02"]]
    since = datetime(2026, 11, 3, tzinfo=UTC)
    assert found(None, Wanted(folder, "cpu", since)) == [["cpu 03"]]
    with pytest.raises(RecordError, match=r"no run of 'g1' on cpu since 2026-11-03 00:00 UTC"):
        names.files("g1", Wanted(folder, "cpu", since))
    with pytest.raises(RecordError, match="no run of 'h\\*' here"):
        names.files("h*", Wanted(folder))


def test_paths_and_their_globs_are_files_wherever_they_are(folder: Path) -> None:
    path = folder / "cpu" / "20261101T000000Z-g1.jsonl"
    elsewhere = Wanted(Path("nowhere"), "pi")
    assert names.files(str(path), elsewhere) == [[path]]
    assert names.files(f"{folder}/*/*-g1.jsonl", elsewhere) == [[path]]
    path.with_suffix(".csv").touch()  # is no run
    assert names.files(f"{folder}/*/*-g1*", elsewhere) == [[path]]
    assert names.files("./gone.jsonl", elsewhere) == [[Path("gone.jsonl")]]
    assert names.files("cpu/20261101T000000Z-g1", Wanted(folder)) == [[path]]


def test_names_complete_and_with_a_digit_those_of_single_runs(folder: Path) -> None:
    assert names.complete(folder, "") == ["g2", "g1"]
    assert names.complete(folder, "g1") == ["g1"]
    assert names.complete(folder, "202611") == [
        *(STEMS["pi"][0], STEMS["cpu"][2], STEMS["cpu"][1], STEMS["cpu"][0])
    ]
    assert names.complete(folder / "nowhere", "") == []


def test_of_many_runs_the_beginnings_of_dates_complete(tmp_path: Path) -> None:
    (tmp_path / "cpu").mkdir()
    for month in (10, 11):
        for day in range(1, 29):
            for hour in (0, 12):
                (tmp_path / "cpu" / f"2026{month}{day:02}T{hour:02}0000Z-g2.jsonl").touch()
    assert names.complete(tmp_path, "2") == ["202611", "202610"]
    days = names.complete(tmp_path, "cpu/202611")
    assert (days[0], len(days)) == ("cpu/20261128T120000Z-g2", 56)
    assert names.complete(tmp_path, "20261128T12") == ["20261128T120000Z-g2"]
