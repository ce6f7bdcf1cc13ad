"""Pools: runs on several boards of one kind as one, with the spread between boards in intervals."""

import contextlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchbox.analysis import between_boards
from benchbox.analysis.between_boards import Boards
from benchbox.analysis.latency import GOOD
from benchbox.analysis.stats import Interval
from benchbox.errors import RecordError
from benchbox.records import differences, reader
from benchbox.records.model import BoardPool, Context, Record, Run, ordered
from benchbox.records.names import Wanted

# Of a board, that decide how fast it is; the highest clock allowed is lowered by heat, too.
SETTINGS = ("governor", "nvpmodel")
SAME = ("name", "provider", "threads", "cpus", "channels", "seed")
ALIKE = ("margin", "percentiles")  # of a plan


def kind(host: Mapping[str, Any], versions: Mapping[str, Any]) -> dict[str, str]:
    """What a device is, by its agent's facts: boards that are equal in this are timed alike."""
    gpu, setting = host.get("gpu") or {}, host.get("setting") or {}
    cores = [str(each.get("core") or "") for each in host.get("clusters") or ()]
    return {
        "machine": str(host.get("machine") or ""),
        "cpu": str(gpu.get("name") or host.get("cpu") or " ".join(filter(None, cores))),
        "cpus": str(host.get("cpus") or ""),
        "cores": " ".join(cores),
        "runtime": f"ONNX Runtime {versions.get('onnxruntime', 'unknown')}",
        **{name: str(setting.get(name) or "") for name in SETTINGS},
        "emulated": str(host.get("emulated") or ""),
    }


def folded(runs: Sequence[Run]) -> list[Run]:
    """The runs, with those of one pool that were done alike as one in the first's place."""
    pools: list[list[Run]] = []
    for run in runs:
        own = next((each for each in pools if _is_one(each[0].context, run.context)), None)
        if own is None:
            pools.append([run])
        else:
            own.append(run)
    return [own[0] if len(own) == 1 else _joined(own) for own in pools]


def others(run: Run, wanted: Wanted) -> list[Run]:
    """The runs on other boards that the command made which made this one."""
    together = run.context.plan.get("together")
    if not together:
        return []
    found = list[Run]()
    for path, plan in _plans(wanted.results.glob("*"), run.context.name).items():
        if path != run.path and plan.get("together") == together:
            with contextlib.suppress(RecordError):  # whoever names it is told
                found.append(reader.read(path, with_samples=wanted.with_samples))
    return found


def newest(folders: Iterable[Path], name: str, pool: str) -> list[Path]:
    """The files of the newest run of a name on a pool, the newest first; without a pool just one.

    `folders` are those of devices.
    """
    plans = _plans(folders, name)
    found = [path for path, plan in plans.items() if (plan.get("pool") or "") == pool]
    return [
        path
        for path in found
        if path == found[0]
        or (pool and plans[path].get("together") == plans[found[0]].get("together"))
    ]


def _plans(folders: Iterable[Path], name: str) -> dict[Path, Mapping[str, Any]]:
    """The plans of the runs of a name, the newest first."""
    there = sorted(path for path in folders if path.is_dir())
    paths = reader.newest_first(there, reader.named(name))
    return {path: plan for path in paths if (plan := _plan(reader.first_line(path))) is not None}


def _plan(line: bytes) -> Mapping[str, Any] | None:
    with contextlib.suppress(ValueError, RecursionError, TypeError, LookupError):
        plan = json.loads(line)["plan"]
        return plan if isinstance(plan, dict) else None
    return None


def _is_one(one: Context, other: Context) -> bool:
    """Whether two runs are of different boards of one pool, done alike."""
    pool = one.plan.get("pool")
    return bool(pool) and pool == other.plan.get("pool") and _facts(one) == _facts(other)


def _facts(context: Context) -> list[object]:
    own = [getattr(context, name) for name in SAME]
    planned = [*map(context.plan.get, ALIKE), differences.setting(context), context.plugin]
    return [*own, *planned, kind(context.host, context.versions)]


def _joined(runs: Sequence[Run]) -> Run:
    """The runs of a pool as one: of a case that several boards timed, that of the middle one."""
    runs = _of_newest_graphs(runs)
    holders: dict[str, list[tuple[str, Record]]] = {}
    shared: dict[str, dict[str, Interval]] = {}
    finished = {each.key for run in runs for each in run.records if not each.is_unfinished}
    for run in runs:
        for record in run.records:
            if record.is_unfinished and record.key in finished:
                continue  # what another board timed in the end counts
            holders.setdefault(record.key, []).append((run.context.device, record))
            if (figure := _figure(record)) and record.sha256:
                shared.setdefault(record.key, {})[run.context.device] = figure
    boards = between_boards.between(shared)
    taken = [_widened(own, boards) for own in holders.values()]
    records = sorted((record for record, _ in taken), key=lambda record: record.index)
    context = runs[-1].context
    specs = {spec.name: spec for run in runs for spec in run.context.specs}
    names = list(dict.fromkeys(run.context.device for run in runs))
    return Run(
        runs[-1].path,
        replace(context, device=_named(names), specs=[*specs.values()]),
        records,
        warnings=[warning for run in runs for warning in run.warnings],
        earlier=[record for run in runs for record in run.earlier],
        profiles=[profile for run in runs for profile in run.profiles],
        pool=BoardPool({record.key: own for record, own in taken}, boards),
    )


def current(runs: Sequence[Run]) -> list[Run]:
    """The runs, those of one command on several boards with records of what it asked for last."""
    commands: dict[object, list[Run]] = {}
    for run in runs:
        commands.setdefault(run.context.plan.get("together") or id(run), []).append(run)
    found = {
        id(run): each
        for own in commands.values()
        for run, each in zip(own, _of_newest_graphs(own), strict=True)
    }
    return [found[id(run)] for run in runs]


def _of_newest_graphs(runs: Sequence[Run]) -> list[Run]:
    """The runs with records of each case's newest graph, whichever board timed that.

    Those without a figure are left out where another board has one.
    """
    newest: dict[str, tuple[float, str]] = {}
    for record in (record for run in runs for record in run.records):
        graph = record.asked_s, record.sha256
        newest[record.key] = max(graph, newest.get(record.key, graph))
    graphs = {key: graph for key, (_, graph) in newest.items()}
    own = [[each for each in run.records if each.sha256 == graphs[each.key]] for run in runs]
    timed = {each.key for found in own for each in found if each.latency}
    return [
        replace(
            run,
            records=[each for each in found if each.latency or each.key not in timed],
            earlier=ordered([*run.earlier, *_of_others(run, graphs)]),
        )
        for run, found in zip(runs, own, strict=True)
    ]


def _of_others(run: Run, graphs: Mapping[str, str]) -> list[Record]:
    return [each for each in run.records if each.sha256 != graphs[each.key] and each.has_samples]


def _named(names: Sequence[str]) -> str:
    """`pi-1 to pi-20` for the boards of a pool, or their names where these are few."""
    most = 3
    ordered = sorted(names, key=lambda name: (len(name), name))
    if len(names) <= most:
        return " + ".join(ordered)
    return f"{ordered[0]} to {ordered[-1]} ({len(names)} boards)"


def _figure(record: Record) -> Interval | None:
    latency = record.latency
    return latency.interval if latency and latency.basis in GOOD and latency.p50_s > 0 else None


def _widened(own: Sequence[tuple[str, Record]], boards: Boards) -> tuple[Record, Sequence[str]]:
    """A case's record with what boards differ by in its interval, and the boards it is of.

    Those that are apart count where no other timed it.
    """
    figures = [(board, record, figure) for board, record in own if (figure := _figure(record))]
    usual = [each for each in figures if each[0] not in boards.apart]
    known = sorted(usual or figures, key=lambda each: each[2].value)
    if not known:
        board, record = next((each for each in own if each[1].latency), own[-1])
        return record, [board]
    _, record, figure = known[(len(known) - 1) // 2]
    assert record.latency is not None, "it has a figure"
    names = [board for board, *_ in known]
    wide = boards.widened(figure, names)
    latency = replace(record.latency, ci_low_s=wide.low, ci_high_s=wide.high)
    return replace(record, latency=latency), names
