"""The `benchbox fleet list` command: the devices of a fleet, as a table or as JSON."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from benchbox.cli.list import table
from benchbox.cli.output import STDOUT, console, write
from benchbox.fleet import authority, engine, members
from benchbox.fleet.members import Member
from benchbox.report import files, formatting
from benchbox.report.console import show_tables
from benchbox.report.table import Column, Table

NO_DASHBOARD = "none, as bokeh is not installed there; pip install bokeh"


def show(scheduler: str, format_: str) -> None:
    """Print the devices of a fleet."""
    engine.require()
    from benchbox.fleet.connection import Connection

    with contextlib.closing(Connection(authority.parse(scheduler))) as connection:
        found = sorted(connection.present(), key=lambda each: each.name)
        exporters, dashboard = connection.ask(members.services)
    if format_ == "json":
        whole = {"dashboard": dashboard, "exporters": exporters, "devices": list(map(row, found))}
        write(STDOUT, files.json_text(whole))
    else:
        show_tables([of(found, exporters, dashboard, connection.wrong)], console())


def row(member: Member) -> dict[str, object]:
    """A device as JSON has it."""
    return {**asdict(member), "pools": list(member.pools), "queued_s": member.queued_s}


def of(
    found: Sequence[Member], exporters: int, dashboard: str | None, wrong: Mapping[str, str]
) -> Table:
    """The table of devices, with why some rest, or are left out, below it."""

    def column(header: str, cells: Sequence[str], drop: int = 0, *, text: bool = False) -> Column:
        return Column(header, tuple(cells), text, drop)

    kinds = {each.identity: each for each in found}
    return table(
        "Fleet",
        [
            column("device", [each.name for each in found], text=True),
            column("identity", [each.identity for each in found], text=True),
            column("at", [_at(each) for each in found], text=True),
            column("queue", [str(each.waiting) for each in found]),
            column("left", [_left(each) for each in found]),
            column("cases", [str(each.done) for each in found], 3),
            column("p50 (ms)", [_scaled(each.p50_s, 1e3) for each in found], 5),
            column("sentinel (us)", [_scaled(each.reading_ns, 1e-3) for each in found], 2),
            column("°C", [_scaled(each.temperature_c, 1.0) for each in found], 4),
        ],
        [
            *(f"{each.name} rests: {each.rests}" for each in found if each.rests),
            *(f"{name} is left out: {why}" for name, why in wrong.items()),
            *(f"{_pools(identity, found)}: {each.kind}" for identity, each in kinds.items()),
            *([f"{exporters} {_export(exporters)} graphs"] if exporters else []),
            f"Dask's dashboard, for the scheduler's machine: {dashboard or NO_DASHBOARD}",
        ],
    )


def _pools(identity: str, found: Sequence[Member]) -> str:
    """What stands for the devices of an identity, as it is typed."""
    named = {pool for each in found if each.identity == identity for pool in each.pools}
    names = [identity, *sorted(named - {identity, *(each.name for each in found)})]
    return " or ".join(f"pool:{name}" for name in names)


def _export(count: int) -> str:
    return "worker exports" if count == 1 else "workers export"


def _at(member: Member) -> str:
    if member.rests:
        return "rests"
    return member.case or "idle"


def _left(member: Member) -> str:
    left_s = member.queued_s
    return formatting.UNKNOWN if left_s is None else formatting.duration(max(1.0, left_s), 2)


def _scaled(value: float | None, scale: float) -> str:
    return formatting.UNKNOWN if value is None else f"{scale * value:.3g}"
