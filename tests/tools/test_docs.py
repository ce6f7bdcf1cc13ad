"""Generated parts of the documentation, of records that are made up."""

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from benchbox.records import Run
from tests.helpers import record_files
from tests.helpers.command import invoke
from tests.helpers.tables import cost, latency
from tools.docs import pages

# Millions of multiply-accumulates, and milliseconds.
MADE_UP = {
    "yolov8n": (4372, 101.0),
    "yolov8n_ghost": (2849, 74.0),
    "yolov8n_ghostnetv2_x1_0": (4512, 174.0),
}


def made_up() -> Run:
    """A run of three detectors."""
    rows = [
        record_files.record(
            index, case, spec="detectors", cost=cost(macs * 10**6, None), latency=latency(ms)
        )
        for index, (case, (macs, ms)) in enumerate(MADE_UP.items())
    ]
    return Run(Path("made_up.jsonl"), record_files.context("detectors", specs=[]), rows)


PAGE = """\
<!-- latency of detectors: yolov8n -->?<!-- end -->,
<!-- latency of detectors: yolov8n_ghost / yolov8n -->?<!-- end -->,
<!-- flops of detectors: yolov8n_ghostnetv2_x1_0 / yolov8n -->2<!-- end -->,
<!-- latency of other: a / b -->?<!-- end -->
<!-- table of other -->
as it was
<!-- end -->
"""


def test_figures_of_the_newest_record_are_filled_in_and_others_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = made_up()
    for stamp, records in (("20260102T000000Z", run.records), ("20260101T235959Z", [])):
        written = record_files.write(tmp_path / stamp, *records, of=run.context)
        written.rename(tmp_path / f"{stamp}-detectors.jsonl")
    (tmp_path / "20270101T000000Z-ghost-detectors.jsonl").touch()
    newest = {name: pages.newest(name, tmp_path) for name in ("detectors", "other")}
    monkeypatch.setattr(pages, "newest", newest.get)
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    text = pages.filled(page)
    bare = " ".join(re.sub("<!--.*?-->", "", text).split())
    assert bare == "101 ms, 0.73x, 1.03x, ? as it was"
    page.write_text(text)
    assert pages.filled(page) == text


@pytest.mark.slow
@pytest.mark.parametrize("file", pages.PICTURES)
def test_a_picture_of_the_docs_is_what_the_command_draws(file: str, in_tmp: Path) -> None:
    name, figure = pages.PICTURES[file]
    (record,) = pages.REFERENCE.glob(f"*Z-{name}.jsonl")
    result = invoke("report", str(record), "--figure", figure, "--wide", "-o", file)
    assert (result.exit_code, result.output) == (0, "")
    run = pages.newest(name)
    assert run and (in_tmp / file).read_text() == pages.drawn(run, figure)


def test_a_profile_by_modules_becomes_a_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "REFERENCE", tmp_path)
    (tmp_path / "20260101T000000Z-profile-detectors.csv").write_text(
        "case,module,time_share,macs_share\n"
        "one,backbone,0.6,0.25\none,head,0.4,0.75\ntwo,head,1.0,\n"
    )
    page = tmp_path / "page.md"
    page.write_text(
        "<!-- parts of detectors -->\n<!-- end -->\n<!-- parts of x -->\n<!-- end -->\n"
    )
    assert pages.filled(page).splitlines() == [
        "<!-- parts of detectors -->",
        "| | backbone | head |",
        "|:--|--:|--:|",
        "| one | 60% (25%) | 40% (75%) |",
        "| two | - | 100% (0%) |",
        "<!-- end -->",
        "<!-- parts of x -->",
        "<!-- end -->",
    ]


def test_a_provider_has_the_newest_record_of_hardware_or_none(tmp_path: Path) -> None:
    run = record_files.context()
    for place, changes in (
        ("cpu", {}),
        ("npu", {"provider": "QNNExecutionProvider", "created": "2026-12-01T00:00:00Z"}),
        ("board", {"provider": "XnnpackExecutionProvider", "host": {"emulated": "qemu"}}),
    ):
        record_files.write(tmp_path / place, of=replace(run, **changes))
    rows = dict(
        line[3:].split("` |", 1) for line in pages.provider_table(tmp_path).splitlines()[2:]
    )
    assert "[2026-12-01](" in rows["qnn"] and "[2026-11-21](" in rows["cpu"]
    assert rows["xnnpack"].endswith(" none |")


def test_gpus_have_the_newest_day_that_each_was_measured_on(tmp_path: Path) -> None:
    assert "not run on a GPU yet" in pages.gpu_status(tmp_path)
    for day in ("2026-11-29", "2026-12-01"):
        host = {"gpu": {"name": "NVIDIA H200", "runtime": "13.0"}}
        run = record_files.context(device="cuda-graph", created=f"{day}T00:00:00Z", host=host)
        record_files.write(tmp_path, of=run)
    assert pages.gpu_status(tmp_path) == "measured on NVIDIA H200 (2026-12-01)"


def test_the_parts_of_the_detectors_add_up_to_the_whole() -> None:
    shares: Counter[str] = Counter()
    for row in pages.profiled("detectors"):
        if row["module"] in ("backbone", "neck", "head"):
            shares[row["case"]] += float(row["time_share"])
    assert len(shares) == 18
    assert all(share == pytest.approx(1, abs=0.05) for share in shares.values())
