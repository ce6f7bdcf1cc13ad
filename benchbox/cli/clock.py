"""How long something takes that has no end in sight, on a live line of stderr."""

from typing import Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from benchbox.render.cells import printable


class Clock:
    """A line with the seconds that passed and what was said last; nothing when piped."""

    def __init__(self, console: Console) -> None:
        self._line = (
            Live(console=console, auto_refresh=False, transient=True)
            if console.is_terminal
            else None
        )

    def __enter__(self) -> Self:
        if self._line is not None:
            self._line.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._line is not None:
            self._line.stop()

    def show(self, taken_s: float, said: str) -> None:
        """Show the seconds that passed and what was said last."""
        if self._line is not None:
            minutes, seconds = divmod(int(taken_s), 60)
            text = f"{minutes}:{seconds:02d} {printable(said)}"
            self._line.update(Text(text, no_wrap=True, overflow="ellipsis"), refresh=True)
