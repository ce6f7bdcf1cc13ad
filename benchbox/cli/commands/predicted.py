"""Commands on latency that nobody measured: `calibrate` and `predict`."""

from pathlib import Path
from typing import Annotated

import typer

from benchbox.cli.option_groups import grouped
from benchbox.cli.options.cases import CaseOptions
from benchbox.cli.options.devices import DeviceName, ProcessorOptions
from benchbox.cli.options.output import ExportOptions
from benchbox.cli.options.recorded import Results

PREDICT_EXAMPLES = """\
Examples:
  benchbox calibrate -d pi; benchbox predict models -d pi
  benchbox predict mobilenetv2 ./mine.onnx --export-csv predicted.csv
  benchbox predict ./search.py:variants      a generator: name, ONNX model, accuracy
Exit codes: 1 a graph cannot be predicted, 2 usage, 6 device, 130 Ctrl-C
"""


@grouped
def calibrate(
    *,
    device: DeviceName = "cpu",
    processors: ProcessorOptions,
    again: Annotated[
        bool,
        typer.Option(
            "--again",
            help="from the beginning, where there is a calibration",
            rich_help_panel="How long",
        ),
    ] = False,
) -> None:
    """Time made-up networks on a device, by which `predict` tells what others would take."""
    from benchbox.cli.calibrate import calibrate

    calibrate(device, processors, again=again)


@grouped
def predict(
    *,
    cases: CaseOptions,
    device: DeviceName = "cpu",
    processors: ProcessorOptions,
    exports: ExportOptions,
    anchor: Annotated[
        str,
        typer.Option(
            metavar="RUN",
            help="shift by what a run's cases took there over what is predicted of them",
            rich_help_panel="Where",
        ),
    ] = "",
    results: Results = Path("results"),
) -> None:
    """Predict latency from a calibration, with an interval; nothing is timed."""
    from benchbox.cli.predict import predict

    predict(cases, device, processors, exports, anchor, results)
