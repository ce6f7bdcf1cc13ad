"""Result of a run in Python: its table, its verdict, and how a notebook shows it."""

import io
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from rich.console import Console

from benchbox.analysis.stats import Verdict
from benchbox.errors import UsageError
from benchbox.records import Run
from benchbox.report import comparison, notebook
from benchbox.report.console import show_tables
from benchbox.report.frame import to_frame
from benchbox.report.multi_device import tables_of

if TYPE_CHECKING:
    import pandas as pd


class Result:
    """Runs that were measured together, one for each device.

    `table` is their data frame, with the columns of `benchbox.read`; `str` gives the tables that
    the command prints.
    """

    def __init__(self, runs: Sequence[Run]) -> None:
        self.runs = tuple(runs)

    @cached_property
    def table(self) -> "pd.DataFrame":
        """A row for each case on each device."""
        return to_frame(self.runs)

    @property
    def verdicts(self) -> dict[str, Verdict | None]:
        """The verdict on each compared case, `device: case` of several devices; None if failed."""
        several = len(self.runs) > 1
        return {
            f"{run.context.device}: {record.case}" if several else record.case: verdict
            for run in self.runs
            for record in run.records
            if comparison.margin(run.context) is not None and record.case != record.reference
            for verdict in [comparison.verdict(run, record)]
        }

    @property
    def verdict(self) -> Verdict | None:
        """The verdict on the second of two cases, None where one of them failed.

        Raises UsageError where there are several verdicts, or none.
        """
        found = self.verdicts
        if len(found) != 1:
            count = f"{len(found)} verdicts: take them from verdicts" if found else "no comparison"
            raise UsageError(f"verdict: there is {count}")
        return next(iter(found.values()))

    def __str__(self) -> str:
        file = io.StringIO()
        console = Console(  # a notebook's own would show each line by itself
            file=file, force_jupyter=False, markup=False, highlight=False, emoji=False
        )
        show_tables(tables_of(self.runs), console)
        return file.getvalue().rstrip("\n")

    def __repr__(self) -> str:
        return f"<Result of {', '.join(str(run.path) for run in self.runs)}>"

    def _repr_html_(self) -> str:
        return notebook.to_html(tables_of(self.runs))
