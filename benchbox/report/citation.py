"""Citation of runs: how they were measured, in a paragraph, and BibTeX of what they rest on."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from benchbox import __version__
from benchbox.lines import one_line
from benchbox.records import Run
from benchbox.report.tables import measured_by, setting
from benchbox.report.text import listed

ARXIV = re.compile(r"arXiv (\d{4}\.\d{4,5})")
URL = "https://arxiv.org/abs/"


class Publication(NamedTuple):
    """A paper: a part of its networks' names, its key, authors, title, year and venue."""

    networks: str
    key: str
    authors: str
    title: str
    year: int
    venue: str = ""


PAPERS: Mapping[str, Publication] = {
    "1707.01083": Publication(
        "shufflenetv1_",
        "zhang2018shufflenet",
        "Zhang, Xiangyu and Zhou, Xinyu and Lin, Mengxiao and Sun, Jian",
        "{ShuffleNet}: An Extremely Efficient Convolutional Neural Network for Mobile Devices",
        2018,
        "CVPR",
    ),
    "1807.11164": Publication(
        "shufflenetv2_",
        "ma2018shufflenetv2",
        "Ma, Ningning and Zhang, Xiangyu and Zheng, Hai-Tao and Sun, Jian",
        "{ShuffleNet V2}: Practical Guidelines for Efficient {CNN} Architecture Design",
        2018,
        "ECCV",
    ),
    "1801.04381": Publication(
        "mobilenetv2_",
        "sandler2018mobilenetv2",
        "Sandler, Mark and Howard, Andrew and Zhu, Menglong and Zhmoginov, Andrey and "
        "Chen, Liang-Chieh",
        "{MobileNetV2}: Inverted Residuals and Linear Bottlenecks",
        2018,
        "CVPR",
    ),
    "1905.02244": Publication(
        "mobilenetv3_",
        "howard2019mobilenetv3",
        "Howard, Andrew and Sandler, Mark and Chu, Grace and Chen, Liang-Chieh and Chen, Bo and "
        "Tan, Mingxing and others",
        "Searching for {MobileNetV3}",
        2019,
        "ICCV",
    ),
    "1911.11907": Publication(
        "ghostnet_",
        "han2020ghostnet",
        "Han, Kai and Wang, Yunhe and Tian, Qi and Guo, Jianyuan and Xu, Chunjing and Xu, Chang",
        "{GhostNet}: More Features from Cheap Operations",
        2020,
        "CVPR",
    ),
    "2103.02907": Publication(
        "",
        "hou2021coordinate",
        "Hou, Qibin and Zhou, Daquan and Feng, Jiashi",
        "Coordinate Attention for Efficient Mobile Network Design",
        2021,
        "CVPR",
    ),
    "2211.12905": Publication(
        "ghostnetv2_",
        "tang2022ghostnetv2",
        "Tang, Yehui and Han, Kai and Guo, Jianyuan and Xu, Chang and Xu, Chao and Wang, Yunhe",
        "{GhostNetV2}: Enhance Cheap Operation with Long-Range Attention",
        2022,
        "NeurIPS",
    ),
    "2404.11202": Publication(
        "ghostnetv3_",
        "liu2024ghostnetv3",
        "Liu, Zhenhua and Hao, Zhiwei and Han, Kai and Tang, Yehui and Wang, Yunhe",
        "{GhostNetV3}: Exploring the Training Strategies for Compact Models",
        2024,
    ),
    "2405.14458": Publication(
        "yolov10",
        "wang2024yolov10",
        "Wang, Ao and Chen, Hui and Liu, Lihao and Chen, Kai and Lin, Zijia and Han, Jungong and "
        "Ding, Guiguang",
        "{YOLOv10}: Real-Time End-to-End Object Detection",
        2024,
        "NeurIPS",
    ),
    "2501.15369": Publication(
        "",
        "zheng2025iformer",
        "Zheng, Chuanyang",
        "{iFormer}: Integrating {ConvNet} and Transformer for Mobile Application",
        2025,
        "ICLR",
    ),
}


def cite(runs: Sequence[Run]) -> str:
    """The paragraph on the setup, and BibTeX below it."""
    return f"{setup(runs)}\n\n{bibtex(runs)}"


def setup(runs: Sequence[Run]) -> str:
    """How the runs were measured, in sentences for a paper; those alike share one."""
    alike: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        alike.setdefault((_where(run), _how(run)), []).append(run)
    told = [_measured(*words, own) for words, own in alike.items()]
    return " ".join([*told, "FLOPs are multiply-accumulates, counted from the ONNX graph."])


def _where(run: Run) -> str:
    """The hardware, the versions, the system and the setting of a run."""
    context = run.context
    machine = measured_by(replace(context, created=""))
    system = f"{context.host.get('system', '')} {context.host.get('kernel', '')}".strip()
    return f"{machine} ({'; '.join(filter(None, [setting(context, run.records), system]))}"


def _how(run: Run) -> str:
    """The rounds, processes and precision of a run."""
    plan = run.context.plan
    taken = [] if any(record.sustained for record in run.records) else ["in interleaved rounds"]
    sessions, precision = plan.get("sessions"), plan.get("precision")
    taken += [f"in {sessions} processes"] if sessions and sessions > 1 else []
    taken += [f"to ±{100 * precision:.3g}%"] if precision else []
    return " ".join(["taken", *taken]) if taken else ""


def _measured(where: str, how: str, runs: Sequence[Run]) -> str:
    """The sentence on runs that were measured alike."""
    records = [record for run in runs for record in run.records]
    latencies = [record.latency for record in records if record.latency]
    calls = [words for basis, words in BASES.items() if any(basis == e.basis for e in latencies)]
    known = sum(each.interval is not None for each in latencies)
    days = sorted({run.context.created.partition("T")[0] for run in runs})
    dates = f"{days[0]} to {days[-1]}, {len(runs)} runs" if len(days) > 1 else days[0]
    cases = len({record.key for record in records})
    counts = Counter(record.status for record in records)
    parts = [
        f"Latencies on {where}; {dates}) are medians of "
        f"{sum(each.samples for each in latencies)} calls of {cases} case{'s' * (cases != 1)}",
        how,
        "with 95% intervals" + ("" if known == len(latencies) else f" of {known}") if known else "",
    ]
    clauses = [
        ", ".join(filter(None, parts)),
        listed(calls),
        *(f"{counts[s]} of {len(records)} are {s}" for s in ("imprecise", "failed") if counts[s]),
    ]
    return one_line("; ".join(filter(None, clauses)) + ".")


BASES = {
    "adjusted": "undisturbed calls were set back to the machine's usual speed",
    "quiet": "only calls that nothing disturbed count",
    "undisturbed": "calls that were not preempted count, at any speed of the machine",
    "all": "all calls count",
}


def bibtex(runs: Sequence[Run]) -> str:
    """BibTeX of benchbox and of the papers whose networks or figures the runs have."""
    sources = [str(r.paper.get("source", "")) for run in runs for r in run.records]
    sources += [spec.source for run in runs for spec in run.context.specs]
    cases = [record.case for run in runs for record in run.records]
    own = [n for n, p in PAPERS.items() if p.networks and any(p.networks in c for c in cases)]
    numbers = dict.fromkeys([*own, *(n for source in sources for n in ARXIV.findall(source))])
    versions = list(dict.fromkeys(run.context.benchbox for run in runs)) or [__version__]
    return "\n".join([_program(versions, runs), *map(_paper, numbers)])


def _program(versions: Sequence[str], runs: Sequence[Run]) -> str:
    year = max((run.context.created[:4] for run in runs), default="")
    return _entry(
        "software",
        "benchbox",
        author="{benchbox maintainers}",
        title="{benchbox}: {FLOPs} against measured latency, on your device",
        version=listed(versions),
        year=year if year.isdecimal() else "",
    )


def _paper(number: str) -> str:
    paper = PAPERS.get(number)
    arxiv = {"eprint": number, "archivePrefix": "arXiv", "url": f"{URL}{number}"}
    if paper is None:
        return _entry("misc", f"arxiv{number.replace('.', '_')}", **arxiv)
    kind, place = ("inproceedings", {"booktitle": paper.venue}) if paper.venue else ("misc", {})
    facts = {"author": paper.authors, "title": paper.title, "year": str(paper.year)}
    return _entry(kind, paper.key, **facts, **place, **arxiv)


def _entry(kind: str, key: str, **fields: str) -> str:
    lines = [f"  {name} = {{{_plain(value)}}}," for name, value in fields.items() if value]
    return "\n".join([f"@{kind}{{{key},", *lines, "}", ""])


def _plain(value: str) -> str:
    """A value without what would end it: braces that are not in pairs."""
    return value if value.count("{") == value.count("}") else re.sub("[{}]", "", value)
