"""Devices: names become a `Device`; the registry, providers, GPU options, the last-seen cache."""

from benchbox.devices.claims import ARM_MACHINES
from benchbox.devices.device import (
    CPU_PROVIDER,
    SSH_PORT,
    Device,
    naming_python,
    require_claims,
    require_onnxruntime,
    resolve,
    takes,
)
from benchbox.devices.lookup import DEVICES, names, shareable

__all__ = [
    "ARM_MACHINES",
    "CPU_PROVIDER",
    "DEVICES",
    "SSH_PORT",
    "Device",
    "names",
    "naming_python",
    "require_claims",
    "require_onnxruntime",
    "resolve",
    "shareable",
    "takes",
]
