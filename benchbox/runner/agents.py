"""Agent processes of a run: one session after the other, all with the same libraries."""

from collections.abc import Callable, Iterable, Mapping

from benchbox.devices import Device
from benchbox.errors import DeviceError
from benchbox.runner.cooldown import Cooling
from benchbox.runner.pool import Pool
from benchbox.specs import Case
from benchbox.transports import Agent


class Agents:
    """Gives each session a fresh agent, on a device that has cooled down."""

    def __init__(
        self,
        device: Device,
        open_agent: Callable[[Device], Agent],
        first: Agent,
        cooling: Cooling,
        setting: Mapping[str, str],
    ) -> None:
        """The first session goes on with the agent that was greeted `first`.

        `setting` is how the device was set when the run began.
        """
        self._device, self._open, self._cooling = device, open_agent, cooling
        self._first: Agent | None = first
        self._setting = setting
        self._versions = first.hello.get("versions", {})

    def open(self, cases: Iterable[Case]) -> Agent | Pool:
        """A fresh agent for these cases, of several numbers of threads a pool of them.

        Raises DeviceError for one with other libraries than the first.
        """
        threads = {case.key: case.threads or self._device.threads for case in cases}
        agents: dict[int, Agent] = {}
        try:
            for number in dict.fromkeys(threads.values()):
                agents[number] = self._fresh(self._device.with_threads(number))
        except BaseException:
            if agents:
                Pool(agents, threads).close()
            raise
        return Pool(agents, threads) if len(agents) > 1 else next(iter(agents.values()))

    def _fresh(self, device: Device) -> Agent:
        if self._first is not None and device == self._device:
            agent, self._first = self._first, None
            return agent
        agent = self._open(device)
        versions = agent.hello.get("versions", {})
        if versions != self._versions:
            agent.close()
            changed = sorted(name for name, _ in versions.items() ^ self._versions.items())
            raise DeviceError(
                f"device {self._device.name!r}: its {', '.join(dict.fromkeys(changed))} changed "
                "in mid-run; run it again"
            )
        return agent

    def settle(self, agent: Agent | Pool, session: int) -> None:
        """Have the agent report changes since the run began, and wait until it has cooled down."""
        if self._setting:
            agent.setting = self._setting
        self._cooling.before(session, agent)

    def close(self) -> None:
        """End the first agent if no session took it."""
        if self._first is not None:
            self._first.close()
