"""Session of an agent: the bursts that a sampler asks for, and the timed replies."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Protocol

from pydantic import TypeAdapter

from benchbox.analysis.samples import Burst

# Graph, calls, whether the stream probe is wanted, seconds between calls that come at a rate.
Ask = tuple[str, int] | tuple[str, int, bool] | tuple[str, int, bool, float]


def asleep_s(ask: Ask) -> float:
    """How long the calls of a burst wait for their turn; 0 for calls in a row."""
    return ask[1] * ask[3] if len(ask) > 3 else 0.0


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
