"""The commands; each hands its options to a module that is imported only then."""

import errno
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from benchbox import __version__
from benchbox.cli import baseline, device, results
from benchbox.cli.choices import By, ExplainBy, Format, Section
from benchbox.cli.exits import INTERRUPTED
from benchbox.cli.help import HelpCommand, HelpGroup
from benchbox.cli.option_groups import grouped
from benchbox.cli.options import (
    BaselineOptions,
    BudgetOptions,
    CandidateOptions,
    CaseOptions,
    DeviceName,
    EffortOptions,
    ExportOptions,
    FormatName,
    GpuOptions,
    HistoryOptions,
    LoadOptions,
    Margin,
    Options,
    OutputFile,
    OutputOptions,
    PictureOptions,
    ProcessorOptions,
    RecordOptions,
    RunOptions,
    TimingOptions,
    Verbose,
    WhereOptions,
    expanded,
)
from benchbox.errors import BenchboxError, UsageError

CONFIG = "benchbox.toml"
WORDS = "benchbox.words"  # of the command line, in Typer's context
PYDANTIC = "Value error, "  # begins the messages of Typer's own checks
# The error of a word that no option takes; its class has the same place in Typer and in Click.
ClickUsageError: Any = typer.BadParameter.__base__


class Commands(HelpGroup):
    """The group of all commands; prints an error raised on purpose in one line."""

    def make_context(self, info_name: str | None, args: list[str], *rest: Any, **named: Any) -> Any:  # noqa: ANN401 - Typer's own
        """Read the options before the command."""
        words = [*args]
        with _one_line_errors():
            ctx = super().make_context(info_name, args, *rest, **named)
        ctx.meta[WORDS] = words
        return ctx

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - the type is Typer's own vendored one
        """Run the command."""
        with _one_line_errors(ctx):
            return super().invoke(ctx)


@contextmanager
def _one_line_errors(ctx: Any = None) -> Iterator[None]:  # noqa: ANN401
    """Print an error in one line, and exit with its code."""
    try:
        yield
    except ClickUsageError as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            raise
        message = error.format_message().removesuffix(".") or "missing parameter"
        message = message[:1].lower() + message[1:].replace(PYDANTIC, "")
        where = f" (see {error.ctx.command_path} -h)" if error.ctx else ""
        flags = getattr(getattr(error, "param", None), "opts", ())
        _exit_with(f"{_file(ctx, flags)}{message}{where}", error.exit_code)
    except BenchboxError as error:
        message = str(error)
        _exit_with(f"{_file(ctx, message.split()[:1])}{message}", error.exit_code)
    except KeyboardInterrupt:
        _say("Interrupted.")
        raise typer.Exit(INTERRUPTED) from None
    except OSError as error:  # no output, which raises nothing: a file, a process, a socket
        where = f"{error.filename}: " if error.filename else "this machine refused: "
        is_typed = error.errno == errno.ENAMETOOLONG
        _exit_with(f"{where}{error.strerror or error}", UsageError.exit_code if is_typed else 1)


def _file(ctx: Any, flags: Sequence[str]) -> str:  # noqa: ANN401 - Typer's own type
    """How an error about these flags begins: with benchbox.toml, where they stand there alone."""
    from_file = ((ctx and ctx.default_map) or {}).get(ctx and ctx.invoked_subcommand, ())
    for option in ctx.command.commands[ctx.invoked_subcommand].params if from_file else ():
        spellings = tuple(option.opts)
        is_typed = any(word.startswith(spellings) for word in ctx.meta[WORDS])
        if option.name in from_file and not is_typed and not set(spellings).isdisjoint(flags):
            return f"{CONFIG}: "
    return ""


def _exit_with(message: str, code: int) -> NoReturn:
    _say(f"Error: {message}")
    raise typer.Exit(code) from None


def _say(line: str) -> None:
    from benchbox.cli.output import console  # here, as few commands fail

    console(stderr=True).print(line, style="red")


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Hardware-aware latency benchmarks: FLOPs against measured latency, on your device.",
)


RUN_EXAMPLES = """\
Examples:
  benchbox run g2 --quick                             a first look at G2
  benchbox run mobilenetv2 model.onnx -d cpu -d pi    two graphs on two devices
  benchbox run ./model.onnx --threads 1,2,4 --export-csv table.csv
"""
COMPARE_EXAMPLES = """\
Examples:
  benchbox compare mobilenetv2 ghostnetv2             latency beside FLOPs
  benchbox compare old.onnx new.onnx --fail-on 'slower>3%'
  benchbox compare g2:groups=1,scale=1 g2:groups=8,scale=1 -d cpu -d pi
"""
CHOOSE_EXAMPLES = """\
Examples:
  benchbox choose --budget 33ms -d pi               of the classifiers by name
  benchbox choose detectors --fps 30 --percentile 95
  benchbox choose --from models --budget 10ms       times nothing
Exit codes: 1 nothing fits or a case failed, 2 usage, 6 device, 130 Ctrl-C
"""
REPORT_EXAMPLES = """\
Examples:
  benchbox report -o page.html                 the newest run as a page
  benchbox report models --figure pareto -o front.pdf
  benchbox report --list --since 7d            the runs of a week
  benchbox report g2 --diff                    the newest over the one before
  benchbox report 'cpu/g*' 'pi/g*' --merge     one table for both devices
"""
HISTORY_EXAMPLES = """\
Examples:
  benchbox history models --since 30d          each case on each machine
  benchbox history 'g2:*' -d pi -o g2.svg      as a figure; .csv has every run
  benchbox history --fail-on 'slower>3%'       for a nightly job
Exit codes: 1 a record is broken, 2 usage, 3 over the limit, 4 unclear
"""
EXIT_CODES = """\
Exit codes: 1 failed, 2 usage, 3 limit, 4 unclear, 5 imprecise, 6 device, 130 ^C"""


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
    """Read the defaults of options from ./benchbox.toml, where there is one."""
    path = Path(CONFIG)
    if path.exists():
        from benchbox.cli.config import read

        ctx.default_map = read(path, ctx)


@app.command("list", cls=HelpCommand)
def list_(
    section: Annotated[
        Section | None, typer.Argument(metavar="[SECTION]", help="blocks, networks or devices")
    ] = None,
) -> None:
    """List what can be run, and on what."""
    from benchbox.cli.list import show

    show(section.value if section else None)


@app.command("show", cls=HelpCommand)
@grouped
def show(cases: CaseOptions, exports: ExportOptions) -> None:
    """Show the FLOPs, parameters and memory access of cases, without timing them."""
    from benchbox.cli.show import show

    show(cases, exports)


@app.command("run", cls=HelpCommand, epilog=RUN_EXAMPLES + EXIT_CODES)
@grouped
def run(ctx: typer.Context, options: Options, load: LoadOptions, against: BaselineOptions) -> None:
    """Time cases on a device, print FLOPs against latency, and keep the raw samples."""
    from benchbox.cli.run import run

    run(replace(options, load=load, against=against, typed=_typed(ctx)))


@app.command("compare", cls=HelpCommand, epilog=COMPARE_EXAMPLES + EXIT_CODES)
@grouped
def compare(ctx: typer.Context, options: Options, margin: Margin = "1%") -> None:
    """Tell which case is faster, timing them in paired rounds."""
    from benchbox.cli.run import compare

    compare(replace(options, margin=margin, typed=_typed(ctx)))


@app.command("choose", cls=HelpCommand, epilog=CHOOSE_EXAMPLES)
@grouped
def choose(
    ctx: typer.Context,
    *,
    cases: CandidateOptions,
    budget: BudgetOptions,
    where: WhereOptions,
    effort: EffortOptions,
    gpu: GpuOptions,
    records: RecordOptions,
) -> None:
    """Choose what fits a latency budget, timing what is not recorded yet."""
    from benchbox.cli.choose import choose

    timing = TimingOptions(**{each.name: getattr(effort, each.name) for each in fields(effort)})
    output = OutputOptions(exports=records.exports, results=records.results)
    choose(Options(cases, where, timing, gpu, output, typed=_typed(ctx)), budget)


def _typed(ctx: typer.Context) -> frozenset[str]:
    """The names of the options that stand on the command line itself."""
    sources = {name: ctx.get_parameter_source(name) for name in ctx.params}
    return frozenset(n for n, source in sources.items() if source and source.name == "COMMANDLINE")


@app.command("report", cls=HelpCommand, epilog=REPORT_EXAMPLES)
@grouped
def report(
    *,
    ctx: typer.Context,
    chosen: RunOptions,
    list_: Annotated[bool, typer.Option("--list", help="list the runs that there are")] = False,
    diff: Annotated[
        bool, typer.Option("--diff", help="set the second of two runs beside the first")
    ] = False,
    merge: Annotated[
        bool, typer.Option("--merge", help="put runs and devices into one table")
    ] = False,
    margin: Annotated[
        str,
        typer.Option(
            metavar="1%", envvar="BENCHBOX_MARGIN", help="of --diff: what counts as the same"
        ),
    ] = "1%",
    format_: FormatName = Format.table,
    output: OutputFile = None,
    pictures: PictureOptions,
    verbose: Verbose = False,
) -> None:
    """Print earlier runs as tables, draw them, list them, or set two of them side by side."""
    from benchbox.cli.forms import Form
    from benchbox.cli.report import report

    asked = {"list": list_, "diff": diff, "merge": merge}
    form = Form(format_.value, output, pictures, _typed(ctx))
    report(chosen, asked, form, margin=margin, verbose=verbose)


@app.command("history", cls=HelpCommand, epilog=HISTORY_EXAMPLES)
@grouped
def history(
    *,
    ctx: typer.Context,
    chosen: HistoryOptions,
    fail_on: Annotated[
        str | None,
        typer.Option(
            metavar="slower>3%", help="exit 3 where a last step's whole interval is over it"
        ),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="exit 4 where that is unclear")] = False,
    format_: FormatName = Format.table,
    output: OutputFile = None,
    wide: Annotated[
        bool, typer.Option("--wide", help="a figure as wide as two columns of a paper")
    ] = False,
) -> None:
    """Follow cases from run to run: p50 on each machine, steps, and what changed there."""
    from benchbox.cli.forms import Form
    from benchbox.cli.history import show

    form = Form(format_.value, output, PictureOptions(wide=wide), _typed(ctx))
    show(chosen, form, fail_on=fail_on, strict=strict)


@app.command("open", cls=HelpCommand)
@grouped
def open_(chosen: RunOptions) -> None:
    """Show the page of a run in the browser, made anew if the record has changed."""
    from benchbox.cli.open import open_page

    open_page(chosen)


@app.command("export", cls=HelpCommand)
@grouped
def export(
    cases: CaseOptions,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            callback=expanded,
            help="folder to write to",
            rich_help_panel="Output",
        ),
    ],
) -> None:
    """Write the .onnx files that would be timed, and a manifest of them."""
    from benchbox.cli.export import export

    export(cases, output)


@app.command("profile", cls=HelpCommand)
@grouped
def profile(
    *,
    cases: CaseOptions,
    device: DeviceName = "cpu",
    processors: ProcessorOptions,
    exports: ExportOptions,
    by: Annotated[
        By,
        typer.Option(
            metavar="category|module|type",
            help="what the time is divided by (default category)",
            rich_help_panel="Output",
        ),
    ] = By.category,
    depth: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="names of a module's path (default: until two differ)",
            rich_help_panel="Output",
        ),
    ] = None,
    top: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="N",
            help="slowest nodes to show (default 10; 3 of each of several cases)",
            rich_help_panel="Output",
        ),
    ] = None,
) -> None:
    """Show where the time of a graph goes: by operator or module, and its slowest nodes."""
    from benchbox.cli.profile import profile

    profile(cases, device, processors, exports, by.value, depth, top)


@app.command("explain", cls=HelpCommand)
@grouped
def explain(
    *,
    cases: CaseOptions,
    device: DeviceName = "cpu",
    processors: ProcessorOptions,
    exports: ExportOptions,
    against: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="a case to set beside the others, and what the difference is made of",
            rich_help_panel="What",
        ),
    ] = "",
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="alter the channels that are blamed, and time that beside the original",
            rich_help_panel="How long",
        ),
    ] = False,
    by: Annotated[
        ExplainBy,
        typer.Option(
            metavar="part|category|kernel|module",
            help="what the time of one case is divided by (default part)",
            rich_help_panel="Output",
        ),
    ] = ExplainBy.part,
    top: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="N",
            help="slowest nodes of one case to show (default 10)",
            rich_help_panel="Output",
        ),
    ] = None,
) -> None:
    """Explain why a graph takes its time, in parts that add up to its latency."""
    from benchbox.cli.explain import explain

    explain(cases, device, processors, exports, against, by.value, top, is_checked=check)


@app.command("doctor", cls=HelpCommand)
@grouped
def doctor(
    ctx: typer.Context,
    *,
    device: DeviceName = "cpu",
    processors: ProcessorOptions,
    seconds: Annotated[
        float,
        typer.Option(
            min=0.1,
            max=3600,
            metavar="SECONDS",
            help="how long to watch (default 10)",
        ),
    ] = 10.0,
    forget: Annotated[
        bool, typer.Option("--forget", help="forget what was learned of every machine, and exit")
    ] = False,
) -> None:
    """Judge how good a place to measure a device is, and say what would make it better."""
    from benchbox.cli import doctor

    if forget:
        doctor.forget()
    else:
        doctor.doctor(device, processors, seconds, _typed(ctx))


@app.command("trust", cls=HelpCommand)
def trust(
    ctx: typer.Context,
    show: Annotated[bool, typer.Option("--list", help="print the trusted files")] = False,
    remove: Annotated[bool, typer.Option("--remove", help="trust it no more")] = False,
) -> None:
    """Let this folder's benchbox.toml say where to write, whom to call and what to run.

    It holds until the file changes. Without trust it may only say how to measure.
    """
    from benchbox.cli import trust

    if show:
        trust.show()
    else:
        trust.change(ctx.find_root(), remove=remove)


app.add_typer(baseline.app, name="baseline")
app.add_typer(device.app, name="device")
app.add_typer(results.app, name="results")
