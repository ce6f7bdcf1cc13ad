"""A channel to an agent that is a script."""

from collections.abc import Mapping
from typing import Any

from benchbox.transports.channel import ChannelClosed


class Scripted:
    """A channel that answers what it is told to, and remembers what it was asked."""

    def __init__(self, *script: dict[str, Any] | Exception) -> None:
        self.script = list(script)
        self.sent: list[Mapping[str, object]] = []
        self.waits: list[float] = []
        self.closed = False

    def send(self, message: Mapping[str, object]) -> None:
        self.sent.append({name: part for name, part in message.items() if name != "id"})

    def receive(self, timeout_s: float) -> dict[str, Any]:
        self.waits.append(timeout_s)
        answer = self.script.pop(0) if self.script else ChannelClosed("nothing more")
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        self.closed = True
