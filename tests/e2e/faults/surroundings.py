"""Faults of what surrounds the command: signals, homes, full disks, files that are one."""

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from benchbox import records
from benchbox.cli import ENDINGS
from tests.e2e.faults.bench import PROGRAM, QUICK, Bench, check_end, fault, samples
from tests.e2e.faults.output import BENCHBOX, RECORDED

NOBODY = ("/usr/bin/unshare", "--user", "--map-user=54321")


@fault("losses", "signals that whoever started the command had ignored stay so")
def ignored_signal(bench: Bench, rng: random.Random) -> None:
    bench.graph("net", 8)
    ignored = rng.choice([signal.SIGHUP, signal.SIGTERM, signal.SIGINT])
    limits = ("--precision", "0.0001%", "--max-time", "1.5s", "--sessions", "1")
    with bench.started("run", "./net.onnx", *limits, ignored=ignored) as process:
        while process.poll() is None:  # whatever it is at
            process.send_signal(ignored)
            time.sleep(rng.uniform(0.05, 0.2))
        stdout, stderr = process.communicate()
    check_end(process.returncode, stdout, stderr)
    assert process.returncode == 0 and b"Interrupted" not in stderr, stderr
    assert samples(bench.runs())


@fault("mistakes", "Ctrl-C or a request to end while the command is being loaded, or ends")
def interrupted_at_once(bench: Bench, rng: random.Random) -> None:
    command = rng.choice([("--version",), ("list",), ("run", "nosuch")])
    program = (sys.executable, "-X", "importtime", "-m", "benchbox")
    seen, left = b"", rng.choice([1, rng.randrange(1, 900)])
    with bench.started(*command, program=program) as process:
        assert process.stderr
        for line in process.stderr:  # one for each module that was loaded
            seen += line
            left -= b"benchbox.cli.streams" in seen
            if not left:
                break
        process.send_signal(rng.choice(ENDINGS))
        _, rest = process.communicate()
    text = b"".join(each for each in (seen + rest).splitlines(True) if b"import time:" not in each)
    check_end(process.returncode, b"", text)
    assert process.returncode in (0, 2, 130), (process.returncode, text)


@fault("losses", "tables are exported to one file, over inputs, or to a full disk")
def exports_collide(bench: Bench, rng: random.Random) -> None:
    bench.graph("net", 8)
    folder = bench.folder
    (folder / "a").write_text("kept")
    (folder / "link").symlink_to("a")
    (folder / "nowhere").symlink_to("new")
    os.link(folder / "a", folder / "hard")
    (folder / "within").symlink_to(".")
    one_file = [("a", "./a"), ("a", "link"), ("a", "hard"), ("new", "nowhere"), ("a", "within/a")]
    one_file += [
        ("-", "-"),
        ("-", "/dev/stdout"),
        ("b", f"{folder}/b"),
        ("b", "../" + folder.name + "/b"),
    ]
    pair = list(rng.choice(one_file))
    rng.shuffle(pair)
    formats = rng.sample(["csv", "json", "markdown"], 2)
    options = [
        each for f, path in zip(formats, pair, strict=True) for each in (f"--export-{f}", path)
    ]
    if rng.random() < 0.3:
        options = [f"--export-{formats[0]}", rng.choice(["./net.onnx", "x.jsonl", "benchbox.toml"])]
    before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    done = bench.command(rng.choice(["run", "profile"]), "./net.onnx", *options, program=BENCHBOX)
    assert done.returncode == 2 and done.stderr.count(b"\n") == 1, done.stderr
    assert {path: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


@fault("losses", "the disk is full when a table, a graph or a setting is written")
def disk_is_full(bench: Bench, rng: random.Random) -> None:
    bench.graph("net", 64)
    target, home = bench.folder / "t", bench.folder / "home"
    target.write_text("kept")
    most = rng.choice([0, rng.randrange(1, 100)])  # bytes of a file
    format_ = rng.choice(["csv", "json", "markdown"])
    command = rng.choice(
        [
            ("report", str(RECORDED[-1]), "--format", format_, "--output", "t"),
            ("device", "add", "pi", "ssh://pi", "--python", "x" * 100),
            ("export", "./net.onnx", "-o", "graphs"),
        ]
    )
    bench.command(*command[:-1], "graphs", program=BENCHBOX) if command[0] == "export" else None
    before = {p: p.read_bytes() for p in bench.folder.rglob("*") if p.is_file()}
    done = subprocess.run(
        [*BENCHBOX, *command],
        cwd=bench.folder,
        env={**bench.environment, "BENCHBOX_CONFIG_DIR": str(home), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most)),
        check=False,
    )
    check_end(done.returncode, done.stdout, done.stderr)
    assert done.returncode == 1 and b"cannot be written: File too large" in done.stderr, done
    assert {p: p.read_bytes() for p in bench.folder.rglob("*") if p.is_file()} == before


ODD_HOMES = (
    {"HOME": "/dev/null/x"},
    {"HOME": "/proc/nosuch"},
    {"HOME": ""},
    {"TMPDIR": "/nosuch"},
    {"BENCHBOX_CACHE_DIR": "~nosuch/x"},
    {"BENCHBOX_CONFIG_DIR": "~nosuch/x"},
    {"XDG_CACHE_HOME": "/dev/null"},
    {"XDG_CONFIG_HOME": "relative"},
)


@fault("mistakes", "the user has no home, no name or no current folder")
def no_home(bench: Bench, rng: random.Random) -> None:
    bench.graph("net", 8)
    gone = bench.folder / "gone"
    gone.mkdir()
    environment = {**bench.environment, "PYTHONDONTWRITEBYTECODE": "1"}
    del environment["BENCHBOX_CACHE_DIR"]
    environment |= rng.choice(ODD_HOMES)
    if rng.random() < 0.4:
        environment.pop("HOME", None)
    script = rng.choice(['"$@"', 'rmdir ../gone; "$@"'])
    if (
        rng.random() < 0.5
        and not subprocess.run([*NOBODY, "true"], capture_output=True, check=False).returncode
    ):
        script = script.replace('"$@"', f'{" ".join(NOBODY)} "$@"')
    net, results = str(bench.folder / "net.onnx"), str(bench.folder / "results")
    timed = ("run", net, *QUICK, "--results", results)
    command = rng.choice(
        [timed, ("show", net), ("list",), ("trust", "--list"), ("device", "add", "pi", "ssh://pi")]
    )
    program = PROGRAM if command is timed else BENCHBOX
    done = subprocess.run(
        ["/bin/sh", "-c", script, "sh", *program, *command],
        cwd=gone,
        env=environment,
        capture_output=True,
        check=False,
    )
    check_end(done.returncode, done.stdout, done.stderr)
    assert done.returncode == 0 or b"/x" in done.stderr or b"cannot be written" in done.stderr, done
    assert command is not timed or done.returncode or samples(bench.runs())
    assert not list(gone.glob("*"))


@fault("mistakes", "the system has no /proc")
def no_proc(bench: Bench, rng: random.Random) -> None:
    bench.graph("net", 8)
    hidden = ("/usr/bin/unshare", "-m", "-r", "/bin/sh", "-c", 'mount -t tmpfs none /proc && "$@"')
    if subprocess.call([*hidden, "sh", "true"], stderr=subprocess.DEVNULL):
        return  # not for us to hide
    timed = ("run", "./net.onnx", *QUICK)
    others = (("show", "./net.onnx"), ("list",), ("doctor", "--seconds", "0.1"))
    command = rng.choice([timed, *others, ("device", "check", "cpu")])
    done = bench.command(*command, program=(*hidden, "sh", *BENCHBOX))
    assert done.returncode == 0 and b"/proc" not in done.stdout + done.stderr, done
    assert command is not timed or len(list(bench.folder.glob("results/*/*.jsonl"))) == 1


@fault("losses", "the folder of the records is deleted in mid-run")
def records_are_deleted(bench: Bench, rng: random.Random) -> None:
    bench.graph("net", 8)
    effort = ("--precision", "0.0001%", "--max-time", "1s", "--sessions", "1")
    rescued = bench.folder / "rescued"
    rescued.mkdir()
    command = ("run", "./net.onnx", *effort, "--export-json=t.json")
    with bench.started(*command, program=BENCHBOX, TMPDIR=str(rescued)) as process:
        found: list[Path] = []
        while not found:
            found = list(bench.folder.glob("results/*/*.jsonl"))
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        time.sleep(rng.uniform(0.1, 0.5))  # its first line is there
        gone = rng.choice([found[0].parent, bench.folder / "results"])
        found[0].unlink() if rng.random() < 0.3 else shutil.rmtree(gone)
        stdout, stderr = process.communicate()
    check_end(process.returncode, stdout, stderr)
    kept = [records.read(path) for path in rescued.glob("*/*/*.jsonl")]
    assert samples(kept) and str(rescued) in stderr.decode(), stderr
    assert (bench.folder / "t.json").exists()


SIZES = ("0", "-1", "1e400", "nan", "inf", "9" * 20, "9" * 400, "9" * 5000, "0." + "0" * 400 + "1")
SIZED = (
    *(
        f"run ./net.onnx --{name}={{0}}{unit}"
        for name, unit in (
            *(("precision", ""), ("precision", "%"), ("max-time", "h"), ("sustained", "h")),
            *(("arrival", "/s"), ("arrival", "/h"), ("threads", ""), ("cpus", ""), ("batch", "")),
            *(("sessions", ""), ("shape", ""), ("device", ""), ("scale", ""), ("seed", "x")),
        )
    ),
    "run ./net.onnx --shape=x={0}x{0}",
    "run ./net.onnx --device=cuda:{0}",
    "run ./net.onnx --cooldown={0}h --max-time=0",
    "run ./{0}.onnx",
    "run {0}",
    "compare ./net.onnx ./net.onnx --margin={0}",
    "report {0}.jsonl",
    "report --results={0}/",
    "export ./net.onnx -o {0}{0}/x",
    "run ./net.onnx --export-csv={0}{0}/x",
    "device add {0} ssh://x",
    "device check ssh://{0}:{0}",
    "doctor --seconds={0}",
    "show ./net.onnx --batch={0}{0}",
    "show shufflenetv2_x1_0 --batch=999999999",
)


@fault("mistakes", "an option is of absurd size")
def absurd_size(bench: Bench, rng: random.Random) -> None:
    bench.graph("net", 8)
    (bench.folder / "0").mkdir()
    size = rng.choice(SIZES)
    command = rng.choice(SIZED).format(size).split()
    done = bench.command(*command, program=BENCHBOX)
    assert done.returncode in (2, 6) or b"Error" not in done.stderr, (size, command, done)
    assert len(done.stderr) < 5000 and done.stderr.count(b"\n") <= 3, (command, done.stderr)
