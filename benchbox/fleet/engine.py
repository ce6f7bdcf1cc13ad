"""Engine of a fleet: Dask distributed, whether it is there, and its own upkeep made quiet."""

import importlib.util
import warnings

from benchbox.errors import UsageError

INSTALL = "a fleet needs Dask distributed: pip install distributed cryptography"
NEEDED = ("distributed", "cryptography")
# Profiles, ticks and readings that a worker takes for its dashboard would run beside timed calls;
# a graph is no data that could be spilled or moved to another worker.
QUIET = {
    "distributed.worker.profile.enabled": False,
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
    "distributed.worker.memory.monitor-interval": "60s",
    "distributed.admin.tick.interval": "60s",
    "distributed.admin.tick.limit": "1h",
    "distributed.admin.tick.cycle": "60s",
    "distributed.admin.system-monitor.interval": "60s",
    "distributed.admin.system-monitor.disk": False,
    "distributed.admin.system-monitor.gil.enabled": False,
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
