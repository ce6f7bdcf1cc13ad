"""Rules for the options of a run that only GPUs have."""

from collections.abc import Sequence, Set
from dataclasses import replace
from typing import TypeVar

from benchbox.api.options import OnGpu, UnderLoad
from benchbox.devices import Device, providers
from benchbox.devices.gpu_options import CACHES, MODES, OPTIONS, SEARCHES, Driving, Mode
from benchbox.errors import UsageError
from benchbox.specs import QUANTISED, Precision
from benchbox.transports import require_gpu

Choice = TypeVar("Choice", bound=str)


def _drivings(asked: OnGpu) -> list[Driving]:
    """The ways in which each GPU is driven, one after the other; raises UsageError."""
    cache, search = _one(CACHES, asked.cache), _one(SEARCHES, asked.conv_search)
    return [Driving(mode, cache, asked.tf32, search) for mode in _modes(asked.mode or MODES[0])]


def _modes(text: str) -> list[Mode]:
    words = [word.strip() for word in text.split(",")]
    modes = [mode for word in words for mode in MODES if mode == word]
    if len(modes) < len(words) or len(set(modes)) < len(modes):
        raise UsageError(f"--mode {text}: write {MODES[0]}, {MODES[1]}, or both")
    return modes


def _one(choices: Sequence[Choice], word: str | None) -> Choice:
    """The choice that a word names, the first without any."""
    return next((choice for choice in choices if choice == word), choices[0])


def _among(asked: OnGpu, names: Set[str]) -> OnGpu:
    """Those of the options that have such names."""
    return OnGpu(**{name: getattr(asked, name) for name in OPTIONS if name in names})


def in_modes(
    chosen: Sequence[Device], asked: OnGpu, typed: Set[str] = frozenset(OPTIONS)
) -> list[Device]:
    """The devices, each GPU once for each mode asked for.

    Raises UsageError for `typed` options that a device has no use for.
    """
    drivings = _drivings(asked)
    if (own := _among(asked, typed)) != OnGpu():
        _require_gpus(chosen, own)
    result: list[Device] = []
    for device in chosen:
        ways = drivings[:1] if providers.runs_modules(device.provider) else drivings
        if device.driving is None:
            result.append(device)
        for driving in ways if device.driving else ():
            name = f"{device.name}-{driving.mode}" if len(ways) > 1 else device.name
            result.append(replace(device, name=name, driving=driving.by(device.provider)))
    return result


def _require_gpus(chosen: Sequence[Device], asked: OnGpu) -> None:
    modules = [device for device in chosen if providers.runs_modules(device.provider)]
    for device in chosen:
        if not device.gpu:
            first = _options(asked)[0]
            raise UsageError(f"{first}: only for GPUs, and device {device.name!r} is none")
    own = _options(replace(asked, cache=None, conv_search=None))
    if own and len(modules) == len(chosen):
        by = ", ".join(dict.fromkeys(providers.short(device.provider) for device in chosen))
        raise UsageError(f"{own[0]}: only for ONNX Runtime on GPUs, not for --provider {by}")
    if asked.tf32 and modules:
        by = providers.short(modules[0].provider)
        raise UsageError(f"--tf32: --provider {by} is timed without TF32; leave one of them out")
    if asked.conv_search and any(device.provider == providers.TENSORRT for device in chosen):
        raise UsageError(
            "--conv-search: --provider tensorrt times its own kernels; leave one of them out"
        )


def _options(asked: OnGpu) -> list[str]:
    return [option for name, option in OPTIONS.items() if getattr(asked, name)]


def refuse_loads(chosen: Sequence[Device], load: UnderLoad, typed: Set[str]) -> None:
    """Raise UsageError for a typed load on a GPU, where only calls in a row are timed."""
    for name in ("arrival", "sustained"):
        for device in chosen:
            if getattr(load, name) is not None and device.gpu and name in typed:
                raise UsageError(
                    f"--{name}: only for processors, and device {device.name!r} is a GPU; leave "
                    "it out"
                )


def refuse_quantised(chosen: Sequence[Device], dtype: Precision | None) -> None:
    """Raise UsageError where int8 is asked for and not ONNX Runtime on a processor would run it."""
    if dtype not in QUANTISED:
        return
    for device in chosen:
        by = device.gpu and f"device {device.name!r} is a GPU"
        if by or providers.runs_modules(device.provider):
            by = by or f"--provider {providers.short(device.provider)} runs the module as it is"
            raise UsageError(f"--dtype {dtype}: only for ONNX Runtime on processors, and {by}")


def require(chosen: Sequence[Device]) -> None:
    """Raise DeviceError unless every GPU asked for can be used, before anything is exported."""
    first: dict[tuple[str, str], Device] = {}
    for device in chosen:
        if device.driving is not None and not providers.runs_modules(device.provider):
            first.setdefault((device.gpu, device.provider), device)
    for device in first.values():
        require_gpu(device)
