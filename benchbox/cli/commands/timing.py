"""Commands that time: `run`, `compare` and `choose`."""

from dataclasses import fields, replace

import typer

from benchbox.cli.option_groups import grouped, typed
from benchbox.cli.options.cases import CandidateOptions
from benchbox.cli.options.devices import GpuOptions, WhereOptions
from benchbox.cli.options.jobs import BaselineOptions, FleetOptions, LoadOptions, Options
from benchbox.cli.options.output import OutputOptions, RecordOptions
from benchbox.cli.options.timing import BudgetOptions, EffortOptions, Margin, TimingOptions

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

EXIT_CODES = """\
Exit codes: 1 failed, 2 usage, 3 limit, 4 unclear, 5 imprecise, 6 device, 130 ^C"""


@grouped
def run(
    ctx: typer.Context,
    options: Options,
    fleet: FleetOptions,
    load: LoadOptions,
    against: BaselineOptions,
) -> None:
    """Time cases on a device, print FLOPs against latency, and keep the raw samples."""
    from benchbox.cli.run import run

    run(replace(options, fleet=fleet, load=load, against=against, typed=typed(ctx)))


@grouped
def compare(
    ctx: typer.Context, options: Options, fleet: FleetOptions, margin: Margin = "1%"
) -> None:
    """Tell which case is faster, timing them in paired rounds."""
    from benchbox.cli.run import compare

    compare(replace(options, fleet=fleet, margin=margin, typed=typed(ctx)))


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
    choose(Options(cases, where, timing, gpu, output, typed=typed(ctx)), budget)
