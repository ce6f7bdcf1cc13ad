"""Networks of torchvision and timm by name: of stand-ins for these, in processes of their own."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from benchbox import specs
from benchbox.cli.choices import complete_names
from benchbox.errors import SpecError
from benchbox.networks import libraries, library_models
from benchbox.specs import Builder, Selection
from tests.helpers.command import invoke

WHEEL = """
import torch

for name in ("nms", "qnms"):  # as a wheel for CUDA does beside a torch without it
    torch.library.register_fake(f"torchvision::{name}")(lambda boxes: boxes)
"""
TORCHVISION = """
from torch import nn

def small(width: int = 4) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, width, 3, stride=2), nn.ReLU())

def segmenter(weights_backbone: object = "download") -> nn.Module:
    assert weights_backbone is None
    return small()

def video() -> nn.Module:
    return nn.Conv3d(3, 4, 3)

def ssd() -> None: ...

video.__module__ += ".video.resnet"
ssd.__module__ += ".detection.ssd"
MODELS = {"resnet18": small, "inception_v3": small, "fcn": segmenter, "r3d": video, "ssd": ssd}

def list_models():
    print("a line that no one asked for")
    return list(MODELS)

def get_model_builder(name):
    return MODELS[name]

def get_model(name, weights, **config):
    assert weights is None
    return MODELS[name](**config)

class Weights:
    def transforms(self):
        return self
    crop_size = [48]

def get_model_weights(name):
    return [Weights()] if name in ("inception_v3", "r3d") else []
"""
TIMM = """
import torch

def list_models():
    return ["resnet18", "efficientnet_lite0"]

def create_model(name, pretrained):
    assert not pretrained
    return torch.nn.Conv2d(3, 2, 3)
"""
CONFIG = """
class Config:
    input_size = (3, 40, 56)

def get_pretrained_cfg(name):
    return Config()
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand-ins for both libraries, on the path of this process and of those that it starts."""
    files = {
        "torchvision/__init__.py": WHEEL,
        "torchvision/models/__init__.py": TORCHVISION,
        "timm/__init__.py": TIMM,
        "timm/models.py": CONFIG,
    }
    for name, text in files.items():
        place = tmp_path / "site" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    return tmp_path


@pytest.fixture
def missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libraries, "_origin", lambda _: None)


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch, in_tmp: Path) -> list[tuple[str, ...]]:
    """Both are installed, and answer at once; what they were asked."""
    asked: list[tuple[str, ...]] = []
    known = {"torchvision": ["resnet18", "vgg11"], "timm": ["resnet18", "efficientnet_lite0"]}

    def ask(library: str, *name: str) -> list[str] | list[int]:
        asked.append((library, *name))
        return [3, 299, 299] if name else known[library]

    monkeypatch.setattr(libraries, "_ask", ask)
    monkeypatch.setattr(libraries, "identity", lambda library: f"{library} of {in_tmp}")
    monkeypatch.setattr(libraries, "is_installed", lambda _: True)
    return asked


def test_a_name_is_a_case_of_its_library_asked_for_once(answers: list[tuple[str, ...]]) -> None:
    for _ in range(2):
        (spec,) = specs.find("timm:efficientnet_lite0")
        (case,) = spec.cases(Selection(batches=(2,)))
        assert (case.key, str(case.inputs[0])) == ("timm:efficientnet_lite0", "x=2x3x299x299")
    assert answers == [("timm",), ("timm", "efficientnet_lite0")]
    (case,) = specs.find("torchvision:vgg11")[0].cases(Selection(sizes=(33,)))
    assert case.inputs[0].shape == (1, 3, 33, 33)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("timm:resnet81", "(did you mean 'torchvision:resnet18' or 'timm:resnet18'?)"),
        ("torchvision:efficientnet_lite1", "(did you mean 'timm:efficientnet_lite0'?)"),
        ("efficientnet_lite", "(did you mean 'timm:efficientnet_lite0' or "),
    ],
)
def test_an_unknown_name_suggests_near_ones_of_all_catalogues(
    answers: list[tuple[str, ...]], name: str, meant: str
) -> None:
    with pytest.raises(SpecError) as caught:
        specs.find(name)
    assert meant in str(caught.value)
    assert answers


def test_names_are_completed(answers: list[tuple[str, ...]]) -> None:
    assert "timm:" in complete_names("t")
    assert not answers
    assert complete_names("timm:eff") == ["timm:efficientnet_lite0"]
    assert complete_names("ghostnetv2_x1_6") == ["ghostnetv2_x1_6"]


@pytest.mark.usefixtures("missing")
def test_what_is_not_installed_says_how_to_install_it() -> None:
    result = invoke("show", "timm:resnet18")
    assert (result.exit_code, result.stderr) == (
        2,
        "Error: timm is not installed: pip install timm\n",
    )
    assert "timm:" not in complete_names("t")


def test_what_does_not_import_says_why(installed: Path) -> None:
    (installed / "site" / "timm" / "__init__.py").write_text("import nowhere")
    with pytest.raises(SpecError, match="timm: ModuleNotFoundError: No module named 'nowhere'"):
        libraries.names("timm")


@pytest.fixture
def here(installed: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Both are asked in this process, where their operators need not be registered."""
    (installed / "site/torchvision/__init__.py").write_text("")

    def ask(library: str, *name: str) -> list[str] | list[int]:
        ask = library_models.image if name else library_models.names
        return list(ask(library, *name))

    monkeypatch.setattr(libraries, "_ask", ask)
    yield
    for each in [each for each in sys.modules if each.split(".")[0] in libraries.NAMES]:
        del sys.modules[each]


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("torchvision:inception_v3", "3x48x48"),
        ("torchvision:fcn", "3x224x224"),
        ("torchvision:r3d", "3x16x48x48"),
        ("timm:resnet18", "3x40x56"),
    ],
)
def test_a_network_is_built_with_random_weights_for_its_own_size(name: str, shape: str) -> None:
    ((case,),) = [spec.cases(Selection()) for spec in specs.find(name)]
    assert [str(each) for each in case.inputs] == [f"x=1x{shape}"]
    assert isinstance(case.source, Builder)
    build = getattr(library_models, case.source.reference.rpartition(":")[2])
    assert build(**case.args)(torch.zeros(case.inputs[0].shape)).shape[0] == 1


@pytest.mark.usefixtures("installed")
def test_a_library_is_asked_in_a_process_that_may_print(monkeypatch: pytest.MonkeyPatch) -> None:
    assert libraries.names("torchvision") == ["resnet18", "inception_v3", "fcn", "r3d", "ssd"]
    with pytest.raises(SpecError, match=r"^torchvision:ssd: it takes a list of images, and gives "):
        libraries.find("torchvision:ssd")

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("asked again")

    monkeypatch.setattr(subprocess, "run", refuse)
    assert libraries.names("torchvision")[0] == "resnet18"
