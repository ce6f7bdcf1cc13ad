"""Ceilings of processors as `benchbox device check` measures, prints and keeps them."""

from collections.abc import Mapping

from benchbox import host
from benchbox.agent.ort.ceilings import COPIES
from benchbox.devices import Device
from benchbox.errors import CaseError, DeviceError
from benchbox.report import formatting
from benchbox.runner import ceilings
from benchbox.transports import Agent

GIGA, MICRO = 1e9, 1e6
PRODUCTS = {"fp32": "float32", "fp16": "float16", "int8": "8-bit integers"}


def rows(agent: Agent, device: Device) -> list[tuple[str, str]]:
    """Measure the ceilings of an agent's processors and keep them; the rows that say so."""
    try:
        found, is_kept = ceilings.measure(agent, device)
    except CaseError as error:
        raise DeviceError(f"device {device.name!r}: {error}") from None
    sentence = (
        "benchbox explain and run --verbose show each case's share"
        if is_kept
        else f"not kept, as {host.cache_folder()} cannot be written"
    )
    return [*_texts(found), ("of ceilings", f"{formatting.threads(device.threads)}; {sentence}")]


def _texts(found: Mapping[str, float]) -> list[tuple[str, str]]:
    products = [
        f"{name} {found[key] / GIGA:.1f} G multiply-accumulates/s"
        for kind, name in PRODUCTS.items()
        if (key := f"{kind}_macs_per_s") in found
    ]
    copies = [found[f"copy_{size}_bytes_per_s"] / GIGA for size in COPIES]
    sizes = ", ".join(f"{size / (1 << 20):g}" for size in COPIES)
    return [
        *(("product best", text) for text in products),
        ("copy best", f"{', '.join(f'{each:.0f}' for each in copies)} GB/s of {sizes} MiB"),
        ("node best", f"{found['node_s'] * MICRO:.2f} us for one that does nothing"),
    ]
