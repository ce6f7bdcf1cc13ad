"""Builders, the warm exporter of their cases, and cases of files."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from benchbox.export import cache
from benchbox.export.graph import Graph
from benchbox.export.prepare import _request
from benchbox.specs import Builder, Case, OnnxFile, TensorSpec
from tests.helpers.exporter import WarmWorker

Inputs = tuple[TensorSpec, ...]
IMAGE: Inputs = (TensorSpec("x", (1, 4, 8, 8)),)
MINE = """
from benchbox.networks.dfc import DFC
from torch import nn

def conv(c=4):
    return nn.Conv2d(4, c, 1)

def normed():
    return nn.Sequential(nn.Conv2d(4, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU())

def norm_first():
    return nn.Sequential(nn.ReLU(), nn.BatchNorm2d(4))

class Scale(nn.Module):
    def __init__(self, by):
        super().__init__()
        self.by = by

    def forward(self, x):
        return x * self.by, x.sum()

def scaled(by):
    if by == 0:
        raise BaseException("none at all")
    if by < 0:
        raise ValueError("negative\\nscales do not exist")
    return Scale(by)

class Embed(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(2, 8)

    def forward(self, ids, mask):
        return self.table(ids) * mask.unsqueeze(-1)

def embed():
    return Embed()

class Branch(nn.Module):
    def forward(self, x):
        if x.sum() > 0:
            return x
        return -x

def branch():
    return Branch()

class Everything(nn.Module):
    def __init__(self):
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU())
        self.deep = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.wide = nn.Conv2d(8, 8, 1, groups=2, bias=False)
        self.up = nn.ConvTranspose2d(8, 4, 2, stride=2)
        self.head, self.rows = nn.Linear(4, 10), nn.Linear(5, 7)

    def forward(self, x, y):
        x = self.down(x)
        x = self.up(x + self.wide(self.deep(x)))
        return self.head(x.mean((2, 3))), self.rows((y @ y.transpose(1, 2)) @ y)

def everything():
    return Everything()

class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU())

    def forward(self, x):
        return self.body(self.body(x))

def twice():
    return Twice()

def gate(upsample):
    return DFC(4, 4, upsample=upsample)

def no_module():
    return [1, 2]

not_callable = 3
"""


def builders(folders: pytest.TempPathFactory, text: str) -> Path:
    path = folders.mktemp("builders") / "mine.py"
    path.write_text(text)
    return path


def external_case(folder: Path) -> Case:
    """A case of a product whose weight, 64x64, is in w.bin beside its file."""
    weight = numpy_helper.from_array(np.eye(64, dtype=np.float32), "w")
    x, y = (helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [1, 64]) for n in "xy")
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    graph = helper.make_graph([node], "g", [x], [y], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    path = folder / "outside.onnx"
    onnx.save(model, path, save_as_external_data=True, location="w.bin", size_threshold=0)
    return Case("e", "e", {}, {}, (TensorSpec("x", (1, 64)),), 1, OnnxFile(path))


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return builders(tmp_path_factory, MINE)


class Exporter:
    """Builds cases of mine.py in the warm worker."""

    def __init__(self, worker: WarmWorker, mine: Path) -> None:
        self.worker, self.mine = worker, mine

    def case(self, name: str, inputs: Inputs = IMAGE, **args: Any) -> Case:
        return Case("mine", name, {}, args, inputs, 1, Builder(f"mine.py:{name}", self.mine))

    def ask(self, case: Case) -> dict[str, Any]:
        self.worker.start("benchbox.export.worker").send(_request(cache.key(case), case))
        return self.worker.receive(120)

    def graph(self, case: Case) -> Graph:
        reply = self.ask(case)
        assert "error" not in reply, reply
        graph = cache.lookup(cache.key(case), case)
        assert graph is not None
        return graph

    def error(self, case: Case) -> tuple[str, str]:
        reply = self.ask(case)
        assert cache.lookup(cache.key(case), case) is None
        return reply["kind"], reply["error"]


@pytest.fixture
def exporter(export_worker: WarmWorker, mine: Path, shared_cache: Path) -> Exporter:
    assert shared_cache
    return Exporter(export_worker, mine)


def file_case(path: Path, *inputs: TensorSpec) -> Case:
    return Case(path.stem, path.stem, {}, {}, inputs, 1, OnnxFile(path))
