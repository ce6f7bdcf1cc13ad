"""Rests of devices: which ones a run leaves alone for now, by what their workers tell."""

from collections.abc import Callable, Collection, Iterable

from benchbox.fleet.members import Member

TOLD_S = 15.0  # after which a worker has told whether a device rests still

Told = Callable[[str, str], None]  # a device, and why it rests; empty once it does no more


class Rests:
    """The devices that rest; `told` hears of those of a run."""

    def __init__(self, told: Told) -> None:
        self._told = told
        self._since: dict[str, float] = {}
        self._known: set[str] = set()

    def __contains__(self, device: str) -> bool:
        return device in self._since

    def begin(self, device: str, now: float) -> None:
        """A task of a device came back as it rests; its worker has not told others of it yet."""
        self._since[device] = now

    def look(self, members: Iterable[Member], identities: Collection[str], now: float) -> None:
        """Take in what workers tell of devices, those of a run's `identities` among them."""
        for member in members:
            name = member.name
            if member.rests:
                self._since[name] = now
                if name not in self._known and member.identity in identities:
                    self._known.add(name)
                    self._told(name, member.rests)
            elif now - self._since.get(name, now) > TOLD_S:
                del self._since[name]
                if name in self._known:
                    self._known.remove(name)
                    self._told(name, "")
