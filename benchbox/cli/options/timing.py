"""Options that say how long and how exactly to time, and for which budget."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import typer

from benchbox.analysis.quantities import LARGEST
from benchbox.cli.choices import Sort, complete_runs


@dataclass(frozen=True, slots=True)
class EffortOptions:
    """The precision of a run, and the time that it may take."""

    panel: ClassVar[str] = "How long"

    precision: Annotated[
        str | None,
        typer.Option(
            metavar="3%",
            envvar="BENCHBOX_PRECISION",
            help="stop at this half-width (default 3%; of ratios 1.5%)",
        ),
    ] = None
    max_time: Annotated[
        str | None,
        typer.Option(
            metavar="60s",
            envvar="BENCHBOX_MAX_TIME",
            help="stop after this (3.4s per case; in compare 5.5s)",
        ),
    ] = None
    sessions: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=100,
            metavar="N",
            envvar="BENCHBOX_SESSIONS",
            help="agent processes in turn (default 3; 1 with --quick)",
        ),
    ] = None
    quick: Annotated[
        bool, typer.Option("--quick", help="a first look: 5% precision, 0.5s per case")
    ] = False


@dataclass(frozen=True, slots=True)
class TimingOptions(EffortOptions):
    """The effort of a run in full."""

    percentiles: Annotated[
        str | None,
        typer.Option(metavar="90,99", help="show these, timing cases until they are known"),
    ] = None
    cooldown: Annotated[
        str | None,
        typer.Option(metavar="60s", help="wait so long for the device to cool between processes"),
    ] = None
    seed: Annotated[
        int,
        typer.Option(
            min=0,
            max=LARGEST - 1,
            metavar="N",
            help="seed of inputs and the order of rounds (default 0)",
        ),
    ] = 0
    resume: Annotated[
        bool, typer.Option("--resume", help="continue the newest run of these names")
    ] = False


Margin = Annotated[
    str,
    typer.Option(
        metavar="1%",
        envvar="BENCHBOX_MARGIN",
        help="a smaller difference counts as the same",
        rich_help_panel=TimingOptions.panel,
    ),
]


@dataclass(frozen=True, slots=True)
class BudgetOptions:
    """The budget of a choice."""

    panel: ClassVar[str] = "Budget"

    budget: Annotated[
        str | None, typer.Option(metavar="33ms", help="the longest latency of a call")
    ] = None
    fps: Annotated[
        float | None, typer.Option("--fps", metavar="30", help="or images per second")
    ] = None
    percentile: Annotated[
        float,
        typer.Option(metavar="95", help="hold this to it (default 50, the median)"),
    ] = 50.0
    sort: Annotated[
        Sort,
        typer.Option(metavar="WORD", help="accuracy (default), latency or flops, of what fits"),
    ] = Sort.accuracy
    from_: Annotated[
        list[str] | None,
        typer.Option(
            "--from",
            metavar="RUN",
            help="choose from a recorded run, timing nothing",
            autocompletion=complete_runs,
        ),
    ] = None
    since: Annotated[
        str, typer.Option(metavar="30d", help="take what was recorded since (0h: nothing)")
    ] = "30d"
