"""Run on one device: greeted, measured, recorded; what it showed of its states is remembered."""

from contextlib import closing

from benchbox.records import resume
from benchbox.records.journal import Journal
from benchbox.runner import known_states
from benchbox.runner.assembly import assemble
from benchbox.runner.context import context_of
from benchbox.runner.request import Outcome, Prepared, Request, Watcher
from benchbox.transports import Agent


def measure(
    request: Request, ready: Prepared, watcher: Watcher, agent: Agent | None = None
) -> Outcome:
    """Measure and record every case of a request.

    The first process is that of `agent`, which it ends, or one that it opens.
    Raises a BenchboxError only before anything was measured; later, a failure is a record.
    """
    watcher.starting()
    agent = agent or request.open(request.device)
    try:
        if seen := agent.hello.get("seen"):
            watcher.greeted(seen)
        context = context_of(request, ready.cases, agent)
        previous = resume.previous(request.results, context) if request.resume else None
        states, host_states = known_states.path(context), known_states.host_path(context)
        known = known_states.load(states, host_states)
        with closing(Journal(request.results, context, previous)) as journal:
            measurement = assemble(request, ready, agent, journal, watcher, known)
            interrupted = measurement.run()
        if request.plan.arrival_per_s is None:  # else the processor was waking up all the time
            known_states.save(states, measurement.state.readings.after(), host_states)
    finally:
        agent.close()
    return Outcome(journal.run, interrupted, journal.lost)
