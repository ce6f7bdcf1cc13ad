"""Children of the export process, one for each request: what a builder changes ends with it."""

import contextlib
import ctypes
import json
import os
import select
import signal
import sys
from collections.abc import Callable, Iterable, Mapping

import psutil

from benchbox import memory
from benchbox.agent.stdio import Message, is_left, sentence
from benchbox.transports.channel import CHUNK, STDERR_TAIL, signal_name

Reply = Mapping[str, object]
AVAILABLE = sys.platform == "linux"  # macOS's libraries do not survive a fork
POLL_S = 0.1
LONGEST = 1 << 20  # of a reply; a builder may write anything before it
RESULT = 3  # the child's descriptor
COUNTING_S = 60  # of processor time, for a graph that is not run; most take a tenth of one
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36


def reply(request: Message, replies: Callable[[Message], Iterable[Reply]]) -> Reply:
    """The reply to a request by a child of this process, which has its memory as it is now.

    The child has its own process group, an empty stdin, and no other descriptor of ours but one to
    reply on; with it end all processes that it started. Only the reply that names the request's
    key, and its word that no builder knows, is one. This process must have a single thread.
    """
    _prctl(PR_SET_CHILD_SUBREAPER, 1)  # processes whose parent ends become ours
    result, output = os.pipe(), os.pipe()
    parent, child = os.getpid(), os.fork()
    if not child:
        try:
            _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() == parent:
                _be_child(request, result[1], output[1])
                _answer(request, replies)
        finally:
            os._exit(1)
    previous = signal.signal(signal.SIGTERM, _leave)
    try:
        for descriptor in (result[1], output[1]):
            os.close(descriptor)
        said, tail = _listen(request, child, result[0], output[0])
        return said or _death(request, child, tail)
    finally:
        _end()
        signal.signal(signal.SIGTERM, previous)
        for descriptor in (result[0], output[0]):
            os.close(descriptor)


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _be_child(request: Message, result: int, output: int) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.setpgid(0, 0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    kept = os.dup(result)  # above 3, whatever the numbers were
    for target, source in enumerate((nothing, output, output)):
        os.dup2(source, target)
    os.dup2(kept, RESULT)
    os.closerange(RESULT + 1, os.sysconf("SC_OPEN_MAX"))
    if request.get("op") == "inspect" and not request["timed"]:
        import resource

        resource.setrlimit(resource.RLIMIT_CPU, (COUNTING_S, COUNTING_S + 1))


def _answer(request: Message, replies: Callable[[Message], Iterable[Reply]]) -> None:
    try:
        for each in replies(request):
            _write(each)
    except BaseException as error:  # a builder may raise anything
        _write({**echo(request), "error": sentence(error), "kind": "case"})
    os._exit(0)


def _write(answer: Reply) -> None:
    with open(RESULT, "wb", closefd=False) as out:
        out.write(f"\n{json.dumps(answer)}\n".encode())


def _listen(request: Message, child: int, result: int, output: int) -> tuple[Reply | None, bytes]:
    """The child's reply, None where it ended without one, and the end of what it printed."""
    texts = {result: b"", output: b""}
    pipes = [result, output]
    ended = False
    while pipes:
        ready = select.select(pipes, [], [], 0 if ended else POLL_S)[0]
        for pipe in ready:
            chunk = os.read(pipe, CHUNK)
            texts[pipe] += chunk
            if not chunk:
                pipes.remove(pipe)
        if found := _reply(texts[result], request):
            return found, texts[output]
        texts[result] = texts[result][texts[result].rfind(b"\n") + 1 :][-LONGEST:]
        texts[output] = texts[output][-STDERR_TAIL:]
        if ended and not ready:
            break
        ended = ended or _has_ended(child)
        if is_left():
            _leave()
    return None, texts[output]


def _reply(text: bytes, request: Message) -> Reply | None:
    for line in text.split(b"\n")[:-1]:
        with contextlib.suppress(ValueError, RecursionError):
            message = json.loads(line)
            if isinstance(message, dict) and answers(message, request):
                return message
    return None


def echo(request: Message) -> Reply:
    """The part of a request that its reply repeats."""
    return {name: request.get(name) for name in ("op", "key", "word")}


def answers(message: Message, request: Message) -> bool:
    """Whether a message is the reply to a request, and not what a builder wrote, or of another."""
    return echo(message) == echo(request)


def _has_ended(child: int) -> bool:
    flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
    return os.waitid(os.P_PID, child, flags) is not None


def _death(request: Message, child: int, output: bytes) -> Reply:
    """What is said of a child that ended without a reply."""
    status = os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    by_signal = status is not None and status.si_code != os.CLD_EXITED
    number = status.si_status if status is not None else 0
    if by_signal and number == signal.SIGXCPU:
        text = f"it was not counted after {COUNTING_S} s of processor time"
        return {**echo(request), "error": text, "kind": "case"}
    how = f"was ended by {signal_name(number)}" if by_signal else f"ended with code {number}"
    lines = output.decode(errors="replace").strip().splitlines()
    last = f" ({' '.join(lines[-1].split())})" if lines else ""
    text = memory.explained(f"the export process died: it {how}{last}")
    return {**echo(request), "error": text, "kind": "agent"}


def _leave(*_: object) -> None:
    _end()
    os._exit(1)


def _below() -> list[psutil.Process]:
    try:
        return psutil.Process().children(recursive=True)
    except psutil.Error:  # no /proc
        return []


def _end() -> None:
    """End every process below this one, those that left their group or their session too."""
    while children := _below():
        for each in children:
            with contextlib.suppress(psutil.Error):
                each.kill()
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
