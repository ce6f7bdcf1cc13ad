"""Calibration of a device: networks made for it, each timed twice, plain and profiled."""

import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchbox import host, records
from benchbox.devices import CPU_PROVIDER, Device, ceilings
from benchbox.errors import DeviceError, StorageError
from benchbox.insight.predict import calibration
from benchbox.insight.predict.calibration import Calibration, Identity
from benchbox.insight.predict.calibration_networks import network
from benchbox.insight.predict.operators import Operator
from benchbox.insight.predict.optimise import Optimiser
from benchbox.insight.predict.writer import INPUT
from benchbox.specs import TensorSpec
from benchbox.transports import Agent, client

NETWORKS, PASSES = 90, 2
MOST_CALLS = 120  # that are profiled of a network each time
SEED = 0  # of the inputs


@dataclass(frozen=True, slots=True)
class TimedGraph:
    """A graph to calibrate by, as its file has it."""

    motifs: Sequence[str]
    inputs: Sequence[TensorSpec]
    model: bytes


Wanted = Mapping[str, Callable[[], TimedGraph]]


def networks(count: int = NETWORKS) -> dict[str, Callable[[], TimedGraph]]:
    """The calibration networks by name, each made when its turn comes."""
    return {f"c{seed:03d}": partial(_made, seed) for seed in range(count)}


def _made(seed: int) -> TimedGraph:
    made = network(seed)
    image = TensorSpec(INPUT, (1, 3, made.size, made.size))
    return TimedGraph(made.motifs, (image,), made.model)


def require_predictable(device: Device) -> None:
    """Raise DeviceError for a device that is no processor under ONNX Runtime's own provider."""
    if device.provider != CPU_PROVIDER or device.plugin is not None:
        what = device.plugin.name if device.plugin else device.provider
        raise DeviceError(
            f"device {device.name!r}: only processors are calibrated and predicted, not {what}, "
            "for which no prediction has been tried yet"
        )


def identity(agent: Agent, device: Device) -> Identity:
    """What a calibration of the processors belongs to that an agent greeted from."""
    return identity_of(agent.hello, device.provider, device.threads)


def identity_of(hello: Mapping[str, Any], provider: str, threads: int) -> Identity:
    """The same of the facts that an agent greeted with."""
    processor, machine, cores, version, _ = ceilings.of_processor(hello, threads)
    return Identity(
        processor=str(processor or ""),
        machine=str(machine or ""),
        cores=json.dumps(cores),
        onnxruntime=str(version or ""),
        build=str(hello.get("build", "")),
        provider=provider,
        threads=threads,
    )


class Calibrator:
    """Adds to the file of a device's calibration what is not in it yet; `file` is known then.

    What is begun anew is written beside it, and takes its place once all of it is there.
    """

    def __init__(
        self,
        device: Device,
        open_agent: Callable[[Device], Agent],
        file: Path | None = None,
        notify: Callable[[str, int, int], None] = lambda *_: None,
        *,
        anew: bool = False,
    ) -> None:
        """Calibrate into a file, by default that of the device; `anew` from the beginning."""
        self._device, self._open_agent, self._notify = device, open_agent, notify
        self.file, self._anew = file, anew
        self._part: Path | None = None
        self.done: set[tuple[str, int]] = set()
        self._is_blocked: bool | None = None
        self._written: dict[str, list[Operator]] = {}

    def calibrate(self, wanted: Wanted) -> Calibration:
        """Time each graph in every pass, the second one backwards, in an agent of its own.

        What is timed is kept at once. `notify` hears of each what it is, how many are done and how
        many there are. Raises DeviceError where the device runs other operators than graphs have
        that are written here or is being calibrated already, CaseError where it cannot time one.
        """
        with ExitStack() as held:
            for number in range(PASSES):
                with self._open_agent(self._device) as agent:
                    client.require_real(agent, self._device.name, "times to calibrate by")
                    if number == 0:
                        self._begin(agent, held)
                    self._pass(agent, wanted, number)
            assert self.file and self._part, "begun"
            self._part.replace(self.file)
            return calibration.read(self.file)

    def _pass(self, agent: Agent, wanted: Wanted, number: int) -> None:
        names = list(wanted)
        for name in names if number % 2 == 0 else names[::-1]:
            if (name, number) not in self.done:
                self._notify(name, len(self.done), PASSES * len(wanted))
                self._time(agent, name, wanted[name](), number)

    def _begin(self, agent: Agent, held: ExitStack) -> None:
        """Go on with the file of this identity, or begin one, and let nobody else write to it."""
        found = identity(agent, self._device)
        require_same_version(found)
        self.file = self.file or calibration.path(found)
        held.callback(os.close, calibration.lock(self.file))
        beside = self.file.with_suffix(".again")
        is_beside = beside.exists() or (self._anew and self.file.exists())
        self._part = beside if is_beside else self.file
        if self._anew or not self._mended():
            return
        known = calibration.read(self._part)
        if known.identity == found:
            self._is_blocked = known.is_blocked
            self._written = {each.name: [*each.operators] for each in known.networks}
            self.done = {(n.name, at) for n in known.networks for at in range(len(n.timings))}

    def _time(self, agent: Agent, name: str, graph: TimedGraph, number: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{name}.onnx"
            path.write_bytes(graph.model)
            reply = agent.profile(str(path), graph.inputs, SEED, MOST_CALLS, brief=True)
        lines: list[dict[str, object]] = []
        if self._is_blocked is None:
            self._is_blocked = self._layout(graph, reply["nodes"], name)
            begun = identity(agent, self._device), records.now(), self._device.command_name
            self._write([calibration.head(*begun, is_blocked=self._is_blocked)], anew=True)
        if name not in self._written:
            self._written[name] = self._operators(graph, is_blocked=self._is_blocked)
            lines.append(calibration.network_line(name, graph.motifs, self._written[name]))
        places = calibration.places(self._written[name], reply["nodes"])
        if not places:
            raise DeviceError(self._refusal(name))
        lines.append(calibration.timed_line(name, calibration.timing(reply, places)))
        self._write(lines)
        self.done.add((name, number))

    def _layout(self, graph: TimedGraph, nodes: Sequence[Mapping[str, Any]], name: str) -> bool:
        """Whether the device computes in blocks of channels, as its first network shows."""
        for is_blocked in (True, False):
            written = self._operators(graph, is_blocked=is_blocked)
            if calibration.places(written, nodes):
                return is_blocked
        raise DeviceError(self._refusal(name))

    def _refusal(self, name: str) -> str:
        return (
            f"device {self._device.name!r} runs other operators than this machine's ONNX Runtime "
            f"writes down (of network {name}), so that nothing can be predicted for it"
        )

    @staticmethod
    def _operators(graph: TimedGraph, *, is_blocked: bool) -> list[Operator]:
        import onnx

        with Optimiser(is_blocked=is_blocked) as optimiser:
            shapes = {tensor.name: tensor.shape for tensor in graph.inputs}
            return optimiser.operators(onnx.load_from_string(graph.model), shapes)

    def _mended(self) -> bool:
        """Whether there is a file to go on with, ended at what was written whole."""
        assert self._part, "begun"
        try:
            return calibration.mend(self._part)
        except OSError as error:
            raise _unwritten(self._part, error) from None

    def _write(self, lines: Sequence[Mapping[str, object]], *, anew: bool = False) -> None:
        assert self._part, "begun"
        text = "".join(f"{json.dumps(line, separators=(',', ':'))}\n" for line in lines)
        try:
            with self._part.open("wb" if anew else "ab") as file:
                file.write(text.encode())
        except OSError as error:
            raise _unwritten(self._part, error) from None


def _unwritten(file: Path, error: OSError) -> StorageError:
    return StorageError(f"{file}: cannot be written: {error.strerror}; calibrate again to go on")


def require_same_version(found: Identity) -> None:
    """Raise DeviceError where another ONNX Runtime here would write other graphs."""
    own = host.onnxruntime_version()
    if own != found.onnxruntime:
        raise DeviceError(
            f"the device has ONNX Runtime {found.onnxruntime}, and this machine writes the graphs "
            f"that it would run with {own or 'none'}; install onnxruntime=={found.onnxruntime} here"
        )
