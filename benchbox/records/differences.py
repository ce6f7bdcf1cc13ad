"""Differences between two runs: machine, versions, settings and plan."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchbox.devices import gpu_options, providers
from benchbox.records.model import Context, Record

# Samples taken under different values of these do not belong in one table. What was timed may have
# changed: samples belong to a graph, by its sha256.
SAME = ("device", "provider", "threads", "cpus", "channels", "seed", "versions")
SWEPT = ("batch", "size", "shapes", "dims", "values", "dtype", "threads", "head")
LOAD = ("arrival_per_s", "sustained_s")
DRIVING = tuple(gpu_options.OPTIONS)
SAME_GPU = {"name": "GPU", "power_limit_w": "its power limit"}
SAME_HOST = ("machine", "cpu", "cpus", "kernel", "emulated")
# What makes a machine another one, as far as records tell.
MACHINE = ("system", "machine", "cpu", "cpus", "virtual", "emulated")
VERSIONS = {"plugin": "the plug-in's version"}  # the names of others are those of packages
GPU_FACTS = {
    "driver": "GPU driver",
    "runtime": "CUDA",
    "power_limit_w": "GPU power limit (W)",
    "clock_khz": "GPU clock (kHz)",
}


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that two runs differ in, by name; None is unknown, or none."""

    name: str
    was: object
    now: object


def of_samples(old: Context, new: Context, swept: Sequence[str] = SWEPT) -> list[Difference]:
    """Differences that forbid two runs to share samples; `swept` is part of the plan."""
    pairs = [(name, getattr(old, name), getattr(new, name)) for name in SAME]
    pairs += [("plug-in", _plugin(old), _plugin(new))]
    pairs += [(name, old.host.get(name), new.host.get(name)) for name in SAME_HOST]
    pairs += _planned(old, new, (*swept, *LOAD, *DRIVING))
    pairs += [(label, _gpu(old).get(key), _gpu(new).get(key)) for key, label in SAME_GPU.items()]
    return _where_they_differ(pairs)


def machine(context: Context) -> tuple[object, ...]:
    """The device and its hardware: equal for two runs of one machine, as far as records tell."""
    device = providers.without_provider(
        context.device, context.provider, context.plugin.get("name", "")
    )
    hardware = (context.host.get(name) for name in MACHINE)
    return (device, *hardware, _gpu(context).get("name"))


def setting(context: Context) -> dict[str, object]:
    """The settings that figures of a case must share to be followed from run to run."""
    planned = {name: context.plan.get(name) for name in (*SWEPT, *LOAD, *DRIVING)}
    own = {name: getattr(context, name) for name in ("provider", "threads", "channels")}
    own |= {"plug-in": _options(context), "processors": _kinds(context)}
    return {name: value for name, value in (planned | own).items() if value}


def followed(context: Context) -> str:
    """The machine of a run and how it was set, as a text that is equal for those alike."""
    return json.dumps([machine(context), setting(context)])


def of_case(old: Context, a: Record, new: Context, b: Record) -> list[Difference]:
    """The settings of a case that make its figures in two runs figures of two things.

    Of checkpoints that is whether there is one, as each has numbers of its own. The channels of a
    platform are no setting of what has the same for both.
    """
    are_channels = a.args != b.args and None not in (a.channels, b.channels)
    pairs: Pairs = [
        ("channels", a.channels, b.channels if are_channels else a.channels),
        ("inputs", _shapes(a), _shapes(b)),
        ("values", dict(a.values), dict(b.values)),
        ("dtype", a.dtype, b.dtype),
        ("head", a.args.get("head"), b.args.get("head")),
        ("weights", _weights(old, a), _weights(new, b)),
        ("threads", a.threads or old.threads, b.threads or new.threads),
        ("provider", old.provider, new.provider),
        ("plug-in", _options(old), _options(new)),
        ("processors", _kinds(old), _kinds(new)),
        *_planned(old, new, (*LOAD, *DRIVING)),
    ]
    return _where_they_differ(pairs)


def _weights(context: Context, record: Record) -> str | None:
    network = record.labels.get("network")
    return "a checkpoint" if network in context.plan.get("weights", {}) else None


def _options(context: Context) -> dict[str, object]:
    """The options of a plug-in and its device, whatever version it is; empty without one."""
    found = {"device": context.plugin.get("device"), **context.plugin.get("options", {})}
    return found if context.plugin else {}


def _kinds(context: Context) -> list[str]:
    """The kinds of processors that were used, where the machine has several."""
    clusters = context.host.get("clusters", ())
    used = [each for each in clusters if not set(each["cpus"]).isdisjoint(context.cpus)]
    facts = ((each.get("core"), each.get("capacity") or each.get("top_khz")) for each in used)
    kinds = [" ".join(str(fact) for fact in each if fact) for each in facts]
    return kinds if len(clusters) > 1 else []


def _shapes(record: Record) -> list[str]:
    """The shapes and types of inputs; their names change nothing."""
    return [text.partition("=")[2] for text in record.inputs]


def between(old: Context, new: Context) -> list[Difference]:
    """The changes from one run to another, except in cases and effort."""
    was, now = conditions(old), conditions(new)
    return _where_they_differ([(name, was.get(name), now.get(name)) for name in {**was, **now}])


def conditions(context: Context) -> dict[str, object]:
    """All that may change from one run to another, except cases and effort, by name."""
    return {
        **{name: getattr(context, name) for name in ("benchbox", "provider", "threads", "cpus")},
        "plug-in": _plugin(context),
        **{VERSIONS.get(name, name): version for name, version in context.versions.items()},
        **{name: context.host.get(name) for name in ("kernel", "memory_bytes")},
        **context.host.get("setting", {}),
        "top clock (kHz)": [each.get("top_khz") for each in context.host.get("clusters", ())],
        **{label: _gpu(context).get(key) for key, label in GPU_FACTS.items()},
        **{name: it for name in (*SWEPT, *LOAD, *DRIVING) if (it := context.plan.get(name))},
    }


Pairs = list[tuple[str, object, object]]


def _planned(old: Context, new: Context, names: Sequence[str]) -> Pairs:
    return [(name, old.plan.get(name) or None, new.plan.get(name) or None) for name in names]


def _where_they_differ(pairs: Pairs) -> list[Difference]:
    return [Difference(name, was, now) for name, was, now in pairs if was != now]


def _plugin(context: Context) -> str | None:
    """The library that brought the provider, the device and the options; None without one."""
    if not context.plugin:
        return None
    library, digest, device = (context.plugin.get(key) for key in ("library", "sha256", "device"))
    options = [f"{name}={value}" for name, value in context.plugin.get("options", {}).items()]
    return ", ".join([f"{library} ({digest}) on {device}", *options])


def _gpu(context: Context) -> Mapping[str, object]:
    found = context.host.get("gpu")
    return found if isinstance(found, Mapping) else {}
