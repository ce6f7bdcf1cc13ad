"""Context of a run: what was asked for, of which specs, and where it ran."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from benchbox import __version__, export, records
from benchbox.devices import CPU_PROVIDER, Device, ceilings, gpu_options
from benchbox.records import Context, SpecFacts
from benchbox.runner.prepare import once
from benchbox.runner.record import shareable
from benchbox.runner.request import Request
from benchbox.specs import BlockSpec, Builder, Case, Selection
from benchbox.transports import Agent


def context_of(request: Request, cases: Sequence[Case], agent: Agent) -> Context:
    """The context of a request on the device that an agent has greeted from."""
    device, selection, hello = request.device, request.selection, agent.hello
    plugin = _plugin(device, hello)
    return Context(
        name=request.name,
        created=records.now(),
        benchbox=__version__,
        device=device.name,
        provider=plugin.get("provider", device.provider),
        threads=device.threads,
        channels=selection.channels,
        seed=request.plan.seed,
        plan={**planned(request, cases), **(device.driving.plan() if device.driving else {})},
        specs=facts(request),
        host=_with_ceilings(hello, device),
        versions={**export.versions(), **hello["versions"]},
        cpus=hello["cpus"],
        affinity=hello["affinity"],
        plugin=plugin,
    )


def planned(request: Request, cases: Sequence[Case]) -> dict[str, Any]:
    """The plan of a request and what of its cases it asks for, whatever the device."""
    selection = request.selection
    return {
        **asdict(request.plan),
        "cases": len(cases),
        "batch": _one_or_all(selection.batches),
        "shapes": [str(shape) for shape in selection.shapes],
        **({"dims": {k: [*v] for k, v in selection.dims.items()}} if selection.dims else {}),
        **({"values": given} if (given := _values(cases)) else {}),
        "weights": _weights(cases),
        "dtype": _one_or_all(selection.dtypes),
        **({"head": selection.head} if selection.head else {}),
        **_swept(selection),
    }


def facts(request: Request) -> list[SpecFacts]:
    """The facts of the specs of a request."""
    return [_facts(spec, request.selection) for spec in once(request.specs)]


def _plugin(device: Device, hello: Mapping[str, Any]) -> dict[str, Any]:
    """The plug-in with its part of the device's name, and without the folders of options."""
    if "plugin" not in hello or device.plugin is None:
        return {}
    options = {name: shareable(text) for name, text in hello["plugin"]["options"].items()}
    return {**hello["plugin"], "name": device.plugin.name, "options": options}


def _one_or_all(values: Sequence[object]) -> object:
    """The only value, a list of several, None without any."""
    return [*values] if len(values) > 1 else next(iter(values), None)


def _swept(selection: Selection) -> dict[str, object]:
    """The sizes and threads that were asked for, where they were."""
    threads = selection.threads if len(selection.threads) > 1 else ()
    swept = {"size": _one_or_all(selection.sizes), "threads": _one_or_all(threads)}
    return {name: value for name, value in swept.items() if value is not None}


def _weights(cases: Sequence[Case]) -> dict[str, str]:
    """The sha256 of the checkpoint of every network that has one."""
    sources = {case.network: case.source for case in cases if isinstance(case.source, Builder)}
    return {name: s.weights_sha256 for name, s in sources.items() if s.weights is not None}


def _values(cases: Sequence[Case]) -> dict[str, str]:
    """The values that were given, by input where all cases have the same, else by case too."""
    found = {(c.key, t.name): str(t.values) for c in cases for t in c.inputs if t.values}
    by_input: dict[str, set[str]] = {}
    for (_, name), text in found.items():
        by_input.setdefault(name, set()).add(text)
    return {
        name if len(by_input[name]) == 1 else f"{key} {name}": text
        for (key, name), text in found.items()
    }


# What changes from minute to minute, or with the slot of a card, is no part of what the machine is.
PASSING = ("memory_available_bytes", "boot", "gpu_bus")


def _shareable(host: Mapping[str, object]) -> dict[str, object]:
    kept = {name: value for name, value in host.items() if name not in PASSING}
    energy = kept.pop("energy", None)
    if isinstance(energy, dict) and "source" in energy:
        kept["energy"] = {name: energy[name] for name in ("source", "idle_s") if name in energy}
    return kept


def _with_ceilings(hello: Mapping[str, Any], device: Device) -> dict[str, object]:
    """The host's facts with the measured ceilings of the GPU or the processors, if any."""
    host, gpu = _shareable(hello["host"]), hello["host"].get("gpu")
    if device.provider == CPU_PROVIDER:
        known = ceilings.load(ceilings.of_processor(hello, device.threads))
        return {**host, "ceilings": known} if known else host
    if not isinstance(gpu, dict):
        return host
    known = ceilings.load(gpu_options.identity(gpu, device.provider, hello["versions"]))
    return {**host, "gpu": {**gpu, "ceilings": known}} if known else host


def _facts(spec: BlockSpec, selection: Selection) -> SpecFacts:
    figures = spec.figures(selection.channels)
    return SpecFacts(
        name=spec.name,
        title=spec.title,
        sha256=spec.sha256,
        guideline=spec.guideline,
        source=spec.source,
        group_by=spec.group_by,
        claim=None if spec.claim is None else asdict(spec.claim),
        published_unit=figures.unit if figures else None,
        published_device=figures.device if figures else "",
    )
