"""Checks of the replies of boards and agents, which may be anything."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

from pydantic import ValidationError

from benchbox.analysis.quantities import wrong_field
from benchbox.analysis.samples import Burst
from benchbox.devices.host_schema import ReplyPart, wrong
from benchbox.lines import one_line
from benchbox.sampling.session import Timed, samples
from benchbox.transports import reply_schema
from benchbox.transports.channel import ChannelClosed

OF_US = {"session", "round", "kind", "tags", "setting"}  # of the fields of a burst
OF_AN_AGENT = {each.name for each in fields(Burst)} - OF_US
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
    if op == "profile":
        calls = len(reply["run_us"])
        if any(len(node["us"]) != calls for node in reply["nodes"]):
            raise lacking("nodes.us")
        for name in ("latencies_ns", "cpu_ns"):
            if reply.get(name) and len(reply[name]["profiled"]) != calls:
                raise lacking(f"{name}.profiled")


def burst(said: object, graph: str, calls: int) -> Timed:
    """Return the burst of a graph, or the error of one, without what an agent has no say in.

    It has as many calls as were asked for at most. Raises ChannelClosed for anything else.
    """
    if not isinstance(said, dict) or said.get("graph") != graph:
        raise lacking("burst")
    if said.get("error"):
        return Timed(graph, error=field(said, "error", str))
    try:
        found = samples({name: part for name, part in said.items() if name in OF_AN_AGENT})
    except ValidationError as error:
        raise lacking(wrong_field(error)) from None
    if len(found.latencies_ns) > calls:
        raise lacking("latencies_ns")
    return Timed(graph, found)


def lacking(name: str) -> ChannelClosed:
    """Return the error for a reply without a part that it should have."""
    return ChannelClosed(f"it answered no {name!r} as a keeper or an agent does")


def line(said: object) -> str:
    """Return another machine's sentence as one line that no terminal takes for commands."""
    return one_line(" ".join(str(said).split())[:MOST_TEXT])
