"""Agents and how they are reached: `Agent` speaks JSON lines over a channel to this machine's
own process, or to one that ssh or adb starts on a device.
"""

from benchbox.transports.client import Agent, Loaded
from benchbox.transports.connect import open_agent, open_target, require_gpu

__all__ = ["Agent", "Loaded", "open_agent", "open_target", "require_gpu"]
