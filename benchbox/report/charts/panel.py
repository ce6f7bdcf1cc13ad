"""Panel of charts: one run's rows, as the data frame has them, and its samples."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from typing import Any, NamedTuple

from benchbox.analysis.operators import CATEGORIES
from benchbox.lines import one_line
from benchbox.records import Record, Run
from benchbox.records.profile import CaseProfile
from benchbox.report import files
from benchbox.report.charts.calls import OTHER, common_causes, rounded, samples
from benchbox.report.charts.profile_file import SavedProfile
from benchbox.report.formatting import UNKNOWN, mark, ratio, width
from benchbox.report.frame import over_flops, to_frame
from benchbox.report.tables import p50, relative_latency, short_case, throughput

Row = dict[str, Any]
# `ghostnetv3_x1_0_train` is x1_0 of ghostnetv3_train, `yolov8n_ghost` is a variant of yolov8n.
MEMBER = re.compile(r"(?P<family>.+?)_(?P<member>x\d+_\d+|g\d+|small|large)(?P<ending>_train)?")
DETECTOR = re.compile(
    r"(?P<host>yolo\w?\d+[a-z])(?:_(?P<variant>.+?)(?:_x1_0)?(?P<ending>_train)?)?"
)
MOST_FAMILIES = 16  # beyond them the cases of a run are one
MOST_PROFILES = 60
MOST_PARTS = 6  # of profiles, the rest as one
# What profiles are divided by, where they are: a part's name, and where the parts are.
DIVISIONS = (("module", "modules"), ("operator", "operators"), ("category", "categories"))
ACCURACIES = {"published_top1_percent": "top-1", "published_map_percent": "mAP"}


@dataclass(frozen=True, slots=True)
class Panel:
    """The data of one run's charts; `index` tells its data sets from those of other panels.

    `rows` has a row per case, `samples` one for each of `calls` in the order taken, or for some,
    `starts` the numbers of the calls with which processes begin, `processes` has one per case and
    process, `shares` the parts of profiles. `every` has the rows of all runs of its name,
    whose axes are alike; `families` and `causes` are those of all panels, in the order of colours;
    `accuracy` is the published one that the rows carry, if any.
    """

    index: int
    title: str
    rows: Sequence[Row]
    every: Sequence[Row]
    samples: Sequence[Row]
    calls: int
    starts: Sequence[int]
    processes: Sequence[Row]
    shares: Sequence[Row]
    families: Sequence[str]
    causes: Sequence[str]
    accuracy: str

    @property
    def datasets(self) -> Mapping[str, Sequence[Row]]:
        """The data by the names under which charts ask for it."""
        kinds = ("rows", "samples", "processes", "shares")
        return {f"{kind}{self.index}": getattr(self, kind) for kind in kinds}


def panels(
    runs: Sequence[Run],
    profile: SavedProfile | None = None,
    drawn: Sequence[bool] | None = None,
) -> list[Panel]:
    """A panel for each run with its own profiles, or for the first of them with `profile`.

    Runs that are not `drawn` have rows alone.
    """
    frame_rows = iter(files.frame_rows(to_frame(runs)))
    names = _names([record for run in runs for record in run.records])
    drawn = drawn or [True] * len(runs)
    first = [*drawn, True].index(True)
    shown = [run if d else replace(run, records=()) for run, d in zip(runs, drawn, strict=True)]
    full = {key: name.full for key, name in names.items()}
    calls = [samples(run, full) for run in shown]
    every_sample = [row for each in calls for row in each.rows]
    causes = common_causes([row["cause"] for row in every_sample])
    for row in every_sample:
        row["cause"] = row["cause"] if row["cause"] in causes else OTHER
    rows = [_clean(_of_panel(_rows(run, frame_rows, names))) for run in runs]
    every: dict[str, list[Row]] = {}
    for run, own in zip(runs, rows, strict=True):
        every.setdefault(run.context.name, []).extend(own)
    return [
        Panel(
            index,
            _clean(title),
            own,
            every[run.context.name],
            _clean(taken.rows),
            *taken[1:],
            _clean([*_processes(shown[index], names)]),
            _clean([*_shares(_profiles(shown[index], names, profile if index == first else None))]),
            _clean(list(dict.fromkeys(name.family for name in names.values()))),
            _clean(causes),
            ACCURACIES.get(_accuracy(run), ""),
        )
        for index, (run, title, own, taken) in enumerate(
            zip(runs, _titles(runs, drawn), rows, calls, strict=True)
        )
    ]


def _clean(value: Any) -> Any:  # noqa: ANN401 - whatever rows hold
    """The value with each text as one line; others end the process that draws them."""
    if isinstance(value, str):
        return one_line(value)
    if isinstance(value, list):
        return [_clean(each) for each in value]
    return {k: _clean(v) for k, v in value.items()} if isinstance(value, dict) else value


def _titles(runs: Sequence[Run], drawn: Sequence[bool]) -> list[str]:
    """The device of each run, with its name and time where devices repeat among those drawn."""
    devices = [run.context.device for run in runs]
    shown = [*compress(devices, drawn)]
    if len(set(shown)) == len(shown):
        return devices
    facts = [(run.context.device, run.context.name, run.context.created) for run in runs]
    return [", ".join(each) for each in facts]


class Name(NamedTuple):
    """The names of a case: alone, in its family, and in a list of all cases.

    `series` is that of the cases on one line, empty where there is none.
    """

    family: str
    label: str
    series: str
    full: str


def _names(records: Sequence[Record]) -> dict[str, Name]:
    """The names of each case by its key."""
    specs = {record.spec for record in records}
    keys = {(record.spec, record.case) for record in records}
    repeated = {case for case, count in Counter(case for _, case in keys).items() if count > 1}
    found = {
        record.key: Name(
            *_of_family(record, one_spec=len(specs) == 1),
            f"{record.spec}: {record.case}" if record.case in repeated else record.case,
        )
        for record in records
    }
    if len({name.family for name in found.values()}) <= MOST_FAMILIES:
        return found
    full = {each.key: found[each.key].full for each in records}
    return {each.key: Name(each.spec, full[each.key], "", full[each.key]) for each in records}


def _of_family(record: Record, *, one_spec: bool) -> tuple[str, str, str]:
    """The family of a case, its label there, and its series."""
    base, _, place = record.case.removeprefix("network=").partition(",")
    if "=" in base:
        family = record.group if one_spec and record.group else record.spec
        return family, short_case(record.case, record.group), ""
    if found := DETECTOR.fullmatch(base):
        variant = f"{found['variant'] or found['host']}{found['ending'] or ''}"
        return found["host"], ", ".join(filter(None, (variant, place))), ""
    found = MEMBER.fullmatch(base)
    if found is None:
        return base, place or base, ""
    label = ", ".join(filter(None, (found["member"], place)))
    family = f"{found['family']}{found['ending'] or ''}"
    return family, label, f"{family},{place}"


def _rows(run: Run, rows: Iterator[Mapping[Any, Any]], names: Mapping[str, Name]) -> list[Row]:
    """The rows of a run, which are the next ones of the data frame."""
    accuracy = _accuracy(run)
    found = [_row(next(rows), names[record.key], accuracy) for record in run.records]
    for record, row in zip(run.records, found, strict=True):
        over = over_flops(run, record)
        row["p50"], row["relative"] = p50(record), relative_latency(record)
        row["rate"] = throughput(record, run.context.spec(record.spec))
        row["over"] = (
            mark(record.relative_basis) + ratio(over.value, width(over)) if over else UNKNOWN
        )
        is_detector = DETECTOR.fullmatch(record.case.partition(",")[0])
        row["host"] = f"{record.spec}:{record.reference}" if is_detector else None
        row["key"] = record.key
    return found


def _row(row: Mapping[Any, Any], name: Name, accuracy: str) -> Row:
    macs, relative = row["macs"], row["relative_macs"]
    ends = {end: row[f"relative_ci_{end}"] for end in ("low", "high")}
    return {
        **row,
        "family": name.family,
        "series": name.series,
        "label": name.label,
        "name": name.full,
        "macs_m": macs and macs / 1e6,
        "accuracy": row.get(accuracy),
        **{
            f"over_{end}": rounded(value / relative) if value and relative else None
            for end, value in ends.items()
        },
    }


def _of_panel(rows: list[Row]) -> list[Row]:
    """The rows with a mark on those of the Pareto front: none is faster and as accurate."""
    best = 0.0
    known = [row for row in rows if row["latency_p50_ms"] and row["accuracy"] is not None]
    for row in sorted(known, key=lambda row: (row["latency_p50_ms"], -row["accuracy"])):
        row["front"] = row["accuracy"] > best
        best = max(best, row["accuracy"])
    return rows


def _accuracy(run: Run) -> str:
    """The column of the published accuracy that most records have."""
    counts = Counter(
        column
        for record in run.records
        for column in ACCURACIES
        if record.paper.get(column.removeprefix("published_")) is not None
    )
    return max(counts, key=lambda column: counts[column], default="")


def _processes(run: Run, names: Mapping[str, Name]) -> Iterator[Row]:
    """A row for the p50 of each process, over that of its case."""
    for record in run.records:
        latency = record.latency
        if latency is None or not latency.p50_s or len(latency.sessions_p50_s) < 2:
            continue
        ends = latency.interval
        for number, seconds in enumerate(latency.sessions_p50_s, 1):
            yield {
                "name": names[record.key].full,
                "process": str(number),
                "over": rounded(seconds / latency.p50_s),
                "low": rounded(ends.low / latency.p50_s) if ends else None,
                "high": rounded(ends.high / latency.p50_s) if ends else None,
            }


def _profiles(
    run: Run, names: Mapping[str, Name], saved: SavedProfile | None
) -> Sequence[CaseProfile]:
    """The saved profiles, else those of the run, by the names of its cases."""
    if saved:
        return saved.profiles
    found = [(record, run.profile(record)) for record in run.records]
    known = [replace(own, case=names[record.key].full) for record, own in found if own]
    return known[:MOST_PROFILES]


def _shares(profiles: Sequence[CaseProfile]) -> Iterator[Row]:
    """The shares of time, FLOPs and memory of each part of the profiled cases."""
    by, many = next(
        (pair for pair in DIVISIONS if any(getattr(case, pair[1]) for case in profiles)),
        DIVISIONS[-1],
    )
    parts = [
        (case.case, getattr(part, by), part) for case in profiles for part in getattr(case, many)
    ]
    longest = sorted(parts, key=lambda each: -(each[2].time_share or 0))
    kept = list(dict.fromkeys(name for _, name, _ in longest))[:MOST_PARTS]
    kept.sort(key=lambda name: CATEGORIES.index(name) if name in CATEGORIES else len(CATEGORIES))
    for case, name, part in parts:
        place = kept.index(name) if name in kept else MOST_PARTS
        shares = {"time": part.time_share, "FLOPs": part.macs_share, "memory": part.memory_share}
        for kind, share in shares.items():
            own = name if place < MOST_PARTS else "others"
            yield {"case": case, "part": own, "place": place, "kind": kind, "share": share or 0.0}
