"""Faults of what comes with files from others: settings that reach out, texts that deceive."""

import csv
import io
import json
import os
import pty
import random
import re
import select
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from markdown_it import MarkdownIt

from benchbox import records
from benchbox.report.files import to_csv, to_json, to_markdown
from benchbox.report.frame import to_frame
from tests.e2e.faults.bench import Bench, fault
from tests.e2e.faults.output import BENCHBOX, RECORDED

# What begins where a terminal, a spreadsheet or Markdown could be made to do something.
CONTROLS = (
    *("\x1b[2J", "\x1b]0;x\x07", "\x1b[8m", "\x9b31m", "\x90q", "\x7f", "\x08\x08", "\r", "\n"),
    *("\x0b", "\x0c", "\x85", "\u2028", "\u202e", "\u2066", "\u200b", "\ufeff", "\u3164"),
)
ACTIVE = (
    *("=1+1", "+1+A1", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "\uff1d1", "|x|", "`x`", "<script>"),
    *("[x](http://y)", "![x](y)", "http://y.z", "**x**", "__x__", "# x", "> x", "- x", "1. x"),
    *("&lt;x&gt;", "~~x~~", "<http://y>", "$x$"),
)
SMALLEST = min(RECORDED, key=lambda path: path.stat().st_size)
NUMBER = re.compile(r"[+-]?\d+(\.\d+)?(e[+-]?\d+)?")
BLOCKS = "heading paragraph bullet_list list_item table thead tbody tr th td strong"
PLAIN = {f"{kind}_{end}" for kind in BLOCKS.split() for end in ("open", "close")}
PLAIN |= {"inline", "text", "text_special"}
OWN = re.compile(r"\x1b\[[0-9;?]*[mKAhl]|\r(?=\n)|\r(?=\x1b)")  # what Rich itself sends

TRUSTED_ONLY = (
    ('[report]\noutput = "hit"\nformat = "csv"\n', ("report", str(RECORDED[0]))),
    ('[report]\noutput = "{outside}/hit"\nformat = "json"\n', ("report", str(RECORDED[0]))),
    ('[export]\noutput = "hit"\n', ("export", "./net.onnx")),
    ('[doctor]\ndevice = "ssh://evil"\n', ("doctor", "--seconds", "0.1")),
    ('[run]\ndevice = ["ssh://evil"]\n', ("run", "./net.onnx", "-t", "99")),
    ('[run]\ndevice = "adb://evil"\n', ("run", "./net.onnx", "-t", "99")),
    ('[devices.evil]\nurl = "ssh://evil"\n', ("device", "check", "evil")),
    ('[devices.evil]\nurl = "ssh://evil"\npython = "x"\n', ("run", "./net.onnx", "-d", "evil")),
)


@fault("hostile", "a cloned benchbox.toml says where to write, whom to call or what to run")
def project_file_reaches_out(bench: Bench, rng: random.Random) -> None:
    bench.graph("net", 8)
    outside = bench.folder / "outside"
    outside.mkdir()
    for program in ("ssh", "adb"):
        fake = bench.folder / "programs" / program
        fake.parent.mkdir(exist_ok=True)
        fake.write_text(f"#!/bin/sh\n>'{outside}/hit'\nexit 255\n")
        fake.chmod(0o755)
    path = f"{bench.folder / 'programs'}:{os.environ['PATH']}"
    text, command = rng.choice(TRUSTED_ONLY)
    file = bench.folder / "benchbox.toml"
    file.write_text(text.format(outside=outside) + '[compare]\nprecision = "5%"\n')
    hits = (bench.folder / "hit", outside / "hit")

    def reaches() -> bool:
        done = bench.command(*command, program=BENCHBOX, PATH=path)
        said = (done.stdout + done.stderr).decode()
        ignored = "once you have read it: benchbox trust" in said
        reached = any(hit.exists() for hit in hits)
        assert reached != ignored, said
        return reached

    assert not reaches()
    if rng.random() < 0.5:
        bench.command("trust", program=BENCHBOX)
        if rng.random() < 0.5:
            assert reaches()
        else:
            file.write_text(file.read_text() + "# changed\n")
            assert not reaches()


def deceiving(rng: random.Random) -> str:
    return f"a{rng.choice(CONTROLS)}FAKE{rng.choice(CONTROLS)}b"


def shown(bench: Bench, arguments: Sequence[str], *, columns: int | None = None) -> str:
    """What a command prints; to a terminal of so many columns, where that is given."""
    if columns is None:
        done = bench.command(*arguments, program=BENCHBOX)
        return (done.stdout + done.stderr).decode()
    return on_terminal(bench, arguments, {"COLUMNS": str(columns)})[1]


def on_terminal(
    bench: Bench, arguments: Sequence[str], environment: Mapping[str, str]
) -> tuple[int, str]:
    """The exit code of a command on a terminal, and what it printed there."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*BENCHBOX, *arguments],
        cwd=bench.folder,
        env={**bench.environment, "TERM": "xterm", **environment},
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    parts = []
    while select.select([ours], [], [], 60)[0]:
        try:
            parts.append(os.read(ours, 1 << 16))
        except OSError:  # its last writer has ended
            break
    os.close(ours)
    return process.wait(), b"".join(parts).decode(errors="replace")


@fault("hostile", "names, titles and records aim at the terminal")
def text_aims_at_the_terminal(bench: Bench, rng: random.Random) -> None:
    text = deceiving(rng)
    bench.graph("net", 8).rename(bench.folder / f"{text}.onnx")
    (bench.folder / "spec.toml").write_text(f"name = 'x'\ntitle = {json.dumps(text)}\n")
    (bench.folder / "benchbox.toml").write_text(f"[devices.x]\nurl = {json.dumps(text)}\n")
    spoil(bench.folder / "record.jsonl", text)
    arguments = rng.choice(
        [
            ("show", f"./{text}.onnx"),
            ("show", "spec.toml"),
            ("run", text),
            ("run", "g2", "--device", text),
            ("run", "g2", f"--{text}"),
            ("report", text),
            ("report", f"./{text}.jsonl"),
            ("list", text),
            ("device", "list"),
            ("trust",),
            ("export", f"./{text}.onnx", "-o", text),
            *(("report", "record.jsonl", "--format", each) for each in records_as(rng)),
        ]
    )
    columns = rng.choice([None, 40, 300])
    printed = shown(bench, arguments, columns=columns)
    is_exact = columns is None and "csv" in arguments  # a file
    left = OWN.sub("", printed) if columns else printed
    bad = {c for c in left if not c.isprintable() and c != "\n"}
    assert is_exact or not bad, (bad, left)
    assert is_exact or not re.search("^FAKE", left, re.MULTILINE) or columns == 40, left


def records_as(rng: random.Random) -> list[str]:
    return [rng.choice(["table", "json", "csv", "markdown", "latex", "svg"])] * 3


def spoil(path: Path, text: str) -> None:
    """Write a record that another machine could have written, with this text all over it."""
    first, *rest = SMALLEST.read_text().splitlines()
    context = json.loads(first)
    context |= {"device": text, "versions": {"onnxruntime": text}}
    context["host"]["cpu"] = text
    for spec in context["specs"]:
        spec["title"] = text
    lines = [context]
    for line in rest[:2]:
        record = json.loads(line)
        del record["run"]  # that of the context as it was
        new = f"{record['case']}{text}"
        lines.append(record | {"case": new, "reference": new, "reason": text, "note": text})
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


@fault("hostile", "names aim at spreadsheets and at readers of Markdown")
def text_aims_at_readers_of_files(bench: Bench, rng: random.Random) -> None:
    text = rng.choice(["", "x "]) + rng.choice(ACTIVE) + rng.choice(["", "y", deceiving(rng)])
    spoil(bench.folder / "record.jsonl", text)
    run = records.read(bench.folder / "record.jsonl")
    frame = to_frame([run])
    cells = [c for row in csv.reader(io.StringIO(to_csv(frame), newline="")) for c in row if c]
    assert not [c for c in cells if c[0] in "=+-@\t\r\uff1d" and not NUMBER.fullmatch(c)], cells
    assert {row["reason"] for row in json.loads(to_json(frame))} == {text}
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(to_markdown([run]))
    kinds = {t.type for each in tokens for t in [each, *(each.children or ())]}
    assert kinds <= PLAIN, kinds - PLAIN
    headings = [t for t in tokens if t.type == "heading_open"]
    assert sorted(t.tag for t in headings) == ["h2", "h3"]  # of the table, of its graphs


ODD_TERMINALS = (
    *({"COLUMNS": size} for size in ("0", "-1", "abc", "²", "1", "9", "1000000000", "9" * 5000)),
    *({"LINES": size} for size in ("0", "-1", "1000000000")),
    *({"TERM": name} for name in ("dumb", "", "unknown", "nosuch")),
    *({"PYTHONIOENCODING": name} for name in ("ascii", "latin-1", "ascii:strict", "cp437")),
    {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    {"NO_COLOR": "1"},
    {"FORCE_COLOR": "1"},
)


@fault("losses", "a terminal has an odd size, kind or encoding")
def odd_terminal(bench: Bench, rng: random.Random) -> None:
    environment = dict(rng.choice(ODD_TERMINALS)) | dict(rng.choice(ODD_TERMINALS))
    figures = [
        f"{r.latency.p50_s * 1e3:.3f}"[:3] for r in records.read(SMALLEST).records if r.latency
    ]
    command = rng.choice([("report", str(SMALLEST)), ("run", "--help"), ("show", "./größe.onnx")])
    bench.graph("größe", 8)
    if rng.random() < 0.5:
        code, printed = on_terminal(bench, command, environment)
    else:
        done = bench.command(*command, program=BENCHBOX, **environment)
        code, printed = done.returncode, done.stdout.decode(errors="replace")
    assert code == 0 and "Traceback" not in printed, printed
    assert len(printed) < 100_000, len(printed)
    wanted = {"report": figures, "run": ["--precision"], "show": ["0.000512"]}[command[0]]
    assert all(each in printed for each in wanted), (wanted, printed)
