"""Footnotes on the device while it was measured: its processors, settings and temperature."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchbox.analysis import disturbance_text
from benchbox.devices import providers
from benchbox.records import Context, Record
from benchbox.records.cooldown import Cooldown
from benchbox.records.summary import summary
from benchbox.report import quantised
from benchbox.report.formatting import cpu_list
from benchbox.report.text import by_text

LABELS = {
    "governor": "governor",
    "limit": "clock limit",
    "throttled": "throttling",
    "nvpmodel": "power mode",
    "jetson_clocks": "clocks",
}
AS_BUILT = {
    providers.TORCH: "PyTorch's own module in eager mode, default memory layout",
    providers.TORCH_COMPILE: "PyTorch's own module by torch.compile with its defaults, no freezing",
    providers.TORCH_CUDAGRAPH: "PyTorch's own module as one captured CUDA graph",
    providers.TENSORRT: "its nodes are fused to engines, which each process builds anew, by timing "
    "kernels: another process may choose others",
}
SINGLE = "float"  # float32, in ONNX Runtime's words
LEAST = 1e-4  # of an output, which is worth a figure
NOW = " now"  # ends what a board's firmware says of this moment


def notes(context: Context, records: Sequence[Record]) -> list[str]:
    """The footnotes on the device for the records of a run, each once."""
    setting = context.host.get("setting", {})
    waits = {each.session: each for record in records for each in record.cooldowns}
    return [
        *_differences(context, records),
        *_computed_in(context, records),
        *quantised.about(record.dtype for record in records),
        *_other_types(context, records),
        *quantised.slower(records),
        *_clusters(context),
        *_firmware(setting),
        *_changes(setting, records),
        *_gpu_disturbances(records),
        *_cooldowns([waits[session] for session in sorted(waits)]),
    ]


def kind(context: Context) -> str:
    """`gpu`, or the processor's architecture, which may be emulated."""
    if "gpu" in context.host:
        return "gpu"
    emulated = "emulated " if context.host.get("emulated") else ""
    return f"{emulated}{context.host.get('machine', '')}"


def _differences(context: Context, records: Sequence[Record]) -> Iterator[str]:
    """Differences between the graph and the program that ran."""
    if context.provider not in AS_BUILT:
        return
    yield AS_BUILT[context.provider]
    folded = any((record.graph or {}).get("batch_norm") == "folded" for record in records)
    if folded and providers.runs_modules(context.provider):
        yield "its batch norms are as in the module; the ONNX graph has them folded away"


def _computed_in(context: Context, records: Sequence[Record]) -> Iterator[str]:
    """Notes on the type in which a provider computed, and on how far its outputs are off."""
    found: dict[str, list[float]] = {}
    for record in records:
        if record.output_error is None:
            continue
        computed = record.computed_in
        of = f", not {record.dtype}" if computed and record.dtype not in computed.split() else ""
        how = f"computed in {computed}{of}: " if computed else ""
        found.setdefault(how, []).append(record.output_error)
    for how, errors in found.items():
        ends = dict.fromkeys(map(_share, (min(errors), max(errors))))
        count = f"{len(errors)} of {len(records)} cases " if len(errors) < len(records) else ""
        yield (
            f"{context.provider} {count and f'in {count}'}{how}outputs are {' to '.join(ends)} off "
            "the CPU provider's"
        )


def _share(error: float) -> str:
    return f"{error:.2%}" if error >= LEAST else f"less than {LEAST:.2%}"


def _other_types(context: Context, records: Sequence[Record]) -> list[str]:
    """Notes on converted graphs that computed in another type, or whose types are not known."""
    names = [record.case for record in records]
    lines = by_text(names, [other_types(context, record) for record in records])
    if len(lines) < 2:
        return lines
    worst = max(records, key=_share_single)
    count = sum(_share_single(record) > 0 for record in records)
    what = (
        "have nodes that stayed float32"
        if quantised.is_quantised(worst)
        else "compute in float32 here, between casts, for want of float16 kernels"
    )
    return [
        f"{count} of {len(records)} cases {what}; most of all {worst.case}: "
        f"{other_types(context, worst)}"
    ]


def other_types(context: Context, record: Record) -> str:
    """The part of a converted graph that computed in float32, empty where nothing did."""
    is_module = providers.runs_modules(context.provider)  # which computes in its own type
    if quantised.is_quantised(record) and record.latency:
        return quantised.kernels(record)
    if record.dtype != "float16" or record.latency is None or is_module:
        return ""
    if record.types is None:
        return "whether float16 or float32 kernels computed it is not told here"
    single, total = record.types.get(SINGLE, 0), sum(record.types.values())
    if not single:
        return ""
    how_many = "all" if single == total else f"{single} of {total}"
    whole = ", so this is no latency of fp16 arithmetic" if single * 2 > total else ""
    return (
        f"{how_many} nodes computed in float32, between casts, for want of float16 kernels{whole}"
    )


def _share_single(record: Record) -> float:
    types = record.types or {}
    if quantised.is_quantised(record):
        return quantised.share_float(record)
    return types.get(SINGLE, 0) / max(1, sum(types.values()))


def _clusters(context: Context) -> Iterator[str]:
    """The note for threads on unequal processors."""
    used = context.cpus[: context.threads]
    parts = []
    for cluster in context.host.get("clusters", ()):
        if own := [cpu for cpu in used if cpu in cluster["cpus"]]:
            parts.append(f"{len(own)} on {_cluster(cluster)}")
    if len(parts) > 1:
        yield f"its threads ran on unequal processors, and the slowest decides: {', '.join(parts)}"


def _cluster(cluster: Mapping[str, Any]) -> str:
    core = f" ({cluster['core']})" if "core" in cluster else ""
    return f"{cpu_list(cluster['cpus'])}{core}"


def _firmware(setting: Mapping[str, str]) -> Iterator[str]:
    """The note on a board whose firmware held its clock down from the beginning."""
    words = [each for each in setting.get("throttled", "").split(", ") if each.endswith(NOW)]
    if words:
        text = ", ".join(each.removesuffix(NOW) for each in words)
        yield f"when the run began the board's firmware said: {text}"


def _changes(setting: Mapping[str, str], records: Sequence[Record]) -> Iterator[str]:
    """Notes on settings that changed during the run."""
    changed: dict[str, dict[str, None]] = {}
    for record in records:
        for name, words in summary(record).settings.items():
            changed.setdefault(name, {}).update(dict.fromkeys(words))
    for name, later in changed.items():
        first = f" from {setting[name]}" if name in setting else ""
        label = LABELS.get(name, name)
        yield f"while it was timed its {label} changed{first} to {', then to '.join(later)}"


def _gpu_disturbances(records: Sequence[Record]) -> Iterator[str]:
    """Notes on disturbances of a GPU during samples that count, however precise they are."""
    found = {record.case: summary(record).shares for record in records}
    for tag in disturbance_text.LASTING:
        shares = {case: of_case.get(tag, 0.0) for case, of_case in found.items()}
        worth = {
            case: share for case, share in shares.items() if share >= disturbance_text.WORTH_SAYING
        }
        if not worth:
            continue
        ends = dict.fromkeys(f"{end:.0%}" for end in (min(worth.values()), max(worth.values())))
        seen, help_ = disturbance_text.WORDS[tag]
        text = f"in {' to '.join(ends)} of the bursts that count {seen}; {help_}"
        if len(shares) > len(worth) > quantised.FEW:
            yield f"{len(worth)} of {len(shares)} cases: {text}"
        else:
            yield from by_text(list(shares), [text if case in worth else "" for case in shares])


def _cooldowns(waits: Sequence[Cooldown]) -> Iterator[str]:
    """Notes on a device that did not cool down, or does not show whether it did."""
    if len(waits) > 1 and any(each.first_c is None for each in waits):
        yield "it was given no time to cool down: the device shows no temperature"
    late = [each for each in waits if not each.is_back]
    if late:
        worst = max(late, key=lambda each: each.end_c or 0.0)
        count = len(waits) - 1  # the first has nothing to wait for
        yield (
            f"it had not cooled down before {len(late)} of {count} processes: {worst.end_c:.0f} °C "
            f"after {worst.waited_s:.0f} s, {worst.first_c:.0f} °C before the first; "
            "give it longer with --cooldown"
        )
