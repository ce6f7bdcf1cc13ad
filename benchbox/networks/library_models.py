"""Networks of torchvision and timm with random weights; as a program it says what there is.

python -m benchbox.networks.library_models timm             prints the names
python -m benchbox.networks.library_models timm resnet18    prints channels, height and width
"""

import contextlib
import importlib
import inspect
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from benchbox.networks.catalogue import IMAGE

FRAMES = 16  # of a video, the fewest that every network for them takes
MISSING = re.compile(r"operator (torchvision::\w+) does not exist")
# Modules of torchvision whose networks take no batch of images, and what they take.
OTHERS = {
    "detection": "a list of images, and gives boxes of any number",
    "optical_flow": "two images",
}


def torchvision(name: str) -> nn.Module:
    """Return a network of torchvision."""
    models = _imported("torchvision.models")
    get: Callable[..., nn.Module] = models.get_model
    # Those of detection and segmentation would download the weights of their backbone.
    takes = inspect.signature(models.get_model_builder(name)).parameters
    backbone = {"weights_backbone": None} if "weights_backbone" in takes else {}
    return get(name, weights=None, **backbone)


def timm(name: str) -> nn.Module:
    """Return a network of timm."""
    create: Callable[..., nn.Module] = _imported("timm").create_model
    return create(name, pretrained=False)


def _imported(name: str) -> Any:  # noqa: ANN401 - of no library that is always there
    """Return a module of a library.

    Torchvision's wheels on PyPI are made for CUDA: beside a PyTorch without it their operators are
    missing, which the import registers again, and which detectors alone need.
    """
    while True:
        try:
            return importlib.import_module(name)
        except RuntimeError as error:
            missing = MISSING.search(str(error))
            if missing is None:
                raise
            torch.library.define(missing[1], "(Tensor boxes) -> Tensor")
            for each in [each for each in sys.modules if each.split(".")[0] == "torchvision"]:
                del sys.modules[each]


def names(library: str) -> Sequence[str]:
    """Return the names of a library's networks."""
    module = _imported("torchvision.models" if library == "torchvision" else library)
    found: Sequence[str] = module.list_models()
    return found


def image(library: str, name: str) -> Sequence[int]:
    """Return the size of the images that a network's default configuration names.

    That of videos has their frames too. Exits for a network that takes something else.
    """
    with contextlib.suppress(
        AttributeError, LookupError, RuntimeError, StopIteration, TypeError, ValueError
    ):
        size = _of_timm(name) if library == "timm" else _of_torchvision(name)
        return [int(each) for each in size]
    return IMAGE


def _of_torchvision(name: str) -> Sequence[int]:
    models = _imported("torchvision.models")
    kind = models.get_model_builder(name).__module__.split(".")
    if takes := next((OTHERS[each] for each in kind if each in OTHERS), ""):
        sys.exit(f"it takes {takes}; write a callable for a part of it: ./file.py:callable")
    weights = models.get_model_weights(name)
    (side,) = set(next(iter(weights)).transforms().crop_size)
    return (IMAGE[0], *([FRAMES] if "video" in kind else []), side, side)


def _of_timm(name: str) -> Sequence[int]:
    known: Any = _imported("timm.models").get_pretrained_cfg(name)
    size: Sequence[int] = known["input_size"] if isinstance(known, Mapping) else known.input_size
    return size


if __name__ == "__main__":
    library, *name = sys.argv[1:]
    with contextlib.redirect_stdout(sys.stderr):
        answer = list(image(library, *name) if name else names(library))
    sys.stdout.write(f"{json.dumps(answer)}\n")
