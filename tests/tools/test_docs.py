"""Generated parts of the documentation, of records that are made up."""

import re
from itertools import combinations
from pathlib import Path

import pytest

from benchbox import specs
from benchbox.records import Record, Run
from benchbox.specs import Selection
from tests.helpers import record_files
from tests.helpers.tables import cost, latency
from tools.docs import detectors, pages, plot
from tools.docs.plot import Box, Place

# Millions of multiply-accumulates, and milliseconds, with hosts and variants close to each other.
MADE_UP = {
    "yolov8n": (4372, 101.0),
    "yolov8n_ghost": (2849, 74.0),
    "yolov8n_ghostnetv2_x1_0": (4512, 174.0),
    "yolov10n": (3380, 87.0),
    "yolov10n_ghost": (2127, 63.0),
    "yolov10n_ghostnet_x1_0": (3419, 135.0),
    "yolo11n": (3271, 87.0),
    "yolo11n_ghostnetv3_x1_0": (3138, 149.0),
    "yolo11n_ghostnetv3_x1_0_train": (5073, 217.0),
    "yolov8s": (14301, 251.0),
    "yolov8s_ghost": (8110, 160.0),
    "yolov8s_ghostnetv2_x1_0": (9875, 235.0),
    "yolov10s": (10855, 215.0),
    "yolov10s_ghost": (6263, 138.0),
    "yolov10s_ghostnet_x1_0": (7072, 190.0),
    "yolo11s": (10795, 213.0),
    "yolo11s_ghostnetv3_x1_0": (6324, 205.0),
    "yolo11s_ghostnetv3_x1_0_train": (9876, 300.0),
}


def made_up(slower: float = 1.0) -> Run:
    """A run of the detectors, those with a GhostNet as backbone so many times as slow."""
    (spec,) = specs.find("detectors")
    rows: list[Record] = []
    for index, case in enumerate(spec.cases(Selection())):
        macs, ms = MADE_UP[case.name]
        times = slower if str(case.labels["ghost"]).startswith("backbone") else 1.0
        changes = {"cost": cost(macs * 10**6, None), "latency": latency(ms * times)}
        rows.append(
            record_files.record(
                index, case.name, spec="detectors", labels=case.labels, group=case.group,
                reference=case.reference, **changes,
            )
        )  # fmt: skip
    return Run(Path("made_up.jsonl"), record_files.context("detectors", specs=[]), rows)


def boxes(svg: str) -> list[tuple[str, Box]]:
    """The texts of a picture, but for the axes', with what each covers."""
    pattern = (
        r'<text class="(?:family|member|quiet)" x="(.*?)" y="(.*?)" text-anchor="(.*?)".*?>(.*?)<'
    )
    return [
        (words, plot.covered_by(Place(float(x), float(y)), words, anchor))
        for x, y, anchor, words in re.findall(pattern, svg)
    ]


@pytest.mark.parametrize("slower", [0.5, 1.0, 1.5])
def test_the_detectors_stand_with_arrows_from_their_hosts_and_no_text_upon_another(
    slower: float,
) -> None:
    svg = detectors.draw(made_up(slower))
    hosts = sum("_" not in name for name in MADE_UP)
    assert svg.count("<polygon") == len(MADE_UP) - hosts
    found = boxes(svg)
    assert [words for words, _ in found].count("Ghost") == 4
    assert {"YOLOv8n", "YOLO11s", "GhostNetV2", "GhostNetV3 as trained"} <= {
        words for words, _ in found
    }
    overlapping = [
        (one[0], other[0]) for one, other in combinations(found, 2) if one[1].meets(other[1])
    ]
    assert overlapping == []


PAGE = """\
<!-- picture of detectors -->
<!-- end -->
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
    assert bare == "![FLOPs against latency](detectors.svg) 101 ms, 0.73x, 1.03x, ? as it was"
    page.write_text(text)
    assert pages.filled(page) == text
