"""What a board answers, held to the types that it should have: it may be anything."""

from collections.abc import Mapping
from typing import Any, TypeVar

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


def check_hello(reply: Mapping[str, Any]) -> None:
    """Raise ChannelClosed for a greeting that lacks what is asked of every agent."""
    host = field(reply, "host", dict)
    texts(reply, "providers")
    field(host, "machine", str)
    field(host, "cpus_usable", int)


def is_burst(said: object, graph: str) -> bool:
    """Return whether something is a burst of a graph, or the error of one."""
    if not isinstance(said, dict) or said.get("graph") != graph:
        return False
    if "error" in said:
        return isinstance(said["error"], str)
    taken = said.get("latencies_ns", ())
    return isinstance(taken, list | tuple) and all(isinstance(each, int) for each in taken)


def lacking(name: str) -> ChannelClosed:
    """Return the error for a reply without a part that it should have."""
    return ChannelClosed(f"it answered no {name!r} as a keeper or an agent does")


def line(said: object) -> str:
    """Return another machine's sentence as one line that no terminal takes for commands."""
    words = " ".join(str(said).split())[:MOST_TEXT]
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in words)
