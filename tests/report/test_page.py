"""Page of runs, and what it offers of them: LaTeX, the setup and BibTeX."""

import gzip
import json
import re
import sys
from base64 import b64decode
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from benchbox.errors import UsageError
from benchbox.records import Run
from benchbox.report import citation, files, latex
from benchbox.report.charts.profile_file import SavedProfile
from benchbox.report.frame import to_frame
from benchbox.report.multi_device import tables_with_runs
from benchbox.report.page import page
from tests.helpers.record_files import record
from tests.helpers.tables import g2_records, latency, run_of
from tests.report.test_charts import HOSTILE, PROFILE, hostile, reference

MOST_BYTES = 1_500_000
UNPAIRED = re.compile(r"(?<!\\)[&%$#_~^]")


class Elements(HTMLParser):
    """The elements of a page: how often each stands there, their attributes, and its data."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.data = ""
        self._is_data = False
        self.feed(text)
        self.data = gzip.decompress(b64decode(self.data)).decode()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self._is_data = ("id", "data") in attrs

    def handle_data(self, data: str) -> None:
        self.data += data if self._is_data else ""

    def handle_endtag(self, _: str) -> None:
        self._is_data = False


@pytest.mark.slow
def test_the_page_of_all_networks_is_one_small_file_with_every_chart() -> None:
    text = page([reference("models")], SavedProfile.model_validate(PROFILE))
    assert len(text.encode()) < MOST_BYTES
    found = Elements(text)
    assert not [each for each in found.attributes if each[1] in ("src", "href", "srcset")]
    data = json.loads(found.data)
    assert [chart["name"] for chart in data["charts"]] == [
        "flops", "pareto", "over-flops", "profile", "samples", "processes",
    ]  # fmt: skip
    frame = to_frame([reference("models")])
    assert data["files"]["csv"] == files.to_csv(frame)
    assert found.tags.count("figure") == 6
    assert found.tags.count("tr") == 31
    assert "default-src 'none'" in text


@pytest.mark.slow
def test_runs_of_some_days_have_their_history_and_the_newest_its_charts() -> None:
    days = [dated(day) for day in range(1, 13)]
    found = Elements(page(days))
    data = json.loads(found.data)
    points, steps = (data["sets"][f"history-{name}"] for name in ("points", "steps"))
    assert {(row["case"], row["machine"]) for row in points} == {
        (f"g2:{each.case}", "cpu: Cortex-A76, CPUExecutionProvider, 1 thread")
        for each in g2_records()
    }
    assert {row["utc"] for row in steps} == {"2026-05-07T10:00:00Z"}
    assert {row["changed"] for row in steps} == {"benchbox 0.1.0 -> 0.2"}
    assert [chart["id"] for chart in data["charts"]] == ["history", "flops-11", "over-flops-11"]
    assert found.tags.count("tr") == 12 * len(g2_records()) + 1
    alone = json.loads(Elements(page(days[:1])).data)
    assert "history" not in {chart["name"] for chart in alone["charts"]}


@pytest.mark.slow
def test_devices_share_facts_and_stand_side_by_side() -> None:
    here, there = (
        replace(run, context=replace(run.context, device=name))
        for name, run in (("a", run_of(g2_records())), ("b", run_of(g2_records(), threads=2)))
    )
    text = page([here, there])
    assert "<dt>device</dt><dd>a, b</dd>" in text and "<dt>threads</dt>" not in text
    assert re.search("<li><b>a</b>; threads 1.*</li><li><b>b</b>; threads 2.*</li>", text)
    assert 'class="charts several"' in text


def dated(day: int) -> Run:
    """G2 on a day of May; from the seventh on another benchbox takes 10% more."""
    run, more = run_of(g2_records()), 1.1 if day >= 7 else 1.0
    context = replace(run.context, created=f"2026-05-{day:02}T10:00:00Z")
    rows = [
        replace(each, latency=latency(more * each.latency.p50_s * 1e3))
        for each in run.records
        if each.latency
    ]
    return replace(
        run, context=replace(context, benchbox="0.2" if day >= 7 else "0.1.0"), records=rows
    )


@pytest.mark.slow
def test_hostile_names_are_text_on_the_page() -> None:
    plain, spoilt = (Elements(page([run])) for run in (harmless(), hostile()))
    assert set(spoilt.tags) == set(plain.tags)
    assert not [each for each in spoilt.attributes if each[1].startswith("on")]
    assert json.loads(spoilt.data)["sets"]["rows0"][1]["name"] == "other"


def harmless() -> Run:
    run = hostile()
    return replace(
        run,
        context=replace(run.context, device="cpu"),
        records=[
            replace(each, spec="s", group="", case=f"c{i}") for i, each in enumerate(run.records)
        ],
    )


@pytest.mark.slow
def test_a_page_of_nothing_measured_still_has_its_table() -> None:
    text = page([run_of([record(status="failed", reason="it broke")])])
    assert "it broke" in text
    assert json.loads(Elements(text).data)["charts"] == []


@pytest.mark.parametrize("missing", ["vl_convert", "jinja2"])
def test_a_missing_package_is_named_with_the_command_that_installs_it(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(UsageError, match=r"pip install 'benchbox\[report\]'"):
        page([run_of(g2_records())])


@pytest.mark.parametrize("name", ["models", "all", HOSTILE], ids=["models", "all", "hostile"])
def test_latex_has_balanced_tables_and_escapes_what_it_would_read(name: str) -> None:
    text = latex.to_latex(tables_with_runs([hostile() if name == HOSTILE else reference(name)]))
    begun, ended = (re.findall(rf"\\{word}{{(\w+)}}", text) for word in ("begin", "end"))
    assert sorted(begun) == sorted(ended)
    assert "\x1b" not in text
    for line in text.splitlines()[1:]:
        assert line.count("{") - line.count("\\{") == line.count("}") - line.count("\\}"), line
    cells = [line for line in text.splitlines() if line.endswith(r" \\") and " & " in line]
    body = [re.sub(r"\$\\\w+\$| & ", "", line) for line in cells]
    assert not [line for line in body if UNPAIRED.search(line)]
    assert len({line.count(" & ") for line in cells if "multicolumn" not in line}) <= 4


def test_latex_has_each_tables_own_setup_and_its_notes_below() -> None:
    rows = [replace(each, status="imprecise", reason="why") for each in g2_records()[:2]]
    runs = [run_of(g2_records()), run_of(rows, threads=2)]
    first, second = latex.to_latex(tables_with_runs(runs)).split(r"\end{table}")[:2]
    assert ("1 thread" in first, "2 threads" in first, "imprecise" in first) == (True, False, False)
    assert "2 of 2 are imprecise" in second and "& imprecise" in second and "why" in second
    assert "needs XeLaTeX" not in first
    odd = run_of([replace(each, case="\u732b") for each in rows[:1]])
    assert latex.to_latex(tables_with_runs([odd])).splitlines()[1].startswith("% needs XeLaTeX")


def test_latex_has_the_columns_and_notes_that_a_paper_needs_or_all() -> None:
    notes = {"note": "seen by --cpus 3"}, {"reason": "took --cpus 3", "status": "failed"}
    run = run_of([replace(r, **own) for r, own in zip(g2_records(), notes, strict=False)])
    short, long = (latex.of_runs([run], verbose=verbose) for verbose in (False, True))
    (header,) = (line for line in short.splitlines() if line.startswith("case & "))
    assert header == r"case & FLOPs (M) & params (M) & p50 (ms) & relative & status \\"
    assert "& memory (MB) &" in long
    assert "seen by" not in short
    assert "took -{}-cpus 3" in short


@pytest.mark.slow
def test_a_disturbed_figure_is_marked_in_the_table_and_over_its_mark() -> None:
    rows = g2_records()
    found = replace(rows[0].latency, basis="all") if rows[0].latency else None
    text = page([run_of([replace(rows[0], latency=found, status="imprecise"), *rows[1:]])])
    assert "<td>~1.00</td>" in text
    assert json.loads(Elements(text).data)["sets"]["rows0"][0]["p50"] == "~1.00"


def test_the_citation_says_how_it_was_measured_and_names_the_papers() -> None:
    text = citation.cite([reference("models")])
    assert re.search(
        r"\(cpu, CPUExecutionProvider, 1 thread, batch 1; Linux.* in 3 processes to ±3%, with 95%",
        text,
    )
    assert {"ma2018shufflenetv2", "han2020ghostnet", "sandler2018mobilenetv2", "benchbox"} <= set(
        re.findall(r"@\w+{(\w+),", text)
    )
    bare = citation.cite([hostile()])
    assert bare.count("{") == bare.count("}") and HOSTILE not in bare
    unknown = replace(g2_records()[0], paper={"source": "Someone, arXiv 2599.99999"})
    assert "eprint = {2599.99999}" in citation.bibtex([run_of([unknown])])
