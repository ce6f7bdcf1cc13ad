"""Schemas that validate the replies of agents and boards.

Parts that are not declared are left alone: a newer agent says more.
"""

from collections.abc import Mapping
from typing import Annotated

from pydantic import ConfigDict, Field

from benchbox.analysis.quantities import (
    Amount,
    Change,
    Count,
    Nanoseconds,
    Number,
    Ratio,
    Seconds,
    Share,
)
from benchbox.devices.host_schema import Cluster, Host, Processors, ReplyPart, Setting, Text

Times = Annotated[list[Nanoseconds], Field(min_length=1)]
# JSON has lists for both: what was read how often, and a processor with its use by others.
Readings = Annotated[tuple[Amount, Count], Field(strict=False)]
Usage = Annotated[tuple[Count, Amount], Field(strict=False)]
Seen = dict[Text, Number]
Shapes = list[list[Change] | None]


class Greeted(Host):
    """What a machine is, with what every agent says of it."""

    machine: Text
    cpus_usable: Count


class PluginReply(ReplyPart):
    """A library that brings a provider, and the device that it runs on."""

    provider: Text
    library: Text
    sha256: Text
    device: Text
    hardware: Text
    version: Text
    options: dict[Text, Text]


class Hello(ReplyPart):
    """The answer to a greeting."""

    host: Greeted
    providers: list[Text]
    plugins: list[Text] = []
    versions: dict[Text, Text]
    cpus: Processors
    affinity: list[Text] | None = None
    plugin: PluginReply | None = None
    seen: Seen = {}


class Load(ReplyPart):
    """The answer to a graph that is opened and called once."""

    load_s: Amount
    first_call_s: Seconds
    finite: bool
    nodes: dict[Text, Count] | None = None
    types: dict[Text, Count] | None = None
    output_error: Amount | None = None
    computed_in: Text | None = None
    denormal_ratio: Amount | None = None
    span_s: Amount | None = None
    gpu_bytes: Count | None = None
    affinity: list[Text] | None = None
    rss_bytes: Count | None = None
    peak_rss_bytes: Count | None = None
    peak_bytes: Change | None = None


class HealthReply(ReplyPart):
    """How warm a device is, and how it is set."""

    temperature_c: Number | None = None
    setting: Setting = {}


class TimedReply(ReplyPart):
    """What follows the last burst of a request."""

    setting: Setting = {}


class Rates(ReplyPart):
    """The best rates of a GPU."""

    fp32_macs_per_s: Amount
    tf32_macs_per_s: Amount
    fp16_macs_per_s: Amount
    bytes_per_s: Amount


class Ceilings(ReplyPart):
    """What a GPU does at best, and what was seen of it."""

    ceilings: Rates
    seen: Seen


class ProcessorRates(ReplyPart):
    """The best figures of processors; of a type that ONNX Runtime has no product for, none."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Ratio] = Field(init=False)

    fp32_macs_per_s: Ratio
    copy_524288_bytes_per_s: Ratio
    copy_1048576_bytes_per_s: Ratio
    copy_4194304_bytes_per_s: Ratio
    copy_67108864_bytes_per_s: Ratio
    node_s: Ratio


class ProcessorCeilings(ReplyPart):
    """What processors do at best."""

    ceilings: ProcessorRates


class Processor(ReplyPart):
    """How a processor is set."""

    cpu: Count
    siblings: Processors = []
    governor: Text | None = None
    driver: Text | None = None
    limit_khz: Count | None = None
    top_khz: Count | None = None


class Boost(ReplyPart):
    """Whether the clock may exceed its nominal value."""

    on: bool
    file: Text


class Setup(ReplyPart):
    """How a machine is set up."""

    virtual: bool | None = None
    cpus: list[Processor] = []
    isolated: Processors = []
    boost: Boost | None = None
    quota_cpus: Amount | None = None
    load_5min: Amount | None = None
    memory_bytes: Count | None = None
    memory_available_bytes: Count | None = None
    swap_used_bytes: Change | None = None
    on_battery: bool | None = None
    profile: Text | None = None


class Felt(ReplyPart):
    """What was seen of a GPU."""

    readings_ns: list[Amount]
    seen: Seen


class Watched(ReplyPart):
    """What was seen on a processor."""

    cpu: Count
    seconds: Seconds
    readings_ns: list[Readings]
    gaps: Count
    lost_s: Amount
    longest_gap_s: Amount
    seen: Seen
    others: list[Usage]
    gpu: Felt | None = None


class Look(ReplyPart):
    """The answer to a look at a machine."""

    look: Watched
    facts: Setup


class NodeReply(ReplyPart):
    """A node of a graph, with what it took in every profiled call."""

    name: Text
    op: Text
    provider: Text
    count: Amount
    us: Annotated[list[Number], Field(min_length=1)]
    inputs: Shapes
    outputs: Shapes


class Variants(ReplyPart):
    """What the calls of a graph took, as it is timed, and profiled."""

    default: Times
    profiled: Times
    unoptimised: Times | None = None


class ProfileReply(ReplyPart):
    """Where the time of a graph goes."""

    latencies_ns: Variants
    cpu_ns: Variants | None = None
    unoptimised_error: str
    run_us: Annotated[list[Number], Field(min_length=1)]
    nodes: list[NodeReply]


class StepReply(ReplyPart):
    """How far a profile is, and how long its next step takes."""

    share: Share
    next_s: Annotated[float, Field(ge=0, le=3600)] | None = None


class Facts(ReplyPart):
    """What a board is and how it feels, without an agent."""

    machine: Text
    system: Text
    clusters: list[Cluster]
    versions: dict[Text, Text]
    free_bytes: Count
    model: Text | None = None
    instructions: list[Text] | None = None
    temperature_c: Number | None = None
    setting: Setting = {}


REPLIES: Mapping[object, type[ReplyPart]] = {
    "hello": Hello,
    "load": Load,
    "time": TimedReply,
    "health": HealthReply,
    "ceilings": Ceilings,
    "cpu_ceilings": ProcessorCeilings,
    "look": Look,
    "profile": ProfileReply,
    "step": StepReply,
}
