"""Tables of explanations: latency by parts, nodes by roofline, differences, and fits of a spec."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby

from benchbox.insight import guidelines
from benchbox.insight.blame import blames
from benchbox.insight.fit import r_squared
from benchbox.insight.parts import (
    OUTSIDE,
    PARTS,
    Explained,
    ExplainedNode,
    total,
)
from benchbox.report import explain_text, formatting, profile_text
from benchbox.report.explain import ExplainReport
from benchbox.report.profile import about, label, milliseconds, name_among, shape, share
from benchbox.report.table import Column, Table
from benchbox.report.tables import heading, short_case
from benchbox.specs import Case

BESIDE, GAP = 60, 3  # cells of names that fit beside each other, and between two of them
NODES = 10  # slowest, without --top
ELSEWHERE = "a wider terminal, a pipe and --export-json have all"
KEYS: Mapping[str, Callable[[ExplainedNode], str]] = {
    "category": lambda each: each.node.category,
    "kernel": explain_text.kernel_name,
    "module": lambda each: (each.node.module or profile_text.TOP_LEVEL).split(".")[0],
}


def tables(report: ExplainReport) -> list[Table]:
    """The table of the one case, of two set against each other, or of all of them."""
    explained = report.explained
    if not explained:
        return [_of_many(report)]
    if len(report.outcomes) == 1:
        top = NODES if report.top is None else report.top
        return [_of_one(report, *explained[0]), *([_nodes(*explained[0], top)] if top else [])]
    if report.against:
        return [*_against(report)] or [_of_many(report)]
    return [_of_many(report), *_fits(report)]


def _of_one(report: ExplainReport, case: Case, found: Explained) -> Table:
    return Table(
        title=f"Why it takes its time: {label(case)}",
        about=about(report, *(each.case for each in report.outcomes)),
        columns=tuple(_parts(found) if report.by == "part" else _divided(found, report.by)),
        sentences=(
            f"{explain_text.rate(found)}.",
            *explain_text.sentences(found, report.of(case)),
        ),
        notes=tuple(explain_text.notes([found], is_checked=report.checked is not None)),
        elsewhere=ELSEWHERE,
    )


def _shown(cases: Sequence[Explained]) -> list[str]:
    """The parts that any of the cases has, and what is outside of nodes."""
    found = [part for part in PARTS if any(each.parts[part] > 0 for each in cases)]
    return [*found, OUTSIDE]


def _parts(found: Explained) -> list[Column]:
    parts, latency_s = found.whole, found.profile.latency_s
    shown = _shown([found])
    counts: Counter[str] = Counter(
        part for n in found.nodes for part, seconds in n.parts.items() if seconds
    )
    return [
        Column("part", tuple(shown), text=True),
        Column("nodes", tuple(str(counts.get(part, formatting.UNKNOWN)) for part in shown)),
        Column("time (ms)", tuple(milliseconds(parts[part]) for part in shown)),
        Column("share", tuple(share(parts[part] / latency_s) for part in shown)),
    ]


def _keys(found: Explained, by: str) -> list[str]:
    """The keys that divide the nodes, the longest total first."""
    times: dict[str, float] = {}
    for each in found.nodes:
        times[KEYS[by](each)] = times.get(KEYS[by](each), 0.0) + each.node.time_s
    return sorted(times, key=lambda key: -times[key])


def _divided(found: Explained, by: str) -> list[Column]:
    rows = {key: [n for n in found.nodes if KEYS[by](n) == key] for key in _keys(found, by)}
    sums = [total(node.parts for node in nodes) for nodes in rows.values()]
    times = [sum(each.values()) for each in sums]
    rest = [{part: s for part, s in each.items() if part != PARTS[0]} for each in sums]
    most = [max(each, key=lambda part: each[part]) for each in rest]
    return [
        Column(by, tuple(rows), text=True),
        Column("nodes", tuple(str(len(nodes)) for nodes in rows.values())),
        Column("time (ms)", tuple(map(milliseconds, times))),
        Column("share", tuple(share(time / found.profile.latency_s) for time in times)),
        Column(
            "at peak",
            tuple(share(s[PARTS[0]] / t if t else 0.0) for s, t in zip(sums, times, strict=True)),
            drop=2,
        ),
        Column("most of the rest", tuple(most), text=True, drop=1),
    ]


def _nodes(case: Case, found: Explained, top: int) -> Table:
    nodes = sorted(found.nodes, key=lambda each: -each.node.time_s)[:top]
    return Table(
        title=f"Slowest nodes: {label(case)}",
        about=(f"{len(nodes)} of {len(found.nodes)}; reached is the share of what binds a node",),
        columns=(
            Column("node", tuple(each.node.name for each in nodes), text=True, drop=2),
            Column("kernel", tuple(map(explain_text.kernel_name, nodes)), text=True),
            Column("shape", tuple(shape(each.node) for each in nodes), text=True, drop=1),
            Column("time (ms)", tuple(milliseconds(each.node.time_s) for each in nodes)),
            Column("bound", tuple(each.bound for each in nodes), text=True, drop=3),
            Column("reached", tuple(share(each.reached) for each in nodes)),
            Column(
                "reason", tuple(explain_text.reason(each, found.block) for each in nodes), text=True
            ),
        ),
        elsewhere=ELSEWHERE,
    )


def _of_many(report: ExplainReport) -> Table:
    """All cases by parts: Figure 2 of the paper over the arithmetic floor."""
    explained = report.explained
    own, cases = [case for case, _ in explained], [found for _, found in explained]
    names = [name_among(case, own) for case in own]
    failed = [(each, report.failure(each)) for each in report.outcomes]
    is_narrow = sum(len(name) + GAP for name in names) <= BESIDE
    is_across = len(cases) > 1 and is_narrow and not any(case.group for case in own)
    return Table(
        title="Why it takes its time: share by part",
        about=about(report, *(each.case for each in report.outcomes)),
        columns=tuple(_across(names, cases) if is_across else _down(names, cases)),
        groups=() if is_across else tuple(heading(case.group) for case in own),
        failures=tuple(f"{label(each.case)} failed: {why}" for each, why in failed if why),
        sentences=tuple(_firsts(report)),
        notes=tuple(explain_text.notes(cases, is_checked=report.checked is not None))
        if cases
        else (),
        elsewhere=ELSEWHERE,
    )


def _across(names: Sequence[str], cases: Sequence[Explained]) -> list[Column]:
    """A row per part, a column per case."""
    shown = _shown(cases)
    return [
        Column("part", (*shown, "latency (ms)"), text=True),
        *(
            Column(name, (*(_share(each, part) for part in shown), _latency(each)))
            for name, each in zip(names, cases, strict=True)
        ),
    ]


def _down(names: Sequence[str], cases: Sequence[Explained]) -> list[Column]:
    """A row per case, a column per part, of which a narrow terminal keeps the weightiest."""
    shown = _shown(cases)

    def most(part: str) -> float:
        return max((each.whole[part] / each.profile.latency_s for each in cases), default=0.0)

    order = sorted(shown, key=most)
    return [
        Column("case", tuple(names), text=True),
        Column("time (ms)", tuple(map(_latency, cases))),
        *(
            Column(part, tuple(_share(each, part) for each in cases), drop=order.index(part) + 1)
            for part in shown
        ),
    ]


def _share(found: Explained, part: str) -> str:
    return share(found.whole[part] / found.profile.latency_s)


def _latency(found: Explained) -> str:
    return milliseconds(found.profile.latency_s)


def _firsts(report: ExplainReport) -> list[str]:
    """The weightiest sentence of each case; of a guideline's groups what makes them differ."""
    lines = []
    for (spec, _), rows in groupby(report.explained, lambda row: (row[0].spec, row[0].group)):
        own = list(rows)
        verdict = guidelines.judge(report.guidelines.get(spec, ""), [found for _, found in own])
        if verdict is not None:
            names = [short_case(case.name, case.group) for case, _ in own]
            where = f"{heading(own[0][0].group)}: " if own[0][0].group else ""
            said = explain_text.verdict(verdict, report.guidelines[spec], names)
            lines.append(f"{where}{said}")
            if report.checked is not None:
                for case, found in own:
                    lines += [f"{label(case)}: {s}" for s in _said(report, case, found)]
        elif spec not in report.guidelines:
            for case, found in own:
                lines += [f"{label(case)}: {s}" for s in _said(report, case, found)]
    return lines


def _said(report: ExplainReport, case: Case, found: Explained) -> list[str]:
    """The weightiest sentence of one of many cases, and those that were checked."""
    if report.checked is None:
        return explain_text.sentences(found)[:1]
    checked = report.of(case)
    blamed = [each for each in blames(found) if each.part in checked]
    return [explain_text.sentence(each, found.block, checked[each.part]) for each in blamed]


def _against(report: ExplainReport) -> list[Table]:
    other = next((row for row in report.explained if row[0].key == report.against), None)
    if other is None:
        return []
    return [
        _difference(report, (case, found), other)
        for case, found in report.explained
        if case.key != report.against
    ]


def _difference(
    report: ExplainReport, row: tuple[Case, Explained], other_row: tuple[Case, Explained]
) -> Table:
    (case, found), (other_case, other) = row, other_row
    names = label(case), label(other_case)
    is_sure = not (found.profile.is_disturbed or other.profile.is_disturbed)
    shown = _shown([found, other])
    rows = [
        [each.whole[part] for part in shown] + [each.profile.latency_s] for each in (found, other)
    ]
    differences = [one - two for one, two in zip(*rows, strict=True)]
    return Table(
        title=f"Why {names[0]} takes another time than {names[1]}",
        about=about(report, *(each.case for each in report.outcomes)),
        columns=(
            Column("part", (*shown, "latency"), text=True),
            *(
                Column(f"{name} (ms)", tuple(map(milliseconds, own)))
                for name, own in zip(names, rows, strict=True)
            ),
            Column(
                "difference (ms)", tuple(f"{each * formatting.MILLI:+.3f}" for each in differences)
            ),
        ),
        sentences=(explain_text.against(found, other, *names),) if is_sure else (),
        notes=tuple(explain_text.notes([found, other])),
        elsewhere=ELSEWHERE,
    )


def _fits(report: ExplainReport) -> list[Table]:
    """The fit of latency to FLOPs, memory access and nodes, where there are enough cases."""
    rows = [
        (found.profile.latency_s, found.macs, _memory(found), len(found.nodes))
        for _, found in report.explained
    ]
    times = [row[0] for row in rows]
    counts = {"FLOPs": 2, "FLOPs, memory access": 3, "FLOPs, memory access, nodes": 4}
    fits = {name: r_squared([row[1:end] for row in rows], times) for name, end in counts.items()}
    if any(fit is None for fit in fits.values()):
        return []
    return [
        Table(
            title="What latency follows from",
            about=(
                f"{len(rows)} cases; R2 of the logarithm of latency by that of what is counted",
            ),
            columns=(
                Column("counted", tuple(fits), text=True),
                Column("R2", tuple(f"{fit:.3f}" for fit in fits.values())),
            ),
        )
    ]


def _memory(found: Explained) -> int:
    """The memory access of the file, else that of the nodes that ran."""
    own = [node.memory_access_bytes for node in found.profile.file]
    known = [each for each in own if each is not None]
    return sum(known) or sum(each.kernel.memory_bytes for each in found.nodes)
