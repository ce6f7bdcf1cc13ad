"""Table of a device in a benchbox.toml, as pydantic reads it."""

from pydantic import BaseModel, ConfigDict


class DeviceTable(BaseModel):
    """A `[devices.NAME]` table; the registry's `check` looks at its values."""

    model_config = ConfigDict(extra="forbid", strict=True, defer_build=True)

    url: str
    python: str = ""
    threads: int | None = None
    cpus: str | list[int] = []
    provider: str = ""
