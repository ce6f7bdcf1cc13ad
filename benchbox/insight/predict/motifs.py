"""Motifs of calibration networks: the blocks that networks for small devices are made of."""

from dataclasses import replace

from benchbox.insight.predict import style
from benchbox.insight.predict.style import Style
from benchbox.insight.predict.writer import Activation, FeatureMap, GraphWriter


def inverted(w: GraphWriter, s: Style, x: FeatureMap, to: int, stride: int) -> FeatureMap:
    """MobileNetV2's and V3's, EfficientNet's and MnasNet's."""
    wide = s.up(x.channels * w.random.choice([1, 2, 3, 4, 6, 6]))
    y = w.conv(x, wide, act=s.act) if wide != x.channels else x
    y = w.conv(y, wide, style.kernel(w), stride=stride, groups=wide, act=s.act)
    y = w.conv(style.excite(w, s, y), to)
    return w.plus(y, x) if stride == 1 and x.channels == to else y


def fused_inverted(w: GraphWriter, s: Style, x: FeatureMap, to: int, stride: int) -> FeatureMap:
    """EfficientNetV2's and EdgeTPU's, with a plain convolution."""
    y = w.conv(x, s.up(x.channels * w.random.choice([2, 4])), 3, stride=stride, act=s.act)
    y = w.conv(y, to)
    return w.plus(y, x) if stride == 1 and x.channels == to else y


def separable(w: GraphWriter, s: Style, x: FeatureMap, to: int, stride: int) -> FeatureMap:
    """MobileNetV1's; without an activation between in others."""
    act = w.random.choice([s.act, ""])
    y = w.conv(x, x.channels, style.kernel(w), stride=stride, groups=x.channels, act=act)
    return w.conv(y, to, act=s.act)


def basic(w: GraphWriter, s: Style, x: FeatureMap, to: int, stride: int) -> FeatureMap:
    """ResNet-18's."""
    y = w.conv(w.conv(x, to, 3, stride=stride, act=s.act), to, 3)
    return w.act(style.shortcut(w, x, y, stride), s.act)


def bottleneck(w: GraphWriter, s: Style, x: FeatureMap, to: int, stride: int) -> FeatureMap:
    """ResNet-50's, ResNeXt's and RegNet's, whose groups have some channels each."""
    middle = s.up(to / w.random.choice([1, 2, 4]))
    each = w.random.choice([0, 0, 4, 8, 16, 24])
    if each:
        middle = s.up(middle, each)
    groups = middle // each if each else 1
    y = w.conv(x, middle, act=s.act)
    y = style.excite(w, s, w.conv(y, middle, 3, stride=stride, groups=groups, act=s.act))
    return w.act(style.shortcut(w, x, w.conv(y, to), stride), s.act)


def plain(w: GraphWriter, s: Style, x: FeatureMap, to: int, stride: int) -> FeatureMap:
    """VGG's and RepVGG's."""
    return w.conv(x, to, w.random.choice([3, 3, 3, 5]), stride=stride, act=s.act)


def shuffled(w: GraphWriter, s: Style, x: FeatureMap, to: int, stride: int) -> FeatureMap:
    """ShuffleNetV2's: half of the channels stay as they are."""
    kernel, half = style.kernel(w), to // 2
    if stride == 1 and x.channels == to:
        kept, y = w.split(x, half, half)
    else:
        kept = w.conv(x, x.channels, kernel, stride=stride, groups=x.channels)
        kept, y = w.conv(kept, half, act=s.act), x
    y = w.conv(y, half, act=s.act)
    y = w.conv(y, half, kernel, stride=stride, groups=half)
    return w.shuffle(w.concat(kept, w.conv(y, half, act=s.act)), 2)


def grouped(w: GraphWriter, s: Style, x: FeatureMap, to: int, stride: int) -> FeatureMap:
    """ShuffleNetV1's: grouped 1x1 convolutions around a shuffle."""
    groups = w.random.choice([2, 3, 4, 8])
    middle = s.up(to / 4, groups * w.random.choice([2, 4]))
    first = groups if x.channels % groups == 0 else 1
    y = w.shuffle(w.conv(x, middle, groups=first, act=s.act), groups)
    y = w.conv(y, middle, 3, stride=stride, groups=middle)
    if stride == 2 and to > x.channels and x.size % 2 == 0:
        rest = to - x.channels
        y = w.conv(y, rest, groups=groups if rest % groups == 0 else 1)
        return w.act(w.concat(w.pool(x, "Average", 3, 2), y), s.act)
    y = w.conv(y, to, groups=groups if to % groups == 0 else 1)
    return w.act(style.shortcut(w, x, y, stride), s.act)


def _ghost(w: GraphWriter, x: FeatureMap, to: int, act: Activation) -> FeatureMap:
    """Half of the channels from the input, half from these."""
    y = w.conv(x, to // 2, act=act)
    return w.concat(y, w.conv(y, to // 2, 3, groups=to // 2, act=act))


def ghost(w: GraphWriter, s: Style, x: FeatureMap, to: int, stride: int) -> FeatureMap:
    """GhostNet's."""
    return _ghost_block(w, s, x, to, stride, attends=False)


def attended_ghost(w: GraphWriter, s: Style, x: FeatureMap, to: int, stride: int) -> FeatureMap:
    """GhostNetV2's and V3's, with attention along rows and columns of a smaller map."""
    return _ghost_block(w, s, x, to, stride, attends=x.size % 2 == 0)


def _ghost_block(
    w: GraphWriter, s: Style, x: FeatureMap, to: int, stride: int, *, attends: bool
) -> FeatureMap:
    wide = s.up(x.channels * w.random.choice([2, 3, 4, 6]), 2 * max(1, s.multiple // 2))
    y = _ghost(w, x, wide, s.act)
    if attends:
        z = w.conv(w.pool(x, "Average", 2, 2), wide)
        for kernel in ((1, 5), (5, 1)):
            z = w.conv(z, wide, kernel, groups=wide)
        gate = w.activate(z.name, "sigmoid")
        scales = w.constant([1.0, 1.0, 2.0, 2.0])
        nearest = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        y = w.times(
            y, replace(y, name=w.one("Resize", gate, "", scales, mode="nearest", **nearest))
        )
    if stride == 2:
        y = w.conv(y, wide, style.kernel(w), stride=2, groups=wide)
    y = _ghost(w, style.excite(w, s, y), to, "")
    if stride == 1 and x.channels == to:
        return w.plus(y, x)
    z = w.conv(x, x.channels, 3, stride=stride, groups=x.channels)
    return w.plus(y, w.conv(z, to))


def branched(w: GraphWriter, s: Style, x: FeatureMap, to: int, stride: int) -> FeatureMap:
    """Those of MobileOne and GhostNetV3 in training: several convolutions and a scale, added."""

    def add(x: FeatureMap, to: int, kernel: int, step: int, groups: int) -> FeatureMap:
        ways = [
            w.conv(x, to, kernel, stride=step, groups=groups)
            for _ in range(w.random.choice([1, 2, 3]))
        ]
        ways.append(w.conv(x, to, 1, stride=step, groups=groups))
        if step == 1 and x.channels == to:
            ways.append(w.batch_norm(x))
        total = ways[0]
        for each in ways[1:]:
            total = w.plus(total, each)
        return w.act(total, s.act)

    y = add(x, x.channels, 3, stride, x.channels)
    return add(style.excite(w, s, y), to, 1, 1, 1)


def partial(w: GraphWriter, s: Style, x: FeatureMap, to: int, stride: int) -> FeatureMap:
    """The cross-stage blocks of YOLO detectors."""
    x = w.conv(x, to, 3, stride=2, act=s.act) if stride == 2 else x
    half = s.up(to / 2)
    first, second = w.split(w.conv(x, 2 * half, act=s.act), half, half)
    parts = [first, second]
    inner = w.random.choice([half, s.up(half / 2)])
    for _ in range(w.random.choice([1, 1, 2])):
        y = w.conv(w.conv(parts[-1], inner, 3, act=s.act), half, 3, act=s.act)
        parts.append(w.plus(y, parts[-1]))
    return w.conv(w.concat(*parts), to, act=s.act)


def pyramid(w: GraphWriter, s: Style, x: FeatureMap, to: int, stride: int) -> FeatureMap:
    """Pooled three times, as at the end of a detector's backbone."""
    half = s.up(x.channels / 2)
    parts = [w.conv(x, half, stride=stride, act=s.act)]
    for _ in range(3):
        parts.append(w.pool(parts[-1], "Max", 5))
    return w.conv(w.concat(*parts), to, act=s.act)


def dense(w: GraphWriter, s: Style, x: FeatureMap, _: int, stride: int) -> FeatureMap:
    """DenseNet's: normalised first, a few channels added to those that there are."""
    if stride == 2:
        y = w.conv(w.act(w.batch_norm(x), s.act), s.up(x.channels / 2))
        x = w.pool(y, "Average", 2, 2) if y.size % 2 == 0 else w.conv(y, y.channels, 3, stride=2)
    growth = s.up(w.random.choice([12, 24, 32]))
    for _ in range(w.random.choice([2, 3])):
        y = w.conv(w.act(w.batch_norm(x), s.act), 4 * growth, act=s.act)
        x = w.concat(x, w.conv(y, growth, 3))
    return x


def fire(w: GraphWriter, s: Style, x: FeatureMap, to: int, stride: int) -> FeatureMap:
    """SqueezeNet's."""
    x = w.pool(x, "Max", 3, 2) if stride == 2 else x
    y = w.conv(x, s.up(to / 8), act=s.act)
    half = to // 2
    return w.concat(w.conv(y, half, act=s.act), w.conv(y, to - half, 3, act=s.act))


def inception(w: GraphWriter, s: Style, x: FeatureMap, to: int, stride: int) -> FeatureMap:
    """GoogLeNet's, with its 7x7 convolutions in two in some."""
    x = w.pool(x, "Max", 3, 2) if stride == 2 else x
    quarter = s.up(to / 4)
    second = w.conv(w.conv(x, s.up(to / 6), act=s.act), quarter, 3, act=s.act)
    third = w.conv(x, s.up(to / 12), act=s.act)
    kernels = w.random.choice([[(5, 5)], [(1, 7), (7, 1)], [(3, 3), (3, 3)]])
    for kernel in kernels:
        third = w.conv(third, quarter, kernel, act=s.act)
    kind = w.random.choice(["Max", "Average"])
    last = w.conv(w.pool(x, kind, 3), quarter, act=s.act)
    return w.concat(w.conv(x, quarter, act=s.act), second, third, last)
