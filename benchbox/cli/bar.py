"""Progress bar: live lines on a terminal, nothing when piped."""

from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from benchbox.lines import one_line

BAR_CHARACTERS = 20  # leaves 50 for words on a terminal of 80 columns


class _Details(ProgressColumn):
    """The end of a line, the only part that is cut off where the terminal is too narrow."""

    def render(self, task: Task) -> Text:
        """The details as one line."""
        return Text(task.fields["at"], no_wrap=True, overflow="ellipsis")


class Bar:
    """Live lines on a terminal, drawn only when one changes; nothing when piped.

    Drawing at any other time would disturb what is timed.
    """

    def __init__(self, console: Console) -> None:
        self._progress: Progress | None = None
        if console.is_terminal and not console.is_dumb_terminal:
            self._progress = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(BAR_CHARACTERS),
                _Details(),
                console=console,
                auto_refresh=False,
                transient=True,
            )

    def __enter__(self) -> Self:
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def line(self) -> "Line":
        """A line of its own, empty until it is drawn."""
        return Line(self._progress)


class Line:
    """One line of a bar."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._task = (
            None if progress is None else progress.add_task("", total=None, visible=False, at="")
        )

    @property
    def is_live(self) -> bool:
        """Whether there is a terminal to draw on."""
        return self._progress is not None

    def draw(self, description: str, share: float | None, at: str) -> None:
        """Show what is being done, the share of it that is done if known, and the details."""
        if self._progress is None or self._task is None:
            return
        if share is not None:
            self._progress.update(self._task, total=1.0, completed=share)
        at = one_line(at)
        self._progress.update(self._task, description=description, at=at, visible=True)
        self._progress.refresh()
