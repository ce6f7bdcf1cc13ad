"""Scheduler of a fleet: where its workers and those who submit to it meet, and its dashboard."""

import contextlib
import importlib.util
import socket
from collections.abc import Callable
from typing import Any

from benchbox import __version__
from benchbox.errors import UsageError
from benchbox.fleet import engine
from benchbox.fleet.authority import ANY, FleetAddress

DASHBOARD = "127.0.0.1:8787"  # it asks nobody for a certificate


async def run(address: FleetAddress, say: Callable[[str], None], work: Any = None) -> None:  # noqa: ANN401
    """Run the scheduler of a fleet, and `work` beside it, until the end."""
    from distributed import Scheduler

    protocol, _, place = address.url.partition("://")
    name, _, port = place.rpartition(":")
    try:
        scheduler = await Scheduler(
            host=name,
            port=int(port),
            protocol=protocol,
            security=address.security(),
            dashboard_address=DASHBOARD,
            dashboard=_has_dashboard(),
        )
    except (OSError, RuntimeError) as error:
        why = getattr(error.__cause__ or error, "strerror", "") or error
        raise UsageError(f"{address.url}: cannot be listened at: {why}") from None
    scheduler.handlers[engine.GREETING] = lambda: __version__
    engine.stop(scheduler, "idle-timeout", "no-workers-timeout")
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(scheduler.close)
        say(f"the fleet's scheduler is at {address.url.replace(ANY, socket.gethostname())}")
        if _has_dashboard():
            say(f"Dask's dashboard is at http://{DASHBOARD}/status, for this machine alone")
        await (work() if work else scheduler.finished())


def _has_dashboard() -> bool:
    return importlib.util.find_spec("bokeh") is not None
