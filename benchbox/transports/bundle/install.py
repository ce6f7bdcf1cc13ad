"""Installation of the bundle on a phone: sent over its link, unpacked there, and kept."""

import contextlib
import re
import secrets
import shlex
from collections.abc import Iterable
from typing import Any

from benchbox.devices import Device
from benchbox.errors import CaseError, DeviceError
from benchbox.transports import replies
from benchbox.transports.board.commands import FOLDER, shell
from benchbox.transports.bundle.build import LOADERS, PYTHON, Bundle, bundle
from benchbox.transports.channel import ChannelClosed, Timeout
from benchbox.transports.files import Progress, chunks, digest, reported
from benchbox.transports.link import Link, RemoteChannel

NAME = "Python and ONNX Runtime"
SPARE_BYTES = 32 << 20  # a phone whose storage is full cannot be used
SPACE = re.compile("([0-9]{1,15}) ([0-9]{1,9})")  # free blocks, bytes of one
REPLY_S = 60.0
SLOW_S = 300.0  # to unpack all on a slow phone, or to take the end of a file over a slow link
GRACE_S = 2.0
UNUSED_DAYS = 30  # after which a bundle of another version is removed
# Its name is also argv[0], so that Python starts further ones, as with sys.executable, by it.
LAUNCHER = """\
home=${{0%/*}}
export PYTHONHOME="$home" TMPDIR="${{TMPDIR:-${{home%/*}}/run}}"
exec "$home/{loader}" --argv0 "$0" --library-path "$home:$home/{library}" "$home/{python}" "$@"
"""


def install(device: Device, link: Link, progress: Progress) -> str:
    """Have the bundle on a phone without Python, and return the path of its Python there.

    `progress` is called with what is fetched and sent. Raises DeviceError where that cannot be,
    ChannelClosed where the link is lost.
    """
    try:
        return _install(link, progress)
    except (CaseError, DeviceError) as error:
        raise DeviceError(f"device {device.name!r}: no Python there, and {error}") from None


def _install(link: Link, progress: Progress) -> str:
    there = _first(link)
    path, machine = replies.path(there, "folder"), replies.field(there, "machine", str)
    made = bundle(replies.line(machine), lambda: progress(NAME, 0, None))
    name = f"python-{made.digest[:16]}"
    old = f"find . -maxdepth 1 -name 'python-*' -mtime +{UNUSED_DAYS} -exec rm -rf {{}} +"
    is_there = f"[ -x {name}/python ] && touch {name} && there=true; {old}"
    if not _ask(link, f"there=false; {is_there}", '"there": %s', "$there").get("there"):
        _require_room(made, replies.field(there, "free", str))
        _send(link, made, name, progress)
    return f"{path}/{name}/python"


def _first(link: Link) -> dict[str, Any]:
    """Make the folder for all that is sent; return where it is, and how much is free there."""
    free = "$(stat -f -c '%a %S' .)"
    format_ = '"folder": "%s", "machine": "%s", "free": "%s"'
    try:
        return _ask(link, "true", format_, "$PWD", "$(uname -m)", free)
    except CaseError as error:
        raise CaseError(
            f"no folder there for what is sent: {error}; free some "
            "space, and see that its shell may write to /data/local/tmp"
        ) from None


def _ask(
    link: Link, script: str, reply: str = "", *words: str, within_s: float = REPLY_S
) -> dict[str, Any]:
    """Run a script in the folder there and return its reply, in which words stand for each %s.

    Raises CaseError where the script fails, ChannelClosed where the link does.
    """
    folder = f'{FOLDER}; umask 077; mkdir -p "$folder/run" && cd "$folder" || exit'
    quoted = " ".join(f'"{word}"' for word in words)
    command = shell(f"{folder}; {script}; printf '{{{reply}}}\\n' {quoted}")
    return _reply(link.start(command), within_s)


def _reply(remote: RemoteChannel, within_s: float, given: Iterable[bytes] = ()) -> dict[str, Any]:
    """Return the reply of a script, which is given some bytes; raises CaseError, ChannelClosed."""
    try:
        for chunk in given:
            remote.write(chunk)
        return remote.receive(within_s)
    except Timeout:
        raise ChannelClosed(f"its shell gave no answer for {within_s:.0f} s") from None
    except ChannelClosed as closed:
        raise _failure(remote, closed) from None
    finally:
        remote.close()


def _failure(remote: RemoteChannel, closed: ChannelClosed) -> Exception:
    """What a script that has ended said is wrong, else how its channel was closed."""
    code, lines = remote.wait(GRACE_S), remote.stderr_tail().splitlines()
    return CaseError(f"on the device: {replies.line(lines[-1])}") if code and lines else closed


def _require_room(made: Bundle, free: str) -> None:
    match = SPACE.fullmatch(free)
    left = int(match[1]) * int(match[2]) if match else 0
    needed = made.size_bytes + made.unpacked_bytes + SPARE_BYTES
    if needed > left:
        said = f"no space left there: {-(-needed // 2**20)} MB needed, {left >> 20} MB free"
        raise CaseError(f"on the device: {said}")


def _send(link: Link, made: Bundle, name: str, progress: Progress) -> None:
    """Send the files to a folder of the moment, which gets its name once all are there."""
    fresh = f"run/new-{secrets.token_hex(8)}"
    try:
        _ask(link, f"mkdir -p {fresh}/lib")
        _write_all(link, made, fresh, progress)
        _ask(link, _unpacking(made, fresh, name), within_s=SLOW_S)
    except BaseException:  # Ctrl-C, too: nothing goes on with what was sent so far
        with contextlib.suppress(ChannelClosed, CaseError):
            _ask(link, f"rm -rf {fresh}")
        raise


def _write_all(link: Link, made: Bundle, folder: str, progress: Progress) -> None:
    sent, total = 0, made.size_bytes
    for name, path in made.files.items():

        def tell(done: int, _size: int, before: int = sent) -> None:
            progress(NAME, before + done, total)

        size, place = path.stat().st_size, f"{folder}/{_place(made, name)}"
        taken = link.start(
            shell(f'{FOLDER}; umask 077; head -c {size} > "$folder"/{place} && echo {{}}')
        )
        with path.open("rb") as file:
            _reply(taken, SLOW_S, reported(size, 0, chunks(file, size), tell))
        sent += size


def _place(made: Bundle, name: str) -> str:
    return f"lib/{name}" if name == made.archive else name


def _unpacking(made: Bundle, fresh: str, name: str) -> str:
    """A script that checks what was sent, unpacks it, and gives it the name it is kept under."""
    loader = LOADERS[made.machine]
    hashes = " ".join(f"{digest(path)}:{_place(made, each)}" for each, path in made.files.items())
    launcher = LAUNCHER.format(loader=loader, library=made.library, python=PYTHON)
    zipped = f"lib/{made.archive}"
    start = f'PYTHONHOME="$PWD" ./{loader} --library-path "$PWD" ./{PYTHON} -S'
    return f"""\
cd {fresh} || exit
for each in {hashes}; do
  set -- "${{each%%:*}}" $(sha256sum "${{each#*:}}")
  [ "$1" = "$2" ] || {{ echo 'a file arrived broken; run it again' >&2; exit 1; }}
done
chmod 700 {loader} {PYTHON}
{start} -m zipfile -e {zipped} {made.library} && rm {zipped} || exit
{{ echo "#!$(command -v sh)"; printf %s {shlex.quote(launcher)}; }} > python || exit
chmod 700 python
cd ../..
if [ -d {name} ]; then rm -rf {fresh}; else mv {fresh} {name}; fi || exit"""
