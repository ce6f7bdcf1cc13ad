"""Values of options that Typer knows: closed choices, and names that it completes."""

from enum import StrEnum


class Channels(StrEnum):
    """The channel sets of a paper."""

    gpu = "gpu"
    arm = "arm"


class Format(StrEnum):
    """The formats of a report."""

    table = "table"
    csv = "csv"
    markdown = "markdown"
    json = "json"


class Cache(StrEnum):
    """The state of a GPU's cache when a call begins."""

    hot = "hot"
    cold = "cold"


class ConvSearch(StrEnum):
    """The ways in which cuDNN chooses its algorithms."""

    exhaustive = "exhaustive"
    heuristic = "heuristic"
    default = "default"


class Dtype(StrEnum):
    """The types of a graph's weights and activations."""

    fp32 = "fp32"
    fp16 = "fp16"
    int8 = "int8"
    int8_dynamic = "int8-dynamic"


class DetectorHead(StrEnum):
    """What a detector gives."""

    raw = "raw"
    decoded = "decoded"
    detections = "detections"


class By(StrEnum):
    """What a profile is divided by."""

    category = "category"
    module = "module"
    type = "type"


class Section(StrEnum):
    """The parts of `benchbox list`."""

    blocks = "blocks"
    networks = "networks"
    devices = "devices"


def complete_names(incomplete: str) -> list[str]:
    """The blocks, networks and families whose names begin so."""
    from benchbox import specs
    from benchbox.networks import catalogue

    names = [*specs.bundled(), "all", *catalogue.families(), *catalogue.NETWORKS]
    return [name for name in names if name.startswith(incomplete)]


def complete_devices(incomplete: str) -> list[str]:
    """The devices whose names begin so."""
    from benchbox import devices

    return [name for name, _ in devices.names() if name.startswith(incomplete)]


def complete_registered(incomplete: str) -> list[str]:
    """The registered devices whose names begin so."""
    from benchbox.devices import registry

    return [name for name in registry.entries() if name.startswith(incomplete)]
