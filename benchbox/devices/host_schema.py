"""Host schema: the machine as an agent reports it and as records keep it."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

WHOLE = "answer"  # the name where the whole reply is wrong
LARGEST = 1 << 63
Count = Annotated[int, Field(ge=0, lt=LARGEST)]
Amount = Annotated[float, Field(ge=0, lt=LARGEST)]
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


class Gpu(ReplyPart):
    """A GPU and its settings."""

    name: Text | None = None
    capability: Text | None = None
    runtime: Text | None = None
    driver: Text | None = None
    driver_cuda: Text | None = None
    memory_bytes: Count | None = None
    top_sm_clock_mhz: Amount | None = None
    top_memory_clock_mhz: Amount | None = None
    power_limit_w: Amount | None = None
    persistence: bool | None = None
    unseen: Text | None = None


class Host(ReplyPart):
    """A machine, as records keep it."""

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
    clusters: list[Cluster] = []
    setting: Setting = {}
    gpu: Gpu = Gpu()


def wrong(kind: type[ReplyPart], reply: object) -> str:
    """The name of the first field that is missing or invalid; empty where all is valid."""
    try:
        kind.model_validate(reply)
    except ValidationError as error:
        return ".".join(map(str, error.errors(include_url=False)[0]["loc"])) or WHOLE
    return ""
