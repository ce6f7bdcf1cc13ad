"""Plug-ins as they are named: `openvino,precision=bf16` or `plugin:PATH,option=value`."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from benchbox.agent.ort import plugins as on_device
from benchbox.errors import UsageError

PREFIX = "plugin:"
AS = "as"  # before a name of its own
OPTION = re.compile(r"([A-Za-z_][\w.]*)=(.*)", re.DOTALL)
DIGITS = 6  # of the hash of a longer one
LONGEST = 16  # characters of an option's value that stands in a device's name as it is


@dataclass(frozen=True, slots=True)
class Plugin:
    """A provider that the device's ONNX Runtime loads from a library of its own.

    `name` stands in the device's name. `provider` is empty where `library`, a path on the device,
    is to say it; else the library is that of a Python package there, or the provider the build's.
    """

    name: str
    provider: str
    library: str
    options: tuple[tuple[str, str], ...] = ()

    def message(self) -> dict[str, object]:
        """It as an agent is told of it."""
        own = dict(self.options)
        return {"provider": self.provider, "library": self.library, "options": own}


def words(text: str) -> list[str]:
    """The providers of a list, each with the options that follow it."""
    found: list[str] = []
    for part in _parts(text):
        if found and OPTION.fullmatch(part):
            found[-1] += f",{part}"
        else:
            found.append(part)
    return found


def _parts(text: str) -> Iterator[str]:
    """The parts between commas; commas within braces, as JSON has them, do not count."""
    part = ""
    for piece in text.split(","):
        part = f"{part},{piece}" if part else piece
        if part.count("{") <= part.count("}"):
            yield part.strip()
            part = ""
    if part:
        yield part.strip()


def head(word: str) -> str:
    """A provider of `words` without its options."""
    return word.partition(",")[0].strip()


def of(word: str, provider: str, short: str) -> Plugin | None:
    """The plug-in that one of `words` names, None for a provider of ONNX Runtime's own.

    Raises UsageError for options that it does not take, as far as that is known here.
    """
    options = _options(word, provider)
    own = options.pop(AS, "")
    given, told = tuple(options.items()), _told(provider, options)
    if provider.startswith(PREFIX):
        library = provider.removeprefix(PREFIX)
        if not library:
            raise UsageError(f"--provider {word}: write plugin:PATH, of the provider's library")
        return Plugin(_name(own or on_device.stem(library), told), "", library, given)
    if provider not in on_device.PACKAGES:
        if options or own:
            raise UsageError(f"--provider {word}: {short} takes no options")
        return None
    try:
        on_device.require_options(provider, options)
    except ValueError as error:
        raise UsageError(f"--provider {short}: {error}") from None
    return Plugin(_name(own or short, told), provider, "", given)


def _options(word: str, provider: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in [*_parts(word)][1:]:
        match = OPTION.fullmatch(part)
        if match is None or match[1] in found:
            raise UsageError(f"--provider {word}: {part!r} is no option, or given twice")
        found[match[1]] = _plain(provider, match[1], match[2])
    return found


def _plain(provider: str, name: str, value: str) -> str:
    """A value as one of those that mean the same: `cpu` of `CPU`, `fp32` of `float32`."""
    lower = value.lower()
    if name == on_device.DEVICE:
        return lower
    if name == on_device.PRECISION and provider in on_device.PRECISIONS:
        alike = {long: short for short, long in on_device.TYPES.items()}
        return alike.get(lower, lower if lower in on_device.TYPES else value)
    return value


def plain(word: str, provider: str) -> str:
    """A provider with the options of one of `words`, each written in one way."""
    own = _options(word, provider)
    return ",".join([provider, *(f"{name}={value}" for name, value in own.items())])


def _told(provider: str, options: Mapping[str, str]) -> Iterator[str]:
    """Options as a device's name has them: values alone where all keys of a provider are known."""
    known = on_device.own_options(provider)
    for name, value in options.items():
        if name not in known:
            yield name
        yield value if len(value) <= LONGEST else _brief(value)


def _name(own: str, told: Iterator[str]) -> str:
    """It in a device's name, with what of its options tells columns apart."""
    plain = (re.sub(r"[^A-Za-z0-9_.]+", "-", part).strip("-") for part in (own, *told))
    return "-".join(filter(None, plain)) or "plugin"


def _brief(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()[:DIGITS]
