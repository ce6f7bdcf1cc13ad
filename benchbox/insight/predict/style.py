"""Style of a calibration network: what its blocks share, and the parts that several are made of."""

from collections.abc import Callable
from dataclasses import dataclass

from benchbox.insight.predict.writer import Activation, FeatureMap, GraphWriter


@dataclass(frozen=True, slots=True)
class Style:
    """What the blocks of one network have in common: channels are multiples of `multiple`.

    `attention` is the share of blocks with squeeze and excitation.
    """

    multiple: int
    attention: float
    act: Activation

    def up(self, channels: float, multiple: int = 0) -> int:
        """About so many channels, a multiple of the network's or of this."""
        each = multiple or self.multiple
        return max(each, round(channels / each) * each)


Motif = Callable[[GraphWriter, Style, FeatureMap, int, int], FeatureMap]


def excite(w: GraphWriter, style: Style, x: FeatureMap) -> FeatureMap:
    """Squeeze and excitation, in a share of all blocks."""
    if w.random.random() >= style.attention:
        return x
    few = max(4, style.up(x.channels / w.random.choice([4, 4, 8, 16]), 4))
    act = style.act if style.act == "silu" else "relu"
    y = w.conv(w.mean(x), few, act=act)
    gate = w.random.choice(["hard_sigmoid", "hard_sigmoid", "sigmoid"])
    return w.times(x, w.conv(y, x.channels, act=gate))


def shortcut(w: GraphWriter, x: FeatureMap, y: FeatureMap, stride: int) -> FeatureMap:
    """A sum with the input, made to fit where it must."""
    if stride == 1 and x.channels == y.channels:
        return w.plus(y, x)
    if stride == 2 and x.size % 2 == 0 and w.random.random() < 0.3:
        return w.plus(y, w.conv(w.pool(x, "Average", 2, 2), y.channels))
    return w.plus(y, w.conv(x, y.channels, stride=stride))


def kernel(w: GraphWriter) -> int:
    """The side of a depthwise kernel, most often 3."""
    return w.random.choice([3, 3, 3, 3, 5, 5, 7])
