"""The `benchbox worker` and `fleet` commands: make, start and show a fleet."""

import asyncio
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchbox import devices
from benchbox.cli.output import console
from benchbox.errors import UsageError
from benchbox.fleet import authority, engine


def init(folder: Path | None) -> None:
    """Make the certificates of a fleet, and say what to do with them."""
    engine.require()
    place = folder or authority.default_folder()
    authority.init(place)
    names = ", ".join(authority.FOR_MEMBERS)
    out = console()
    out.print(f"Made in {place}: {names} and {authority.AUTHORITY_KEY}")
    out.print(
        "Copy the first three to every machine of the fleet, to ~/.config/benchbox/fleet there or "
        "the folder that its BENCHBOX_CERTIFICATES names: whoever has them can run code on all."
    )


def work(
    scheduler: str, names: Sequence[str], name: str, port: int, *, exports_graphs: bool
) -> None:
    """Offer devices to a fleet, and to export graphs, until Ctrl-C."""
    engine.require()
    address = authority.parse(scheduler)
    from benchbox.fleet import exports, offered, worker

    found = _named(names, name)
    if exports_graphs and exports.is_needed():
        raise UsageError("--role export: torch is not installed here: pip install torch")
    if exports_graphs and (here := [each.name for each in found if not each.url]):
        raise UsageError(f"--role export: it would disturb {here[0]}, which is this machine")
    say = partial(console(stderr=True).print)
    there = offered.offer(found)
    asyncio.run(worker.serve(address, there, say, exports_graphs=exports_graphs, port=port))


def start(listen: str, names: Sequence[str], name: str) -> None:
    """Run a scheduler, and a worker of this machine, until Ctrl-C."""
    engine.require()
    address = authority.parse(listen, "--listen")
    from benchbox.fleet import offered, scheduler, worker

    say = partial(console(stderr=True).print)
    there = offered.offer(_named(names, name))
    here = authority.FleetAddress(
        address.url.replace(authority.ANY, "127.0.0.1"), address.certificates
    )
    asyncio.run(scheduler.run(address, say, partial(worker.serve, here, there, say)))


def _named(names: Sequence[str], name: str) -> list[devices.Device]:
    from benchbox.fleet import offered

    if name and not devices.registry.NAME.fullmatch(name):
        raise UsageError(f"--name {name}: write letters, digits, - and _")
    return offered.named([devices.resolve(each) for each in names], name)
