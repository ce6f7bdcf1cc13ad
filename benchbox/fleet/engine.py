"""Engine of a fleet: Dask distributed, whether it is there, and its own upkeep made quiet."""

import asyncio
import importlib.util
import warnings
from typing import Any

from benchbox import __version__
from benchbox.errors import DeviceError, UsageError
from benchbox.fleet.authority import FleetAddress

INSTALL = "a fleet needs Dask distributed: pip install distributed cryptography"
NEEDED = ("distributed", "cryptography")
CONNECTING = 0.8  # of the time for an answer, so that why there is none is known
GREETING = "benchbox"  # what a fleet's scheduler answers with its version, and no other of Dask
# Profiles, ticks and readings that a worker takes for its dashboard would run beside timed calls;
# a graph is no data that could be spilled or moved to another worker.
QUIET = {
    "distributed.worker.profile.enabled": False,
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
    "distributed.worker.memory.monitor-interval": "60s",
    "distributed.admin.low-level-log-length": 1,  # else a scheduler keeps 1000 messages of a run
    "distributed.admin.tick.interval": "60s",
    "distributed.admin.tick.limit": "1h",
    "distributed.admin.tick.cycle": "60s",
    "distributed.admin.system-monitor.interval": "60s",
    "distributed.admin.system-monitor.disk": False,
    "distributed.admin.system-monitor.gil.enabled": False,
    "distributed.diagnostics.nvml": False,  # nobody else asks a GPU that is timed
    "distributed.scheduler.active-memory-manager.start": False,
    "distributed.scheduler.work-stealing": False,  # a task belongs to the device that it is sent to
    "distributed.scheduler.worker-ttl": "60s",
    "distributed.scheduler.allowed-failures": 0,  # whose worker died is sent elsewhere
    "distributed.scheduler.reuse-broadcast-comm": True,  # else there is a handshake for each file
    "distributed.client.scheduler-info-interval": "60s",
    "distributed.comm.timeouts.connect": "10s",
}
# What goes wrong is said in one line.
LOGGERS = ("distributed", "distributed.client", "tornado", "tornado.application", "bokeh")


def require() -> None:
    """Raise UsageError, with what to install, unless the extra is; make its upkeep quiet."""
    if any(importlib.util.find_spec(name) is None for name in NEEDED):
        raise UsageError(INSTALL)
    import dask.config

    warnings.filterwarnings("ignore", module="distributed")  # of a port that is another's

    dask.config.set({**QUIET, "logging": dict.fromkeys(LOGGERS, "critical")})


def stop(server: Any, *names: str) -> None:  # noqa: ANN401 - the type is of an extra
    """Stop what a server looks after several times a second, and a fleet has no use for."""
    for name in names:
        server.periodic_callbacks[name].stop()


async def greet(address: FleetAddress, timeout_s: float) -> None:
    """Raise DeviceError unless a fleet's scheduler of this version answers.

    Dask's own client waits without end for whatever takes a connection and says nothing.
    """
    from distributed.comm import connect

    options = address.security().get_connection_args("client")
    try:
        async with asyncio.timeout(timeout_s):
            comm = await connect(address.url, CONNECTING * timeout_s, **options)
            try:
                await comm.write({"op": GREETING, "reply": True})
                version = await comm.read()
            finally:
                comm.abort()
    except (ValueError, MemoryError):  # what came is no message of Dask, or it takes no TLS
        raise address.unreachable(OSError("what listens there is something else")) from None
    except (OSError, TimeoutError) as error:
        raise address.unreachable(error) from None
    if version != __version__:
        what = f"benchbox {version}, not {__version__}" if version else "Dask alone"
        raise DeviceError(f"{address.url}: its scheduler is of {what}; start it with this benchbox")
