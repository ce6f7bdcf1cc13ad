"""Cooldown of a record: how long a process waited for the device to cool, and how far it did."""

from dataclasses import dataclass

from benchbox.analysis.quantities import Amount, Count, Number

CLOSE_C = 1.0  # above the first session's temperature that counts as back


@dataclass(frozen=True, slots=True)
class Cooldown:
    """Wait of one session: its length, and the temperatures before and after it.

    `first_c` is that at the beginning of the first session. Without a sensor all are None.
    """

    session: Count
    waited_s: Amount
    first_c: Number | None = None
    start_c: Number | None = None
    end_c: Number | None = None

    @property
    def is_back(self) -> bool:
        """Whether it was as cool in the end as at first; not known counts as yes."""
        return self.end_c is None or self.first_c is None or self.end_c <= self.first_c + CLOSE_C
