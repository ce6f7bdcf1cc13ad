"""Detectors, their blocks and heads, held against the reference implementations' numbers.

`data/detectors.json` has the counts of every network and, for weights by the rule of
`tests/helpers/parity.py`, values of what comes out.
"""

import json
import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchbox import networks
from benchbox.agent.ort import compare
from benchbox.errors import SpecError
from benchbox.networks import catalogue
from benchbox.networks import detector_blocks as blocks
from benchbox.networks.backbones import backbone
from benchbox.networks.detector import Detector, Head, with_eps
from benchbox.networks.yolov8 import yolov8, yolov8_ghostnetv2
from benchbox.networks.yolov10 import yolov10
from tests.helpers import parity
from tests.helpers.parity import on_meta

DATA: dict[str, Any] = json.loads((parity.DATA / "detectors.json").read_text())
INPUT = 12345  # the index of what a block reads
# Of a standard deviation, and of a box in pixels.
TOLERANCES = {torch.float64: (1e-5, 1e-3), torch.float32: (1e-3, 2e-2)}
TOLERANCE, _ = TOLERANCES[torch.float64]
BLOCKS: dict[str, Callable[[], nn.Module]] = {
    "conv_k3_s2": lambda: blocks.halving(32, 64),
    "c2f_n2_add": lambda: blocks.c2f(64, 64, 2, add=True),
    "c2f_n1_no_add": lambda: blocks.c2f(96, 64),
    "c3k2_c3k_false_e0.25": lambda: blocks.c3k2(32, 64, ratio=0.25),
    "c3k2_c3k_false_e0.5": lambda: blocks.c3k2(96, 64),
    "c3k2_c3k_true": lambda: blocks.c3k2(64, 64, deep=True),
    "sppf": lambda: blocks.SPPF(64, 128),
    "scdown": lambda: blocks.scdown(64, 128),
    "psa": lambda: blocks.PSA(256),
    "c2psa_n1": lambda: blocks.PSA(256),
    "c2psa_n2": lambda: blocks.PSA(128, 2),
    "c2fcib_lk": lambda: blocks.c2fcib(96, 128),
    "ghostconv_k3_s2": lambda: blocks.ghost_halving(32, 64),
    "ghostbottleneck_s1": lambda: blocks.ghost_bottleneck(32),
    "c3ghost_n2": lambda: blocks.c3ghost(64, 64, 2),
}
HEADS: dict[str, Callable[[str], Head]] = {
    "detect_v8": partial(Head, "n", is_light=False),
    "detect_11": partial(Head, "n", is_light=True),
    "detect_v10_one_to_one": partial(Head, "n", is_light=True, has_corners=True),
}


def apart(found: Tensor, expected: Iterable[tuple[int, float]]) -> float:
    """How far some values are from those that are expected, by their flat index."""
    flat = found.flatten()
    return max(abs(float(flat[index]) - value) for index, value in expected)


def check_outputs(
    head: Head,
    call: Callable[[], Tensor],
    expected: Mapping[str, Any],
    dtype: torch.dtype = torch.float64,
) -> None:
    """Compare all that a head may give."""
    tolerance, pixels = TOLERANCES[dtype]
    found = {}
    for head.output in ("raw", "decoded", "detections"):
        found[head.output] = call()
    assert apart(found["raw"], expected["raw"]) < tolerance * expected["raw_std"]
    assert apart(found["decoded"][:, :4], expected["boxes"]) < pixels
    assert apart(found["decoded"][:, 4:], expected["scores"]) < tolerance
    for rank, row in expected.get("detections", {}).items():
        assert found["detections"][0, int(rank)].tolist() == pytest.approx(row, abs=pixels)


def macs(module: nn.Module, height: int = 640, width: int = 640) -> int:
    with FlopCounterMode(display=False) as counter:
        module(torch.empty(1, 3, height, width, device="meta"))
    return int(counter.get_total_flops()) // 2


def test_every_detector_has_counts_of_its_reference() -> None:
    detectors = [name for name, each in catalogue.NETWORKS.items() if each.heads]
    counted = [name for name, args, *_ in DATA["counts"] if not args]
    assert set(detectors) - set(counted) == {"yolo11s_ghostnetv3_x1_0_train"}


@pytest.mark.parametrize(("name", "args", "params", "expected"), DATA["counts"])
def test_a_detector_has_the_params_and_macs_of_the_reference(
    name: str, args: dict[str, Any], params: int, expected: int
) -> None:
    module = on_meta(networks.create, name, **args)
    assert parity.params(module) == params
    module.head.output = "raw"
    assert macs(module) == expected


@pytest.mark.parametrize(
    ("name", "height", "width", "millions"),
    [
        *(("yolov8n", 320, 320, 1092.998), ("yolov10n", 320, 320, 839.150)),
        *(("yolo11n", 480, 640, 2447.678), ("yolov8n_ghost", 480, 640, 2136.787)),
    ],
)
def test_other_sizes_have_the_macs_of_the_reference(
    name: str, height: int, width: int, millions: float
) -> None:
    assert macs(on_meta(networks.create, name), height, width) / 1e6 == pytest.approx(
        millions, abs=6e-4
    )


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("name", DATA["networks"])
def test_every_head_gives_the_numbers_of_the_reference(name: str, dtype: torch.dtype) -> None:
    expected = DATA["networks"][name]
    module = parity.filled(on_meta(networks.create, name), expected["gains"]).to(dtype)
    assert isinstance(module, Detector)
    for each in (module, networks.fuse(module)):
        for size, numbers in expected["sizes"].items():
            x = parity.image(*map(int, size.split("x"))).to(dtype)
            maps = each.neck(each.backbone(x))
            call = partial(each.head, maps)
            check_outputs(each.head, call, numbers, dtype)


@pytest.mark.parametrize("name", DATA["blocks"])
def test_a_block_gives_the_numbers_of_the_reference(name: str) -> None:
    expected = DATA["blocks"][name]
    module = parity.filled(with_eps(on_meta(BLOCKS[name])), [(0, expected["gain"])]).double()
    x = parity.uniform_input(INPUT, expected["input"])
    assert parity.params(module) == expected["params"]
    for each in (module, networks.fuse(module)):
        found = each.eval()(x)
        assert apart(found, expected["values"]) < TOLERANCE * expected["std"]


@pytest.mark.parametrize("name", DATA["heads"])
def test_a_head_gives_the_numbers_of_the_reference(name: str) -> None:
    expected = DATA["heads"][name]
    head = parity.filled(with_eps(on_meta(HEADS[name], "raw")), [(0, expected["gain"])])
    maps = [
        parity.uniform_input(INPUT + level, shape) for level, shape in enumerate(expected["inputs"])
    ]
    assert parity.params(head) == expected["params"]
    head = head.double().eval()
    check_outputs(head, lambda: head(maps), expected)


@pytest.mark.parametrize("name", ["yolov10n", "yolo11n_ghostnetv3_train"])
def test_folding_leaves_no_branches_and_keeps_the_original(name: str) -> None:
    module = on_meta(networks.create, name)
    fused = networks.fuse(module)
    of = [len(parity.layers(each, nn.Conv2d)) for each in (module, fused)]
    assert of[1] == len(parity.layers(fused, nn.Conv2d)) < of[0]
    assert not any("rpr" in key or "conv1" in key for key in fused.state_dict())


@pytest.mark.parametrize(
    ("build", "args", "message"),
    [
        (yolov8, {"scale": "m"}, "scale is 'm'; it must be 'n' or 's'"),
        (yolov8, {"head": "detections"}, "it must be 'raw' or 'decoded'"),
        (yolov10, {"head": "boxes"}, "it must be 'raw', 'decoded' or 'detections'"),
        (yolov8_ghostnetv2, {"taps": "all"}, "taps is 'all'; it must be 'last' or 'first'"),
        (yolov8_ghostnetv2, {"taps": "first"}, "set last_conv=False"),
        (yolov8_ghostnetv2, {"taps": ["last"]}, "it must be 'last' or 'first'"),
        *(
            (yolov8_ghostnetv2, {"width": width}, "must be a positive number")
            for width in ("1", 0, math.inf)
        ),
        (backbone, {"host": "yolov9"}, "host is 'yolov9'; it must be one of yolov8, yolov10, yol"),
    ],
)
def test_what_cannot_be_built_is_refused(
    build: Callable[..., nn.Module], args: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        on_meta(build, **args)


@pytest.mark.parametrize(
    ("host", "last_conv", "channels"),
    [
        *(("yolov8", None, [64, 128, 256]), ("yolo11", None, [128, 128, 256])),
        *(("yolov8", True, [40, 112, 960]), ("yolov10", False, [40, 112, 160])),
    ],
)
def test_a_backbone_alone_gives_the_maps_that_the_whole_has_inside(
    host: str, last_conv: bool | None, channels: list[int]
) -> None:
    args = {"host": host, "last_conv": last_conv}
    alone, whole = (on_meta(backbone, **args, alone=each) for each in (True, False))
    maps = alone(torch.empty(1, 3, 64, 96, device="meta"))
    assert [x.shape[1:] for x in maps] == [
        (c, 64 // stride, 96 // stride) for c, stride in zip(channels, (8, 16, 32), strict=True)
    ]
    assert parity.params(alone) == parity.params(whole.backbone) < parity.params(whole)


def test_an_argument_that_a_network_does_not_take_is_refused() -> None:
    with pytest.raises(SpecError, match="yolov8n takes no 'width'; it takes scale, head"):
        networks.create("yolov8n", width=1.0)


@pytest.mark.parametrize("name", ["yolov10n", "yolov10s_ghost"])
def test_detections_of_random_weights_are_told_apart(name: str) -> None:
    with torch.no_grad():
        found = networks.create(name)(parity.random_images(640, 640)).numpy()
    moved = found + np.array([300, 300, 300, 300, 0, 0], np.float32)
    assert compare.share(found, moved) > compare.TOLERANCE
    assert compare.matched(found, moved, compare.TOLERANCE).unseen < 100


def test_a_side_that_no_multiple_of_32_has_is_refused() -> None:
    with pytest.raises(ValueError, match="multiples of 32, not of 64x40"):
        on_meta(networks.create, "yolo11n")(torch.empty(1, 3, 64, 40, device="meta"))


def test_a_small_image_has_as_many_detections_as_places() -> None:
    module = on_meta(networks.create, "yolov10n")
    assert module(torch.empty(2, 3, 64, 32, device="meta")).shape == (2, 42, 6)
    assert module(torch.empty(2, 3, 320, 416, device="meta")).shape == (2, 300, 6)
