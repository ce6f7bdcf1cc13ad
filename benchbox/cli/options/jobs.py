"""Options of `run` and `compare` in one, and the same in plain types."""

from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import typer

from benchbox.api.options import Baseline, JobOptions, OnGpu, UnderLoad
from benchbox.cli.choices import complete_baselines, expanded
from benchbox.cli.option_groups import values
from benchbox.cli.options.cases import CaseOptions
from benchbox.cli.options.devices import GpuOptions, WhereOptions
from benchbox.cli.options.output import OutputOptions
from benchbox.cli.options.timing import TimingOptions


@dataclass(frozen=True, slots=True)
class FleetOptions:
    """The fleet whose devices a run is given to."""

    panel: ClassVar[str] = WhereOptions.panel

    scheduler: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            envvar="BENCHBOX_SCHEDULER",
            help="of a fleet: tls://host; then -d pool:NAME too",
        ),
    ] = None
    priority: Annotated[
        int,
        typer.Option(
            metavar="N", min=-1000, max=1000, help="in a fleet, over other runs (default 0)"
        ),
    ] = 0


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """The load of a run that is not one call right after the other."""

    panel: ClassVar[str] = TimingOptions.panel

    arrival: Annotated[
        str | None,
        typer.Option(metavar="5/s", help="calls arrive at this rate, with sleep between them"),
    ] = None
    sustained: Annotated[
        str | None, typer.Option(metavar="10m", help="run each case this long: latency over time")
    ] = None


@dataclass(frozen=True, slots=True)
class BaselineOptions:
    """The baseline of a run."""

    panel: ClassVar[str] = "Output"

    baseline: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="beside figures of `baseline set`",
            autocompletion=complete_baselines,
        ),
    ] = None
    baseline_graphs: Annotated[
        Path | None,
        typer.Option(metavar="DIR", callback=expanded, help="beside graphs of `export`, paired"),
    ] = None
    baseline_rev: Annotated[
        str | None, typer.Option(metavar="REV", help="beside the same files of a git revision")
    ] = None


@dataclass(frozen=True, slots=True)
class Options:
    """The options of `run` and `compare`.

    Those without a default are options of `choose`, too. A command itself fills in the others:
    `fleet` is of both, `load` and `against` are of `run`, `margin` of `compare`, and `typed` names
    the options that stand on the command line. The rest have their values from the environment or
    benchbox.toml, where they may be meant for other runs.
    """

    cases: CaseOptions
    where: WhereOptions
    timing: TimingOptions
    gpu: GpuOptions
    output: OutputOptions
    fleet: FleetOptions = FleetOptions()
    load: LoadOptions = LoadOptions()
    against: BaselineOptions = BaselineOptions()
    margin: str | None = None
    typed: Set[str] = frozenset()

    def plain(self) -> JobOptions:
        """The options in plain types."""
        where = values(self.where)
        return JobOptions(
            cases=self.cases.plain(),
            gpu=OnGpu(**values(self.gpu)),
            load=UnderLoad(**values(self.load)),
            margin=self.margin,
            against=Baseline(*values(self.against).values()),
            fail_on=self.output.fail_on,
            profile=self.output.profile,
            results=self.output.results,
            typed=self.typed,
            **values(where.pop("processors")),
            **where,
            **values(self.fleet),
            **values(self.timing),
        )
