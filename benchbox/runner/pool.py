"""Pool of agents with different numbers of threads, which takes turns between them as one agent."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import groupby
from typing import Any, Self

from benchbox.sampling.session import Ask, Timed
from benchbox.transports import Agent
from benchbox.transports.client import Health, Loaded


class Pool:
    """The agents of one session, by threads; `threads` says by case key in which each is timed.

    Processes that wait use no processor. So cases with different numbers of threads take turns in
    the same rounds.
    """

    def __init__(self, agents: Mapping[int, Agent], threads: Mapping[str, int]) -> None:
        self._agents, self._threads = agents, threads
        self._first = next(iter(agents.values()))
        self.hello = self._first.hello

    @property
    def setting(self) -> Mapping[str, str]:
        """How the device was set when the first agent was greeted, or what a caller put there."""
        return self._first.setting

    @setting.setter
    def setting(self, setting: Mapping[str, str]) -> None:
        for agent in self._agents.values():
            agent.setting = setting

    def load(self, graph: str, *arguments: Any, **named: Any) -> Loaded:  # noqa: ANN401
        """Open a graph in the agent that times it, as `Agent.load` does."""
        return self._of(graph).load(graph, *arguments, **named)

    def time(self, bursts: Sequence[Ask], expected_s: Sequence[float]) -> Iterator[Timed]:
        """Yield the bursts in the order asked for, each by its agent, as `Agent.time` does."""
        asked = zip(bursts, expected_s, strict=True)
        for _, part in groupby(asked, key=lambda each: self._threads[each[0][0]]):
            own, expected = zip(*part, strict=True)
            yield from self._of(own[0][0]).time(own, expected)

    def health(self) -> Health:
        """How warm the device is."""
        return self._first.health()

    def close(self) -> None:
        """End every agent."""
        with ExitStack() as stack:
            for agent in self._agents.values():
                stack.callback(agent.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _of(self, graph: str) -> Agent:
        return self._agents[self._threads[graph]]
