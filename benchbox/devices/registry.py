"""Registry of named devices: `[devices.NAME]` tables in a benchbox.toml, read and written."""

import json
import re
import shlex
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from benchbox import host
from benchbox.devices import claims, providers, trust
from benchbox.devices.address import ADB, FORMS, masked, ssh_address
from benchbox.errors import StorageError, UsageError

# Of the processors that differ: the fastest ones, the slowest, and what lies between.
Cluster = Literal["big", "middle", "little"]
Processors = tuple[int, ...] | Cluster
CLUSTERS: tuple[Cluster, ...] = get_args(Cluster)

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
UNNAMED = re.compile(r"(ssh|adb)-[0-9a-f]{12}")  # as devices without a name are recorded
OF_GPU = re.compile(r"^cuda-|-cuda-\d+$")
RESERVED = ("cpu", "cuda", "all")
# What a run with these options puts behind a device's name, by the option.
BEHIND = dict.fromkeys(CLUSTERS, "--cpus") | {
    word: "--provider" for word in (*providers.NAMES, *providers.MODULES) if word != "cpu"
}
TABLE = "devices"
MOST_MB = 1  # of a file
PYTHON = re.compile(r"(?:~/|/)?[A-Za-z0-9_.][^\x00-\x1f\x7f]{0,255}")
CLUSTER_NAMES = ", ".join(CLUSTERS[:-1]) + f" or {CLUSTERS[-1]}"
EXPECTED = {
    "url": f"missing, or no text; write {FORMS}",
    "python": "not a text",
    "threads": "not a whole number",
    "cpus": f"not a list of whole numbers, nor {CLUSTER_NAMES}",
    "provider": "not a text",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """A registered device, as its table has it; `file` is where that stands.

    With a `provider` for GPUs its name is that of its first GPU.
    """

    name: str
    url: str
    python: str = ""
    threads: int | None = None
    cpus: Processors = ()
    provider: str = ""
    file: Path = Path()


def check(entry: Entry) -> None:
    """Raise UsageError, with what to write, for an entry with a value that is not allowed."""
    where = f"device {entry.name!r}"
    _check_name(entry, where)
    if entry.url.startswith("ssh:"):
        ssh_address(entry.url)
    elif entry.url != "local" and not ADB.fullmatch(entry.url):
        raise UsageError(f"{where}: {masked(entry.url)!r} is no address; write {FORMS}")
    if entry.provider and (entry.provider not in providers.GPUS or entry.url[:4] != "ssh:"):
        known = " or ".join(providers.GPUS)
        raise UsageError(
            f"{where}: --provider {entry.provider}: only {known}, of an ssh:// address; "
            "the others are named by run --provider"
        )
    if entry.python and not PYTHON.fullmatch(entry.python):
        raise UsageError(f"{where}: --python {entry.python!r}: not the path of a program")
    _check_processors(entry, where)


def _check_name(entry: Entry, where: str) -> None:
    is_reserved = entry.name in RESERVED or OF_GPU.search(entry.name)  # as GPUs are recorded
    if not NAME.fullmatch(entry.name) or is_reserved:
        raise UsageError(f"{where}: a name has a-z, 0-9, _ and -, and is not cpu, cuda or all")
    if UNNAMED.fullmatch(entry.name):
        raise UsageError(f"{where}: an address without a name is recorded as such; choose another")
    if claims.GPU in claims.of(entry.name.replace(claims.MAKER, "")) and not entry.provider:
        raise UsageError(
            f"{where}: this machine's GPU is --device cuda, another's is registered with "
            "--provider cuda; choose a name that does not say GPU for processors"
        )
    if word := next((each for each in BEHIND if entry.name.endswith(f"-{each}")), ""):
        taken = f"-d {entry.name.removesuffix(f'-{word}')} {BEHIND[word]} {word}"
        raise UsageError(f"{where}: that is what {taken} is recorded as; choose another name")


def _check_processors(entry: Entry, where: str) -> None:
    if entry.threads is not None and entry.threads < 1:
        raise UsageError(f"{where}: threads {entry.threads}: choose 1 or more")
    if isinstance(entry.cpus, str):
        if entry.cpus not in CLUSTERS:
            raise UsageError(f"{where}: cpus {entry.cpus!r}: write a list, or {CLUSTER_NAMES}")
        return
    if any(cpu < 0 for cpu in entry.cpus) or len(set(entry.cpus)) < len(entry.cpus):
        raise UsageError(f"{where}: cpus: name each processor once, counted from 0")
    if entry.threads and entry.cpus and len(entry.cpus) != entry.threads:
        raise UsageError(f"{where}: name one processor for each of its {entry.threads} threads")


def user_file() -> Path:
    """Return the file of the user's own devices."""
    return host.config_folder() / "benchbox.toml"


def files() -> tuple[Path, Path]:
    """The files with devices: the project's, which wins, and the user's."""
    return trust.PROJECT, user_file()


def entries() -> dict[str, Entry]:
    """Every registered device with a valid table; raises UsageError for a broken file."""
    return {name: read for name, read in _read().items() if isinstance(read, Entry)}


def wrong() -> dict[str, str]:
    """The error of each invalid table by name; raises UsageError for a broken file."""
    return {name: str(read) for name, read in _read().items() if isinstance(read, UsageError)}


def find(name: str) -> Entry | None:
    """Return the device registered as `name`; raises UsageError where its table is wrong."""
    read = _read().get(name)
    if isinstance(read, UsageError):
        raise read
    return read


def _read() -> dict[str, Entry | UsageError]:
    """Every table as a device or as its error, so that the others can be used."""
    found: dict[str, Entry | UsageError] = {}
    for path in reversed(files()):
        for name, table in tables(path).items():
            try:
                found[name] = _entry(path, name, table)
            except UsageError as error:
                found[name] = error
    return dict(sorted(found.items()))


def parse(path: Path) -> tuple[str, dict[str, Any]]:
    """A file's text and tables, both empty where there is no file."""
    try:
        text = host.read_file(path, MOST_MB).decode()
        return text, tomllib.loads(text)
    except (FileNotFoundError, NotADirectoryError):
        return "", {}
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:  # also what is no UTF-8, or has 5,000 digits
        raise UsageError(f"{path}: not valid TOML: {error}") from None


def tables(path: Path) -> Mapping[str, Any]:
    """The `[devices.NAME]` tables of a file, none of a project's that the user does not trust.

    Raises UsageError for a broken one.
    """
    text, all_tables = parse(path)
    found = all_tables.get(TABLE, {})
    if not found or not trust.is_trusted(path, text):
        return {}
    if not isinstance(found, dict):
        raise UsageError(f"{path}: {TABLE}: not a table of devices; write [{TABLE}.NAME]")
    return found


def _entry(path: Path, name: str, table: object) -> Entry:
    from pydantic import ValidationError  # here, as few commands look a device up

    from benchbox.devices.device_table import DeviceTable

    where = f"{path}: {TABLE}.{name}"
    if not isinstance(table, dict):
        raise UsageError(f"{where}: not a table; write [{TABLE}.{name}] and url = below it")
    try:
        read = DeviceTable.model_validate(table)
    except ValidationError as invalid:
        wrong = {str(error["loc"][0]) for error in invalid.errors(include_url=False)}
        key = min(wrong - EXPECTED.keys(), default="") or next(k for k in EXPECTED if k in wrong)
        unknown = f"there is no such key; {', '.join(sorted(EXPECTED))}"
        raise UsageError(f"{where}.{key}: {EXPECTED.get(key, unknown)}") from None
    # Whether it is the name of a cluster is checked with the rest.
    cpus: Any = read.cpus if isinstance(read.cpus, str) else tuple(read.cpus)
    entry = Entry(name, read.url, read.python, read.threads, cpus, read.provider, path)
    try:
        check(entry)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None
    return entry


def add(entry: Entry) -> Path:
    """Write a device into the project's file if that has trusted devices, else the user's.

    Return the file. All else in it stays as it is. One that is there already is left as it is,
    with other options at the same address replaced. Raises UsageError when there is one of that
    name at another address, StorageError when the file cannot be written.
    """
    check(entry)
    known = find(entry.name)
    if known is not None and replace(known, file=entry.file) == entry:
        return known.file
    if known is not None and known.url != entry.url:
        raise UsageError(
            f"device {entry.name!r} is registered in {known.file} already, at {known.url}: "
            f"benchbox device remove {entry.name} && {command(entry)}"
        )
    project, user = files()
    path = known.file if known is not None else project if tables(project) else user
    text, before = parse(path)
    if known is not None:
        text = "".join(_without(text, entry.name)).rstrip("\n")
        text += "\n" * bool(text)
    table = _table(entry)
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in table.items()]
    gap = "" if not text or text.endswith("\n\n") else "\n" if text.endswith("\n") else "\n\n"
    fresh = text + gap + "\n".join([f"[{TABLE}.{entry.name}]", *lines]) + "\n"
    others = before.get(TABLE, {})
    _replace(path, fresh, {**before, TABLE: {**others, entry.name: table}})
    return path


def command(entry: Entry) -> str:
    """The command that registers a device like this."""
    words = ["benchbox", "device", "add", entry.name, entry.url]
    if entry.python:
        words += ["--python", entry.python]
    if entry.threads is not None:
        words += ["--threads", str(entry.threads)]
    if entry.cpus:
        cpus = entry.cpus if isinstance(entry.cpus, str) else ",".join(map(str, entry.cpus))
        words += ["--cpus", cpus]
    if entry.provider:
        words += ["--provider", entry.provider]
    return " ".join(map(shlex.quote, words))


def _table(entry: Entry) -> dict[str, Any]:
    """The table of a device; keys without a value are left out."""
    values = {
        "url": entry.url,
        "python": entry.python,
        "threads": entry.threads,
        "cpus": entry.cpus if isinstance(entry.cpus, str) else list(entry.cpus),
        "provider": entry.provider,
    }
    return {key: value for key, value in values.items() if value not in ("", None, [])}


def remove(name: str) -> Path:
    """Take a device's table out of its file and return that; all else in it stays.

    Raises UsageError when there is none, or when it is written so that only a person can take it
    out; StorageError when the file cannot be written.
    """
    file = next((path for path in files() if name in tables(path)), None)
    if file is None:
        raise UsageError(f"device {name!r} is not registered; `benchbox device list` shows all")
    text, before = parse(file)
    others = {key: value for key, value in before[TABLE].items() if key != name}
    expected = (
        {**before, TABLE: others} if others else {k: before[k] for k in before.keys() - {TABLE}}
    )
    _replace(file, "".join(_without(text, name)), expected)
    return file


def _without(text: str, name: str) -> Iterator[str]:
    """Yield the lines of a file without a device's table; comments above the next table stay."""
    header = re.compile(rf"\s*\[\s*{TABLE}\s*\.\s*[\"']?{re.escape(name)}[\"']?\s*\]\s*(#.*)?")
    inside = False
    held: list[str] = []
    for line in text.splitlines(keepends=True):
        if line.lstrip().startswith("["):
            inside = header.fullmatch(line.rstrip()) is not None
        elif inside:
            blank = not line.strip() or line.lstrip().startswith("#")
            held = [*held, line] if blank else []
            continue
        if not inside:
            yield from held
            yield line
        held = []
    yield from (line for line in held if line.strip())


def _replace(path: Path, text: str, expected: Mapping[str, Any]) -> None:
    """Replace a file by this text; raises UsageError unless it reads as `expected`."""
    try:
        written = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        written = {}
    if {k: v for k, v in written.items() if k != TABLE or v} != expected:
        raise UsageError(f"{path}: its [{TABLE}] cannot be changed without harm; edit it by hand")
    try:
        path.resolve().parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        host.write(path, text)
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror}") from None
    if path == trust.PROJECT:  # it was trusted, else none of its devices would be changed
        trust.trust(path, text)
