"""Energy of a call: its column where it was read, its columns in files, and its footnote."""

from collections.abc import Mapping, Sequence
from typing import Any

from benchbox.records import Context, Record
from benchbox.report import formatting

HEADER = "energy (mJ)"
COLUMNS = {
    **dict.fromkeys(
        ("energy_mj", "energy_ci_low_mj", "energy_ci_high_mj", "power_w", "idle_power_w"), "Float64"
    ),
    "energy_source": "string",
}


def has(records: Sequence[Record]) -> bool:
    """Whether the energy of any case was read."""
    return any(record.energy for record in records)


def cell(record: Record) -> str:
    """The energy of a call with the half-width of its interval."""
    found = record.energy
    if found is None:
        return formatting.UNKNOWN
    if found.mj <= 0:
        return "none above idle"
    if found.low_mj is None or found.high_mj is None:
        return formatting.significant(found.mj)
    return formatting.estimate(found.mj, max(found.high_mj - found.mj, found.mj - found.low_mj))


def cells(context: Context, record: Record) -> dict[str, float | str | None]:
    """The cells of a record in a file."""
    found = record.energy
    if found is None:
        return {}
    values = (found.mj, found.low_mj, found.high_mj, found.power_w, found.idle_w)
    return dict(zip(COLUMNS, (*values, _source(context)), strict=True))


def notes(context: Context, records: Sequence[Record]) -> list[str]:
    """What the energy is of, and what was subtracted."""
    idle = sorted(record.energy.idle_w for record in records if record.energy)
    if not idle:
        return []
    ends = list(dict.fromkeys(map(formatting.significant, (idle[0], idle[-1]))))
    told = context.host.get("energy", {})
    source = f" of {found}" if (found := _source(context)) else ""
    over = f", read over {told['idle_s']:.1f} s beforehand" if told.get("idle_s") else ""
    return [
        f"energy: of one call by the readings{source}, less the {' to '.join(ends)} W of when it "
        f"was idle{over}; whatever else runs on it counts too"
    ]


def source(host: Mapping[str, Any]) -> str:
    """What an agent says that it reads energy from, or why it reads none."""
    told = host.get("energy", {})
    if not told.get("source"):
        return str(told.get("missing") or "not told")
    step_ms = told.get("step_s", 0.0) * formatting.MILLI
    return (
        f"{told['source']}, every {formatting.significant(step_ms)} ms; "
        f"{formatting.significant(told.get('idle_w', 0.0))} W while idle"
    )


def _source(context: Context) -> str | None:
    found: str = context.host.get("energy", {}).get("source", "")
    return found or None
