"""Session of an agent: the bursts that a sampler asks for, and the timed replies."""

from bisect import bisect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import accumulate
from typing import Any, Protocol

from pydantic import TypeAdapter

from benchbox.analysis.samples import Burst

UNREAD_CALLS, UNREAD_S = 1500, 1.0  # calls of up to 40 bytes each; an agent may be lost any time
# Graph, calls, whether the stream probe is wanted, seconds between calls that come at a rate.
Ask = tuple[str, int] | tuple[str, int, bool] | tuple[str, int, bool, float]


def asleep_s(ask: Ask) -> float:
    """How long the calls of a burst wait for their turn; 0 for calls in a row."""
    return ask[1] * ask[3] if len(ask) > 3 else 0.0


def unread(bursts: Sequence[Ask], expected_s: Sequence[float]) -> int:
    """How many bursts may be over before the reply to the first is read.

    Read one by one, replies cost several times the processor time, on the machine that is timed.
    But they are to fit a pipe.
    """
    calls = list(accumulate(ask[1] for ask in bursts))
    return min(bisect(calls, UNREAD_CALLS), bisect(list(accumulate(expected_s)), UNREAD_S))


@dataclass(frozen=True, slots=True)
class Timed:
    """Reply to one burst: its samples, whatever its session and round, or an error."""

    graph: str
    samples: Burst | None = None
    error: str | None = None

    @property
    def latencies_ns(self) -> Sequence[int]:
        """The latency of each call."""
        return self.samples.latencies_ns if self.samples else ()

    def burst(self, **where: Any) -> Burst:  # noqa: ANN401 - fields of a burst
        """The samples with their `session`, `round` and, if not ordinary, their `kind`."""
        assert self.samples is not None, "no error"
        return replace(self.samples, **where)


def samples(said: Mapping[str, object]) -> Burst:
    """The samples that an agent tells, by names; raises ValidationError."""
    return _adapter().validate_python({**said, "session": 0, "round": 0})


class Session(Protocol):
    """Times bursts: an agent, or a simulation of one."""

    def time(self, bursts: Sequence[Ask], expected_s: Sequence[float]) -> Iterator[Timed]:
        """Yield the timed bursts (graph, calls, with stream probe) in order."""


@cache
def _adapter() -> TypeAdapter[Burst]:
    return TypeAdapter(Burst)
