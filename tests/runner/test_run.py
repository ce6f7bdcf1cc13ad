from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchbox import records
from benchbox.analysis.machine import Known
from benchbox.devices import Device
from benchbox.errors import SpecError
from benchbox.records import Record
from benchbox.runner import Outcome, Request, known_states
from benchbox.sampling import sampler as sampling_sampler
from benchbox.sampling.sampler import Sampler
from benchbox.specs import BlockSpec, Case, Selection
from benchbox.specs.model import Match
from benchbox.transports import open_agent
from tests.helpers.machine import open_calm
from tests.helpers.runs import QUICK, Watcher, interrupt, run, spec_of

MakeCases = Callable[..., list[Case]]
RequestFor = Callable[..., Request]


@pytest.fixture
def request_for(
    tmp_path: Path,
    cpu: Device,
    monkeypatch: pytest.MonkeyPatch,
    shared_cache: Path,
    onnx_cases: MakeCases,
) -> RequestFor:
    """Return a function that makes the request of a spec, or of a spec of cases by name."""
    monkeypatch.setattr(sampling_sampler, "CHUNK_S", 0.05)
    assert shared_cache

    def make(spec: BlockSpec | str = "a", **more: Any) -> Request:
        fields = {"plan": QUICK, "results": tmp_path / "results", "open": open_calm} | more
        one = spec_of(onnx_cases(*spec)) if isinstance(spec, str) else spec
        return Request("tiny", [one], Selection(), cpu, **fields)

    return make


def statuses(outcome: Outcome) -> dict[str, str]:
    """Return what a reader of the file sees, which is what the run itself says."""
    found = records.read(outcome.run.path).records
    for name in Record.__dataclass_fields__:
        assert [getattr(r, name) for r in found] == [
            getattr(r, name) for r in outcome.run.records
        ], name
    return {record.case: record.status for record in found}


def test_a_run_exports_and_records_without_naming_the_machine(request_for: RequestFor) -> None:
    watcher = Watcher()
    request = request_for("ab")
    outcome = run(request, watcher)
    assert statuses(outcome) == {"a": "ok", "b": "ok"}
    assert not outcome.interrupted
    assert outcome.lost == ""
    for record in outcome.run.records:
        assert None not in (record.load_s, record.first_call_s, record.peak_rss_bytes)
        assert record.latency is not None
        assert (record.relative is None) == (record.case == "a")
    kinds = [event.split()[0] for event in watcher.events]
    assert kinds.index("starting") < kinds.index("loading") < kinds.index("finished")
    assert [e for e in watcher.events if "loading" in e] == ["loading 0 of 2", "loading 1 of 2"]
    assert "exporting" not in kinds[kinds.index("starting") :]
    assert list((request.results / "cpu").iterdir()) == [outcome.run.path]
    context = outcome.run.context
    assert (context.name, context.device, context.threads) == ("tiny", "cpu", 1)
    assert context.versions["onnxruntime"]
    assert context.plan["min_rounds"] == QUICK.min_rounds
    assert context.spec("tiny").sha256 == "0" * 64
    assert "memory_available_bytes" not in context.host
    if Path("/proc/self/task").exists():
        assert set(context.affinity or ()) == {str(context.cpus[0])}
    assert str(request.results.parent) not in outcome.run.path.read_text()


def test_multiply_accumulates_that_differ_stop_before_anything_is_timed(
    request_for: RequestFor, onnx_cases: MakeCases
) -> None:
    request = request_for(spec_of(onnx_cases("a", "b", size=32), Match(0.05)))
    with pytest.raises(SpecError, match=r"^tiny: \[match\] allows 5.00%: b has 95.31% more"):
        run(request, Watcher())  # (40 / 32)**3
    assert not request.results.exists()


def test_a_run_remembers_the_states_of_the_machine_for_the_next(request_for: RequestFor) -> None:
    request = request_for(open=open_agent)
    outcome = run(request, Watcher())
    known = known_states.load(known_states.path(outcome.run.context))
    (record,) = outcome.run.records
    assert record.gate.compute is not None
    assert known.bases.compute == pytest.approx(record.gate.compute.centre_ns)
    seen: list[Known] = []

    class Curious(Watcher):
        def measuring(self, sampler: Sampler) -> None:
            seen.append(sampler.machine.known)
            interrupt()

    run(request, Curious())
    assert seen[0] == known
