"""Client of the agent protocol: requests, deadlines, and the errors of a broken agent."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, Self

from benchbox.agent import PROTOCOL
from benchbox.analysis.samples import NS
from benchbox.devices import Device, providers
from benchbox.errors import AgentError, CaseError, DeviceError, FullError
from benchbox.sampling.session import Ask, Timed, asleep_s, unread
from benchbox.specs import TensorSpec
from benchbox.transports import replies
from benchbox.transports.channel import Channel, ChannelClosed, Timeout

BROKEN = "the agent is broken"
ADMITTED = 2.0  # times the wait for an answer that the calls in it may take by another clock
ADMITTED_S = 1.0  # and beyond
PACE = 0.6  # of what the first bursts are expected to take; the machine may be faster now


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long a reply may take, in seconds, before the agent counts as hung."""

    hello_s: float = 60.0
    load_s: float = 300.0
    burst_s: float = 30.0  # the least that a burst is given, whatever it is expected to take
    patience: float = 20.0  # times the expected duration of a burst


@dataclass(frozen=True, slots=True)
class Loaded:
    """What the agent reports of a graph that it opened and called once."""

    load_s: float
    first_call_s: float
    rss_bytes: int | None = None
    peak_rss_bytes: int | None = None
    affinity: Sequence[str] | None = None
    denormal_ratio: float | None = None
    peak_bytes: int | None = None
    nodes: Mapping[str, int] | None = None
    gpu_bytes: int | None = None
    types: Mapping[str, int] | None = None
    output_error: float | None = None
    computed_in: str | None = None


@dataclass(frozen=True, slots=True)
class Health:
    """How warm a device is, None without a sensor, and how it is set, in words."""

    temperature_c: float | None
    setting: Mapping[str, str] = field(default_factory=dict)


class Agent:
    """A greeted agent process. A context manager; leaving it ends the process."""

    def __init__(
        self,
        channel: Channel,
        device: Device,
        deadlines: Deadlines = Deadlines(),
        path_of: Callable[[str], str] = str,
    ) -> None:
        """Greet the agent; `path_of` gives the path that a graph here has on the device."""
        self._channel = channel
        self._deadlines = deadlines
        self._provider = device.provider
        self._path_of = path_of
        self._next = (0, 0)  # the number of the request that is being answered, and of the reply
        self._asked_s = 0.0
        self._pace = PACE  # what bursts took, their calls alone, of what was expected
        self.setting: Mapping[str, str] = {}
        try:
            self.hello = self._ask(
                {
                    "op": "hello",
                    "protocol": PROTOCOL,
                    "threads": device.threads,
                    "cpus": device.cpus or None,
                    **_modules(device),
                    **_driving(device),
                    **({"plugin": device.plugin.message()} if device.plugin else {}),
                },
                deadlines.hello_s,
            )
        except BaseException as error:
            channel.close()
            if not isinstance(error, CaseError):
                raise
            raise DeviceError(f"device {device.name!r}: {_refusal(error, device)}") from None
        self._provider = self.plugin.get("provider", self._provider)
        self.setting = self.hello["host"].get("setting", {})

    @property
    def plugin(self) -> Mapping[str, Any]:
        """Facts about the plug-in that runs the device's graphs; empty without one."""
        return self.hello.get("plugin") or {}

    def load(
        self,
        graph: str,
        path: str,
        inputs: Sequence[TensorSpec],
        seed: int,
        *,
        denormals: bool = False,
        types: bool | Literal["operators"] = False,
        finite: bool = True,
        compare: str | None = None,
        module: Mapping[str, object] | None = None,
    ) -> Loaded:
        """Open a graph on the device and call it once.

        Where asked, look for `denormals` in it, see the `types` in which its nodes compute, those
        of each operator for "operators", and require its outputs to be `finite`.
        By another provider than the CPU's `compare` its outputs with that one's: "single", "half"
        for what may compute in less than float32, "quantised" for what computes in integers.
        `module` says how the nn.Module is built that is to run instead, and to equal the graph.

        Raises CaseError when it cannot be loaded, FullError where a GPU's memory is full for it,
        AgentError when the agent is lost over it.
        """
        request: dict[str, object] = {
            "op": "load",
            "graph": graph,
            "path": self._path_of(path),
            "provider": self._provider,
            "inputs": self._plain(inputs),
            "seed": seed,
            "denormals": denormals,
            "types": types,
            **({"compare": compare} if compare else {}),
            **({"module": module} if module else {}),
        }
        reply = self._ask(request, self._deadlines.load_s)
        self._believe("first_call_s", reply["load_s"] + reply["first_call_s"])
        if finite and not reply["finite"]:
            raise CaseError("an output is not finite (NaN or infinity) on this device")
        return Loaded(
            **{each.name: reply[each.name] for each in fields(Loaded) if each.name in reply}
        )

    def _plain(self, inputs: Sequence[TensorSpec]) -> list[dict[str, object]]:
        """The inputs as an agent makes them, with files of values sent to the device."""
        messages = [tensor.message() for tensor in inputs]
        for values in (message.get("values", {}) for message in messages):
            if "file" in values:
                values["file"] = self._path_of(values["file"])
        return messages

    def time(self, bursts: Sequence[Ask], expected_s: Sequence[float]) -> Iterator[Timed]:
        """Yield the bursts asked for, in order, as they come.

        `expected_s` is what each should take without the sleep between calls that come at a rate; a
        burst that takes far longer counts as a hang. The last one has as its `setting` what is now
        set otherwise than `self.setting` says: how it was when greeted, or what a caller put there.
        Raises AgentError when the agent is lost: the burst after the last one yielded is to blame.
        """
        self._send({"op": "time", "bursts": bursts})
        limits, last, claimed_ns, over = self._deadlines, None, 0, 0
        for index, (ask, expected) in enumerate(zip(bursts, expected_s, strict=True)):
            if last is not None:
                yield last
            if index == over:
                count = unread(bursts[index:], expected_s[index:])
                time.sleep(self._pace * sum(expected_s[index : index + count]))
                over += max(1, count)
            # A call that takes longer than a period waits for another one.
            slack = limits.patience * expected + 2 * asleep_s(ask)
            reply = self._receive(limits.burst_s + slack)
            burst = reply.get("burst")
            if burst is None:
                raise AgentError(f"the agent answered {replies.line(reply.get('error', reply))}")
            try:
                last = replies.burst(burst, *ask[:2])
            except ChannelClosed as wrong:
                raise AgentError(f"{BROKEN}: {wrong}") from None
            claimed_ns += sum(last.latencies_ns)
            self._believe("latencies_ns", claimed_ns * NS)
        claimed_s = claimed_ns * NS
        self._pace = claimed_s / max(claimed_s, sum(expected_s), NS)
        if last is not None:
            yield from self._completed(last)

    def _completed(self, last: Timed) -> Iterator[Timed]:
        """Yield the last burst of a request with what has been set otherwise by its end."""
        try:
            now = _sound(self._receive(self._deadlines.burst_s), "time").get("setting", {})
        except AgentError:
            yield last
            raise
        changed = {k: v for k, v in now.items() if k in self.setting and v != self.setting[k]}
        samples = last.samples
        yield replace(last, samples=replace(samples, setting=changed)) if samples else last

    def health(self) -> Health:
        """Read the device's temperature and settings; raises CaseError where it cannot."""
        reply = self._ask({"op": "health"}, self._deadlines.burst_s)
        return Health(reply.get("temperature_c"), reply.get("setting", {}))

    def ceilings(self) -> tuple[dict[str, float], dict[str, float]]:
        """Measure what the device's GPU does at best.

        Returns that, and what NVML sees right after it. Raises CaseError when it cannot be done,
        AgentError when the agent is lost over it.
        """
        reply = self._ask({"op": "ceilings"}, self._deadlines.load_s)
        return reply["ceilings"], reply["seen"]

    def cpu_ceilings(self) -> dict[str, float]:
        """Measure what this session's processors do at best.

        Raises CaseError when it cannot be done, AgentError when the agent is lost over it.
        """
        reply = self._ask({"op": "cpu_ceilings"}, self._deadlines.load_s)
        return dict(reply["ceilings"])

    def look(self, cpu: int, seconds: float) -> tuple[dict[str, Any], dict[str, Any]]:
        """Watch a processor for a second at most.

        Returns what was seen there and how the machine is set up. Raises CaseError when it cannot
        be done, AgentError when the agent is lost over it.
        """
        request = {"op": "look", "cpu": cpu, "seconds": seconds}
        reply = self._ask(request, self._deadlines.burst_s)
        return reply["look"], reply["facts"]

    def profile(
        self,
        path: str,
        inputs: Sequence[TensorSpec],
        seed: int,
        most_calls: int,
        notify: Callable[[float], None] = lambda _: None,
        *,
        brief: bool = False,
    ) -> dict[str, Any]:
        """Open a graph on the device and say where its time goes (benchbox.agent.ort.profile).

        At most `most_calls` are profiled, where they are short; `notify` hears which share is done.
        `brief` is for one of many graphs, in a second instead of three.
        Raises CaseError when it cannot be profiled, AgentError when the agent is lost over it.
        """
        request = {
            "op": "profile",
            "path": self._path_of(path),
            "provider": self._provider,
            "inputs": self._plain(inputs),
            "seed": seed,
            "most_calls": most_calls,
            **({"brief": True} if brief else {}),
        }
        self._send(request)
        limits, limit_s = self._deadlines, self._deadlines.load_s
        while (step := (reply := self._receive(limit_s)).get("step")) is not None:
            _sound(step, "step")
            notify(step["share"])
            next_s = step["next_s"]
            limit_s = limits.load_s if next_s is None else limits.burst_s + limits.patience * next_s
        return _checked(reply, "profile")

    def close(self) -> None:
        """End the agent process."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, request: dict[str, object], timeout_s: float) -> dict[str, Any]:
        self._send(request)
        return _checked(self._receive(timeout_s), request["op"])

    def _send(self, request: dict[str, object]) -> None:
        self._next, self._asked_s = (self._next[0] + 1, 0), time.monotonic()
        try:
            self._channel.send({**request, "id": self._next[0]})
        except ChannelClosed as closed:
            raise AgentError(f"the agent is gone: {closed}") from None

    def _receive(self, timeout_s: float) -> dict[str, Any]:
        try:
            reply = self._channel.receive(timeout_s)
        except Timeout:
            raise AgentError(f"the agent gave no answer for {timeout_s:.0f} s") from None
        except ChannelClosed as closed:
            raise AgentError(f"the agent is gone: {closed}") from None
        asked, number = self._next
        if reply.pop("of", [asked, number]) != [asked, number]:
            raise AgentError(f"{BROKEN}: it answered twice, out of order or to another request")
        self._next = asked, number + 1
        return reply

    def _believe(self, name: str, claimed_s: float) -> None:
        """Raise AgentError for calls that took far longer than their answer."""
        waited_s = time.monotonic() - self._asked_s
        if claimed_s > ADMITTED * waited_s + ADMITTED_S:
            raise AgentError(
                f"{BROKEN}: {name!r} adds up to {claimed_s:.3g} s, answered in {waited_s:.3g} s"
            )


def _refusal(error: CaseError, device: Device) -> str:
    """Why an agent did not greet; its own sentences about the request stand alone."""
    text = replies.line(error)
    if device.plugin is not None and isinstance(error, AgentError):
        return f"its agent was to load plug-in {device.plugin.name}: {text}"
    own = text.removeprefix("ValueError: ")
    if own != text:
        return own
    # Records keep it, so that an address without a name is not told.
    name = "ssh://..." if "://" in device.command_name else device.command_name
    is_broken = "ImportError" in text or "ModuleNotFoundError" in text
    advice = f"; benchbox device check {name} --install" if is_broken and device.url else ""
    if is_broken and device.python and not device.url:
        advice = "; that Python needs numpy and onnxruntime"
    return f"no agent starts there: {text}{advice}"


def _driving(device: Device) -> dict[str, object]:
    """The part of the greeting about a GPU, empty for another device."""
    if device.driving is None:
        return {}
    return {"gpu": device.gpu, "provider": device.provider, "driving": device.driving.plan()}


def _modules(device: Device) -> dict[str, object]:
    """The part of the greeting about nn.Modules, empty where graphs are run."""
    if not providers.runs_modules(device.provider):
        return {}
    return {"provider": device.provider}


def _checked(reply: dict[str, Any], op: object) -> dict[str, Any]:
    """Return the reply to `op`; raises CaseError for an error in it, AgentError for another."""
    if "error" in reply:
        raise (FullError if reply.get("full") else CaseError)(str(reply["error"]))
    if reply.get("reply") != op:
        raise AgentError(f"the agent answered {replies.line(reply)}")
    return _sound(reply, op)


def _sound(reply: dict[str, Any], op: object) -> dict[str, Any]:
    """Return a reply that has the parts of one to `op`; raises AgentError."""
    try:
        replies.check_op(op, reply)
    except ChannelClosed as wrong:
        raise AgentError(f"{BROKEN}: {wrong}") from None
    return reply


def reason(agent: Agent) -> str:
    """Why no figure may come from an agent's device, empty where it is a real one."""
    by = agent.hello["host"].get("emulated")
    return f"emulated ({by}): a figure taken here is no latency" if by else ""


def require_real(agent: Agent, name: str, what: str) -> None:
    """Raise DeviceError where a device is emulated; `what` was to be learnt of it."""
    by = agent.hello["host"].get("emulated")
    if by:
        raise DeviceError(
            f"device {name!r} is emulated ({by}) and has no {what}; use the real device"
        )
