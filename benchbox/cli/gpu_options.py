"""The options of `benchbox run` and `compare` that are for GPUs alone."""

from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from typing import TypeVar

from benchbox.cli.load_options import Load
from benchbox.devices import Device, providers
from benchbox.devices.gpu_options import CACHES, MODES, OPTIONS, SEARCHES, Driving, Mode
from benchbox.errors import UsageError
from benchbox.transports import require_gpu

Choice = TypeVar("Choice", bound=str)


@dataclass(frozen=True, slots=True)
class Asked:
    """The options; None, or False, is what nobody asked for."""

    mode: str | None = None
    cache: str | None = None
    tf32: bool = False
    conv_search: str | None = None

    def drivings(self) -> list[Driving]:
        """Return how each GPU is driven, one after the other; raises UsageError."""
        cache, search = _one(CACHES, self.cache), _one(SEARCHES, self.conv_search)
        return [Driving(mode, cache, self.tf32, search) for mode in self._modes()]

    def among(self, names: Set[str]) -> "Asked":
        """Return those of the options that have such names."""
        return Asked(**{name: getattr(self, name) for name in OPTIONS if name in names})

    def _modes(self) -> list[Mode]:
        words = [word.strip() for word in (self.mode or MODES[0]).split(",")]
        modes = [mode for word in words for mode in MODES if mode == word]
        if len(modes) < len(words) or len(set(modes)) < len(modes):
            raise UsageError(f"--mode {self.mode}: write {MODES[0]}, {MODES[1]}, or both")
        return modes


def _one(choices: Sequence[Choice], word: str | None) -> Choice:
    """Return the choice that a word names, the first without any."""
    return next((choice for choice in choices if choice == word), choices[0])


def driven(
    places: Sequence[Device], asked: Asked, typed: Set[str] = frozenset(OPTIONS)
) -> list[Device]:
    """Return the devices, each GPU once for each way in which it is to be driven.

    Raises UsageError for options that a device has no use for and that were `typed`.
    """
    drivings = asked.drivings()
    if asked.among(typed) != Asked():
        _require_gpus(places, asked.among(typed))
    result: list[Device] = []
    for place in places:
        ways = drivings[:1] if providers.runs_modules(place.provider) else drivings
        if place.driving is None:
            result.append(place)
        for driving in ways if place.driving else ():
            name = f"{place.name}-{driving.mode}" if len(ways) > 1 else place.name
            result.append(replace(place, name=name, driving=driving.by(place.provider)))
    return result


def _require_gpus(places: Sequence[Device], asked: Asked) -> None:
    modules = [place for place in places if providers.runs_modules(place.provider)]
    for place in places:
        if not place.gpu:
            first = _options(asked)[0]
            raise UsageError(f"{first}: only for GPUs, and device {place.name!r} is none")
    own = _options(replace(asked, cache=None, conv_search=None))
    if own and len(modules) == len(places):
        by = ", ".join(dict.fromkeys(providers.short(place.provider) for place in places))
        raise UsageError(f"{own[0]}: only for ONNX Runtime on GPUs, not for --provider {by}")
    if asked.tf32 and modules:
        by = providers.short(modules[0].provider)
        raise UsageError(f"--tf32: --provider {by} is timed without TF32; leave one of them out")
    if asked.conv_search and any(place.provider == providers.TENSORRT for place in places):
        raise UsageError(
            "--conv-search: --provider tensorrt times its own kernels; leave one of them out"
        )


def _options(asked: Asked) -> list[str]:
    return [option for name, option in OPTIONS.items() if getattr(asked, name)]


def refuse_loads(places: Sequence[Device], load: Load, typed: Set[str]) -> None:
    """Raise UsageError for a load on a GPU: of its time there, only that in a row is measured."""
    for name in ("arrival", "sustained"):
        for place in places:
            if getattr(load, name) is not None and place.gpu and name in typed:
                raise UsageError(
                    f"--{name}: only for processors, and device {place.name!r} is a GPU; leave "
                    "it out"
                )


def require(places: Sequence[Device]) -> None:
    """Raise DeviceError unless every GPU asked for can be used; nothing is made for it before."""
    first: dict[tuple[str, str], Device] = {}
    for place in places:
        if place.driving is not None and not providers.runs_modules(place.provider):
            first.setdefault((place.gpu, place.provider), place)
    for place in first.values():
        require_gpu(place)
