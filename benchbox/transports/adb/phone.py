"""A phone without Python: its own shell keeps files by their hash, and starts what was pushed."""

import contextlib
import hashlib
import re
import secrets
import shlex
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Self

from benchbox.devices import Device
from benchbox.errors import CaseError, DeviceError
from benchbox.transports.adb import facts, lock, sync
from benchbox.transports.adb.shell import AdbLink, ShellChannel
from benchbox.transports.board.commands import shell
from benchbox.transports.channel import ChannelClosed, Timeout
from benchbox.transports.files import digest, placed
from benchbox.transports.protocols import BUSY, Sending, Telling, silent, untold

FOLDER = "/data/local/tmp/benchbox"  # where Android's shell may write, and run what it wrote
MOST_BYTES = 4 << 30  # of pushed files; those unused for longest go first
SPARE_BYTES = 32 << 20  # a phone whose storage is full cannot be used
REPLY_S = 60.0  # the hash of a large file takes a while
GRACE_S = 2.0  # a program ends by itself when its input does
KEPT = re.compile(r"[0-9a-f]{64}(\.[A-Za-z0-9_.-]{1,32})?")
# Its content is read only where it has changed since that was last seen to have its hash.
WHOLE = """\
[ -f $n ] || continue
now=$(stat -c '%s %y %i' $n)
if [ "$(cat ../whole/$n 2>/dev/null)" != "$now" ]; then
  set -- $(sha256sum $n)
  [ "$1" = "${n%%.*}" ] || continue
  echo "$now" > ../whole/$n
fi
touch -ac $n
echo $n"""
LISTED = re.compile(rf"([0-9]{{1,12}}) ([0-9]{{1,15}}) ({KEPT.pattern})")  # used at, size, name
BROKEN = 9  # an exit code of our own: the file has another hash


class Phone:
    """A phone that is reached by adb; what is pushed to it stays there."""

    def __init__(self, device: Device, link: AdbLink, sending: Sending = silent) -> None:
        """Make the folder there; the link ends with the phone. Raises DeviceError."""
        self.device, self.link, self.sending = device, link, sending
        self._started: list[tuple[ShellChannel, str]] = []
        self._holder: ShellChannel | None = None
        try:
            made = " ".join(f"{FOLDER}/{name}" for name in ("files", "whole", "sets", "run"))
            old = f"find {FOLDER}/run -name 'new-*' -mmin +60 -exec rm -r {{}} +"
            self.machine = self._ask(
                f"umask 077; mkdir -p {made} && {{ {old}; uname -m; }}"
            ).strip()
        except (ChannelClosed, CaseError) as error:
            link.close()
            raise DeviceError(
                f"device {device.name!r}: no folder there for what is sent: {error}; free some "
                f"space, and see that its shell may write to {Path(FOLDER).parent}"
            ) from None
        except BaseException:
            link.close()
            raise

    def _run(self, script: str) -> ShellChannel:
        """Run a script in the phone's shell to its end; raises ChannelClosed."""
        channel = self.link.start(shell(script))
        channel.close()
        if channel.wait(REPLY_S) is None:
            nothing = f"its shell gave no answer for {REPLY_S:.0f} s"
            raise ChannelClosed(channel.epitaph() if channel.has_ended else nothing)
        channel.drop()
        return channel

    def _ask(self, script: str) -> str:
        """Return what a script prints; raises CaseError where it fails, ChannelClosed."""
        channel = self._run(script)
        if channel.exit_status != 0:
            raise CaseError(f"on the device: {_last(channel)}")
        return channel.output().decode(errors="replace")

    def push(self, files: Mapping[str, Path]) -> dict[str, str]:
        """Have files on the phone, by any name; return the name that each is kept under there.

        Raises CaseError when the phone has no room, ChannelClosed when the link is lost.
        """
        kept = {name: _name(path) for name, path in files.items()}
        there = self._have(set(kept.values()))
        for name, path in files.items():
            if kept[name] not in there:
                self._put(path, kept[name], name)
                there.add(kept[name])
        return kept

    def _have(self, names: set[str]) -> set[str]:
        """Return which files are there, as they were sent; they count as used now."""
        if not names:
            return set()
        listed = " ".join(sorted(names))
        return {*self._ask(f"cd {FOLDER}/files; for n in {listed}; do {WHOLE}; done").split()}

    def _put(self, path: Path, name: str, shown: str) -> None:
        """Send a file under a name of the moment; it appears at once, with the hash that it has."""
        self._make_room(path.stat().st_size)
        fresh = f"{FOLDER}/run/new-{secrets.token_hex(8)}"
        try:
            sync.send(self.link, path, fresh, partial(self.sending, shown))
            told = f'set -- $(sha256sum {fresh}); [ "$1" = {name[:64]} ] || exit {BROKEN}; '
            done = self._run(f"{told}mv -f {fresh} {FOLDER}/files/{name}")
            if done.exit_status != 0:
                is_broken = done.exit_status == BROKEN
                why = "a file arrived broken; run it again" if is_broken else _last(done)
                raise CaseError(f"on the device: {why}")
        except BaseException:  # Ctrl-C, too: what adb has sent of a file cannot be gone on with
            with contextlib.suppress(ChannelClosed):
                self._run(f"rm -f {fresh}")
            raise

    def _make_room(self, size: int) -> None:
        """Make room for a file; raises CaseError where there is none."""
        listed = f"cd {FOLDER}/files; for n in *; do [ -f $n ] && stat -c '%X %s %n' $n; done; "
        free, *lines = self._ask(f"stat -f -c '%a %S' {FOLDER}; {listed}true").split("\n")
        told = filter(None, map(LISTED.fullmatch, lines))
        files = sorted((int(match[1]), int(match[2]), match[3]) for match in told)
        total = size + sum(each for _, each, _ in files)
        gone = []
        for _, each, name in files:
            if total <= MOST_BYTES:
                break
            gone.append(name)
            total -= each
        if gone:  # sets hold on to files, and are soon made again
            dropped = f"for n in {' '.join(gone)}; do rm -f files/$n whole/$n; done"
            self._ask(f"cd {FOLDER}; {dropped}; rm -rf sets/*")
            free = self._ask(f"stat -f -c '%a %S' {FOLDER}")
        left = facts.free_bytes(free)
        if size + SPARE_BYTES > left:
            needed = -(-(size + SPARE_BYTES) // 2**20)
            said = f"no space left there: {needed} MB needed, {left >> 20} MB free"
            raise CaseError(f"on the device: {said}")

    def gather(self, files: Mapping[str, Path]) -> str:
        """Return a folder there that has files under their own names, pushed if need be."""
        kept = self.push(files)
        name = hashlib.sha256(repr(sorted(kept.items())).encode()).hexdigest()
        folder = f"{FOLDER}/sets/{name}"
        self._ask(_gathering(kept, f"{FOLDER}/run/new-{secrets.token_hex(8)}", folder))
        return folder

    def place(self, path: str) -> str:
        """Return the path there of a graph here, which is pushed if it is not there yet.

        Raises CaseError when that cannot be, AgentError when the link is lost.
        """
        return placed(Path(path), f"{FOLDER}/files", self.push, self.gather)

    def start(self, argv: Sequence[str], env: Mapping[str, str] | None = None) -> ShellChannel:
        """Start a program there; it is ended with the phone. Raises ChannelClosed."""
        words = [f"{name}={shlex.quote(value)}" for name, value in (env or {}).items()]
        pid = f"{FOLDER}/run/agent-{secrets.token_hex(8)}"
        line = " ".join(["exec env", *words, *map(shlex.quote, argv)])
        channel = self.link.start(shell(f"echo $$ > {pid}; {line}"))
        self._started.append((channel, pid))
        return channel

    def hold(self) -> None:
        """Hold the lock on who times there until the end of the link; raises DeviceError."""
        try:
            self._holder = self.link.start(shell(lock.holding(f"{FOLDER}/run")))
            held = self._holder.receive(REPLY_S).get("held") is True
        except (ChannelClosed, Timeout) as error:
            raise DeviceError(
                f"device {self.device.name!r}: no runner starts there: {error}"
            ) from None
        if not held:
            raise DeviceError(f"device {self.device.name!r}: {BUSY}; wait for it to end")

    def clean(self) -> int:
        """Empty the folder there; return how many bytes that were; raises DeviceError."""
        try:
            if self.is_busy:
                raise CaseError(BUSY)
            told = self._ask(f"du -sk {FOLDER}; rm -rf {FOLDER}/*; true")
        except (ChannelClosed, CaseError) as error:
            raise DeviceError(f"device {self.device.name!r}: not emptied: {error}") from None
        kib = re.match("[0-9]{1,15}", told)
        return int(kib[0]) << 10 if kib else 0

    @property
    def lacks(self) -> Sequence[str]:
        """Nothing: what an agent needs is pushed with it."""
        return ()

    @property
    def brings_runtime(self) -> bool:
        """Always: there is no Python to install anything for."""
        return True

    @property
    def is_busy(self) -> bool:
        """Whether another benchbox is timing there."""
        with contextlib.suppress(ChannelClosed, CaseError):
            return bool(self._ask(lock.asking(f"{FOLDER}/run")).strip())
        return False

    def broken(self) -> str:
        """Return nothing: what an agent needs is pushed with it."""
        return ""

    def install(self, telling: Telling = untold) -> None:
        """Nothing is left to do."""

    def look(self) -> dict[str, Any]:
        """Return what the phone is, as benchbox.agent.host.facts has it; raises DeviceError."""
        try:
            mark = secrets.token_hex(8)
            return facts.read(self._ask(facts.script(mark)), mark, self.machine)
        except (ChannelClosed, CaseError, OSError, ValueError) as error:
            raise DeviceError(
                f"device {self.device.name!r}: says nothing of itself: {error}"
            ) from None

    def close(self) -> None:
        """End what runs there, by force where it does not end by itself, and the link."""
        with contextlib.suppress(ChannelClosed):
            for channel, pid in self._started:
                channel.close()
                kill = "" if channel.wait(GRACE_S) is not None else f"kill -9 $(cat {pid}); "
                self._run(f"{kill}rm -f {pid}")
            if self._holder is not None:
                self._holder.close()
                self._holder.wait(GRACE_S)
        self._started, self._holder = [], None
        self.link.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _last(channel: ShellChannel) -> str:
    """Return the last line that a script wrote to stderr, or else how it ended."""
    return (channel.stderr_tail().splitlines() or [channel.epitaph()])[-1]


def _name(path: Path) -> str:
    """Return the name that a file is kept under: its hash, and its suffix where that is plain."""
    name = digest(path) + path.suffix
    return name if KEPT.fullmatch(name) else name[:64]


def _gathering(kept: Mapping[str, str], fresh: str, folder: str) -> str:
    """Return a script that makes a folder of kept files under their own names."""
    same, steps = [f"[ -d {folder} ]"], [f"rm -rf {folder}; mkdir {fresh} || exit"]
    for name, other in kept.items():
        made = shlex.quote(str(PurePosixPath(folder, name)))
        same.append(f"cmp -s {FOLDER}/files/{other} {made}")
        source, path = f"{FOLDER}/files/{other}", PurePosixPath(fresh, name)
        parent, target = shlex.quote(str(path.parent)), shlex.quote(str(path))
        # Android lets its shell make no hard links.
        copied = f"ln {source} {target} 2>/dev/null || cp -p {source} {target}"
        steps.append(f"mkdir -p {parent} && {{ {copied}; }} || exit")
    is_made = f"{' && '.join(same)} && exit 0"
    return "\n".join([is_made, *steps, f"[ -d {folder} ] && rm -rf {fresh} || mv {fresh} {folder}"])
