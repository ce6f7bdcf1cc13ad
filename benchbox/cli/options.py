"""Options of the commands, each declared once, in groups that are the panels of the help."""

from collections.abc import Set
from dataclasses import dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, ClassVar

import typer

from benchbox.api import parsing
from benchbox.api.options import Baseline, Cases, JobOptions, OnGpu, UnderLoad
from benchbox.cli.choices import (
    Cache,
    Channels,
    ChartName,
    ConvSearch,
    DetectorHead,
    Format,
    Sort,
    complete_baselines,
    complete_devices,
    complete_dtypes,
    complete_names,
    complete_registered,
    complete_runs,
)


def expanded(param: typer.CallbackParam, value: Path | None) -> Path | None:
    """Typer's callback of options that are a path."""
    return value and parsing.path(value, param.opts[0])


@dataclass(frozen=True, slots=True)
class CaseOptions:
    """The names of what to run, and what of it."""

    panel: ClassVar[str] = "What to run"

    names: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME...",
            help="a block, network, .toml, .onnx or ./file.py:callable",
            autocompletion=complete_names,
        ),
    ]
    channels: Annotated[
        Channels | None,
        typer.Option(
            "--channels", metavar="gpu|arm", help="the paper's channel set (default: the device's)"
        ),
    ] = None
    batch: Annotated[
        str | None,
        typer.Option(
            "--batch", "-b", metavar="1,8", help="images per call; each case is run at each of them"
        ),
    ] = None
    size: Annotated[
        str | None,
        typer.Option("--size", metavar="160,224", help="side of images; each case at each of them"),
    ] = None
    dtype: Annotated[
        str | None,
        typer.Option(
            "--dtype",
            metavar="fp32,int8",
            help="convert the graph: fp32, fp16, int8 or int8-dynamic",
            autocompletion=complete_dtypes,
        ),
    ] = None
    scale: Annotated[
        list[str] | None,
        typer.Option("--scale", metavar="SCALE", help="only cases of this scale; repeatable"),
    ] = None
    shape: Annotated[
        list[str] | None,
        typer.Option(
            "--shape",
            metavar="NAME=1x3x224x224",
            help="an input of a builder, network or graph; repeatable",
        ),
    ] = None
    dim: Annotated[
        list[str] | None,
        typer.Option(
            "--dim", metavar="NAME=128", help="an open size of a graph, or several; repeatable"
        ),
    ] = None
    input: Annotated[
        list[str] | None,
        typer.Option(
            "--input",
            metavar="NAME=FILE.npy",
            help="values of an input, or NAME=NUMBER; repeatable",
        ),
    ] = None
    weights: Annotated[
        list[str] | None,
        typer.Option(metavar="[NETWORK=]FILE", help=".pth file of the reference code; repeatable"),
    ] = None
    head: Annotated[
        DetectorHead | None,
        typer.Option(metavar="KIND", help="what detectors give: raw, decoded or detections"),
    ] = None

    def plain(self) -> Cases:
        """The options in plain types."""
        return Cases(**_values(self))


@dataclass(frozen=True, slots=True)
class ProcessorOptions:
    """The threads and processors of a device."""

    panel: ClassVar[str] = "Where"

    threads: Annotated[
        str | None,
        typer.Option(
            "--threads",
            "-t",
            metavar="1,2",
            envvar="BENCHBOX_THREADS",
            help="per call (default 1, or one for each of --cpus)",
        ),
    ] = None
    cpus: Annotated[
        str | None,
        typer.Option(metavar="0,1", help="processors, or clusters in turn: big,middle,little"),
    ] = None


DEVICE = "cpu, arm, cuda, cuda:1, ssh://user@host, adb://serial or a registered name"


@dataclass(frozen=True, slots=True, kw_only=True)
class WhereOptions:
    """The devices of a run."""

    panel: ClassVar[str] = "Where"

    device: Annotated[
        list[str] | None,
        typer.Option(
            "--device",
            "-d",
            metavar="NAME",
            envvar="BENCHBOX_DEVICE",
            help="cpu, cuda, ssh://host, adb://id or a name; repeatable",
            autocompletion=complete_devices,
        ),
    ] = None
    processors: ProcessorOptions
    provider: Annotated[
        str | None,
        typer.Option(
            metavar="cpu,torch",
            envvar="BENCHBOX_PROVIDER",
            help="cpu, openvino, plugin:PATH, xnnpack, tensorrt, torch",
        ),
    ] = None
    allow_emulated: Annotated[
        bool,
        typer.Option("--allow-emulated", help="time an emulated processor too; record only"),
    ] = False


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
        typer.Option(
            metavar="90,99",
            help="show these, timing cases until they are known",
        ),
    ] = None
    cooldown: Annotated[
        str | None,
        typer.Option(
            metavar="60s",
            help="wait so long for the device to cool between processes",
        ),
    ] = None
    seed: Annotated[
        int,
        typer.Option(min=0, metavar="N", help="seed of inputs and the order of rounds (default 0)"),
    ] = 0
    resume: Annotated[
        bool, typer.Option("--resume", help="continue the newest run of these names")
    ] = False


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
    """What a run is set beside."""

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
        str | None,
        typer.Option(metavar="REV", help="beside the same files of a git revision"),
    ] = None


@dataclass(frozen=True, slots=True)
class GpuOptions:
    """The way in which calls are made on a GPU; None, or False, is the default."""

    panel: ClassVar[str] = "GPU"

    mode: Annotated[
        str | None,
        typer.Option(
            metavar="graph,eager", help="replay a CUDA graph (default), or launch each kernel"
        ),
    ] = None
    cache: Annotated[
        Cache | None,
        typer.Option(
            "--cache", metavar="hot|cold", help="the GPU's cache before each call (default hot)"
        ),
    ] = None
    tf32: Annotated[
        bool, typer.Option("--tf32", help="TF32 products: 10-bit mantissas, faster")
    ] = False
    conv_search: Annotated[
        ConvSearch | None,
        typer.Option(
            "--conv-search",
            metavar="WORD",
            help="cuDNN: exhaustive (default), heuristic or default",
        ),
    ] = None


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
        autocompletion=complete_devices,
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
            metavar="[CASE...]",
            help="names as in g2:groups=1, globs or specs (default: all)",
        ),
    ] = None
    device: OnlyDevice = None
    since: Since = None
    results: Results = Path("results")


FormatName = Annotated[
    Format,
    typer.Option(
        "--format",
        "-f",
        metavar="FORMAT",
        help="table (default), csv, markdown, json, html, latex, svg, pdf or png",
    ),
]
OutputFile = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        callback=expanded,
        help="file to write, whose ending says the format; - for stdout",
    ),
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="show more columns")]


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """The files to which tables are written."""

    panel: ClassVar[str] = "Output"

    export_csv: Annotated[
        Path | None, typer.Option(metavar="FILE", callback=expanded, help="write CSV; - for stdout")
    ] = None
    export_markdown: Annotated[
        Path | None,
        typer.Option(metavar="FILE", callback=expanded, help="write Markdown; - for stdout"),
    ] = None
    export_json: Annotated[
        Path | None,
        typer.Option(metavar="FILE", callback=expanded, help="write JSON; - for stdout"),
    ] = None

    def paths(self) -> dict[str, Path]:
        """The files to write, by format."""
        paths = {"csv": self.export_csv, "markdown": self.export_markdown, "json": self.export_json}
        return {format_: path for format_, path in paths.items() if path is not None}


@dataclass(frozen=True, slots=True)
class PictureOptions:
    """The pictures of a report, and what a paper says of them."""

    panel: ClassVar[str] = "Pictures and papers"

    figure: Annotated[
        ChartName | None,
        typer.Option(
            metavar="NAME",
            help="flops (default), pareto, over-flops, profile, samples or processes",
        ),
    ] = None
    wide: Annotated[
        bool, typer.Option("--wide", help="a figure as wide as two columns of a paper")
    ] = False
    with_profile: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.json",
            callback=expanded,
            help="what `profile --export-json` wrote, for --figure profile and html",
        ),
    ] = None
    cite: Annotated[
        bool, typer.Option("--cite", help="print the setup as a paragraph, and BibTeX")
    ] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordOptions:
    """The records of a run, and the files to which tables are written."""

    panel: ClassVar[str] = "Output"

    exports: ExportOptions
    results: Results = Path("results")


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputOptions(RecordOptions):
    """The records and tables of a run."""

    export_junit: Annotated[
        Path | None, typer.Option(metavar="FILE", callback=expanded, help="write JUnit XML")
    ] = None
    export_ci: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            callback=expanded,
            help="write JSON of github-action-benchmark or Bencher",
        ),
    ] = None
    strict: Annotated[
        bool, typer.Option("--strict", help="exit 4 for unclear claims, 5 for imprecise figures")
    ] = False
    fail_on: Annotated[
        str | None,
        typer.Option(
            "--fail-on",
            metavar="slower>3%,...",
            help="exit 3 where a whole interval is over a limit",
        ),
    ] = None
    verbose: Verbose = False

    def paths(self) -> dict[str, Path]:
        """The files to write, by format."""
        more = {"junit": self.export_junit, "ci": self.export_ci}
        return self.exports.paths() | {name: path for name, path in more.items() if path}


@dataclass(frozen=True, slots=True)
class Options:
    """The options of `run` and `compare`.

    Those without a default are options of both. A command itself fills in the others: `load` and
    `against` are of `run`, `margin` of `compare`, and `typed` names the options that stand on the
    command line. The rest have their values from the environment or benchbox.toml, where they may
    be meant for other runs.
    """

    cases: CaseOptions
    where: WhereOptions
    timing: TimingOptions
    gpu: GpuOptions
    output: OutputOptions
    load: LoadOptions = LoadOptions()
    against: BaselineOptions = BaselineOptions()
    margin: str | None = None
    typed: Set[str] = frozenset()

    def plain(self) -> JobOptions:
        """The options in plain types."""
        where = _values(self.where)
        return JobOptions(
            cases=self.cases.plain(),
            gpu=OnGpu(**_values(self.gpu)),
            load=UnderLoad(**_values(self.load)),
            margin=self.margin,
            against=Baseline(*_values(self.against).values()),
            fail_on=self.output.fail_on,
            results=self.output.results,
            typed=self.typed,
            **_values(where.pop("processors")),
            **where,
            **_values(self.timing),
        )


def _values(group: Any) -> dict[str, Any]:  # noqa: ANN401 - any dataclass
    """The options of a group by name, choices as their words."""
    found = {each.name: getattr(group, each.name) for each in fields(group)}
    return {name: str(v) if isinstance(v, StrEnum) else v for name, v in found.items()}


@dataclass(frozen=True, slots=True)
class CandidateOptions(CaseOptions):
    """The cases to choose from, which need not be named."""

    names: Annotated[
        list[str],
        typer.Argument(
            metavar="[NAME...]",
            help="what to choose from, as in run (default: models)",
            autocompletion=complete_names,
        ),
    ] = field(default_factory=list)


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
        typer.Option(
            metavar="95", min=50, max=99.9, help="hold this to it (default 50, the median)"
        ),
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
        str,
        typer.Option(metavar="30d", help="take what was recorded since (0h: nothing)"),
    ] = "30d"


DeviceName = Annotated[
    str,
    typer.Option(
        "--device",
        "-d",
        metavar="NAME",
        envvar="BENCHBOX_DEVICE",
        help=DEVICE,
        autocompletion=complete_devices,
        rich_help_panel=ProcessorOptions.panel,
    ),
]
Margin = Annotated[
    str,
    typer.Option(
        metavar="1%",
        envvar="BENCHBOX_MARGIN",
        help="a smaller difference counts as the same",
        rich_help_panel=TimingOptions.panel,
    ),
]
RegisteredName = Annotated[str, typer.Argument(metavar="NAME", autocompletion=complete_registered)]
