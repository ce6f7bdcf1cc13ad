"""Options that say what to run: names, and what of them."""

from dataclasses import dataclass, field
from typing import Annotated, ClassVar

import typer

from benchbox.api.options import Cases
from benchbox.cli.choices import Channels, DetectorHead, complete_dtypes, complete_names
from benchbox.cli.option_groups import values


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
        return Cases(**values(self))


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
