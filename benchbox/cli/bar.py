"""Live lines on a terminal, below a table if there is one; nothing when piped."""

import math
import time
from collections.abc import Iterator, Sequence
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from benchbox.lines import one_line

BAR_CHARACTERS = 20  # leaves 50 for words on a terminal of 80 columns
PAUSE_S = 0.25  # between two drawings: they take a millisecond each
STYLE = "green"


class Bar:
    """Live lines on a terminal, drawn only when one changes; nothing when piped.

    Drawing at any other time would disturb what is timed. `rows` stand above the lines.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        is_live = console.is_terminal and not console.is_dumb_terminal
        self._live = Live(console=console, auto_refresh=False, transient=True) if is_live else None
        self._lines: list[Line] = []
        self.rows: Sequence[str] = ()

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def line(self) -> "Line":
        """A line of its own, empty until it is drawn."""
        self._lines.append(Line(self))
        return self._lines[-1]

    @property
    def is_live(self) -> bool:
        """Whether there is a terminal to draw on."""
        return self._live is not None

    @property
    def space(self) -> tuple[int, int]:
        """The rows for which there is room above the lines, and how long they may be."""
        return self._console.height - len(self._lines) - 1, self._console.width

    def draw(self) -> None:
        """Draw everything as it is now."""
        if self._live is None:
            return
        self._live.update(Group(*self._texts()), refresh=True)

    def _texts(self) -> Iterator[Text]:
        for row in self.rows:
            yield Text(row, no_wrap=True, overflow="crop")
        shown = [line for line in self._lines if line.description]
        widest = max((len(line.description) for line in shown), default=0)
        for line in shown:
            yield Text.assemble(
                line.description.ljust(widest + 1),
                *(() if line.share is None else _bar(line.share, self._console.encoding)),
                line.at,
                no_wrap=True,
                overflow="ellipsis",
            )


def _bar(share: float, encoding: str) -> Iterator[tuple[str, str]]:
    full, rest = "━─" if encoding.startswith("utf") else "=-"
    done = int(BAR_CHARACTERS * min(1.0, max(0.0, share)))
    yield full * done, STYLE
    yield rest * (BAR_CHARACTERS - done) + " ", "dim"


class Line:
    """One line of a bar."""

    def __init__(self, bar: Bar) -> None:
        self._bar = bar
        self.description, self.at = "", ""
        self.share: float | None = None
        self._drawn_at = -math.inf

    @property
    def is_due(self) -> bool:
        """Whether there is a terminal on which this was not drawn just now."""
        return self.is_live and time.monotonic() - self._drawn_at >= PAUSE_S

    @property
    def is_live(self) -> bool:
        """Whether there is a terminal to draw on."""
        return self._bar.is_live

    def draw(self, description: str, share: float | None, at: str) -> None:
        """Show what is being done, the share of it that is done if known, and the details.

        What changes no more than these details waits for its turn.
        """
        is_new = description != self.description
        self.description, self.share, self.at = description, share, one_line(at)
        if is_new or self.is_due:
            self._drawn_at = time.monotonic()
            self._bar.draw()
