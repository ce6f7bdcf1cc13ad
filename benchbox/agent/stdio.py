"""JSON Lines on stdin and stdout, for a program whose libraries may print whatever they like."""

import json
import os
import select
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from benchbox.agent.ort import messages

Message = Mapping[str, Any]  # what json.loads returned: the one place where types are not known
_requests = 0  # the descriptor that requests come by


def serve(replies: Callable[[Message], Iterable[Mapping[str, object]]]) -> None:
    """Answer every line of stdin with the replies to it, until `bye` or the end of input.

    What libraries print to stdout goes to stderr instead, and what they read of stdin is empty.
    When nobody listens any more the process leaves at once, without tearing sessions down.
    """
    global _requests
    _requests = os.dup(0)
    requests = os.fdopen(_requests, "rb")
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    try:
        for line in requests:
            request = _parse(line)
            for number, reply in enumerate(replies(request)):
                of = {"of": [request["id"], number]} if "id" in request else {}
                out.write(json.dumps({**reply, **of}, separators=(",", ":")).encode() + b"\n")
            if request.get("op") == "bye":
                return
    except (BrokenPipeError, KeyboardInterrupt):
        os._exit(1)


def is_left() -> bool:
    """Whether nobody holds the other end of what requests come by: whoever asked is gone."""
    pipe = select.poll()
    pipe.register(_requests, 0)
    return any(event & select.POLLHUP for _, event in pipe.poll(0))


def _parse(line: bytes) -> Message:
    try:
        message = json.loads(line)
    except ValueError:
        message = None
    return message if isinstance(message, dict) else {}


class Refusal(Exception):  # noqa: N818 - not an error of the program, but what it answers
    """Why something is not done, in a sentence that needs no name of an exception before it."""


def sentence(error: BaseException) -> str:
    """Return an exception as one line, with its type where the text does not have it itself."""
    text = messages.plain(str(error))
    is_whole = isinstance(error, Refusal) or "[ONNXRuntimeError]" in str(error)
    return text if is_whole else f"{type(error).__name__}: {text}"
