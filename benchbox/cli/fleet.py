"""The `benchbox worker` and `fleet` commands: make, start and show a fleet."""

import asyncio
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchbox import devices
from benchbox.cli.list import table
from benchbox.cli.output import console
from benchbox.errors import UsageError
from benchbox.fleet import authority, engine
from benchbox.report import formatting
from benchbox.report.console import show_tables
from benchbox.report.table import Column


def init(folder: Path | None) -> None:
    """Make the certificates of a fleet, and say what to do with them."""
    engine.require()
    place = folder or authority.default_folder()
    authority.init(place)
    names = ", ".join(authority.FOR_MEMBERS)
    out = console()
    out.print(f"Made in {place}: {names} and {authority.AUTHORITY_KEY}")
    out.print(
        f"Copy the first three to {authority.default_folder()} of every machine of the fleet: "
        "whoever has them can run code on all of them."
    )


def work(scheduler: str, names: Sequence[str], name: str) -> None:
    """Offer devices to a fleet until Ctrl-C."""
    engine.require()
    address = authority.parse(scheduler)
    from benchbox.fleet import worker

    say = partial(console(stderr=True).print)
    offered = worker.offer(_named(names, name))
    for each in offered:
        say(f"{each.device.name}: {each.facts['cpu']}, {each.facts['runtime']}")
    asyncio.run(worker.serve(address, offered, say))


def start(listen: str, names: Sequence[str], name: str) -> None:
    """Run a scheduler, and a worker of this machine, until Ctrl-C."""
    engine.require()
    address = authority.parse(listen, "--listen")
    from benchbox.fleet import worker

    say = partial(console(stderr=True).print)
    offered = worker.offer(_named(names, name))
    here = authority.FleetAddress(address.url.replace("0.0.0.0", "127.0.0.1"), address.certificates)  # noqa: S104
    asyncio.run(worker.schedule(address, say, partial(worker.serve, here, offered, say)))


def _named(names: Sequence[str], name: str) -> list[devices.Device]:
    from benchbox.fleet import worker

    if name and not devices.registry.NAME.fullmatch(name):
        raise UsageError(f"--name {name}: write letters, digits, - and _")
    return worker.named([devices.resolve(each) for each in names], name)


def show(scheduler: str) -> None:
    """Print the devices of a fleet."""
    engine.require()
    address = authority.parse(scheduler)
    from benchbox.fleet import submit

    with submit.connected(address) as client:
        found = sorted(submit.members_of(client), key=lambda each: each.name)
    names = tuple(each.name for each in found)
    columns = [
        Column("device", names, text=True),
        Column("pool", tuple(each.pools[0] for each in found), text=True),
        Column("identity", tuple(each.identity for each in found), text=True),
        Column("what it is", tuple(each.kind for each in found), text=True, drop=2),
        Column("at", tuple(each.case or "idle" for each in found), text=True),
        Column("waiting", tuple(str(each.waiting) for each in found)),
        Column("cases", tuple(str(each.done) for each in found), drop=1),
        Column("last p50 (ms)", tuple(_ms(each.p50_s) for each in found), drop=1),
    ]
    show_tables([table("Fleet", columns)], console())


def _ms(p50_s: float | None) -> str:
    return formatting.UNKNOWN if p50_s is None else f"{1000 * p50_s:.3g}"
