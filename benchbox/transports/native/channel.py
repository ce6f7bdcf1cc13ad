"""An agent on a phone without Python: the native runner, pushed with all that it needs."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchbox.devices import last_seen
from benchbox.errors import AgentError, CaseError, DeviceError, UsageError
from benchbox.transports import native
from benchbox.transports.adb.phone import Phone
from benchbox.transports.adb.shell import ShellChannel
from benchbox.transports.channel import ChannelClosed

RUNNER = "the native runner"


class RunnerChannel:
    """The channel to a native runner on a phone, and the connection that it needs."""

    def __init__(self, phone: Phone) -> None:
        """Start a runner on a phone, whose connection it closes in the end.

        Raises DeviceError when none can be started.
        """
        self._phone = phone
        self._inputs = tempfile.TemporaryDirectory(prefix="benchbox-")
        try:
            phone.hold()
            self._runner = _start(phone)
        except BaseException:
            self.close()
            raise
        last_seen.note(phone.device.url)

    def place(self, path: str) -> str:
        """Return the path there of a graph here, which is pushed if it is not there yet.

        Raises CaseError when that cannot be, AgentError when the link is lost.
        """
        return self._phone.place(path)

    def send(self, message: Mapping[str, object]) -> None:
        """Send one message, the inputs of a graph before it; raises ChannelClosed, CaseError."""

        def place(path: Path) -> str:
            return self._phone.place(str(path))

        try:
            self._runner.send(native.with_data(message, Path(self._inputs.name), place))
        except AgentError as lost:
            raise ChannelClosed(str(lost).removeprefix("the agent is gone: ")) from None
        except ValueError as error:  # a type that benchbox cannot fill
            raise CaseError(str(error)) from None

    def receive(self, timeout_s: float) -> dict[str, Any]:
        """Return the next message; raises Timeout, or ChannelClosed when the runner is gone."""
        return self._runner.receive(timeout_s)

    def close(self) -> None:
        """End the runner, by force where it does not end by itself, and the connection."""
        self._phone.close()
        self._inputs.cleanup()


def _start(phone: Phone) -> ShellChannel:
    name = phone.device.name
    try:
        bundle = native.bundle(phone.machine, lambda: phone.sending(RUNNER, 0, None))
        folder = phone.gather(bundle.files)
        return phone.start(bundle.command(folder))
    except (DeviceError, UsageError) as error:
        raise DeviceError(f"device {name!r}: no Python there, and {error}") from None
    except (ChannelClosed, CaseError) as error:
        raise DeviceError(f"device {name!r}: no runner starts there: {error}") from None
