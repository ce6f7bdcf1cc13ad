"""Record of a case with its graph and samples; it names neither this machine nor its user."""

import contextlib
import getpass
import os
import re
import socket
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from benchbox.analysis import energy, gpu_time, latency, samples
from benchbox.analysis.adjusted import Adjusted
from benchbox.analysis.machine import Machine
from benchbox.analysis.samples import Burst
from benchbox.export import Graph
from benchbox.records import Record
from benchbox.specs import Case
from benchbox.transports import Loaded

LONGEST = 400  # characters of a reason; what a runtime has to say can fill a page
SHORTEST = 4  # characters of a name that is blanked wherever it stands
# Hosts and users are called so too, but in a reason these are words.
WORDS = frozenset(
    re.findall(
        r"\w+",
        """
    account admin agent allocate batch bench benchbox board boot build builder cache call
    calls case clock code compute core count cuda data default desktop device disk error
    export failed file files float16 float32 folder fp16 fp32 from gpus graph guest have
    home host image input int8 kernel laptop library limit linux local long loop machine
    main memory model models module more name network node nodes none number nvidia only
    onnx onnxruntime operator output path phone process processor program provider python
    release remote root runner runtime sample samples seconds send server service session
    shape shell spec speed system table tensor test that their there this thread threads
    time timed timeout tool torch type user value version warning weights when which with
    work worker write wrong your
    """,
    )
)


def record(index: int, case: Case, graph: Graph | None) -> Record:
    """The record of a case that was not measured yet."""
    facts = graph.facts() if graph else {}
    cost = facts.pop("cost", None)
    return Record(
        index=index,
        spec=case.spec,
        case=case.name,
        labels=dict(case.labels),
        args=dict(case.args),
        group=case.group,
        reference=case.reference,
        batch=case.batch,
        dtype=case.dtype,
        inputs=[str(tensor) for tensor in case.inputs],
        status="skipped",
        channels=case.channels,
        published=case.published,
        printed=dict(case.printed),
        note=case.note,
        paper={name: value for name, value in asdict(case.paper).items() if value},
        threads=case.threads,
        axes=dict(case.axes),
        graph=facts or None,
        values={tensor.name: str(tensor.values) for tensor in case.inputs if tensor.values},
        has_images=case.has_images,
        cost=cost,  # type: ignore[arg-type]
    )


def measured(
    bare: Record,
    bursts: Sequence[Burst],
    reference: Sequence[Burst],
    reference_sha256: str,
    machine: Machine,
    cases: tuple[Adjusted | None, Adjusted | None] = (None, None),
    *,
    paired: bool = False,
) -> Record:
    """Add samples to a record, with their estimates and the ratio to the reference.

    `cases` are it and its reference adjusted, where they are; `paired` says that rounds are
    mirrored.
    """
    gate, (case, other) = machine.gate, cases
    found = latency.estimate(bursts, gate, case, machine.tau)
    both = (case, other) if case and other and not paired else None
    relative, basis = latency.ratio(
        bursts, reference, gate, both, tau=machine.ratio_tau, paired=paired
    )
    return replace(
        bare,
        bursts=samples.tagged(bursts, machine.tolerated),
        latency=found,
        spans=gpu_time.estimate(bursts, gate, found.p50_s if found else None),
        adjustment=machine.adjustment(case) if case else None,
        gate=gate,
        state_shift=machine.shift,
        host_shift=machine.host_shift,
        relative=relative,
        relative_basis=basis,
        relative_to=reference_sha256 if relative else "",
        energy=energy.estimate(bursts),
    )


LOADING = tuple(field.name for field in fields(Loaded) if field.name != "rss_bytes")


def loading(loaded: Loaded) -> dict[str, Any]:
    """The fields of a record that describe how its graph was loaded."""
    return {name: getattr(loaded, name) for name in LOADING}


def loaded(earlier: Record) -> Loaded | None:
    """How the graph of an earlier record was loaded, None if it was not."""
    if earlier.load_s is None or earlier.first_call_s is None:
        return None
    return Loaded(**{name: getattr(earlier, name) for name in LOADING})


def shareable(text: str) -> str:
    """Strip this machine's folders, its name and its user's from a reason."""
    for folder in _folders():
        if len(folder) > 1:
            text = re.sub(rf"(?<![\w.]){re.escape(folder + os.sep)}", "", text)
    text = re.sub(r"(?<![\w.:/])/(?:[^\s/'\":,]+/)+", "", text)
    host = socket.gethostname()
    for name in dict.fromkeys((host, host.partition(".")[0], _user())):
        if name not in ("", "root", "localhost"):
            text = _without(name, text)
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]}…{text[-LONGEST // 2 :]}"


def _without(name: str, text: str) -> str:
    """Blank a name where it stands in an address or a path; as a word too, unless it is one."""
    word = rf"(?<![\w-]){re.escape(name)}(?![\w-])"
    places = [rf"{word}(?=@)", rf"(?<=[@~])(?:{word})", rf"(?<=//)(?:{word})"]
    is_word = name.isalnum() and (len(name) < SHORTEST or name.lower() in WORDS)
    if not is_word:
        places = [word]
    return re.sub("|".join(places), "…", text)


def _folders() -> list[str]:
    """The current folder and the user's own, if there are such."""
    found = []
    for folder in (Path.cwd, Path.home):
        with contextlib.suppress(OSError, RuntimeError):
            found.append(str(folder()))
    return found


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""
