"""Charts of recorded and of hostile runs: what they show, and that it can be read."""

import json
import re
import xml.etree.ElementTree as ET
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import pytest

from benchbox import records
from benchbox.analysis.samples import Burst
from benchbox.errors import UsageError
from benchbox.records import Run
from benchbox.report.charts import CHARTS, drawing, labels, style
from benchbox.report.charts.panel import Panel, panels
from benchbox.report.charts.profile_file import SavedProfile, read
from benchbox.report.charts.style import COLUMN, PAGE, PHONE, WIDE, Size
from tests.helpers.record_files import LATENCY, context, record
from tests.helpers.tables import cost, g2_records, ratio, run_of

REFERENCE = Path(__file__).parents[2] / "results" / "reference" / "cpu"
HOSTILE = "</script><img src=x onerror=alert(1)>'\"`${x}\x1b[2J\u202e&%_$\\"
SIZES = {"column": COLUMN, "wide": WIDE, "page": PAGE, "phone": PHONE}
SVG = "{http://www.w3.org/2000/svg}"
PROFILE = {
    "profiles": [
        {
            "case": case,
            "categories": [
                {"category": name, "time_share": time, "macs_share": macs, "memory_share": None}
                for name, time, macs in (("convolution", 0.6, 1.0), ("shuffle", 0.4, None))
            ],
        }
        for case in ("groups=1,scale=1", HOSTILE)
    ]
}


def reference(name: str) -> Run:
    (path,) = REFERENCE.glob(f"*Z-{name}.jsonl")
    return records.read(path)


def hostile() -> Run:
    """A run of two networks whose names and device aim at a page, a picture and LaTeX."""
    rows = [
        record(
            index,
            case,
            spec=HOSTILE,
            group=HOSTILE,
            reference=HOSTILE,
            cost=cost(10**6, 10**6),
            latency=replace(LATENCY, sessions_p50_s=(0.002, 0.0021)),
            relative=None if index == 0 else ratio(2.0),
            paper={"top1_percent": 50.0, "source": HOSTILE},
            bursts=[Burst(0, 0, (2_000_000, 2_100_000), (0, 1), tags=(HOSTILE,))],
        )
        for index, case in enumerate((HOSTILE, "other"))
    ]
    return Run(Path("hostile.jsonl"), context(HOSTILE, device=HOSTILE, specs=[]), rows)


def layers(spec: dict[str, Any]) -> list[dict[str, Any]]:
    return list(spec.get("layer", [spec]))


def written(spec: dict[str, Any], size: Size) -> Iterator[labels.Box]:
    """What the labels of a scatter plot cover."""
    for layer in layers(spec):
        if "layer" in layer:
            x, y = (layer["encoding"][axis]["scale"] for axis in "xy")
            for row in layer["data"]["values"]:
                low, high = y["domain"]
                is_log = y.get("type") == "log"
                up = (
                    style.share(row["y"], (low, high))
                    if is_log
                    else (row["y"] - low) / (high - low)
                )
                across = style.share(row["x"], x["domain"]) * size.width
                label = labels.Label(row["text"], across, (1 - up) * size.height, row["align"])
                yield labels.box(label, size.font)


def panel_of(run: Run) -> Panel:
    (panel,) = panels([run])
    return panel


@pytest.mark.parametrize("name", ["models", "detectors", "all"])
@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_no_label_stands_on_another_or_beyond_the_plot(name: str, size: Size) -> None:
    panel = panel_of(reference(name))
    for figure in ("flops", "pareto"):
        spec = CHARTS[figure](panel, size)
        if spec is None:
            continue
        boxes = list(written(spec, size))
        assert len(boxes) >= 3, figure
        assert not any(one.meets(other) for one, other in combinations(boxes, 2)), figure
        assert all(box.left >= 0 and box.right <= size.width + 1e-6 for box in boxes), figure


def test_labels_without_room_are_named_beside_the_chart_and_every_line_has_its_name() -> None:
    panel = panel_of(reference("all"))
    spec = CHARTS["flops"](panel, COLUMN) or {}
    lines, names, *_ = spec["layer"]
    without = spec["usermeta"]["unlabelled"]
    assert 0 < len(without) < len(panel.rows) and set(without) < {r["name"] for r in panel.rows}
    rates = {f"{row['rate']:g} GMAC/s" for row in lines["data"]["values"]}
    assert rates == {row["text"] for row in names["data"]["values"]} != set()


def test_a_label_is_beside_its_own_point_or_at_the_end_of_a_line_from_it() -> None:
    places = [(100.0 + 6 * (i % 3), 100.0 + 6 * (i // 3)) for i in range(9)]
    points = [labels.LabelledPoint(at, (f"point {i}",)) for i, at in enumerate(places)]
    twin = labels.LabelledPoint((100.0, 101.0), ("point 0",))
    *found, shared = labels.placed([*points, twin], (300, 300), 7)
    assert shared == found[0]
    led = [label.led for label in found if label and label.led]
    assert led and set(led) <= set(places)
    for own, label in zip(places, found, strict=True):
        if label and not label.led:
            far = labels.box(label, 7).distance
            assert min(places, key=lambda at: far(*at)) == own


def test_a_run_of_networks_has_families_a_front_and_samples_by_what_disturbed_them() -> None:
    panel = panel_of(reference("models"))
    assert panel.families[:3] == ["shufflenetv2", "shufflenetv2_tv", "shufflenetv1"]
    assert panel.accuracy == "top-1"
    front = {row["name"] for row in panel.rows if row.get("front")}
    assert {"shufflenetv2_x0_5", "ghostnetv3_x1_6"} <= front < {row["name"] for row in panel.rows}
    assert "ghostnet_x1_0" not in front
    assert panel.causes[0] == "undisturbed" and "preempted" in panel.causes
    assert [row["n"] for row in panel.samples] == [*range(1, len(panel.samples) + 1)]
    assert {row["process"] for row in panel.samples} == {1, 2, 3}
    colours = [style.COLOURS[i % len(style.COLOURS)] for i in range(len(panel.families))]
    shapes = style.shape("family", panel.families, COLUMN)["scale"]["range"]
    assert len(set(zip(colours, shapes, strict=True))) == len(panel.families)


def test_of_very_many_calls_some_are_shown_evenly_spaced_and_their_number_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = panel_of(reference("models"))
    monkeypatch.setattr("benchbox.report.charts.calls.MOST_SAMPLES", 1000)
    some = panel_of(reference("models"))
    assert (some.calls, some.starts) == (whole.calls, whole.starts)
    assert len(some.samples) == 1000
    assert all(row == whole.samples[row["n"] - 1] for row in some.samples)
    apart = {after["n"] - row["n"] for row, after in pairwise(some.samples)}
    assert apart == {whole.calls // 1000, whole.calls // 1000 + 1}
    for panel, size, count in ((whole, COLUMN, 2000), (some, PAGE, 1000)):
        spec = CHARTS["samples"](panel, size) or {}
        title = spec["layer"][1]["encoding"]["x"]["axis"]["title"]
        assert title.endswith(f"({count} of {whole.calls}, evenly spaced)")


def test_a_case_without_flops_is_left_out_of_their_chart_and_named() -> None:
    rows = [
        replace(each, cost=cost(0 if i == 2 else 10**6, 1)) for i, each in enumerate(g2_records())
    ]
    spec = CHARTS["flops"](panel_of(run_of(rows)), PAGE)
    assert spec and spec["description"].endswith(f"; without FLOPs and not shown: {rows[2].case}")
    layers_of_rows = [each for each in layers(spec) if each["data"] == {"name": "rows0"}]
    shown = "datum.macs_m > 0 && datum.latency_p50_ms > 0"
    assert {each["transform"][0]["filter"] for each in layers_of_rows} == {shown}


def test_a_short_logarithmic_axis_has_the_ticks_of_a_linear_one() -> None:
    assert style.ticks((30, 3000)) == [50, 100, 200, 500, 1000, 2000]
    assert style.ticks((0.0145, 0.0176)) == [0.015, 0.016, 0.017]
    assert style.ticks((99, 101)) == [99, 99.5, 100, 100.5, 101]


def test_ratios_that_are_all_of_references_are_no_chart() -> None:
    alone = [replace(each, reference=each.case, relative=None) for each in g2_records()]
    assert CHARTS["over-flops"](panel_of(run_of(alone)), PAGE) is None


def test_lines_join_widths_of_a_family_and_no_other_cases() -> None:
    names = ["ghostnet_x0_5,batch=1", "network=ghostnet_x1_0,batch=1", "ghostnet_x1_0,batch=8", "a"]
    rows = panel_of(run_of([replace(g2_records()[0], case=name) for name in names])).rows
    assert [row["series"] for row in rows] == ["ghostnet,batch=1"] * 2 + ["ghostnet,batch=8", ""]
    assert rows[1]["label"] == "x1_0, batch=1"


def test_arrows_lead_from_a_detector_to_its_variants() -> None:
    panel = panel_of(reference("detectors"))
    spec = CHARTS["flops"](panel, COLUMN)
    assert spec is not None
    by_host = [row for row in panel.rows if row["family"] == "yolov8n"]
    assert [row["label"] for row in by_host] == ["yolov8n", "ghost", "ghostnetv2"]
    (arrows,) = (each for each in spec["layer"] if "x2" in each.get("encoding", {}))
    found = [row for row in arrows["data"]["values"] if row["family"] == "yolov8n"]
    assert {row["x2"] for row in found} == {by_host[0]["macs_m"]}
    assert len(found) == 2


def test_cases_that_are_no_networks_are_told_apart_by_group_or_spec() -> None:
    own = panel_of(run_of(g2_records()))
    assert {(row["family"], row["label"]) for row in own.rows} >= {("scale=1", "groups=8")}
    assert set(panel_of(reference("all")).families) == {"g1", "g2", "g3", "g4"}
    two = [replace(each, spec=spec) for spec in ("a", "b") for each in g2_records()]
    assert "b: groups=8,scale=1" in {row["name"] for row in panel_of(run_of(two)).rows}


def test_a_run_without_figures_has_no_charts_and_says_which_are_missing() -> None:
    empty = panel_of(run_of([record()]))
    assert {name: chart(empty, COLUMN) for name, chart in CHARTS.items()} == dict.fromkeys(CHARTS)
    with pytest.raises(UsageError, match="--figure pareto: there is no published accuracy"):
        drawing.draw([empty], "pareto", COLUMN, "svg")


def svg_of(run: Run, figure: str, size: Size = COLUMN, **more: Any) -> ET.Element:
    text = drawing.draw(panels([run], **more), figure, size, "svg")
    assert isinstance(text, str)
    return ET.fromstring(text)  # noqa: S314 - our own


def texts(svg: ET.Element) -> list[str]:
    return ["".join(each.itertext()) for each in svg.iter(f"{SVG}text")]


@pytest.mark.slow
@pytest.mark.parametrize("figure", ["flops", "pareto", "over-flops", "samples", "processes"])
def test_a_figure_fits_a_column_and_has_its_axes(figure: str) -> None:
    svg = svg_of(reference("models"), figure)
    assert svg.attrib["width"] == "84mm"
    assert svg_of(reference("models"), figure, WIDE).attrib["width"] == "174mm"
    assert any(re.search("latency|p50", text) for text in texts(svg)), texts(svg)
    assert {style.FAMILY} == set(re.findall(r"font-family=\"([\w ]+)", ET.tostring(svg).decode()))
    (face,) = svg.iter(f"{SVG}style")
    assert b64decode(re.findall(r"base64,([^)]+)\)", face.text or "")[0]).startswith(b"wOF2")


@pytest.mark.slow
def test_pictures_are_reproducible_embed_fonts_and_are_fine_enough_to_print() -> None:
    drawn = [
        {form: drawing.draw(panels([reference("models")]), "flops", COLUMN, form) for form in forms}
        for forms in (("svg", "pdf", "png"), ("svg",))
    ]
    assert drawn[0]["svg"] == drawn[1]["svg"]
    pdf, png = drawn[0]["pdf"], drawn[0]["png"]
    assert isinstance(pdf, bytes) and isinstance(png, bytes)
    assert pdf.startswith(b"%PDF") and b"/FontFile" in pdf and b"/MediaBox [0 0 238.1" in pdf
    assert int.from_bytes(png[16:20]) == 84 * 300 // 25.4  # dots across


@pytest.mark.slow
def test_letters_that_no_font_has_are_found() -> None:
    assert drawing.boxes("plain, \u00e9t\u00e9 and \U0001e290\u03b1") == ["\U0001e290"]


@pytest.mark.slow
def test_several_devices_stand_one_below_the_other_under_their_names() -> None:
    run = reference("models")
    other = replace(run, context=replace(run.context, device="pi"))
    text = drawing.draw(panels([run, other]), "flops", COLUMN, "svg")
    assert isinstance(text, str)
    found = texts(ET.fromstring(text))  # noqa: S314 - our own
    assert {"cpu", "pi"} <= set(found)


@pytest.mark.slow
def test_runs_of_other_cases_have_legends_of_their_own() -> None:
    found = panels([reference("models"), reference("detectors")])
    text = drawing.draw(found, "flops", COLUMN, "svg")
    assert isinstance(text, str)
    shown = texts(ET.fromstring(text))  # noqa: S314 - our own
    # The other is a case as well, whose label has a halo.
    assert [shown.count(each) for each in ("mobilenetv3", "yolo11s")] == [1, 3]


def test_panels_of_several_devices_have_the_same_axes() -> None:
    run = reference("models")
    slow = [
        replace(each, latency=replace(each.latency, p50_s=9 * each.latency.p50_s))
        for each in run.records
        if each.latency
    ]
    pi = replace(run, context=replace(run.context, device="pi"), records=slow)
    for figure in ("flops", "pareto"):
        specs = [CHARTS[figure](panel, COLUMN) for panel in panels([run, pi])]
        scales = [
            [layer["encoding"]["y"]["scale"], layer["encoding"]["x"]["scale"]]
            for spec in specs
            for layer in layers(spec or {})[:1]
        ]
        assert scales[0] == scales[1]


@pytest.mark.slow
@pytest.mark.parametrize("figure", list(CHARTS))
def test_hostile_names_are_text_in_every_picture(figure: str) -> None:
    profile = SavedProfile.model_validate(PROFILE)
    svg = svg_of(hostile(), figure, profile=profile)
    assert {each.tag for each in svg.iter()} <= {f"{SVG}{name}" for name in TAGS}
    assert not any("\x1b" in text or "\u202e" in text for text in svg.itertext())


TAGS = (
    "svg",
    "g",
    "path",
    "text",
    "tspan",
    "rect",
    "line",
    "defs",
    "clipPath",
    "style",
    "title",
    "desc",
)


def test_a_profile_is_read_and_another_file_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    path.write_text(json.dumps(PROFILE))
    (panel,) = panels([hostile()], read(path))
    assert [(row["part"], row["kind"], row["share"]) for row in panel.shares[:3]] == [
        ("convolution", "time", 0.6),
        ("convolution", "FLOPs", 1.0),
        ("convolution", "memory", 0.0),
    ]
    for text in ("", "[]", "{}", '{"profiles": [{"case": 1}]}', '{"profiles": [{}]}', "\xff"):
        path.write_text(text)
        with pytest.raises(UsageError, match="not a profile"):
            read(path)
    with pytest.raises(UsageError, match="cannot be read"):
        read(tmp_path)
