"""Session of an agent: the bursts that a sampler asks for, and the timed replies."""

from bisect import bisect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import accumulate
from typing import Any, Protocol

from pydantic import TypeAdapter

from benchbox.analysis.samples import Burst

UNREAD, UNREAD_S = 0.6, 0.3  # of what bursts are expected to take; the machine may be faster now
UNREAD_CALLS = 1500  # of up to 40 bytes each
# Graph, calls, whether the stream probe is wanted, seconds between calls that come at a rate.
Ask = tuple[str, int] | tuple[str, int, bool] | tuple[str, int, bool, float]


def asleep_s(ask: Ask) -> float:
    """How long the calls of a burst wait for their turn; 0 for calls in a row."""
    return ask[1] * ask[3] if len(ask) > 3 else 0.0


def unread(bursts: Sequence[Ask], expected_s: Sequence[float]) -> int:
    """How many bursts may be over before the reply to the first is read.

    Read one by one, replies cost several times the processor time, on the machine that is timed.
    But they are to fit a pipe, and to be read once all are there, even if they come early.
    """
    calls, ends_s = accumulate(ask[1] for ask in bursts), list(accumulate(expected_s))
    return min(
        bisect(list(calls), UNREAD_CALLS), bisect(ends_s, min(UNREAD_S, UNREAD * ends_s[-1]))
    )


@dataclass(frozen=True, slots=True)
class Timed:
    """Reply to one burst: its samples, as `analysis.samples.Burst` has them, or an error."""

    graph: str
    data: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None

    @property
    def latencies_ns(self) -> Sequence[int]:
        """The latency of each call."""
        return tuple(self.data.get("latencies_ns", ()))

    def burst(self, **where: object) -> Burst:
        """The samples as a burst, with its `session`, `round` and, if not ordinary, its `kind`."""
        return _adapter().validate_python({**self.data, **where})


class Session(Protocol):
    """Times bursts: an agent, or a simulation of one."""

    def time(self, bursts: Sequence[Ask], expected_s: Sequence[float]) -> Iterator[Timed]:
        """Yield the timed bursts (graph, calls, with stream probe) in order."""


@cache
def _adapter() -> TypeAdapter[Burst]:
    return TypeAdapter(Burst)
