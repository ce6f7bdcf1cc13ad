"""Options that choose among recorded runs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import typer

from benchbox.cli.choices import complete_recorded_devices, complete_runs, expanded

Results = Annotated[
    Path,
    typer.Option(
        "--results",
        metavar="DIR",
        envvar="BENCHBOX_RESULTS",
        callback=expanded,
        help="folder of the records (default results)",
    ),
]

OnlyDevice = Annotated[
    str | None,
    typer.Option(
        "--device",
        "-d",
        metavar="NAME",
        help="only those of this device, or glob of devices",
        autocompletion=complete_recorded_devices,
    ),
]

Since = Annotated[
    str | None,
    typer.Option(metavar="30d", help="only those begun since: 12h, 30d or 2026-11-01 (UTC)"),
]


@dataclass(frozen=True, slots=True)
class RunOptions:
    """The recorded runs that a command is about."""

    panel: ClassVar[str] = "Which runs"

    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN...]",
            help="names, files or globs of runs (default: the newest)",
            autocompletion=complete_runs,
        ),
    ] = None
    device: OnlyDevice = None
    since: Since = None
    results: Results = Path("results")


@dataclass(frozen=True, slots=True)
class HistoryOptions:
    """The cases whose histories a command is about."""

    panel: ClassVar[str] = "Which runs"

    cases: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[CASE...]", help="names as in g2:groups=1, globs or specs (default: all)"
        ),
    ] = None
    device: OnlyDevice = None
    since: Since = None
    results: Results = Path("results")
