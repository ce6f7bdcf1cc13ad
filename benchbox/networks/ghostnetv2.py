"""GhostNetV2 (arXiv 2211.12905): GhostNet whose expanding ghost modules are gated by DFC attention.

The paper's text, its ablation and the authors' implementation differ in how maps are resized and
in which layers have DFC. The defaults here are the implementation's, which alone fits the 167 M
multiply-accumulates that the paper prints; the options are those of the paper's ablation.
"""

import re
from collections.abc import Callable

from torch import Tensor, nn

from benchbox.networks.dfc import DFC, KERNELS, SelfAttention, check, check_resizing
from benchbox.networks.ghostnet import LAYERS, Bottleneck, GhostModule, GhostNet, Layer
from benchbox.networks.layers import Activation, calibrated, relu

ALL = "2-15"  # layers 0 and 1 have none in the authors' implementation
PLACES = ("ghost1", "ghost2", "both")
ATTENTIONS = ("dfc", "self")

Gate = Callable[[int, int], nn.Module]


def ghostnetv2(
    width: float = 1.0,
    *,
    layers: str = ALL,
    kernel: int = 5,
    placed: str = "ghost1",
    sigmoid: str = "before",
    pool: str = "average",
    upsample: str = "nearest",
    attention: str = "dfc",
) -> nn.Module:
    """GhostNetV2, or a variant of its ablation; (n, 3, h, w) -> (n, 1000).

    `layers` is a range of the 16 bottlenecks counted from 0, such as "3-4", or "none". `placed` is
    the ghost module that is gated: "ghost1" expands, "ghost2" reduces, or "both". `attention` is
    "dfc" or "self", self-attention in its place. `kernel`, `pool`, `upsample` and `sigmoid` are
    those of `dfc.DFC`. Raises ValueError for other values, naming the allowed ones.
    """
    made = bottlenecks(
        layers=layers,
        kernel=kernel,
        placed=placed,
        sigmoid=sigmoid,
        pool=pool,
        upsample=upsample,
        attention=attention,
    )
    return calibrated(GhostNet(width, made))


def bottlenecks(
    *,
    layers: str = ALL,
    kernel: int = 5,
    placed: str = "ghost1",
    sigmoid: str = "before",
    pool: str = "average",
    upsample: str = "nearest",
    attention: str = "dfc",
) -> Callable[[Layer], nn.Module]:
    """The bottlenecks of `ghostnetv2`, whose arguments these are, for the skeleton."""
    first, last = gated_layers(layers)
    check("kernel", kernel, KERNELS)
    check("placed", placed, PLACES)
    check("attention", attention, ATTENTIONS)
    check_resizing(pool, upsample, sigmoid)

    def gate(c_in: int, c_out: int) -> nn.Module:
        if attention == "self":
            return SelfAttention(c_in, c_out, pool=pool, upsample=upsample, sigmoid=sigmoid)
        return DFC(c_in, c_out, kernel, pool=pool, upsample=upsample, sigmoid=sigmoid)

    def bottleneck(layer: Layer) -> nn.Module:
        is_gated = first <= layer.index <= last
        gate1 = gate if is_gated and placed != "ghost2" else None
        gate2 = gate if is_gated and placed != "ghost1" else None
        ghost1 = _ghost(layer.c_in, layer.expanded, relu, gate1)
        ghost2 = _ghost(layer.expanded, layer.c_out, None, gate2)
        return Bottleneck(layer, ghost1, ghost2)

    return bottleneck


def gated_layers(layers: str) -> tuple[int, int]:
    """Return the first and the last layer of a range such as "3-4" or "3"; (0, -1) for "none".

    Raises ValueError, naming what is allowed, for anything else.
    """
    if layers == "none":
        return 0, -1
    found = re.fullmatch(r"(\d+)(?:-(\d+))?", str(layers))
    if found:
        first, last = int(found[1]), int(found[2] or found[1])
        if first <= last < LAYERS:
            return first, last
    allowed = f"'none' or a range within '0-{LAYERS - 1}' such as {ALL!r}"
    raise ValueError(f"layers is {layers!r}; it must be {allowed}")


def _ghost(c_in: int, c_out: int, activation: Activation | None, gate: Gate | None) -> nn.Module:
    if gate is None:
        return GhostModule(c_in, c_out, activation)
    return GatedGhostModule(c_in, c_out, activation, gate)


class GatedGhostModule(GhostModule):
    """A ghost module, and beside it the attention that weighs every value that it gives."""

    def __init__(self, c_in: int, c_out: int, activation: Activation | None, gate: Gate) -> None:
        super().__init__(c_in, c_out, activation)
        self.short_conv = gate(c_in, c_out)

    def forward(self, x: Tensor) -> Tensor:
        """(n, c_in, h, w) -> (n, c_out, h, w)."""
        gated: Tensor = super().forward(x) * self.short_conv(x)
        return gated
