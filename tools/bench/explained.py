"""Explanations: whether nodes' times add up to the latency, and whether checked sentences hold."""

import json
import statistics
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchbox.analysis.profile import CLOSE
from benchbox.report.explain_text import SENTENCES
from tools.bench.common import BENCHBOX, UNLIMITED, Row

CASES = ("models", "g1", "g2", "g3", "g4")
CHECKED = (
    *("shufflenetv2_x0_5", "shufflenetv2_x1_0", "shufflenetv2_x1_5", "shufflenetv2_x2_0"),
    *("ghostnet_x1_0", "ghostnetv2_x1_0", "mobilenetv2_x1_0", "mobilenetv3_small"),
    *("mobilenetv3_large", "shufflenetv1_g1", "shufflenetv1_g3", "shufflenetv1_g8"),
)


def explain() -> Iterator[Row]:
    """All networks and guidelines; of twelve networks what is blamed, altered and timed."""
    found = explained(CASES)
    sums = [sum(each["parts_ms"].values()) / each["latency_ms"] for each in found]
    far = [
        f"{each['spec']}:{each['case']} {ratio:.2f}x"
        for each, ratio in zip(found, sums, strict=True)
        if abs(ratio - 1) > CLOSE
    ]
    yield (
        f"nodes' times over the latency, {len(sums)} cases: median, least, most",
        ", ".join(f"{each:.2f}x" for each in (statistics.median(sums), min(sums), max(sums))),
        f"within {CLOSE:.0%} in all ({len(sums) - len(far)} of {len(sums)})",
        not far,
    )
    if far:
        yield "those beyond", ", ".join(far), UNLIMITED, True
    checked = [
        (case["case"], blame["part"], blame["check"])
        for case in explained(CHECKED, "--check")
        for blame in case["blamed"][:SENTENCES]
    ]
    timed = [(*at, check) for *at, check in checked if check and check["verdict"]]
    clear = [check["verdict"] for *_, check in timed if check["verdict"] != "UNCLEAR"]
    holds = clear.count("HOLDS")
    yield (
        f"sentences that hold, of {len(clear)} clear ones; {len(timed)} of {len(checked)} timed",
        f"{holds} of {len(clear)}; {holds / max(1, len(checked)):.0%} of all",
        ">= 80%",
        bool(clear) and holds >= 0.8 * len(clear),
    )
    for case, part, check in timed:
        if check["verdict"] != "HOLDS":
            low, high = check["measured_low"], check["measured_high"]
            yield (
                f"{case}, {part}: said {check['said']:.2f}x",
                f"{check['measured']:.2f}x ({low:.2f}x to {high:.2f}x)",
                "withdrawn" if check["verdict"] == "WITHDRAWN" else "unclear",
                True,
            )


def explained(names: Sequence[str], *options: str) -> list[Any]:
    """The explanations in `benchbox explain --export-json` of these cases, without failed ones."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "explained.json"
        argv = [*BENCHBOX, "explain", *names, *options, "--export-json", str(path)]
        done = subprocess.run(argv, check=False, capture_output=True, text=True)
        assert done.returncode in (0, 1), done.stderr  # 1: some have none
        return list(json.loads(path.read_text())["explained"])
