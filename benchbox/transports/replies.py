"""Checks of the replies of boards and agents, which may be anything."""

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from benchbox.devices.host_schema import ReplyPart, wrong
from benchbox.lines import one_line
from benchbox.transports import reply_schema
from benchbox.transports.channel import ChannelClosed

MOST_TEXT = 300  # characters of another machine's sentence that are shown

T = TypeVar("T")


def field(reply: Mapping[str, Any], name: str, kind: type[T]) -> T:
    """Return a part of a reply; raises ChannelClosed where it is missing or of another type."""
    value = reply.get(name)
    if not isinstance(value, kind):
        raise lacking(name)
    return value


def texts(reply: Mapping[str, Any], name: str) -> list[str]:
    """Return a list of texts; raises ChannelClosed where it is none."""
    found = field(reply, name, list)
    if not all(isinstance(each, str) for each in found):
        raise lacking(name)
    return found


def numbers(reply: Mapping[str, Any], name: str) -> tuple[int, ...]:
    """Return a list of whole numbers; raises ChannelClosed where it is none."""
    found = field(reply, name, list)
    if not all(isinstance(each, int) for each in found):
        raise lacking(name)
    return tuple(found)


def up_to(reply: Mapping[str, Any], name: str, most: int) -> int:
    """Return a whole number from 0 to `most`; raises ChannelClosed where it is none."""
    found = field(reply, name, int)
    if not 0 <= found <= most:
        raise lacking(name)
    return found


def path(reply: Mapping[str, Any], name: str) -> str:
    """Return an absolute path; raises ChannelClosed where it is none, or one of several lines."""
    found = field(reply, name, str)
    if not found.startswith("/") or not found.isprintable():
        raise lacking(name)
    return found


def check(kind: type[ReplyPart], said: object) -> None:
    """Raise ChannelClosed unless something has the parts of an answer of that kind."""
    if name := wrong(kind, said):
        raise lacking(name)


def check_op(op: object, reply: Mapping[str, Any]) -> None:
    """Raise ChannelClosed unless a reply has the parts that one to `op` has."""
    if op in reply_schema.REPLIES:
        check(reply_schema.REPLIES[op], reply)
    if op == "hello":  # a record keeps what is said of the host, and that is JSON
        try:
            json.dumps(reply, allow_nan=False)
        except ValueError:
            raise lacking("host") from None
    if op == "profile":
        calls = len(reply["run_us"])
        if any(len(node["us"]) != calls for node in reply["nodes"]):
            raise lacking("nodes.us")


def check_burst(said: object, graph: str, calls: int) -> None:
    """Raise ChannelClosed unless something is a burst of a graph, or the error of one.

    It has as many calls as were asked for at most.
    """
    burst = said if isinstance(said, dict) and said.get("graph") == graph else None
    if burst is None:
        raise lacking("burst")
    if burst.get("error"):
        field(burst, "error", str)
        return
    check(reply_schema.BurstReply, burst)
    timed, switches = len(burst["latencies_ns"]), burst.get("switches")
    if timed > calls:
        raise lacking("latencies_ns")
    if switches is not None and len(switches) != timed:
        raise lacking("switches")


def lacking(name: str) -> ChannelClosed:
    """Return the error for a reply without a part that it should have."""
    return ChannelClosed(f"it answered no {name!r} as a keeper or an agent does")


def line(said: object) -> str:
    """Return another machine's sentence as one line that no terminal takes for commands."""
    return one_line(" ".join(str(said).split())[:MOST_TEXT])
