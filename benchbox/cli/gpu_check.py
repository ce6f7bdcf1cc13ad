"""GPU check of `benchbox device check`: facts of the GPU, and its measured ceilings."""

from collections.abc import Mapping, Sequence
from typing import Any

from benchbox import host, records
from benchbox.analysis.disturbances import clock_reasons
from benchbox.cli.output import console, print_rows
from benchbox.devices import Device, ceilings, gpu_options, providers
from benchbox.devices.providers import runs_modules
from benchbox.errors import CaseError, DeviceError
from benchbox.report import energy
from benchbox.transports import open_agent, require_gpu

GIB = 1 << 30
TERA, GIGA = 1e12, 1e9
PRODUCTS = {"fp32": "float32", "tf32": "TF32", "fp16": "float16"}


def check(device: Device, beside: Sequence[tuple[str, str]]) -> None:
    """Print what a GPU is, measure its ceilings, print and keep them; raises DeviceError.

    `beside` are the rows of the machine that it is in, if that is another one.
    """
    if not runs_modules(device.provider):
        require_gpu(device)
    with open_agent(device) as agent:
        energy_source = energy.source(agent.hello["host"])
        versions = agent.hello["versions"]
        facts = {k: v for k, v in agent.hello["host"]["gpu"].items() if v is not None}
        try:
            measured, observed = agent.ceilings()
        except CaseError as error:
            raise DeviceError(f"device {device.name!r}: {error}") from None
    rows = [*providers.rows(agent.hello["providers"], "", ""), *_facts(facts), *_now(observed)]
    rows += [("energy", energy_source), *_ceilings(measured)]
    print_rows([*beside, *rows])
    identity = gpu_options.identity(facts, device.provider, versions)
    is_kept = ceilings.save(identity, measured, records.now())
    console().print(f"{device.name} is ready; {_sentence(is_kept)}")


def _sentence(is_kept: bool) -> str:
    """The sentence on whether tables will show shares of the ceilings."""
    if is_kept:
        return "tables now show each case's share of these"
    return (
        f"tables cannot show each case's share of these, as {host.cache_folder()} cannot be written"
    )


def _facts(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    driver = f"driver {facts['driver']}, " if "driver" in facts else ""
    has = f" (the driver has {facts['driver_cuda']})" if "driver_cuda" in facts else ""
    rows = [
        ("GPU", f"{facts['name']}, compute capability {facts.get('capability', '?')}"),
        ("driven by", f"{driver}CUDA {facts['runtime']}{has}"),
    ]
    if "memory_bytes" in facts:
        rows.append(("memory", f"{facts['memory_bytes'] / GIB:.1f} GiB"))
    if "top_sm_clock_mhz" in facts:
        clocks = f"up to {facts['top_sm_clock_mhz']} MHz"
        rows.append(("clocks", f"{clocks}, memory {facts.get('top_memory_clock_mhz', '?')} MHz"))
    if "power_limit_w" in facts:
        rows.append(("power limit", f"{facts['power_limit_w']:.0f} W"))
    if "persistence" in facts:
        off = "off: it starts anew for every program (nvidia-smi -pm 1)"
        rows.append(("persistence", "on" if facts["persistence"] else off))
    if "unseen" in facts:
        rows.append(("not seen", facts["unseen"]))
    return rows


def _now(observed: Mapping[str, float]) -> list[tuple[str, str]]:
    """The clock, heat and other users of the GPU right after it was measured."""
    rows = []
    if "gpu_sm_clock_mhz" in observed:
        rows.append(("clock now", f"{observed['gpu_sm_clock_mhz']:.0f} MHz"))
    if "gpu_temperature_c" in observed:
        rows.append(("heat", f"{observed['gpu_temperature_c']:.0f} °C"))
    if held := [reason.name for reason in clock_reasons(observed) if reason.tag]:
        rows.append(("held down by", ", ".join(held)))
    if "gpu_other_processes" in observed:
        count = int(observed["gpu_other_processes"])
        rows.append(("others on it", _others(count)))
    return rows


def _others(count: int) -> str:
    if not count:
        return "none"
    return "1 process; end it first" if count == 1 else f"{count} processes; end them first"


def _ceilings(measured: Mapping[str, float]) -> list[tuple[str, str]]:
    products = [
        (f"{words} best", f"{measured[f'{name}_macs_per_s'] / TERA:.1f} T multiply-accumulates/s")
        for name, words in PRODUCTS.items()
    ]
    moved = f"{measured['bytes_per_s'] / GIGA:.0f} GB/s read and written"
    return [*products, ("memory best", moved)]
