"""State of a run in progress: its cases, their samples so far, and the machine's states."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchbox.analysis.adjusted import Adjusted
from benchbox.analysis.machine import Known, Machine
from benchbox.analysis.samples import Burst
from benchbox.errors import CaseError
from benchbox.export import Graph
from benchbox.records import Run
from benchbox.sampling.progress import Progress
from benchbox.sampling.sampler import Sampler
from benchbox.specs import Case
from benchbox.transports import Loaded


@dataclass(slots=True)
class CaseState:
    """A case with its graph or the reason why it has none, and what its first load reported.

    One that `failed` is timed no more; so is one that was loaded where nothing may be timed.
    """

    case: Case
    graph: Graph | None
    no_graph: str = ""
    loaded: Loaded | None = None
    failed: bool = False


class RunState:
    """What the loader, the judge and the recorder of a run share."""

    def __init__(
        self,
        cases: Sequence[Case],
        graphs: Mapping[str, Graph | CaseError],
        before: Run,
        known: Known | None = None,
        *,
        adjusts: bool = False,
    ) -> None:
        """Go on from the records of an earlier part of the run."""
        self.cases: dict[str, CaseState] = {}
        for case in cases:
            graph = graphs[case.key]
            self.cases[case.key] = (
                CaseState(case, graph)
                if isinstance(graph, Graph)
                else CaseState(case, None, str(graph), failed=True)
            )
        self.sampler: Sampler | None = None  # of the memory group that is being timed
        self.machine = Machine(known, adjusts=adjusts)
        self.has_failure = False  # in this part of the run
        self._bursts = {record.key: list(record.bursts) for record in before.records}
        # Sessions are numbered on past those of earlier graphs: rounds of two never are the same.
        earlier = [burst for each in (*before.records, *before.earlier) for burst in each.bursts]
        self.session = max((burst.session for burst in earlier), default=-1)  # the last one begun
        for burst in earlier:
            self.machine.add(burst)
        self.machine.update()
        self._elapsed_s = 0.0  # in earlier memory groups

    @property
    def elapsed_s(self) -> float:
        """Seconds that were spent on timing."""
        return self._elapsed_s + (self.sampler.elapsed_s if self.sampler else 0.0)

    def begin_group(self, sampler: Sampler) -> None:
        """Have the cases of a memory group go on from their samples so far."""
        for key, progress in sampler.cases.items():
            progress.bursts += self._bursts.get(key, ())
            sampler.judge(progress)
        self.sampler = sampler

    def end_group(self) -> None:
        """Keep the samples of the memory group that was timed."""
        assert self.sampler is not None, "a group was begun"
        for progress in self.sampler.cases.values():
            self.keep(progress)
        self._elapsed_s, self.sampler = self.elapsed_s, None

    def progress(self, key: str) -> Progress | None:
        """The progress of a case in the memory group that is being timed."""
        return self.sampler.cases.get(key) if self.sampler else None

    def bursts(self, key: str) -> list[Burst]:
        """Every sample of a case: of the memory group being timed, or of earlier ones."""
        progress = self.progress(key)
        return progress.bursts if progress else list(self._bursts.get(key, ()))

    def adjusted(self, key: str) -> Adjusted | None:
        """A case by all its samples, adjusted to the machine's usual state; None where none is."""
        progress, bursts = self.progress(key), self.bursts(key)
        if progress and progress.is_fitted(self.machine):
            return progress.adjusted
        return self.machine.adjust(key, self.identity(key), bursts) if bursts else None

    def identity(self, key: str) -> str:
        """The sha256 of a case's graph, with its threads where it has own; empty without one."""
        each = self.cases.get(key)
        if each is None or each.graph is None:
            return ""
        threads = each.case.threads
        return f"{each.graph.sha256} by {threads}" if threads else each.graph.sha256

    def keep(self, progress: Progress) -> None:
        """Keep the samples of a case that leaves its sampler."""
        self._bursts[progress.subject.key] = progress.bursts

    def has_failed(self, key: str) -> bool:
        """Whether a case is timed no more."""
        return key in self.cases and self.cases[key].failed
