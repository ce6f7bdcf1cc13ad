"""Options that say where to run: devices, their threads and processors, and calls on a GPU."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import typer

from benchbox.cli.choices import Cache, ConvSearch, complete_devices


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


DeviceName = Annotated[
    str,
    typer.Option(
        "--device",
        "-d",
        metavar="NAME",
        envvar="BENCHBOX_DEVICE",
        help="cpu, arm, cuda, cuda:1, ssh://user@host, adb://serial or a registered name",
        autocompletion=complete_devices,
        rich_help_panel=ProcessorOptions.panel,
    ),
]


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
            help="cpu, openvino[,key=v], plugin:PATH, tensorrt, torch",
        ),
    ] = None
    allow_emulated: Annotated[
        bool, typer.Option("--allow-emulated", help="time an emulated processor too; record only")
    ] = False


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
