"""Networks of torchvision and timm with random weights; as a program it says what there is.

python -m benchbox.networks.library_models timm             prints the names
python -m benchbox.networks.library_models timm resnet18    prints channels, height and width
"""

import contextlib
import importlib
import inspect
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import nn

from benchbox.networks.catalogue import IMAGE


def torchvision(name: str) -> nn.Module:
    """Return a network of torchvision."""
    models = importlib.import_module("torchvision.models")
    get: Callable[..., nn.Module] = models.get_model
    # Those of detection and segmentation would download the weights of their backbone.
    takes = inspect.signature(models.get_model_builder(name)).parameters
    backbone = {"weights_backbone": None} if "weights_backbone" in takes else {}
    return get(name, weights=None, **backbone)


def timm(name: str) -> nn.Module:
    """Return a network of timm."""
    create: Callable[..., nn.Module] = importlib.import_module("timm").create_model
    return create(name, pretrained=False)


def names(library: str) -> Sequence[str]:
    """Return the names of a library's networks."""
    module = importlib.import_module("torchvision.models" if library == "torchvision" else library)
    found: Sequence[str] = module.list_models()
    return found


def image(library: str, name: str) -> Sequence[int]:
    """Return the size of the images that a network's default configuration names."""
    with contextlib.suppress(
        AttributeError, LookupError, RuntimeError, StopIteration, TypeError, ValueError
    ):
        size = _of_timm(name) if library == "timm" else _of_torchvision(name)
        return [int(each) for each in size]
    return IMAGE


def _of_torchvision(name: str) -> Sequence[int]:
    models = importlib.import_module("torchvision.models")
    weights = models.get_model_weights(name)
    (side,) = set(next(iter(weights)).transforms().crop_size)
    return (IMAGE[0], side, side)


def _of_timm(name: str) -> Sequence[int]:
    known: Any = importlib.import_module("timm.models").get_pretrained_cfg(name)
    size: Sequence[int] = known["input_size"] if isinstance(known, Mapping) else known.input_size
    return size


if __name__ == "__main__":
    library, *name = sys.argv[1:]
    with contextlib.redirect_stdout(sys.stderr):
        answer = list(image(library, *name) if name else names(library))
    sys.stdout.write(f"{json.dumps(answer)}\n")
