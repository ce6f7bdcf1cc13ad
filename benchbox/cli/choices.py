"""Closed choices of options, as Typer reads them."""

from enum import StrEnum


class Channels(StrEnum):
    """Which of a paper's channel sets to build."""

    gpu = "gpu"
    arm = "arm"


class Format(StrEnum):
    """What a report is written as."""

    table = "table"
    csv = "csv"
    markdown = "markdown"
    json = "json"


class Cache(StrEnum):
    """What of a graph the GPU's cache holds when a call begins."""

    hot = "hot"
    cold = "cold"


class ConvSearch(StrEnum):
    """How cuDNN's algorithms are chosen."""

    exhaustive = "exhaustive"
    heuristic = "heuristic"
    default = "default"


class Dtype(StrEnum):
    """The type of a graph's weights and activations."""

    fp32 = "fp32"
    fp16 = "fp16"


class Section(StrEnum):
    """What to list."""

    blocks = "blocks"
    networks = "networks"
    devices = "devices"
