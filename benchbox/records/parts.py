"""Parts of records that are plain JSON objects: what reports read of each, and its type.

Parts that are not declared are left alone, as long as JSON can hold them: a newer program says
more.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import ConfigDict, Field, JsonValue, StrictBool

from benchbox.analysis.quantities import Amount, Change, Count, Number, Ratio
from benchbox.devices.gpu_options import Cache, ConvSearch, Mode
from benchbox.devices.host_schema import Host, ReplyPart

Labels = dict[str, str | StrictBool | Change | Number | None]


class RecordPart(ReplyPart):
    """A JSON object of a line."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, JsonValue] = Field(init=False)


class CostPart(RecordPart):
    """What a graph costs."""

    macs: Count
    params: Count
    memory_access_bytes: Count | None = None
    uncounted: list[str] = []
    ops: dict[str, Count] = {}


class MadeUpPart(RecordPart):
    """How integers were made up for an input."""

    below: Count | None = None
    number: Count | None = None


class GraphPart(RecordPart):
    """What a graph is."""

    sha256: str
    batch_norm: str | None = None
    made_up: dict[str, MadeUpPart] = {}
    notes: list[str] = []


class PaperPart(RecordPart):
    """What a paper prints of a network."""

    params_m: Amount | None = None
    macs_m: Amount | None = None
    top1_percent: Amount | None = None
    map_percent: Amount | None = None
    cpu_onnx_ms: Amount | None = None
    t4_tensorrt_ms: Amount | None = None
    source: str = ""


class RecordParts(ReplyPart):
    """The objects of a record."""

    labels: Labels
    args: Labels
    printed: Labels
    axes: Labels
    paper: PaperPart
    graph: GraphPart | None
    cost: CostPart | None


class ClaimPart(RecordPart):
    """What a spec says of its cases."""

    slower: Labels
    than: Labels
    subject: str
    than_subject: str


class SpecParts(ReplyPart):
    """The object of a spec."""

    claim: ClaimPart | None


class PlanPart(RecordPart):
    """How much was to be measured."""

    margin: Ratio | None = None


class GpuPlanPart(PlanPart):
    """The same of a GPU, with how it was driven."""

    mode: Mode
    cache: Cache
    tf32: bool
    conv_search: ConvSearch | None


class PluginPart(RecordPart):
    """The library that brought a provider."""

    name: str = ""
    device: str = ""
    hardware: str = ""
    version: str = ""


class ContextParts(ReplyPart):
    """The objects of a context."""

    host: Host
    plan: PlanPart
    plugin: PluginPart
    specs: list[SpecParts]


class GpuContextParts(ContextParts):
    """The objects of the context of a run on a GPU."""

    plan: GpuPlanPart


def of_context(plan: Mapping[str, Any]) -> type[ContextParts]:
    """The parts of a context with such a plan."""
    return GpuContextParts if "mode" in plan else ContextParts
