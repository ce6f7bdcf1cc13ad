"""The commands and their options; each hands over to a module that is imported only then."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from benchbox import __version__
from benchbox.cli import device as device_commands
from benchbox.cli.choices import Cache, Channels, ConvSearch, Dtype, Format, Section
from benchbox.cli.exits import BROKEN_PIPE, INTERRUPTED
from benchbox.errors import BenchboxError

PYDANTIC = "Value error, "  # with which Typer lets its checks begin


# What a word is that no option takes: its class has the same place in Typer and in Click.
WrongWord: Any = typer.BadParameter.__base__


class Commands(TyperGroup):
    """The group of all commands; an error that benchbox raised on purpose ends in one line."""

    def make_context(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - Typer's own
        """Read what stands before the command; print what is wrong with it and exit."""
        with _one_line():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - the type is Typer's own vendored one
        """Run the command; print what went wrong and exit with its code."""
        with _one_line():
            return super().invoke(ctx)


@contextmanager
def _one_line() -> Iterator[None]:
    """Print an error in one line, and exit with its code."""
    try:
        yield
    except WrongWord as error:
        said = error.format_message().removesuffix(".")
        if not said or "\n" in said:  # the help, where there was no command
            raise
        said = said[:1].lower() + said[1:].replace(PYDANTIC, "")
        of = f" (see {error.ctx.command_path} -h)" if error.ctx else ""
        _ended(f"{said}{of}", error.exit_code)
    except BenchboxError as error:
        _ended(str(error), error.exit_code)
    except KeyboardInterrupt:
        typer.secho("Interrupted.", fg="red", err=True)
        raise typer.Exit(INTERRUPTED) from None
    except BrokenPipeError:
        sys.stderr.close()  # whoever read the output has left; there is nobody to tell
        raise typer.Exit(BROKEN_PIPE) from None
    except OSError as error:
        _ended(f"{error.filename or 'the output'}: {error.strerror or error}", 1)


def _ended(what: str, code: int) -> NoReturn:
    typer.secho(f"Error: {what}", fg="red", err=True)
    raise typer.Exit(code) from None


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Hardware-aware latency benchmarks: FLOPs against measured latency, on your device.",
)


app.add_typer(device_commands.app, name="device")


def _complete_names(incomplete: str) -> list[str]:
    from benchbox import specs
    from benchbox.networks import catalogue

    names = [*specs.bundled(), "all", *catalogue.families(), *catalogue.NETWORKS]
    return [name for name in names if name.startswith(incomplete)]


def _complete_devices(incomplete: str) -> list[str]:
    from benchbox import devices

    return [name for name, _ in devices.names() if name.startswith(incomplete)]


Names = Annotated[
    list[str],
    typer.Argument(
        metavar="NAME...",
        help="g1 to g4, all, models and other specs, a network, a .toml or .onnx file, "
        "module:callable or ./file.py:callable; "
        "narrowed by :key=value as in g2:groups=8,scale=1",
        autocompletion=_complete_names,
    ),
]
DeviceName = Annotated[
    str,
    typer.Option(
        "--device",
        "-d",
        envvar="BENCHBOX_DEVICE",
        help="cpu, arm, cuda, a registered name (benchbox device list) or ssh://user@host",
        autocompletion=_complete_devices,
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(
        "--threads",
        "-t",
        envvar="BENCHBOX_THREADS",
        help="of one inference (default 1, or as many as --cpus)",
    ),
]
Devices = Annotated[
    list[str] | None,
    typer.Option(
        "--device",
        "-d",
        envvar="BENCHBOX_DEVICE",
        help="cpu, arm, cuda, cuda:1, a registered name (benchbox device list), ssh://user@host or "
        "adb://serial; repeatable: all are timed at the same time",
        autocompletion=_complete_devices,
    ),
]
Cpus = Annotated[
    str | None,
    typer.Option(
        metavar="0,1",
        help="processors to run on, one for each thread, or a cluster: big, little; big,little "
        "one after the other (default: chosen from the big one)",
    ),
]
Provider = Annotated[
    str | None,
    typer.Option(
        envvar="BENCHBOX_PROVIDER",
        help="ONNX Runtime's execution provider: cpu, xnnpack, acl, nnapi and others, where the "
        "device's build has it; on a GPU cuda, tensorrt; or torch, torch-compile, torch-cudagraph; "
        "cpu,torch one after the other (default cpu, on a GPU cuda)",
    ),
]
Cooldown = Annotated[
    str | None,
    typer.Option(
        metavar="60s",
        help="between processes wait so long at most for the temperature of the start",
    ),
]
Mode = Annotated[
    str | None,
    typer.Option(
        metavar="graph,eager",
        help="on a GPU: calls replayed from a CUDA graph, or launched kernel by kernel; both one "
        "after the other (default graph)",
    ),
]
CacheState = Annotated[
    Cache | None,
    typer.Option("--cache", help="on a GPU: what its cache holds before a call (default hot)"),
]
TF32 = Annotated[
    bool, typer.Option("--tf32", help="on a GPU: products rounded to ten bits, faster (default no)")
]
Search = Annotated[
    ConvSearch | None,
    typer.Option(
        "--conv-search",
        help="on a GPU: how cuDNN's algorithms are chosen (default exhaustive)",
    ),
]
ChannelSet = Annotated[
    Channels | None,
    typer.Option("--channels", help="the paper's channel set (default: the device's)"),
]
Batch = Annotated[
    str | None,
    typer.Option(
        "--batch", "-b", metavar="1,8", help="images in one call; each case at each of several"
    ),
]
FloatType = Annotated[
    Dtype | None,
    typer.Option(
        "--dtype",
        help="of weights, activations, inputs and outputs; fp16 converts the graph (default: as "
        "the graph is, which is fp32 for what benchbox builds)",
    ),
]
Scales = Annotated[
    list[str] | None, typer.Option("--scale", help="only the cases of this scale; repeatable")
]
Shapes = Annotated[
    list[str] | None,
    typer.Option(
        "--shape",
        metavar="NAME=1x3x224x224",
        help="an input of a builder, a network, or an .onnx file with open sizes; repeatable",
    ),
]
Weights = Annotated[
    list[str] | None,
    typer.Option(
        metavar="[NETWORK=]FILE",
        help="a .pth checkpoint of the reference implementation; repeatable",
    ),
]
Sessions = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=100,
        envvar="BENCHBOX_SESSIONS",
        help="agent processes one after the other (default 3, 1 with --quick)",
    ),
]
Precision = Annotated[
    str | None,
    typer.Option(envvar="BENCHBOX_PRECISION", help="stop at this half-width (default 1%)"),
]
MaxTime = Annotated[
    str | None,
    typer.Option(
        envvar="BENCHBOX_MAX_TIME",
        help="stop timing then (default 5.5s a case, 60s at least)",
    ),
]
Quick = Annotated[bool, typer.Option("--quick", help="a first look: 5% precision, 0.5s a case")]
Seed = Annotated[int, typer.Option(min=0, help="of inputs and of the order of rounds")]
Resume = Annotated[bool, typer.Option("--resume", help="go on with the newest run of these names")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="more columns")]
AllowEmulated = Annotated[
    bool,
    typer.Option(
        "--allow-emulated",
        help="time on an emulated processor too: samples are kept, no table has them",
    ),
]
Results = Annotated[
    Path, typer.Option("--results", envvar="BENCHBOX_RESULTS", help="folder of the run records")
]
Target = Annotated[Path | None, typer.Option(metavar="FILE", help="write it there; - for stdout")]


def _version(show: bool) -> None:
    if show:
        typer.echo(f"benchbox {__version__}")
        raise typer.Exit


@app.callback()
def defaults(
    ctx: typer.Context,
    version: Annotated[  # noqa: ARG001 - handled by its callback
        bool, typer.Option("--version", callback=_version, is_eager=True, help="show the version")
    ] = False,
) -> None:
    """Take defaults of options from ./benchbox.toml, where there is one."""
    path = Path("benchbox.toml")
    if path.is_file():
        from benchbox.cli.config import read

        ctx.default_map = read(path, ctx)


@app.command("list")
def list_(section: Annotated[Section | None, typer.Argument(help="only these")] = None) -> None:
    """What can be run, and on what."""
    from benchbox.cli.list import show

    show(section.value if section else None)


@app.command("show")
def show(
    names: Names,
    channels: ChannelSet = None,
    batch: Batch = None,
    dtype: FloatType = None,
    scale: Scales = None,
    shape: Shapes = None,
    weights: Weights = None,
) -> None:
    """Cases with their FLOPs, params and memory access; times nothing."""
    from benchbox.cli.run import selection
    from benchbox.cli.show import show

    show(names, selection(channels, "arm", batch, scale, shape, weights, dtype))


@app.command("run")
def run(
    ctx: typer.Context,
    names: Names,
    device: Devices = None,
    threads: Threads = None,
    cpus: Cpus = None,
    provider: Provider = None,
    mode: Mode = None,
    cache: CacheState = None,
    tf32: TF32 = False,
    conv_search: Search = None,
    cooldown: Cooldown = None,
    sessions: Sessions = None,
    channels: ChannelSet = None,
    batch: Batch = None,
    dtype: FloatType = None,
    scale: Scales = None,
    shape: Shapes = None,
    weights: Weights = None,
    precision: Precision = None,
    max_time: MaxTime = None,
    arrival: Annotated[
        str | None,
        typer.Option(metavar="5/s", help="calls come at a rate, the processor sleeps between them"),
    ] = None,
    sustained: Annotated[
        str | None,
        typer.Option(metavar="10m", help="run each case for so long: latency over time"),
    ] = None,
    quick: Quick = False,
    seed: Seed = 0,
    resume: Resume = False,
    allow_emulated: AllowEmulated = False,
    results: Results = Path("results"),
    export_csv: Target = None,
    export_markdown: Target = None,
    export_json: Target = None,
    strict: Annotated[
        bool,
        typer.Option("--strict", help="exit 5 if a figure is imprecise, 4 if a claim is unclear"),
    ] = False,
    verbose: Verbose = False,
) -> None:
    """Time cases on a device, print FLOPs against latency, and keep the raw samples."""
    from benchbox.cli.gpu_options import Asked
    from benchbox.cli.load_options import Load
    from benchbox.cli.run import Options, run_command, selecting

    targets = {"csv": export_csv, "markdown": export_markdown, "json": export_json}
    options = Options(
        names,
        device or ["cpu"],
        threads,
        cpus,
        provider,
        cooldown,
        sessions,
        precision,
        max_time,
        quick,
        seed,
        resume,
        results,
        strict,
        verbose,
        Load(arrival, sustained),
        allow_emulated=allow_emulated,
        gpu=Asked(mode, cache, tf32, conv_search),
        typed=_typed(ctx),
    )
    select = selecting(channels, batch, scale, shape, weights, dtype)
    run_command(options, select, targets)


@app.command("compare")
def compare(
    ctx: typer.Context,
    names: Names,
    device: Devices = None,
    threads: Threads = None,
    cpus: Cpus = None,
    provider: Provider = None,
    mode: Mode = None,
    cache: CacheState = None,
    tf32: TF32 = False,
    conv_search: Search = None,
    cooldown: Cooldown = None,
    sessions: Sessions = None,
    channels: ChannelSet = None,
    batch: Batch = None,
    dtype: FloatType = None,
    scale: Scales = None,
    shape: Shapes = None,
    weights: Weights = None,
    margin: Annotated[
        str, typer.Option(envvar="BENCHBOX_MARGIN", help="what differs by less is the same")
    ] = "1%",
    precision: Annotated[
        str | None,
        typer.Option(
            envvar="BENCHBOX_PRECISION",
            help="of the ratios, stop at this half-width (default 1.5%)",
        ),
    ] = None,
    max_time: MaxTime = None,
    quick: Quick = False,
    seed: Seed = 0,
    resume: Resume = False,
    allow_emulated: AllowEmulated = False,
    results: Results = Path("results"),
    export_csv: Target = None,
    export_markdown: Target = None,
    export_json: Target = None,
    strict: Annotated[
        bool,
        typer.Option("--strict", help="exit 5 if a ratio is imprecise, 4 if a verdict is UNCLEAR"),
    ] = False,
    verbose: Verbose = False,
) -> None:
    """Say which is faster: two cases and more in paired rounds, with FLOPs beside latency."""
    from benchbox.cli.compare import compare
    from benchbox.cli.gpu_options import Asked
    from benchbox.cli.run import Options, selecting

    targets = {"csv": export_csv, "markdown": export_markdown, "json": export_json}
    options = Options(
        names,
        device or ["cpu"],
        threads,
        cpus,
        provider,
        cooldown,
        sessions,
        precision,
        max_time,
        quick,
        seed,
        resume,
        results,
        strict,
        verbose,
        margin=margin,
        allow_emulated=allow_emulated,
        gpu=Asked(mode, cache, tf32, conv_search),
        typed=_typed(ctx),
    )
    select = selecting(channels, batch, scale, shape, weights, dtype)
    compare(options, select, targets)


def _typed(ctx: typer.Context) -> frozenset[str]:
    """Return the names of the options that stand on the command line itself."""
    sources = {name: ctx.get_parameter_source(name) for name in ctx.params}
    return frozenset(n for n, source in sources.items() if source and source.name == "COMMANDLINE")


@app.command("report")
def report(
    runs: Annotated[
        list[str] | None,
        typer.Argument(metavar="[RUN...]", help="files of runs, or names (default: the newest)"),
    ] = None,
    format_: Annotated[Format, typer.Option("--format", "-f", help="what to write")] = Format.table,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="file, - for stdout")
    ] = None,
    results: Results = Path("results"),
    verbose: Verbose = False,
) -> None:
    """The tables of runs, made again from their records."""
    from benchbox.cli.report import report

    report(runs or [], format_.value, output, results, verbose)


@app.command("export")
def export(
    names: Names,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="where to")],
    channels: ChannelSet = None,
    batch: Batch = None,
    dtype: FloatType = None,
    scale: Scales = None,
    shape: Shapes = None,
    weights: Weights = None,
) -> None:
    """Write the .onnx files that would be timed, and a manifest."""
    from benchbox.cli.export import export
    from benchbox.cli.run import selection

    export(names, selection(channels, "arm", batch, scale, shape, weights, dtype), output)


@app.command("profile")
def profile(
    names: Names,
    device: DeviceName = "cpu",
    threads: Threads = None,
    cpus: Cpus = None,
    channels: ChannelSet = None,
    batch: Batch = None,
    dtype: FloatType = None,
    scale: Scales = None,
    shape: Shapes = None,
    weights: Weights = None,
    top: Annotated[
        int | None,
        typer.Option(min=0, help="slowest nodes shown (default 10, 3 each of several cases)"),
    ] = None,
    export_csv: Target = None,
    export_markdown: Target = None,
    export_json: Target = None,
) -> None:
    """Where the time of a graph goes: by category of operators, and its slowest nodes."""
    from benchbox.cli.profile import Options, profile
    from benchbox.cli.run import selecting

    targets = {"csv": export_csv, "markdown": export_markdown, "json": export_json}
    select = selecting(channels, batch, scale, shape, weights, dtype)
    profile(Options(names, device, threads, cpus, top), select, targets)


@app.command("doctor")
def doctor(
    ctx: typer.Context,
    device: DeviceName = "cpu",
    threads: Threads = None,
    cpus: Cpus = None,
    seconds: Annotated[float, typer.Option(min=0.1, max=3600, help="how long to watch")] = 10.0,
) -> None:
    """How good a place to measure a device is, why, and what would make it better."""
    from benchbox.cli.doctor import doctor

    doctor(device, threads, cpus, seconds, _typed(ctx))
