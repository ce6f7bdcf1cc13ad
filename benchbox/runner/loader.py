"""Loading of graphs into an agent: as many as fit, with the rest postponed."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from benchbox.devices import CPU_PROVIDER, Device
from benchbox.devices.providers import runs_modules
from benchbox.errors import AgentError, CaseError, FullError
from benchbox.export import is_copy, recipe, require_unchanged
from benchbox.runner import memory_groups
from benchbox.runner.memory_groups import Postponed, Room
from benchbox.runner.pool import Pool
from benchbox.runner.recorder import Recorder
from benchbox.runner.state import RunState
from benchbox.sampling.progress import Progress
from benchbox.sampling.sampler import Sampler
from benchbox.specs import Builder, Case, is_quantised
from benchbox.specs.dtype import computes_in_float32
from benchbox.transports import Agent


class Loader:
    """Loads the cases that a sampler waits for into one agent after the other."""

    def __init__(
        self,
        state: RunState,
        recorder: Recorder,
        device: Device,
        seed: int,
        loading: Callable[[int, int], None],
        no_samples: str = "",
    ) -> None:
        """`seed` is that of the inputs; `loading` hears how many graphs of how many are loaded.

        Where `no_samples` says why nothing may be timed, a case that was loaded is finished.
        """
        self._state, self._recorder = state, recorder
        self._device, self._seed, self._loading = device, seed, loading
        self._no_samples = no_samples
        self._postponed: list[Postponed] = []

    def load_all(self, agent: Agent | Pool, sampler: Sampler) -> None:
        """Load what waits for the agent; postpone what a GPU has no room for.

        A case that cannot be loaded is recorded as failed.
        Raises AgentError when the agent is lost.
        """
        room, waiting = Room(self._free_bytes(agent)), sampler.awake
        for done, progress in enumerate(waiting):
            case = self._state.cases[progress.subject.key].case
            if not room.has_for(case):
                self._postpone(sampler, case)
                continue
            self._loading(done, len(waiting))
            try:
                self._load(agent, progress, room)
            except FullError as error:
                if room.taken_bytes:
                    room.closed = True
                    self._postpone(sampler, case, alone=not room.beside_others(case))
                else:
                    self._fail(sampler, case.key, str(error))
            except CaseError as error:
                self._fail(sampler, case.key, str(error))
                if isinstance(error, AgentError):
                    raise

    def postponed(self) -> Iterator[tuple[list[Case], float]]:
        """Yield what was postponed since the last time, in groups with their seconds."""
        exported = {key: each.case for key, each in self._state.cases.items() if each.graph}
        waiting, self._postponed = self._postponed, []
        yield from memory_groups.regrouped(waiting, exported)

    def _load(self, agent: Agent | Pool, progress: Progress, room: Room) -> None:
        key = progress.subject.key
        state = self._state.cases[key]
        assert state.graph is not None, "only exported cases are sampled"
        is_first = state.loaded is None
        module = recipe(state.case) if runs_modules(self._device.provider) else None
        is_compared = is_first and self._device.provider != CPU_PROVIDER and module is None
        require_unchanged(state.case, state.graph, as_module=module is not None)
        loaded = agent.load(
            key,
            str(state.graph.path),
            state.graph.filled(state.case.inputs),
            self._seed,
            denormals=is_first,
            finite=state.graph.finite,
            types=is_first and _asked_types(state.case),
            compare=_least_type(state.case, state.graph.path) if is_compared else None,
            module=module,
        )
        if module is not None or not is_copy(state.graph):
            require_unchanged(state.case, state.graph, as_module=module is not None)
        state.loaded = state.loaded or loaded
        room.taken_bytes[key] = loaded.gpu_bytes or 0
        progress.latency_s = loaded.first_call_s
        if self._no_samples:
            progress.finished = True
            self._recorder.end(key, "skipped", self._no_samples)

    def _fail(self, sampler: Sampler, key: str, reason: str) -> None:
        sampler.fail(key, reason)
        self._recorder.end(key, "failed", reason)

    def _postpone(self, sampler: Sampler, case: Case, *, alone: bool = False) -> None:
        self._state.keep(sampler.cases[case.key])
        self._postponed.append(Postponed(case, sampler.postpone(case.key), alone))

    def _free_bytes(self, agent: Agent | Pool) -> int | None:
        """How much of a GPU's memory graphs may take, None where there is none."""
        free = agent.hello["host"].get("memory_available_bytes") if self._device.driving else None
        return None if free is None else int(free * memory_groups.SHARE)


def _asked_types(case: Case) -> bool | Literal["operators"]:
    """Whether to see what computes a case: the device may have no kernels for its type."""
    return "operators" if is_quantised(case) else case.dtype == "float16"


def _least_type(case: Case, graph: Path) -> str:
    """The type in which a case computes at least, "single" or "half"; or "quantised".

    An .onnx file may have any type inside.
    """
    if is_quantised(case):
        return "quantised"
    is_single = case.dtype == "float32"
    if is_single and not isinstance(case.source, Builder):
        is_single = computes_in_float32(graph)
    return "single" if is_single else "half"
