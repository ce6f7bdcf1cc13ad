"""Cooldown of a record: how long a process waited for the device to cool, and how far it did."""

from dataclasses import dataclass

CLOSE_C = 1.0  # above the first session's temperature that counts as back


@dataclass(frozen=True, slots=True)
class Cooldown:
    """Wait of one session: its length, and the temperatures before and after it.

    `first_c` is that at the beginning of the first session. Without a sensor all are None.
    """

    session: int
    waited_s: float
    first_c: float | None = None
    start_c: float | None = None
    end_c: float | None = None

    @property
    def is_back(self) -> bool:
        """Whether it was as cool in the end as at first; not known counts as yes."""
        return self.end_c is None or self.first_c is None or self.end_c <= self.first_c + CLOSE_C
