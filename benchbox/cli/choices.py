"""Values of options that Typer knows: closed choices, names that it completes, and paths."""

from enum import StrEnum
from pathlib import Path
from typing import Any

import typer

from benchbox import host
from benchbox.api import parsing

ANYTHING, CUDA = "anything", "cuda"  # of --install: alone, and what to install for

Channels = StrEnum("Channels", ["gpu", "arm"])  # sets of a paper
Format = StrEnum(
    "Format", ["table", "csv", "markdown", "json", "html", "latex", "svg", "pdf", "png"]
)
ListFormat = StrEnum("ListFormat", ["table", "json"])  # of a list that is no report
Role = StrEnum("Role", ["export"])  # of a fleet's worker, beside offering devices
ChartName = StrEnum(
    "ChartName", ["flops", "pareto", "over-flops", "profile", "samples", "processes"]
)
Cache = StrEnum("Cache", ["hot", "cold"])  # of a GPU, when a call begins
ConvSearch = StrEnum("ConvSearch", ["exhaustive", "heuristic", "default"])  # by cuDNN
DetectorHead = StrEnum("DetectorHead", ["raw", "decoded", "detections"])
ExplainBy = StrEnum("ExplainBy", ["part", "category", "kernel", "module"])
Sort = StrEnum("Sort", ["accuracy", "latency", "flops"])  # of what fits a budget
Section = StrEnum("Section", ["blocks", "networks", "devices"])  # of `benchbox list`


class By(StrEnum):
    """What a profile is divided by."""

    category = "category"
    module = "module"
    type = "type"


def complete_names(incomplete: str) -> list[str]:
    """The blocks, networks and families whose names begin so."""
    from benchbox import specs
    from benchbox.networks import catalogue, libraries

    names = [*specs.bundled(), "all", *catalogue.families(), *catalogue.NETWORKS]
    own = [name for name in names if name.startswith(incomplete)]
    return [*own, *libraries.complete(incomplete)]


def complete_dtypes(incomplete: str) -> list[str]:
    """The types of a graph's weights and activations that begin so, the last of a list too."""
    from benchbox.specs import PRECISIONS

    before, comma, begun = incomplete.rpartition(",")
    return [f"{before}{comma}{name}" for name in PRECISIONS if name.startswith(begun)]


def complete_devices(incomplete: str) -> list[str]:
    """The devices whose names begin so."""
    from benchbox import devices

    return [name for name, _ in devices.names() if name.startswith(incomplete)]


def complete_runs(ctx: Any, incomplete: str) -> list[str]:  # noqa: ANN401 - Typer's own type
    """The recorded runs whose names begin so; a path is the shell's to complete."""
    from benchbox.records import names

    return names.complete(_results(ctx), incomplete)


def complete_recorded_devices(ctx: Any, incomplete: str) -> list[str]:  # noqa: ANN401 - Typer's own
    """The devices of recorded runs whose names begin so."""
    from benchbox.records import names

    return [name for name in names.devices(_results(ctx)) if name.startswith(incomplete)]


def _results(ctx: Any) -> Path:  # noqa: ANN401 - Typer's own
    return Path(ctx.params.get("results") or host.results_folder())


def complete_baselines(incomplete: str) -> list[str]:
    """The baselines in the folder whose names begin so."""
    from benchbox.records import baselines

    return [name for name in baselines.names() if name.startswith(incomplete)]


def complete_registered(incomplete: str) -> list[str]:
    """The registered devices whose names begin so."""
    from benchbox.devices import registry

    return [name for name in registry.entries() if name.startswith(incomplete)]


def expanded(param: typer.CallbackParam, value: Path | None) -> Path | None:
    """Typer's callback of options that are a path."""
    return value and parsing.path(value, param.opts[0])
