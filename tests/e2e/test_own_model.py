"""Recipes of docs/your-own-model.md: every command gives the output that stands below it."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest

from benchbox import host
from benchbox.networks import libraries as networks_libraries
from benchbox.sampling import sampler
from tests.helpers import onnx_models
from tests.helpers.command import CalmCommand, invoke
from tests.networks.test_libraries import installed

__all__ = ["installed"]  # fixture
PAGE = (Path(__file__).parents[2] / "docs" / "your-own-model.md").read_text()
FENCED = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
BLOCKS = [text for language, text in FENCED if language == "console"]
QUICK = """
[run]
quick = true
precision = "90%"
max_time = "20s"
[compare]
quick = true
precision = "90%"
max_time = "20s"
"""
# What depends on the machine: figures, and columns that tell how busy it is.
NUMBER = re.compile(r"[~≥]?\b\d[\d.,]*( ± [\d.]+)?x?(?![\w%])")
BUSY = re.compile(r"<?\d+%|quiet share|status|imprecise|\bok\b|FASTER|SLOWER|SAME|UNCLEAR")
WEIGHTS = {"w": (16, 3, 3, 3), "v": (32, 16, 3, 3), "u": (32, 10)}
NET = """g (float[{}] x) => (y) {{ a = Conv<strides=[2,2]>(x, w) b = Relu(a)
    c = Conv<strides=[2,2]>(b, v) d = Relu(c) e = GlobalAveragePool(d) f = Flatten(e)
    y = MatMul(f, u) }}"""
ENCODER = """g (int64[1,seq] ids) => (y) { a = Gather(table, ids) b = MatMul(a, p) c = Relu(b)
    y = MatMul(c, q) }"""
TABLES = {"table": (1000, 64), "p": (64, 128), "q": (128, 64)}
PLACES = {
    "model.onnx": (NET.format("N,3,64,64"), WEIGHTS),
    "images.onnx": (NET.format("N,3,H,W"), WEIGHTS),
    "encoder.onnx": (ENCODER, TABLES),
    "before/model.onnx": (NET.format("1,3,64,64"), WEIGHTS),
    "after/model.onnx": (NET.format("1,3,48,48"), WEIGHTS),
}
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"


def write(path: str, text: str, **shapes: tuple[int, ...]) -> None:
    random = np.random.default_rng(0)
    arrays = {n: random.standard_normal(shape).astype("f4") for n, shape in shapes.items()}
    tensors = [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()]
    Path(path).parent.mkdir(exist_ok=True)
    onnx.save(onnx_models.text(text, *tensors), path)


@pytest.fixture
def files(in_tmp: Path) -> Path:
    """The files that the recipes are of, in the current folder."""
    for path, (text, shapes) in PLACES.items():
        write(path, text, **shapes)
    np.save("ids.npy", np.arange(128).reshape(1, 128))
    for language, text in FENCED:
        if name := {"python": "mine.py", "toml": "grid.toml"}.get(language):
            Path(name).write_text(text)
    Path("model.ort").touch()
    Path("pointer.onnx").write_text(POINTER)
    python = in_tmp / "ort120" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    return in_tmp


@pytest.fixture
def libraries(installed: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Torchvision and timm, which say at once what they have, and one process that exports it."""

    def ask(_: str, *name: str) -> list[str] | list[int]:
        return [3, 224, 224] if name else ["resnet18"]

    monkeypatch.setattr(networks_libraries, "_ask", ask)
    monkeypatch.setattr(host, "usable_cpus", lambda: [0])
    return installed


def plain(text: str) -> Iterator[str]:
    """The lines of an output, with all that depends on the machine and its width alike."""
    for line in NUMBER.sub("#", BUSY.sub("", text)).splitlines():
        if words := line.split():
            yield " ".join(words)


def output(line: str, *, fails: bool) -> str:
    """What a command prints: its table, or why there is none."""
    program, *words = shlex.split(line, comments=True)
    if program == "python":
        return subprocess.check_output([sys.executable, *words], text=True)
    result = invoke(*words)
    assert (result.exit_code != 0) == fails, result.output
    return result.stdout or result.stderr


@pytest.mark.slow
@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.split("\n")[0][:40])
def test_a_recipe_gives_what_it_shows(
    block: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three dots stand for what is left out."""
    request.getfixturevalue("libraries" if "torchvision:" in block else "shared_cache")
    Path("benchbox.toml").write_text(QUICK)
    monkeypatch.setattr(sampler, "CHUNK_S", 0.05)
    CalmCommand().install(monkeypatch)
    for recipe in block.removeprefix("$ ").split("\n$ "):
        command, _, shown = recipe.partition("\n")
        found = "\n".join(plain(output(command, fails="Error: " in shown)))
        for part in filter(str.strip, shown.split("…")):
            before, wanted, found = found.partition("\n".join(plain(part)))
            assert wanted, f"{command}: {part}\nin\n{before}"


def test_every_capability_has_a_recipe() -> None:
    commands = "\n".join(BLOCKS)
    for word in (
        *("--dim", "--shape", "--size", "--input", "--threads", "--batch", "--dtype", "profile"),
        *("fp32,int8", "grid.toml", "mine.py:", "torchvision:", "timm:", "read_csv", "ort120"),
        *(".ort", "pointer.onnx", "before/model.onnx"),
    ):
        assert word in commands, word
