"""Faults of users' builders: what one changes, prints, closes, forks or ends harms only itself."""

import atexit
import contextlib
import json
import os
import random
import tempfile
import threading
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import psutil

from benchbox import host
from benchbox.errors import CaseError
from benchbox.export import cache as graphs
from benchbox.export import reads
from benchbox.export.prepare import _request
from benchbox.export.torch_agent.untouched import untouched
from benchbox.specs import Builder, Case, TensorSpec
from benchbox.transports.channel import ChannelClosed
from benchbox.transports.local import python_child
from tests.e2e.faults.bench import Bench, fault

HONEST = (
    "from torch import nn\ndef build():\n    return nn.Sequential(nn.Linear(8, 8), nn.ReLU())\n"
)
FORGED = '{"reply": "build", "op": "build", "key": "k", "error": "forged", "kind": "case"}'
MEDDLING = (
    *(
        f"{place} = lambda *a, **k: a[-1]"
        for place in (
            "torch.nn.ReLU.forward",
            "torch.nn.Linear.forward",
            "torch.nn.Module.__call__",
            "torch.nn.Sequential.forward",
            "torch.nn.functional.relu",
            "torch.relu",
            "torch.manual_seed",
            "torch.nn.init.kaiming_uniform_",
            "numpy.isfinite",
        )
    ),
    "torch.nn.ReLU = torch.nn.Sigmoid",
    "torch.set_default_dtype(torch.float64)",
    "torch.set_grad_enabled(False)",
    "torch.nn.modules.module.register_module_forward_hook(lambda m, a, o: o * 2)",
    "from benchbox.export import cache; cache.digest = lambda *_: 'x'",
    "import json; json.dumps = None",
    "import builtins; builtins.sum = max",
    "import time; time.time = None; time.monotonic = None",
    "import sys; sys.modules.pop('torch.nn.functional'); sys.path.clear()",
    "os.environ['BENCHBOX_CACHE_DIR'] = '/nonexistent'",
    "os.chdir('/'); os.umask(0o777)",
)
SHARED = (
    *(
        f"{place} = lambda *a, **k: a[-1]"
        for place in (
            "torch.nn.ReLU.forward",
            "torch.nn.Conv2d.__call__",
            "torch.nn.Module.__call__",
            "torch.nn.ReLU6.forward",
            "torch.nn.functional.relu",
            "torch.relu",
            "torch.Tensor.__add__",
            "torch.nn.init.kaiming_uniform_",
            "torch.nn.modules.batchnorm._BatchNorm.forward",
        )
    ),
    "torch.nn.modules.conv.F = torch.nn.init",
    "torch.set_num_threads(torch.get_num_threads() + 1)",
    "torch.backends.mkldnn.enabled = False",
    "torch.nn.ReLU = torch.nn.Sigmoid",
    "torch.nn.ReLU.forward.__code__ = (lambda self, input: input).__code__",
    "torch.nn.functional.softmax.__defaults__ = (None, 9, None)",
    "del torch.nn.ReLU.forward",
    "torch.nn.Linear.extra = lambda self: 1",
    "torch.set_default_dtype(torch.float64)",
    "torch.set_grad_enabled(False)",
    "torch.nn.modules.module.register_module_forward_hook(lambda m, a, o: o * 2)",
)
# Callables that build no network, and leave a trace where they are called.
NO_BUILDERS = (
    "from os import mkdir as build",
    "from os import mknod as build",
    "from pathlib import Path; build = Path.touch",
    "from builtins import open; import functools; build = functools.partial(open, mode='w')",
    "from shutil import copyfile; import functools; build = functools.partial(copyfile, __file__)",
    "import os, subprocess; build = subprocess.Popen",
    "import os\nclass build:\n    def __init__(self, path): os.mkdir(path)",
    "import os\ndef build(path) -> None: os.mkdir(path)",
    "import os\ndef build(path) -> 'str': os.mkdir(path); return path",
    "import torch; build = torch.save",
    "import numpy; build = numpy.save",
    "import torch; build = torch.hub.load",
    "build = eval",
    "build = 3",
)
NOISE = (
    f"print('''{FORGED}''', flush=True)",
    f"[os.write(n, b'''{FORGED}\\n''') for n in range(1, 20) if ok(n)]",
    "[os.write(n, os.urandom(1 << 14)) for n in range(1, 20) if ok(n)]",
    "[os.close(n) for n in range(20) if ok(n)]",
    "os.closerange(0, 4096)",
    "os.close(0); os.close(1); os.close(2)",
    "os.dup2(os.open('/dev/zero', os.O_RDONLY), 3)",
    "os.set_blocking(3, False)",
)
ENDS = (
    "sys.exit(3)",
    "os._exit(0)",
    *(f"os.kill(os.getpid(), {number})" for number in (6, 9, 11, 15)),
    "os.killpg(0, 9)",
    "raise KeyboardInterrupt",
    "(lambda f: f(f))(lambda f: f(f))",
    "signal.alarm(1); signal.pause()",
    "os.abort()",
)
LEFT = (
    "os.fork() or time.sleep(600)",
    "os.fork() or (os.setsid(), time.sleep(600))",
    "os.fork()",  # both come back from the builder
    "os.fork() or os.fork() or (os.setsid(), os.closerange(0, 99), time.sleep(600))",
    "subprocess.Popen(['sleep', '600'], start_new_session=True)",
    "threading.Thread(target=time.sleep, args=(600,)).start()",
    "atexit.register(time.sleep, 600)",
)
MEDDLER = """
import atexit, os, random, signal, subprocess, sys, threading, time
import numpy, torch
def ok(n):
    try:
        return bool(os.fstat(n))
    except OSError:
        return False
def act():
    {act}
{at_import}
def build(number):
    {at_build}
    return torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU())
"""

# Ways to read the file DATA.
READING = (
    "open(DATA).read()",
    "os.read(os.open(DATA, os.O_RDONLY), 9)",
    "numpy.fromfile(DATA, 'u1')",
    "numpy.memmap(DATA, mode='r')",
    "pathlib.Path(DATA).resolve().read_bytes()",
    "os.chdir(os.path.dirname(DATA)); pathlib.Path('data.py').read_text()",
    "shutil.copyfile(DATA, DATA + '.copy'); open(DATA + '.copy').read()",
    "[t.start() or t.join() for t in [threading.Thread(target=open, args=(DATA,))]]",
    "importlib.import_module('da' + 'ta')",
    "runpy.run_path(DATA)",
    "torch.load(DATA)",
)
CHANGES: tuple[Callable[[Path], object], ...] = (
    lambda path: path.write_text("X = 2\n"),
    lambda path: path.write_text("X = 20\n"),
    lambda path: (
        path.with_name("new").write_text("X = 3\n") and path.with_name("new").replace(path)
    ),
    Path.unlink,
    lambda path: path.unlink() or path.mkdir(),
)
READER = """
import contextlib, importlib, os, pathlib, runpy, shutil, threading
import numpy, torch
DATA = os.path.join(os.path.dirname(__file__), "data.py")
def build():
    with contextlib.suppress(Exception):  # torch's own, of no checkpoint
        {act}
    return torch.nn.Linear(8, 8)
"""


class Exporter:
    """One warm export process for all faults, which take turns: importing torch takes seconds."""

    def __init__(self) -> None:
        folder = tempfile.TemporaryDirectory(prefix="benchbox-builders-")
        self.cache = Path(folder.name)
        self.turn = threading.Lock()
        self.channel = python_child("benchbox.export.worker", BENCHBOX_CACHE_DIR=folder.name)
        atexit.register(folder.cleanup)
        atexit.register(self.channel.kill)
        self.number = 0

    def ask(self, path: Path, /, **args: int | str) -> tuple[str, str]:
        """Build a case; the sha256 of its graph, or its error."""
        self.number += 1
        key = f"{self.number:064}"
        source = Builder(f"{path.name}:build", path)
        case = Case("f", "f", {}, args, (TensorSpec("x", (2, 8)),), 2, source)
        self.channel.send(_request(key, case))
        reply = self.channel.receive(120)
        assert reply.get("key", key) == key, reply
        if "error" in reply:
            return "", reply["error"]
        return host.sha256(self.entry() / graphs.MODEL), ""

    def entry(self) -> Path:
        """The folder of the graph that was asked for last."""
        return self.cache / "graphs" / f"{self.number:064}"


@cache
def exporter(_: int) -> Exporter:
    return Exporter()


@cache
def honest_graph(_: int) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "honest.py"
        path.write_text(HONEST)
        return exporter(os.getpid()).ask(path)[0]


def _inject(bench: Bench, rng: random.Random, acts: Sequence[str]) -> None:
    act, when = rng.choice(acts), rng.choice(["at_import", "at_build"])
    own, honest = bench.folder / "own.py", bench.folder / "honest.py"
    own.write_text(MEDDLER.format(act=act, **{"at_import": "", "at_build": "", when: "act()"}))
    honest.write_text(HONEST)
    shared = exporter(os.getpid())
    with shared.turn:
        expected = honest_graph(os.getpid())
        try:
            _, error = shared.ask(own, number=rng.randrange(100))
            assert "\n" not in error, error
            assert "forged" not in error, error
            assert error or act not in ENDS, f"{act}: its end is not reported"
            sha, error = shared.ask(honest)
        except ChannelClosed as lost:
            raise AssertionError(f"{act}: the export process is gone: {lost}") from None
        assert sha == expected, f"{act}: the next graph is another: {error}"
        left = psutil.Process(shared.channel.pid).children(recursive=True)
        assert not left, f"{act}: {left}"


@fault("figures", "a builder changes torch, Python or the program for the next one")
def meddles(bench: Bench, rng: random.Random) -> None:
    _inject(bench, rng, MEDDLING)


@fault("figures", "a builder prints, forges replies, closes, ends, or leaves processes")
def disturbs(bench: Bench, rng: random.Random) -> None:
    _inject(bench, rng, rng.choice([NOISE, ENDS, LEFT]))


@fault("figures", "a builder changes torch for the modules beside it in PyTorch's process")
def changes_shared(_: Bench, rng: random.Random) -> None:
    import torch

    act = rng.choice(SHARED)
    layer = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU())
    data = torch.randn(2, 8)
    with exporter(os.getpid()).turn:
        expected = layer(data)
        try:
            with untouched():
                exec(act, {"torch": torch})  # noqa: S102
        except CaseError as error:
            assert "its builder changes torch" in str(error), error
        else:
            raise AssertionError(f"{act}: nobody sees it")
        assert torch.get_default_dtype() == torch.float32
        assert torch.is_grad_enabled()
        assert torch.equal(layer(data), expected), act
        with untouched():
            torch.nn.Sequential(torch.nn.Conv2d(3, 3, 3), torch.nn.ReLU())


@fault("figures", "a data file that a builder reads changes")
def data_changes(bench: Bench, rng: random.Random) -> None:
    act = rng.choice(READING)
    path, data = bench.folder / "own.py", bench.folder / "data.py"
    path.write_text(READER.format(act=act))
    data.write_text("X = 1\n")
    shared, source = exporter(os.getpid()), Builder("own.py:build", path)
    with shared.turn:
        sha, error = shared.ask(path)
        kept = json.loads((shared.entry() / graphs.FACTS).read_text())["reads"]
    assert sha, error
    for _ in range(2):
        assert reads.are_unchanged(kept, source), f"{act}: what nobody changed"
        data.touch()
    rng.choice(CHANGES)(data)
    with contextlib.suppress(OSError):
        assert not reads.are_unchanged(kept, source), act


@fault("hostile", "a callable that builds no network is named as a builder")
def no_builder(bench: Bench, rng: random.Random) -> None:
    text = rng.choice(NO_BUILDERS)
    path, trace = bench.folder / "own.py", bench.folder / "trace"
    path.write_text(text)
    shared = exporter(os.getpid())
    with shared.turn:
        sha, error = shared.ask(path, **{rng.choice(["path", "file", "dst"]): str(trace)})
    assert not sha, text
    assert "is not called" in error or "has no callable" in error, f"{text}: {error}"
    assert not trace.exists(), text
