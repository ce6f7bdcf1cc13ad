"""Files and lines of continuous integration: summary, annotations, JUnit XML, benchmark JSON."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from xml.etree import ElementTree

from benchbox.lines import one_line
from benchbox.records import Record, Run
from benchbox.report import formatting
from benchbox.report.files import json_text, paragraph, tables_to_markdown
from benchbox.report.limits import Judgement, sentence
from benchbox.report.multi_device import tables_of
from benchbox.report.table import Table
from benchbox.report.tables import flops
from benchbox.specs import timed_alone

NS = 1e9  # in a second
BENCHER = ".bmf.json"  # how the name of a file in Bencher's format ends


def summary(
    runs: Sequence[Run],
    judged: Sequence[Judgement],
    problems: Sequence[str] = (),
    further: Sequence[Table] = (),
) -> str:
    """Markdown of the runs' tables and `further` ones, below problems and limits not kept."""
    found = [*problems, *(sentence(each) for each in judged if each.kept != "within")]
    return page(found, [*tables_of(runs), *further])


def page(found: Sequence[str], tables: Sequence[Table]) -> str:
    """Markdown of tables with their notes folded, below sentences."""
    parts = [f"- {paragraph(each)}" for each in found]
    texts = ["\n".join(parts)] if parts else []
    for table in tables:
        texts.append(tables_to_markdown([replace(table, notes=())]).rstrip())
        if table.notes:
            notes = "\n".join(f"- {paragraph(note)}" for note in table.notes)
            texts.append(f"<details><summary>Notes</summary>\n\n{notes}\n\n</details>")
    return "\n\n".join(texts) + "\n"


def annotations(
    runs: Sequence[Run], judged: Sequence[Judgement], problems: Sequence[str] = ()
) -> Iterator[str]:
    """The workflow commands that GitHub shows beside a change."""
    for problem in problems:
        yield annotation("error", problem)
    for each in judged:
        if each.kept != "within":
            yield annotation("error" if each.kept == "over" else "warning", sentence(each))
    for run in runs:
        for record in run.records:
            if record.status == "failed":
                text = f"{record.key} failed on {run.context.device}: {record.reason}"
                yield annotation("error", text)


def annotation(level: str, text: str) -> str:
    """A sentence as one of them."""
    escaped = one_line(text).replace("%", "%25")
    return f"::{level} title=benchbox::{escaped}"


def junit(runs: Sequence[Run], judged: Sequence[Judgement], problems: Sequence[str] = ()) -> str:
    """JUnit XML: a suite for each device, a case for each case, whose time is its p50.

    What could not be judged is an error of a suite of its own.
    """
    suites = [_suite(run, judged) for run in runs]
    suites += [_lacking(problems)] if problems else []
    root = ElementTree.Element("testsuites", _totals(suites))
    root.extend(suites)
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


def _suite(run: Run, judged: Sequence[Judgement]) -> ElementTree.Element:
    context = run.context
    suite = ElementTree.Element(
        "testsuite",
        name=one_line(f"{context.name} on {context.device}"),
        timestamp=context.created.removesuffix("Z"),
    )
    properties = ElementTree.SubElement(suite, "properties")
    facts = {"benchbox": context.benchbox, "processor": context.processor}
    for name, value in (facts | dict(context.versions)).items():
        ElementTree.SubElement(properties, "property", name=name, value=one_line(value))
    for record in run.records:
        suite.append(_case(context.device, record, [j for j in judged if j.record is record]))
    cases = suite.findall("testcase")
    counts = {
        name: str(sum(case.find(tag) is not None for case in cases))
        for name, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped"))
    }
    time_s = sum(float(case.attrib["time"]) for case in cases)
    suite.attrib.update(tests=str(len(cases)), **counts, time=f"{time_s:.9f}")
    return suite


def _lacking(problems: Sequence[str]) -> ElementTree.Element:
    counts = {"tests": str(len(problems)), "failures": "0", "errors": str(len(problems))}
    named = {"name": "baseline", **counts, "skipped": "0", "time": "0"}
    suite = ElementTree.Element("testsuite", named)
    for number, problem in enumerate(map(one_line, problems), 1):
        facts = {"classname": "baseline", "name": f"{number}", "time": "0"}
        case = ElementTree.SubElement(suite, "testcase", facts)
        ElementTree.SubElement(case, "error", message=problem, type="baseline").text = problem
    return suite


def _case(device: str, record: Record, judged: Sequence[Judgement]) -> ElementTree.Element:
    time_s = record.latency.p50_s if record.latency else 0.0
    spec, name = timed_alone(record.spec, record.case)
    case = ElementTree.Element(
        "testcase",
        classname=one_line(f"{device}.{spec}"),
        name=one_line(name),
        time=f"{time_s:.9f}",
    )
    reason = one_line(record.reason)
    if record.status == "failed":
        ElementTree.SubElement(case, "error", message=reason, type="failed").text = reason
    elif record.status == "skipped":
        ElementTree.SubElement(case, "skipped", message=reason)
    over = [one_line(sentence(each)) for each in judged if each.kept == "over"]
    if over:
        failure = ElementTree.SubElement(case, "failure", message=over[0], type="limit")
        failure.text = "\n".join(over)
    unclear = [one_line(sentence(each)) for each in judged if each.kept == "unclear"]
    if unclear:
        ElementTree.SubElement(case, "system-out").text = "\n".join(unclear)
    return case


def _totals(suites: Sequence[ElementTree.Element]) -> dict[str, str]:
    names = ("tests", "failures", "errors")  # those of the usual schema, Jenkins's
    totals = {name: str(sum(int(suite.attrib[name]) for suite in suites)) for name in names}
    return totals | {"time": f"{sum(float(suite.attrib['time']) for suite in suites):.9f}"}


def benchmarks(runs: Sequence[Run], file_name: str) -> str:
    """The latencies as JSON of Bencher, for a name that ends so, or of github-action-benchmark."""
    timed = [(_name(run, r), run, r) for run in runs for r in run.records if r.latency]
    if file_name.endswith(BENCHER):
        return json_text({name: {"latency": _bencher(record)} for name, _, record in timed})
    return json_text([_smaller_is_better(name, run, record) for name, run, record in timed])


def _name(run: Run, record: Record) -> str:
    names = timed_alone(record.spec, record.case)
    return one_line("/".join(dict.fromkeys([run.context.device, *names])))


def _bencher(record: Record) -> dict[str, float]:
    """Nanoseconds, the unit of Bencher's own measure of latency."""
    assert record.latency is not None, "it was timed"
    found = {"value": record.latency.p50_s * NS}
    if interval := record.latency.interval:
        found |= {"lower_value": interval.low * NS, "upper_value": interval.high * NS}
    return found


def _smaller_is_better(name: str, run: Run, record: Record) -> dict[str, object]:
    latency = record.latency
    assert latency is not None, "it was timed"
    extra = f"{flops(record.cost)} M FLOPs, {record.status}, {run.context.processor}"
    entry: dict[str, object] = {
        "name": name,
        "unit": "ms",
        "value": latency.p50_s * formatting.MILLI,
        "extra": one_line(extra),
    }
    if latency.interval:
        half = formatting.width(latency.interval) * formatting.MILLI
        entry["range"] = f"\u00b1 {formatting.significant(half, 2)}"
    return entry
