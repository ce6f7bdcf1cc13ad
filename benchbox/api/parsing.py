"""Parsers of option values: `1%`, `90s`, `x=1x3x224x224:int64`."""

import errno
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from benchbox.analysis.limits import Limit
from benchbox.analysis.quantities import SMALLEST, YEAR_S
from benchbox.errors import UsageError

if TYPE_CHECKING:
    from benchbox.devices.registry import Processors
    from benchbox.specs import Precision, Values

LOWEST = 50.0  # percentile
RAREST, FASTEST = 1 / 86_400, 100_000  # calls per second
EARLIEST = 1970  # year
HOURS = {"h": 1, "d": 24, "w": 168}
COUNTS = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9}
# What a limit can be about -> its units, and what they count.
LIMITS: Mapping[str, Mapping[str, float]] = {
    "slower": {"%": 0.01},
    "latency": {"us": 1e-6, "ms": 1e-3, "s": 1.0},
    "peak_memory": {"kb": 1e3, "mb": 1e6, "gb": 1e9, "kib": 1024.0, "mib": 2.0**20, "gib": 2.0**30},
    "params": COUNTS,
    "flops": COUNTS,
}
FITS = (
    "write slower>3%, p50>33ms or another percentile, peak_memory>50MB, params>5M or flops>300M, "
    "several with commas"
)
SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "": 1.0}


def share(text: str, option: str = "--precision") -> float:
    """Parse `1%` or `0.01` as 0.01; raises UsageError unless it lies between 0 and 1."""
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*(%?)\s*", text)
    value = float(match[1]) / (100 if match[2] else 1) if match else 0.0
    if not SMALLEST <= value < 1:
        raise UsageError(f"{option} {text}: write a share such as 1% or 0.01")
    return value


def percentiles(text: str | None) -> tuple[float, ...]:
    """Parse `90,99.9` as percentages, none without text; raises UsageError otherwise."""
    words = [word.strip() for word in text.split(",")] if text is not None else []
    found = {float(word) for word in words if re.fullmatch(r"[0-9]{2}(\.[0-9])?", word)}
    if len(found) < len(words) or not all(LOWEST <= each < 100 for each in found):
        raise UsageError(f"--percentiles {text}: write each once, from 50 to 99.9, as in 90,99")
    return tuple(sorted(found))


def seconds(text: str, option: str = "--max-time", example: str = "90s, 5m or 1h") -> float:
    """Parse `90s`, `5m`, `1h` or `90` as seconds; raises UsageError unless it is positive."""
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*(ms|s|m|h|)\s*", text)
    value = float(match[1]) * SECONDS[match[2]] if match else 0.0
    if not 0 < value <= YEAR_S:
        raise UsageError(f"{option} {text}: write it as {example}, above 0 and up to a year")
    return value


def budget(text: str) -> float:
    """Parse `33ms` or `1.5s` as seconds; raises UsageError without a unit."""
    if not re.fullmatch(r"\s*[0-9]*\.?[0-9]+\s*m?s\s*", text):
        raise UsageError(f"--budget {text}: write it as 33ms or 1.5s")
    return seconds(text, "--budget", "33ms or 1.5s")


def since(text: str, option: str = "--since") -> datetime:
    """Parse `12h`, `30d` or `2026-11-01`, which is of UTC; raises UsageError otherwise."""
    if match := re.fullmatch(r"\s*([0-9]{1,5})\s*(h|d|w)\s*", text):
        found = datetime.now(UTC) - timedelta(hours=int(match[1]) * HOURS[match[2]])
    else:
        try:
            found = datetime.fromisoformat(text)
        except ValueError:
            raise UsageError(f"{option} {text}: write it as 12h, 30d, 8w or 2026-11-01") from None
    if found.year < EARLIEST:
        raise UsageError(f"{option} {text}: that is before {EARLIEST}")
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def limits(text: str | None) -> list[Limit]:
    """Parse `slower>3%,p99>33ms,params>5M`; raises UsageError for what is no limit."""
    return [_limit(word, text) for word in text.split(",")] if text is not None else []


def _limit(word: str, text: str) -> Limit:
    match = re.fullmatch(r"([a-z_0-9.]+?)\s*>\s*([0-9]*\.?[0-9]+)\s*([a-zA-Z%]*)", word.strip())
    name, number, unit = match.groups() if match else ("", "0", "")
    percentile = re.fullmatch(r"p([0-9]{2}(?:\.[0-9])?)", name)
    figure = "latency" if percentile and float(percentile[1]) >= LOWEST else name
    is_known = bool(percentile) or name != "latency"
    scale = LIMITS.get(figure, {}).get(unit.lower()) if is_known else None
    if scale is None or not (float(number) > 0 or figure == "slower"):
        is_bare = figure == "slower" and not unit
        meant = f"{name}>{number}%, with its percent sign; " if is_bare else ""
        which = f"{word.strip()!r}: " if "," in text and not is_bare else ""
        raise UsageError(f"--fail-on {text.strip() or repr(text)}: {which}{meant}{FITS}")
    most = float(number) * scale + (figure == "slower")
    return Limit(
        f"{name}>{number}{unit}",
        figure,  # type: ignore[arg-type]  # a key of LIMITS
        *(most, unit, scale),
        float(percentile[1]) if percentile else None,
    )


def rate(text: str) -> float:
    """Parse `5/s`, `30/m` or `10/h` as calls per second; raises UsageError unless positive."""
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*/\s*(s|m|h)\s*", text)
    value = float(match[1]) / SECONDS[match[2]] if match else 0.0
    if not RAREST <= value <= FASTEST:
        raise UsageError(f"--arrival {text}: write it as 5/s, 30/m or 10/h, up to {FASTEST}/s")
    return value


def cpus(text: str) -> tuple[int, ...]:
    """Parse `0,2-3` as 0, 2 and 3, in that order; raises UsageError otherwise."""
    result: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*([0-9]{1,4})(?:-([0-9]{1,4}))?\s*", part)
        if match is None:
            raise UsageError(f"--cpus {text}: write processors as 0,1 or 0-3")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise UsageError(f"--cpus {text}: write {part.strip()} the other way round")
        result += range(first, last + 1)
    if not result or len(set(result)) != len(result):
        raise UsageError(f"--cpus {text}: name each processor once, as in 0,1 or 0-3")
    return tuple(result)


def processors(text: str | None) -> "list[Processors]":
    """Parse `--cpus` as choices to time on in turn: `0,1` is one, `big,little` are two.

    Without the option it is one empty choice. Raises UsageError for anything else.
    """
    from benchbox.devices.registry import CLUSTERS  # here, as most commands take no device

    if text is None:
        return [()]
    words = [word.strip() for word in text.split(",")]
    asked: list[Processors] = [cluster for word in words for cluster in CLUSTERS if word == cluster]
    if not asked and any(map(str.isalpha, words)):
        raise UsageError(f"--cpus {text}: write processors as 0,1 or 0-3, or big, middle or little")
    if not asked:
        return [cpus(text)]
    if len(asked) < len(words) or len(set(asked)) < len(asked):
        raise UsageError(f"--cpus {text}: write clusters as big,little or processors as 0,1")
    return asked


def batches(text: str | None) -> tuple[int, ...]:
    """Parse `1,8` as 1 and 8, an empty tuple without text; raises UsageError otherwise."""
    return _numbers(text, "--batch", "write images in one call as 8, or several as 1,8", "batch")


def sizes(text: str | None) -> tuple[int, ...]:
    """Parse `--size` as sides of images; raises UsageError otherwise."""
    return _numbers(text, "--size", "write the side of an image as 224, or several as 160,224")


def threads(text: str | None) -> tuple[int, ...]:
    """Parse `--threads` as numbers of them; raises UsageError otherwise."""
    return _numbers(text, "--threads", "write threads of a call as 2, or several as 1,2,4")


def one_number_of_threads(text: str | None) -> int | None:
    """Parse `--threads` of a command that takes one; raises UsageError for several."""
    found = threads(text)
    if len(found) > 1:
        raise UsageError(f"--threads {text}: choose one here")
    return found[0] if found else None


def _numbers(text: str | None, option: str, advice: str, what: str = "number") -> tuple[int, ...]:
    if text is None:
        return ()
    words = [word.strip() for word in text.split(",")]
    if not all(re.fullmatch(r"0*[1-9][0-9]{0,8}", word) for word in words):
        raise UsageError(f"{option} {text}: {advice}")
    result = tuple(map(int, words))
    if len(set(result)) < len(result):
        raise UsageError(f"{option} {text}: name each {what} once")
    return result


def dtypes(text: str | None) -> "tuple[Precision, ...]":
    """Parse `fp32,fp16` as both, an empty tuple without text; raises UsageError otherwise."""
    from benchbox.specs import PRECISIONS  # here, as most commands time nothing

    words = [word.strip() for word in text.split(",")] if text is not None else []
    found = tuple(each for word in words for each in PRECISIONS if each == word)
    if len(found) < len(words) or len(set(found)) < len(found):
        known = ", ".join(PRECISIONS)
        raise UsageError(f"--dtype {text}: choose from {known}, one or several, each once")
    return found


def one_choice(text: str | None) -> "Processors":
    """Parse `--cpus` of a command that takes one choice; raises UsageError for several."""
    first, *others = processors(text)
    if others:
        raise UsageError(f"--cpus {text}: choose one cluster here")
    return first


def one_device(text: str) -> str:
    """The device of a command that takes one only; raises UsageError for several."""
    if len(text.split()) > 1:
        raise UsageError(f"--device {text}: this command takes one; name it with --device")
    return text


def dims(texts: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Parse `seq=128` or `seq=128,512` as sizes by symbol; raises UsageError otherwise."""
    result: dict[str, tuple[int, ...]] = {}
    for text in texts:
        name, _, sizes = (part.strip() for part in text.rpartition("="))
        words = [word.strip() for word in sizes.split(",")]
        if not name or not all(re.fullmatch(r"0*[1-9][0-9]{0,8}", word) for word in words):
            raise UsageError(f"--dim {text}: write NAME=SIZE such as seq=128, or seq=128,512")
        result[name] = (*result.get(name, ()), *map(int, words))
        if len(set(result[name])) < len(result[name]):
            raise UsageError(f"--dim {text}: name each size of a symbol once")
    return result


def values(texts: Sequence[str]) -> "dict[str, Values]":
    """Parse `ids=ids.npy` or `sr=16000` as values by input; raises UsageError otherwise."""
    from benchbox import specs

    result: dict[str, Values] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise UsageError(f"--input {text}: write NAME=FILE.npy, or NAME=NUMBER as sr=16000")
        if name in result:
            raise UsageError(f"--input {name}: given twice")
        result[name] = specs.parse_values(value, f"--input {name}")
    return result


def path(text: str | Path, option: str) -> Path:
    """Parse the name of a file or folder, with `~` as in a shell; raises UsageError for no name."""
    try:
        result = Path(text).expanduser()
        result.stat()
    except RuntimeError:
        raise UsageError(f"{option} {text}: there is no such home folder") from None
    except ValueError:  # a null byte
        raise UsageError(f"{option} {text!r}: it is no name of a file") from None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise UsageError(f"{option} {text}: {error.strerror}") from None
    return result


def weights(texts: Sequence[str]) -> dict[str, Path]:
    """Parse `ghostnetv2=file.pth` or `file.pth` as files by network, the latter under "".

    Raises UsageError for two files of one network.
    """
    result: dict[str, Path] = {}
    for text in texts:
        name, equals, file = text.partition("=")
        is_named = equals and name.isidentifier()
        if not (file if equals else text):
            raise UsageError(f"--weights {text}: write FILE, or NETWORK=FILE")
        name, file = (name, file) if is_named else ("", text)
        if name in result:
            raise UsageError(f"--weights {text}: a second file for {name or 'the network'}")
        result[name] = path(file, "--weights")
    return result
