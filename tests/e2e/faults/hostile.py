"""Hostile input: graphs, specs, configuration, names and texts that aim at memory or terminal."""

import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import onnx

from benchbox.errors import BenchboxError
from benchbox.export import cache as graphs
from benchbox.specs import Selection, find
from tests.conftest import HEADER
from tests.e2e.faults.bench import PROGRAM, Bench, check_end, fault

LIMIT_MB = 300
BETWEEN = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[1:])
print(end=f"\\n{resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10}")
sys.exit(code)
"""
SPEC = 'title = "t"\nbuilder = "./net.py:build"\ninput = [3, 8]\n'


@fault("hostile", "a cache entry is broken, of another key, a pipe, a link or another user's")
def broken_entry(bench: Bench, rng: random.Random) -> None:
    whose = rng.choice(["of this user", "of another user"])
    program = (sys.executable, "-m", "tests.e2e.faults.broken_entry")
    with tempfile.TemporaryDirectory() as place:  # where another user may go
        Path(place).chmod(0o755)
        arguments = (whose, str(rng.randrange(1 << 30)))
        done = bench.command(*arguments, program=program, BENCHBOX_CACHE_DIR=f"{place}/cache")
    assert not done.stdout + done.stderr, done.stderr.decode()


def _graph(rng: random.Random) -> str:
    """A graph of a few hundred bytes that fills memory where a constant is made, or written out."""
    many = rng.randrange(1 << 28, 1 << 33)
    sizes = f"s = Constant<value = int64[1] {{{many}}}>()"
    maker = rng.choice(
        [
            f"{sizes} y = ConstantOfShape(s)",
            f"{sizes} c = ConstantOfShape(s) y = Add(c, x)",
            f"{sizes} y = Expand(x, s)",
            f"{sizes} y = Tile(x, s)",
            f"s = Constant<value = int64[2] {{0, {many}}}>() y = Pad(x, s)",
            f"a = Constant<value = int64 {{{many}}}>() z = Constant<value = int64 {{0}}>()"
            " o = Constant<value = int64 {1}>() r = Range(z, a, o) y = Cast<to = 1>(r)",
            f"i = Constant<value = int64[1] {{3}}>() d = Constant<value = int64 {{{many}}}>()"
            " v = Constant<value = float[2] {0, 1}>() h = OneHot(i, d, v) y = Flatten(h)",
            "x0 = Concat<axis = 0>(x, x)"
            + "".join(f" x{n + 1} = Concat<axis = 0>(x{n}, x{n})" for n in range(32))
            + " y = Relu(x32)",
            f"n = NonZero(x) t = Constant<value = int64[2] {{1, {many}}}>() e = Tile(n, t)"
            " y = Cast<to = 1>(e)",
        ]
    )
    return HEADER + f"g (float[1] x) => (float[?] y) {{ {maker} }}"


def _bomb(rng: random.Random) -> str:
    """Functions that call functions: a name each time, and twice as many nodes written out."""
    depth, width = rng.randrange(20, 60), rng.randrange(2, 9)
    header = HEADER.replace("]>", ', "f": 1]>') if "]>" in HEADER else HEADER
    text = header + "g (float[4] x) => (float[4] y) { y = f.f0(x) }\n"
    for level in range(depth):
        called = f"f.f{level + 1}" if level < depth - 1 else rng.choice(["Relu", "f.f0"])
        steps = " ".join(f"a{n + 1} = {called}(a{n})" for n in range(width))
        text += f'<domain: "f", opset_import: ["": 18, "f": 1]> f{level} (a0) => (a{width}) '
        text += f"{{ {steps} }}\n"
    return text


@fault("hostile", "a small graph stands for one that fills memory")
def fills_memory(bench: Bench, rng: random.Random) -> None:
    path = bench.folder / "net.onnx"
    kind = rng.randrange(3)
    if kind == 0:  # two bytes a node
        nodes = b"\x0a\x00" * (rng.randrange(3, 6) << 20)
        length = len(nodes)
        size = bytes(
            (length >> shift & 127) | (128 if length >> shift > 127 else 0)
            for shift in (0, 7, 14, 21)
            if length >> shift
        )
        path.write_bytes(b"\x08\x09\x3a" + size + nodes)
    else:
        text = _bomb(rng) if kind == 1 else _graph(rng)
        onnx.save(onnx.parser.parse_model(text), path)
    command = rng.choice([("show",), ("export", "-o", "out")])
    code, output, peak_mb = _measured(bench, [command[0], "./net.onnx", *command[1:]])
    check_end(code, b"", output)
    assert peak_mb < LIMIT_MB + 200, f"{peak_mb} MB: {output.decode()}"


def _measured(bench: Bench, arguments: list[str]) -> tuple[int, bytes, int]:
    """Exit code and output of a command, and the most memory of one of its processes, in MB.

    By a process in between: what a program had before it became another counts as the other's.
    """
    ended = subprocess.run(
        [sys.executable, "-c", BETWEEN, *PROGRAM, *arguments],
        cwd=bench.folder,
        env={**bench.environment, "BENCHBOX_MEMORY_LIMIT": f"{LIMIT_MB}M"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    output, _, peak_mb = ended.stdout.rpartition(b"\n")
    return ended.returncode, output, int(peak_mb)


ODD_FILES: tuple[Callable[[Path], object], ...] = (
    Path.mkdir,
    os.mkfifo,
    lambda path: path.symlink_to("/dev/zero"),
    lambda path: path.symlink_to(path),
    lambda path: path.symlink_to("nowhere"),
    lambda path: socket.socket(socket.AF_UNIX).bind(os.path.relpath(path)),
    lambda path: os.truncate(os.open(path, os.O_CREAT | os.O_WRONLY), 10 << 30),
    lambda path: path.write_bytes(bytes(range(256))),
    Path.touch,
)


@fault("hostile", "a spec, a graph or a builder is a pipe, a device, a folder or huge")
def odd_file(bench: Bench, rng: random.Random) -> None:
    name = rng.choice(["net.toml", "net.onnx", "net.py"])
    rng.choice(ODD_FILES)(bench.folder / name)
    (bench.folder / "of.toml").write_text(SPEC + "[[cases]]\n")
    _refused(str(bench.folder / ("of.toml" if name == "net.py" else name)), keys=True)


def _refused(name: str, *, keys: bool = False) -> None:
    """Assert that a name unfolds to cases, or is refused in one short line, and fast."""
    start = time.thread_time()
    try:
        cases = [case for spec in find(name) for case in spec.cases(Selection())]
        if keys:
            graphs.keys(cases)
    except BenchboxError as error:
        text = str(error)
        assert "\n" not in text, text
        assert len(text) < 2000, f"{len(text)} characters"
    assert time.thread_time() - start < 5, "it takes too long"


@fault("hostile", "a spec nests deep, has endless digits, no numbers, or endless cases")
def odd_spec(bench: Bench, rng: random.Random) -> None:
    many = rng.choice([100, 10_000, 100_000])
    value = rng.choice(
        [
            "[" * many + "]" * many,
            "{a = " * many + "1" + "}" * many,
            "9" * many,
            "0x" + "f" * many,
            "1e" + "9" * many,
            "nan",
            "-inf",
            f"'{'x' * many}'",
            "1979-05-27T07:32:00Z",
            "[" + "1," * many + "]",
        ]
    )
    cases = "".join(f"[[cases]]\nargs = {{ c = {n} }}\n" for n in range(many))
    text = rng.choice(
        [
            SPEC + cases,
            SPEC + f"[[cases]]\nargs = {{ c = {value} }}\n",
            SPEC + f"[[cases]]\nlabels = {{ c = {value} }}\n",
            SPEC.replace("[3, 8]", value) + "[[cases]]\n",
            SPEC.replace("[3, 8]", f"[{value}]") + "[[cases]]\n",
            f"{value}\n{SPEC}[[cases]]\n",
            SPEC + f"[[cases]]\n[{'a.' * many}b]\n",
            SPEC + "[args]\n" + "".join(f"a{n} = 1\n" for n in range(many)) + cases,
        ]
    )
    (bench.folder / "net.py").touch()
    (bench.folder / "net.toml").write_text(text)
    _refused(str(bench.folder / "net.toml") + rng.choice(["", ":c=1", ":c=1,c=2"]))
