"""Ceilings of the processors that an agent greeted from: measured and kept."""

from typing import Any

from benchbox import records
from benchbox.devices import Device, ceilings
from benchbox.transports import Agent


def measure(agent: Agent, device: Device) -> tuple[dict[str, float], bool]:
    """The best of what is measured now and what is known, and whether it is kept.

    Raises CaseError where it cannot be measured.
    """
    found = ceilings.best(_known(agent, device), agent.cpu_ceilings())
    identity = ceilings.of_processor(agent.hello, device.threads)
    return found, ceilings.save(identity, found, records.now())


def _known(agent: Agent, device: Device) -> dict[str, Any]:
    known = ceilings.load(ceilings.of_processor(agent.hello, device.threads))
    return {name: figure for name, figure in known.items() if name != "measured"}
