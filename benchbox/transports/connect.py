"""Agents on this machine and on devices: each is started, greeted, and checked before its use."""

from benchbox import devices
from benchbox.agent.gpu import libraries
from benchbox.devices import Device, last_seen, providers
from benchbox.errors import DeviceError, TooMuchError
from benchbox.transports.board.target import Target, TargetChannel
from benchbox.transports.channel import ChannelClosed, ProcessChannel, Timeout
from benchbox.transports.client import Agent, Deadlines
from benchbox.transports.files import Progress, ignore
from benchbox.transports.local import open_local, open_python

ADB = "adb://"
COMPILING = Deadlines(hello_s=120.0, load_s=1800.0)  # a whole network was seen to take 85 s

# A GPU's libraries are a gigabyte; cuDNN tries its algorithms for every convolution.
OPENING = Deadlines(hello_s=180.0, load_s=900.0)
# TensorRT times kernels for every part of an engine, of whole networks for minutes.
BUILDING = Deadlines(hello_s=180.0, load_s=1800.0)
LOOK_S = 120.0


def require_gpu(device: Device) -> None:
    """Raise DeviceError, with what helps, unless the GPU of a device can be used from here."""
    index = int(device.gpu.rpartition(":")[2])
    channel = TargetChannel(open_target(device)) if device.url else open_local()
    try:
        channel.send({"op": "gpu", "index": index, "provider": device.provider})
        reply = channel.receive(LOOK_S)
    except ChannelClosed as closed:
        raise DeviceError(f"device {device.name!r}: no agent starts: {closed}") from None
    except Timeout:
        raise DeviceError(f"device {device.name!r}: no answer for {LOOK_S:.0f} s") from None
    finally:
        channel.close()
    if "error" in reply:
        is_curable = device.url and libraries.INSTALL in reply["error"]
        cure = f"; or: benchbox device check {device.command_name} --install" if is_curable else ""
        raise DeviceError(f"device {device.name!r}: {reply['error']}{cure}")


def open_agent(device: Device, progress: Progress = ignore) -> Agent:
    """Start a fresh agent process on `device` and greet it; `progress` tells of what is pushed.

    Raises DeviceError when the device cannot be used, or is not what it is said to be.
    """
    agent = _greeted(device, progress)
    try:
        _check(device, agent)
    except DeviceError:
        agent.close()
        raise
    if device.url:
        there = agent.hello["host"]
        what = last_seen.describe(there.get("cpu"), there["machine"], there.get("clusters"))
        last_seen.note(device.url, what)
    return agent


def _greeted(device: Device, progress: Progress) -> Agent:
    if providers.runs_modules(device.provider):
        return Agent(open_local("benchbox.export.torch_agent"), device, COMPILING)
    if not device.url:
        return Agent(_opened_here(device), device, _deadlines(device))
    target = open_target(device, progress)
    return Agent(TargetChannel(target), device, _deadlines(device), target.path_of)


def _opened_here(device: Device) -> ProcessChannel:
    """Start an agent on this machine, by another Python where the device names one."""
    if not device.python:
        return open_local()
    try:
        return open_python(device.python)
    except OSError as error:
        raise DeviceError(
            f"device {device.name!r}: {device.python}: {error.strerror}; "
            f"{devices.naming_python(device)}"
        ) from None


def _deadlines(device: Device) -> Deadlines:
    if device.provider == providers.TENSORRT:
        return BUILDING
    return OPENING if device.gpu else Deadlines()


def open_target(device: Device, progress: Progress = ignore) -> Target:
    """Reach another device by its address; raises DeviceError."""
    if device.url.startswith(ADB):
        from benchbox.transports.adb.connect import reached

        return reached(device, progress)
    from benchbox.transports.ssh.connect import NO_PYTHON, connect

    return Target(device, connect(device), NO_PYTHON, progress)


def _check(device: Device, agent: Agent) -> None:
    """Raise DeviceError where a device has less than was asked of it."""
    there = agent.hello["host"]
    if not agent.plugin:
        own = (agent.hello["providers"], device.name, there.get("system", ""), there["machine"])
        providers.require(device.provider, *own)
    devices.require_claims(device, there["machine"], there.get("cpu", ""))
    if device.threads > there["cpus_usable"]:
        raise TooMuchError(
            f"device {device.name!r}: {device.threads} threads asked for, it has "
            f"{there['cpus_usable']} usable processors; choose with --threads"
        )
