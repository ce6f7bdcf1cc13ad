"""The devices that were given names: `[devices.NAME]` tables in a benchbox.toml."""

import json
import os
import re
import shlex
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from benchbox.devices import providers
from benchbox.errors import StorageError, UsageError

# Of the processors that differ: the fastest ones, the slowest, and what lies between.
Cluster = Literal["big", "middle", "little"]
Processors = tuple[int, ...] | Cluster
CLUSTERS: tuple[Cluster, ...] = get_args(Cluster)

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
RESERVED = ("cpu", "cuda", "all")
# What a run with these options puts behind a device's name, by the option.
BEHIND = dict.fromkeys(CLUSTERS, "--cpus") | {
    word: "--provider" for word in (*providers.NAMES, *providers.MODULES) if word != "cpu"
}
TABLE = "devices"
USER = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}"
LABEL = r"[A-Za-z0-9_][A-Za-z0-9_-]{0,62}"  # of a name: RFC 1035, section 2.3.4, as are its 253
NAMED = rf"(?!_)(?![A-Za-z0-9._-]{{254}}){LABEL}(?:\.{LABEL})*\.?"
HOST = NAMED + r"|\[[0-9A-Fa-f:.]+(?:%[A-Za-z0-9_.-]+)?\]"
SSH = re.compile(rf"ssh://(?:(?P<user>{USER})@)?(?P<host>{HOST})(?::(?P<port>[0-9]{{1,5}}))?/?")
PASSWORD = re.compile(r"(//[^:@/]*:).*@", re.DOTALL)
ADB = re.compile(r"adb://([A-Za-z0-9][A-Za-z0-9._:-]{0,127})")
PYTHON = re.compile(r"(?:~/|/)?[A-Za-z0-9_.][^\x00-\x1f\x7f]{0,255}")
KEYS = frozenset({"url", "python", "threads", "cpus"})
FORMS = "ssh://[user@]host[:port], adb://serial or local"


@dataclass(frozen=True, slots=True)
class Address:
    """Where an ssh:// device is; what is None is for the user's own ssh configuration to say."""

    host: str
    user: str | None = None
    port: int | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """A registered device, as its table has it; `file` is where that stands."""

    name: str
    url: str
    python: str = ""
    threads: int | None = None
    cpus: Processors = ()
    file: Path = Path()


def address(url: str) -> Address:
    """Return the parts of an ssh:// address; raises UsageError for what is none."""
    match = SSH.fullmatch(url)
    port = int(match["port"]) if match and match["port"] else None
    if match is None or (port is not None and not 1 <= port <= 65535):
        hint = "; it holds no password" if "@" in url and ":" in url[6:].partition("@")[0] else ""
        raise UsageError(f"device {masked(url)!r}: write it as ssh://[user@]host[:port]{hint}")
    return Address(match["host"].strip("[]"), match["user"], port)


def masked(url: str) -> str:
    """Return what is no address as it is shown: without a password."""
    return PASSWORD.sub(r"\1***@", url)


def serial(url: str) -> str:
    """Return the serial number, or host:port, of an adb:// address; raises UsageError."""
    match = ADB.fullmatch(url)
    if match is None:
        raise UsageError(f"device {url!r}: write it as adb://serial or adb://host:port")
    return match[1]


def check(entry: Entry) -> None:
    """Raise UsageError, with what to write, for an entry that no table may have."""
    where = f"device {entry.name!r}"
    is_reserved = entry.name in RESERVED or entry.name.startswith("cuda-")  # as GPUs are recorded
    if not NAME.fullmatch(entry.name) or is_reserved:
        raise UsageError(f"{where}: a name has a-z, 0-9, _ and -, and is not cpu, cuda or all")
    if word := next((each for each in BEHIND if entry.name.endswith(f"-{each}")), ""):
        taken = f"-d {entry.name.removesuffix(f'-{word}')} {BEHIND[word]} {word}"
        raise UsageError(f"{where}: that is what {taken} is recorded as; choose another name")
    if entry.url.startswith("ssh:"):
        address(entry.url)
    elif entry.url != "local" and not ADB.fullmatch(entry.url):
        raise UsageError(f"{where}: {masked(entry.url)!r} is no address; write {FORMS}")
    if entry.python and entry.url == "local":
        raise UsageError(f"{where}: this machine is timed by the Python of benchbox; no --python")
    if entry.python and not PYTHON.fullmatch(entry.python):
        raise UsageError(f"{where}: --python {entry.python!r}: not the path of a program")
    _check_processors(entry, where)


def _check_processors(entry: Entry, where: str) -> None:
    if entry.threads is not None and entry.threads < 1:
        raise UsageError(f"{where}: threads {entry.threads}: choose 1 or more")
    if isinstance(entry.cpus, str):
        if entry.cpus not in CLUSTERS:
            raise UsageError(f"{where}: cpus {entry.cpus!r}: write a list, or {_words()}")
        return
    if any(cpu < 0 for cpu in entry.cpus) or len(set(entry.cpus)) < len(entry.cpus):
        raise UsageError(f"{where}: cpus: name each processor once, counted from 0")
    if entry.threads and entry.cpus and len(entry.cpus) != entry.threads:
        raise UsageError(f"{where}: name one processor for each of its {entry.threads} threads")


def _words() -> str:
    return ", ".join(CLUSTERS[:-1]) + f" or {CLUSTERS[-1]}"


def user_file() -> Path:
    """Return the file of the user's own devices; $BENCHBOX_CONFIG_DIR moves it."""
    if chosen := os.environ.get("BENCHBOX_CONFIG_DIR"):
        return Path(chosen).expanduser() / "benchbox.toml"
    import platformdirs

    return platformdirs.user_config_path("benchbox", appauthor=False) / "benchbox.toml"


def files() -> tuple[Path, Path]:
    """Return where devices are looked for: the project's file wins over the user's."""
    return Path("benchbox.toml"), user_file()


def entries() -> dict[str, Entry]:
    """Return every registered device whose table is right; raises UsageError for a wrong file."""
    return {name: read for name, read in _read().items() if isinstance(read, Entry)}


def wrong() -> dict[str, str]:
    """Return what is wrong with the tables that are; raises UsageError for a file that is wrong."""
    return {name: str(read) for name, read in _read().items() if isinstance(read, UsageError)}


def find(name: str) -> Entry | None:
    """Return the device registered as `name`; raises UsageError where its table is wrong."""
    read = _read().get(name)
    if isinstance(read, UsageError):
        raise read
    return read


def _read() -> dict[str, Entry | UsageError]:
    """Return every table as a device or as what is wrong with it: the others can be used."""
    found: dict[str, Entry | UsageError] = {}
    for path in reversed(files()):
        for name, table in tables(path).items():
            try:
                found[name] = _entry(path, name, table)
            except UsageError as error:
                found[name] = error
    return dict(sorted(found.items()))


def parse(path: Path) -> tuple[str, dict[str, Any]]:
    """Return a file's text and tables, both empty where there is none."""
    try:
        text = path.read_bytes().decode()
        return text, tomllib.loads(text)
    except (FileNotFoundError, NotADirectoryError):
        return "", {}
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not valid TOML: {error}") from None


def tables(path: Path) -> Mapping[str, Any]:
    """Return the `[devices.NAME]` tables of a file; raises UsageError where it is wrong."""
    found = parse(path)[1].get(TABLE, {})
    if not isinstance(found, dict):
        raise UsageError(f"{path}: {TABLE}: not a table of devices; write [{TABLE}.NAME]")
    return found


def _entry(path: Path, name: str, table: object) -> Entry:
    where = f"{path}: {TABLE}.{name}"
    if not isinstance(table, dict):
        raise UsageError(f"{where}: not a table; write [{TABLE}.{name}] and url = below it")
    if unknown := sorted(table.keys() - KEYS):
        raise UsageError(f"{where}.{unknown[0]}: there is no such key; {', '.join(sorted(KEYS))}")
    _check_types(where, table)
    listed = table.get("cpus", ())
    # Whether it is the name of a cluster is checked with the rest.
    cpus: Any = listed if isinstance(listed, str) else tuple(listed)
    entry = Entry(name, table["url"], table.get("python", ""), table.get("threads"), cpus, path)
    try:
        check(entry)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None
    return entry


def _check_types(where: str, table: Mapping[str, Any]) -> None:
    if not isinstance(table.get("url"), str):
        raise UsageError(f"{where}.url: missing, or no text; write {FORMS}")
    if not isinstance(table.get("python", ""), str):
        raise UsageError(f"{where}.python: not a text")
    if type(table.get("threads", 1)) is not int:
        raise UsageError(f"{where}.threads: not a whole number")
    cpus = table.get("cpus", [])
    is_list = isinstance(cpus, list) and all(type(cpu) is int for cpu in cpus)
    if not is_list and not isinstance(cpus, str):
        raise UsageError(f"{where}.cpus: not a list of whole numbers, nor {_words()}")


def add(entry: Entry) -> Path:
    """Write a device into the project's file if that has devices, else the user's; return it.

    All else in the file stays as it is. One that is there already is left as it is, with other
    options at the same address replaced. Raises UsageError when there is one of that name at
    another address, StorageError when the file cannot be written.
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
    lines = [f"[{TABLE}.{entry.name}]", f"url = {json.dumps(entry.url, ensure_ascii=False)}"]
    if entry.python:
        lines.append(f"python = {json.dumps(entry.python, ensure_ascii=False)}")
    if entry.threads is not None:
        lines.append(f"threads = {entry.threads}")
    if entry.cpus:
        lines.append(f"cpus = {json.dumps(_plain(entry.cpus))}")
    gap = "" if not text or text.endswith("\n\n") else "\n" if text.endswith("\n") else "\n\n"
    fresh = text + gap + "\n".join(lines) + "\n"
    others = before.get(TABLE, {})
    _replace(path, fresh, {**before, TABLE: {**others, entry.name: _table(entry)}})
    return path


def command(entry: Entry) -> str:
    """Return the command that registers a device so."""
    words = ["benchbox", "device", "add", entry.name, entry.url]
    if entry.python:
        words += ["--python", entry.python]
    if entry.threads is not None:
        words += ["--threads", str(entry.threads)]
    if entry.cpus:
        cpus = entry.cpus if isinstance(entry.cpus, str) else ",".join(map(str, entry.cpus))
        words += ["--cpus", cpus]
    return " ".join(map(shlex.quote, words))


def _plain(cpus: Processors) -> str | list[int]:
    return cpus if isinstance(cpus, str) else list(cpus)


def _table(entry: Entry) -> dict[str, Any]:
    values = {
        "url": entry.url,
        "python": entry.python,
        "threads": entry.threads,
        "cpus": _plain(entry.cpus),
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
    """Yield the lines of a file without a device's table; comments above the next one stay."""
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
    """Put a file in place of `path` at once, with its mode, if it says what is `expected`."""
    try:
        written = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        written = {}
    if {k: v for k, v in written.items() if k != TABLE or v} != expected:
        raise UsageError(f"{path}: its [{TABLE}] cannot be changed without harm; edit it by hand")
    target = path.resolve()  # a link to a file elsewhere stays one
    fresh = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        mode = target.stat().st_mode & 0o777 if target.exists() else 0o600
        descriptor, fresh = tempfile.mkstemp(prefix=".benchbox-", dir=target.parent)
        with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor has no path
            file.write(text.encode())
        Path(fresh).chmod(mode)
        Path(fresh).replace(target)
    except OSError as error:
        if fresh is not None:
            Path(fresh).unlink(missing_ok=True)
        raise StorageError(f"{path}: cannot be written: {error.strerror}") from None
