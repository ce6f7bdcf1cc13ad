"""An emulated device computes what a real one does, at a speed that is no device's."""

from benchbox.errors import DeviceError
from benchbox.transports import Agent


def reason(agent: Agent) -> str:
    """Return why no figure may come from an agent's device, empty where it is a real one."""
    by = agent.hello["host"].get("emulated")
    return f"emulated ({by}): a figure taken here is no latency" if by else ""


def require_real(agent: Agent, name: str, what: str) -> None:
    """Raise DeviceError where a device is emulated; `what` was to be learnt of it."""
    by = agent.hello["host"].get("emulated")
    if by:
        raise DeviceError(
            f"device {name!r} is emulated ({by}) and has no {what}; use the real device"
        )
