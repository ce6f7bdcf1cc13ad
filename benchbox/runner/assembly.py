"""Assembly of a measurement from its parts: in rounds, at a rate, or under continuous load."""

from collections.abc import Mapping
from typing import Any

from benchbox.analysis.machine import ADJUSTED, Known
from benchbox.records.journal import Journal
from benchbox.runner import resumed
from benchbox.runner.agents import Agents
from benchbox.runner.case_record import Build, RecordBuilder
from benchbox.runner.cooldown import Cooling
from benchbox.runner.judge import Judge, RoundsJudge
from benchbox.runner.loader import Loader
from benchbox.runner.measurement import Measurement
from benchbox.runner.recorder import Recorder
from benchbox.runner.request import Prepared, Request, Watcher
from benchbox.runner.schedule import RoundsSchedule, Schedule
from benchbox.runner.state import RunState
from benchbox.runner.sustained import SustainedJudge, SustainedSchedule
from benchbox.sampling.plan import Plan
from benchbox.sampling.sampler import Sampler
from benchbox.transports import Agent, client


def assemble(
    request: Request,
    ready: Prepared,
    agent: Agent,
    journal: Journal,
    watcher: Watcher,
    known: Known | None = None,
) -> Measurement:
    """The measurement of a request, whose first session is that of `agent`.

    `known` is what earlier runs learned of the machine's states.
    """
    plan, clock = request.plan, request.clock
    host = agent.hello["host"]
    resumed.go_on(journal, ready)
    adjusts = _adjusts(plan, host)
    state = RunState(ready.cases, ready.graphs, journal.run, known, adjusts=adjusts)
    waits = [wait for record in journal.records.values() for wait in record.cooldowns]
    cooling = Cooling(
        plan.cooldown_s, watcher.cooling, done=waits, clock=clock.now, sleep=clock.sleep
    )
    no_latency = client.reason(agent)
    build: Build = RecordBuilder(state, plan, {**journal.records}, cooling, no_latency).build

    def notify(sampler: Sampler) -> None:
        watcher.measuring(sampler)
        recorder.checkpoint(sampler)

    judge: Judge
    schedule: Schedule
    if plan.sustained_s is None:
        judge = RoundsJudge(state, plan, journal)
        free_bytes = host.get("memory_available_bytes")
        is_alone = bool(request.device.url)
        schedule = RoundsSchedule(state, judge, free_bytes, clock.now, notify, is_alone=is_alone)
    else:
        judge = sustained = SustainedJudge(state, plan.sustained_s, journal)
        build = sustained.with_windows(build)
        schedule = SustainedSchedule(state, judge, clock.now, notify)
    recorder = Recorder(state, judge, build, journal, watcher.finished)
    no_samples = "" if request.allow_emulated else no_latency
    loader = Loader(state, recorder, request.device, plan.seed, watcher.loading, no_samples)
    setting = journal.context.host.get("setting") or {}
    agents = Agents(request.device, request.open, agent, cooling, setting)
    return Measurement(state, plan, schedule, agents, loader, recorder)


def _adjusts(plan: Plan, host: Mapping[str, Any]) -> bool:
    """Whether figures are adjusted: where that was tried, on processors whose clock has no steps.

    Beside calls at a rate no sentinel runs; a load that lasts is to show what the clock does.
    """
    in_rounds = plan.arrival_per_s is None and plan.sustained_s is None
    return in_rounds and host.get("gpu") is None and host.get("machine") in ADJUSTED
