"""Host schema: the machine as an agent reports it and as records keep it."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from benchbox.analysis.quantities import Amount, Count, Ratio, wrong_field

WHOLE = "answer"  # the name where the whole reply is wrong
Text = Annotated[str, Field(max_length=4000)]
Processors = list[Annotated[int, Field(ge=0, lt=1 << 16)]]
Setting = dict[Text, Text]


class ReplyPart(BaseModel):
    """A part of a reply; fields that may be None may be absent."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False, frozen=True, defer_build=True)


class Cluster(ReplyPart):
    """Processors of one kind."""

    cpus: Annotated[Processors, Field(min_length=1)]
    capacity: Count | None = None
    top_khz: Amount | None = None
    khz: Amount | None = None
    core: Text | None = None
    governor: Text | None = None
    limit: Text | None = None


class KnownCeilings(ReplyPart):
    """The best rates of a GPU or a processor, by name, and when they were measured."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Ratio] = Field(init=False)
    measured: Text = ""


class EnergySource(ReplyPart):
    """What energy is read from, and the power that it showed while idle; or why there is none."""

    source: Text = ""
    idle_w: Amount = 0.0
    idle_s: Amount = 0.0
    step_s: Amount = 0.0
    missing: Text = ""


class Gpu(ReplyPart):
    """A GPU and its settings."""

    name: Text
    runtime: Text
    capability: Text | None = None
    driver: Text | None = None
    driver_cuda: Text | None = None
    memory_bytes: Count | None = None
    top_sm_clock_mhz: Amount | None = None
    top_memory_clock_mhz: Amount | None = None
    power_limit_w: Amount | None = None
    persistence: bool | None = None
    unseen: Text | None = None
    ceilings: KnownCeilings = KnownCeilings()


class Host(ReplyPart):
    """A machine, as records keep it, with whatever else JSON can hold."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, JsonValue] = Field(init=False)

    system: Text | None = None
    kernel: Text | None = None
    machine: Text | None = None
    cpu: Text | None = None
    cpus: Count | None = None
    cpus_usable: Count | None = None
    memory_bytes: Count | None = None
    memory_available_bytes: Count | None = None
    virtual: bool | None = None
    emulated: Text | None = None
    boot: Text | None = None
    gpu_bus: Text | None = None
    instructions: list[Text] | None = None
    clusters: list[Cluster] = []
    setting: Setting = {}
    ceilings: KnownCeilings = KnownCeilings()
    energy: EnergySource = EnergySource()
    gpu: Gpu = None  # type: ignore[assignment]  # absent or whole


def wrong(kind: type[ReplyPart], reply: object) -> str:
    """The name of the first field that is missing or invalid; empty where all is valid."""
    try:
        kind.model_validate(reply)
    except ValidationError as error:
        return wrong_field(error) or WHOLE
    return ""
