"""The channel to an agent on a board."""

from collections.abc import Mapping
from typing import Any

from benchbox.errors import CaseError, DeviceError
from benchbox.transports.channel import ChannelClosed
from benchbox.transports.remote import Board

GRACE_S = 2.0


class BoardChannel:
    """The channel to an agent on a board, and the connection that it needs."""

    def __init__(self, board: Board) -> None:
        """Start an agent on a board, whose connection it closes in the end.

        Raises DeviceError when none can be started.
        """
        self._board = board
        try:
            board.require_runtime()
            self._agent = board.agent()
        except (ChannelClosed, CaseError) as error:
            board.close()
            raise DeviceError(
                f"device {board.device.name!r}: no agent starts there: {error}"
            ) from None
        except BaseException:
            board.close()
            raise

    def place(self, path: str) -> str:
        """Return the path on the board of a graph here; raises CaseError, AgentError."""
        return self._board.place(path)

    def send(self, message: Mapping[str, object]) -> None:
        """Send one message; raises ChannelClosed when the agent is gone."""
        self._agent.send(message)

    def receive(self, timeout_s: float) -> dict[str, Any]:
        """Return the next message; raises Timeout, or ChannelClosed when the agent is gone."""
        return self._agent.receive(timeout_s)

    def close(self) -> None:
        """End the agent, by force where it does not end by itself, and the connection."""
        self._agent.close()
        self._agent.wait(GRACE_S)
        self._board.close()  # the keeper sees to an agent that is still there
