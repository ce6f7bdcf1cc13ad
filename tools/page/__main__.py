"""Check pages of runs in Chromium: `python -m tools.page [--shots FOLDER]`.

Needs a `chromium` on the PATH (Debian's package). Each page is opened from disk with no way to any
network, used as a reader would by checks.js, and printed. Prints a line per check; exits 1 where
one fails.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from html import unescape
from pathlib import Path
from time import perf_counter
from typing import Any

from benchbox import records
from benchbox.records import Run
from benchbox.report.page import page

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "results" / "reference" / "cpu"
CHECKS = Path(__file__).with_name("checks.js")
# Before anything else of the page: whatever complains, asks or is refused is noted.
LISTEN = """<script>
window.complaints = [];
const note = (what) => window.complaints.push(String(what));
addEventListener("error", (event) => note(event.message), true);
addEventListener("unhandledrejection", (event) => note(event.reason));
document.addEventListener("securitypolicyviolation", (event) => note(event.blockedURI));
for (const kind of ["error", "warn"]) console[kind] = (...words) => note(words.join(" "));
</script>"""
P50 = ("p50_s", "ci_low_s", "ci_high_s")
WIDE, PHONE = (1280, 4200), (390, 8000)
# A window is never as narrow as a phone, a frame in it is; it says what its checks found.
FRAME = """<!doctype html><body style="margin: 0"><iframe src="{address}" width="{width}"
height="{height}" style="border: 0"></iframe><script>
addEventListener("message", (event) => {{
  const found = document.createElement("pre");
  found.id = "checks";
  found.textContent = event.data;
  document.body.append(found);
}});</script>"""
OPTIONS = (
    "--headless=new",
    "--no-sandbox",  # containers have no user namespaces; the pages are our own
    "--disable-gpu",
    "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--virtual-time-budget=30000",
    "--run-all-compositor-stages-before-draw",
)
DARK, LIGHT = (f"--blink-settings=preferredColorScheme={scheme}" for scheme in (0, 1))
HOSTILE = "</script></style><img src=x onerror=note(1)>'\"`${note(2)}{{ 7 * 7 }}"
RESULT = re.compile(r'<pre id="checks">(.*?)</pre>', re.DOTALL)


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools.page")
    parser.add_argument("--shots", type=Path, help="folder for screenshots and a printed page")
    parser.add_argument("--only", help="one of the pages")
    options = parser.parse_args()
    shots = options.shots
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        print("tools.page: no chromium on the PATH: apt-get install chromium", file=sys.stderr)
        return 2
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        browser = Browser(chromium, Path(folder))
        for name, runs in pages().items():
            if options.only not in (None, name):
                continue
            started = perf_counter()
            text = page(runs)
            print(f"{name}: {len(text.encode()) / 1e6:.2f} MB in {perf_counter() - started:.1f} s")
            path = Path(folder) / f"{name}.html"
            path.write_text(text)
            for size in (WIDE, PHONE):
                for check in browser.checked(path, text, size):
                    failed += not check["ok"]
                    state = "ok" if check["ok"] else "FAILED"
                    print(f"  {state:6} {size[0]:>4} {check['name']} {check['seen']}")
            if shots:
                shots.mkdir(exist_ok=True)
                browser.shoot(path, shots / name)
    return 1 if failed else 0


def pages() -> Mapping[str, Sequence[Run]]:
    """The runs of each page."""
    models, compare, others = (_read(name) for name in ("models", "compare-*", "all"))
    pi = replace(models, context=replace(models.context, device="pi"))
    return {
        "models": [models],
        "compare": [compare],
        "all": [others],
        "devices": [models, pi],
        "history": [_dated(run, day) for day in range(1, 9) for run in (models, pi)],
        "hostile": [_spoilt(compare)],
    }


def _dated(run: Run, day: int) -> Run:
    """The run as of another day; from the fifth on it is slower."""
    more = 1.08 if day > 4 else 1.0
    rows = [
        replace(each, latency=replace(found, **{name: more * getattr(found, name) for name in P50}))
        for each in run.records
        if (found := each.latency)
    ]
    created = f"2026-10-{day:02}T00:00:00Z"
    return replace(run, context=replace(run.context, created=created), records=rows)


def _spoilt(run: Run) -> Run:
    """A run whose names aim at the page."""
    rows = [replace(each, case=f"{index}{HOSTILE}") for index, each in enumerate(run.records)]
    rows = [replace(each, group=HOSTILE, reference=f"0{HOSTILE}") for each in rows]
    return replace(run, context=replace(run.context, device=HOSTILE, name=HOSTILE), records=rows)


def _read(name: str) -> Run:
    return records.read(max(REFERENCE.glob(f"*Z-{name}.jsonl")))


class Browser:
    """Chromium without a window, with a profile of its own."""

    def __init__(self, program: str, folder: Path) -> None:
        self._command = [program, *OPTIONS, f"--user-data-dir={folder / 'profile'}"]
        self._environment = {**os.environ, "HOME": str(folder)}

    def checked(self, path: Path, text: str, size: tuple[int, int]) -> Iterator[dict[str, Any]]:
        """The outcomes of all checks of a page."""
        body, end = text.replace("<style>", f"{LISTEN}<style>", 1).rsplit("</body>", 1)
        copy = path.with_suffix(".checked.html")
        copy.write_text(f"{body}<script>{CHECKS.read_text()}</script></body>{end}")
        dom = self._run(copy, size, LIGHT, "--dump-dom")
        found = RESULT.search(dom)
        if found is None:
            yield {"name": "the checks end", "ok": False, "seen": dom[-300:]}
        else:
            yield from json.loads(unescape(found[1]))

    def shoot(self, path: Path, target: Path) -> None:
        """Screenshots by day, by night and on a phone, and the printed page."""
        for name, size, scheme in (
            ("light", WIDE, LIGHT),
            ("dark", WIDE, DARK),
            ("phone", PHONE, LIGHT),
            ("phone-dark", PHONE, DARK),
        ):
            self._run(path, size, scheme, f"--screenshot={target}-{name}.png")
        wide = "--window-size={},{}".format(*WIDE)
        printed = (f"--print-to-pdf={target}.pdf", "--no-pdf-header-footer")
        self._open(wide, *printed, DARK, path.as_uri())

    def _run(self, path: Path, size: tuple[int, int], *words: str) -> str:
        """Open a page in a frame of that size."""
        width, height = size
        frame = path.with_suffix(".frame.html")
        frame.write_text(FRAME.format(address=path.as_uri(), width=width, height=height))
        return self._open(*words, f"--window-size={max(width, 500)},{height}", frame.as_uri())

    def _open(self, *words: str) -> str:
        return subprocess.run(
            [*self._command, *words],
            env=self._environment,
            check=True,
            capture_output=True,
            text=True,
            timeout=180,
        ).stdout


sys.exit(main())
