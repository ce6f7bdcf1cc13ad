"""Devices: names become a `Device`; the registry, providers, GPU options, the last-seen cache."""

from benchbox.devices.device import (
    ARM_MACHINES,
    CPU_PROVIDER,
    DEVICES,
    SSH_PORT,
    Device,
    names,
    naming_python,
    require_arm,
    require_onnxruntime,
    resolve,
    shareable,
    takes,
)

__all__ = [
    "ARM_MACHINES",
    "CPU_PROVIDER",
    "DEVICES",
    "SSH_PORT",
    "Device",
    "names",
    "naming_python",
    "require_arm",
    "require_onnxruntime",
    "resolve",
    "shareable",
    "takes",
]
