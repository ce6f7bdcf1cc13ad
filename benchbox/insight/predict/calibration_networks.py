"""Calibration networks: seeded random networks like those that people design."""

from collections.abc import Mapping
from dataclasses import dataclass

from benchbox.insight.predict import motifs, token_motifs
from benchbox.insight.predict.style import Motif, Style
from benchbox.insight.predict.writer import INPUT, Activation, FeatureMap, GraphWriter

MOTIFS: Mapping[str, Motif] = {
    "inverted": motifs.inverted,
    "fused inverted": motifs.fused_inverted,
    "separable": motifs.separable,
    "basic": motifs.basic,
    "bottleneck": motifs.bottleneck,
    "plain": motifs.plain,
    "shuffled": motifs.shuffled,
    "grouped": motifs.grouped,
    "ghost": motifs.ghost,
    "attended ghost": motifs.attended_ghost,
    "branched": motifs.branched,
    "partial": motifs.partial,
    "pyramid": motifs.pyramid,
    "dense": motifs.dense,
    "fire": motifs.fire,
    "inception": motifs.inception,
    "large kernel": token_motifs.large_kernel,
    "attention": token_motifs.attention,
}
CLASSES = 1000
MOST_HIDDEN = 16_000  # inputs of a hidden layer
HEAVY = {  # motifs with plain convolutions: their networks are narrower for the same time
    "basic": 0.6,
    "bottleneck": 1.6,
    "plain": 0.6,
    "fused inverted": 0.6,
    "partial": 0.9,
    "inception": 1.4,
    "fire": 1.4,
    "dense": 1.0,
    "shuffled": 1.6,
    "grouped": 2.4,
    "large kernel": 1.0,
}
STAGES = (24, 40, 96, 160)  # channels, before a network's own width


@dataclass(frozen=True, slots=True)
class CalibrationNetwork:
    """A network as a file, with the motifs that it is made of and the size of its image."""

    name: str
    motifs: tuple[str, ...]
    size: int
    model: bytes


def network(seed: int) -> CalibrationNetwork:
    """The network of a seed: a stem, stages of falling resolution, a classifier.

    Three seeds in a row go through the motifs, so that any few of them have about all.
    """
    w = GraphWriter(seed)
    r = w.random
    names = list(MOTIFS)
    first = names[seed % len(names)]
    others = [name for name in names if name != first]
    chosen = (first, *r.sample(others, r.choice([0, 1, 1, 2])))
    size = r.choice([128, 160, 192, 224, 224, 224, 224, 256, 320, 448, 640])
    act = r.choice(["relu", "relu", "relu", "relu6", "hswish", "hswish", "silu", "silu", "leaky"])
    if {"shuffled", "grouped", "ghost", "attended ghost"} & {*chosen} and r.random() < 0.6:
        act = "relu"
    style = Style(
        multiple=r.choice([2, 4, 4, 8, 8, 8, 16, 16]),
        attention=r.choice([0, 0, 0.3, 0.6, 1]),
        act=act,
    )
    width = r.choice([0.5, 0.75, 1, 1, 1.4, 2, 2.8])
    width *= min(1.0, (320 / size) ** 0.5) * min(HEAVY.get(each, 1.0) for each in chosen)
    x = _stem(w, style, FeatureMap(INPUT, 3, size), width, act)
    for base in STAGES:
        if x.size < 6:
            break
        channels = style.up(base * width * r.uniform(0.8, 1.3), 2 * max(1, style.multiple // 2))
        for index in range(r.randint(1, 5)):
            x = MOTIFS[r.choice(chosen)](w, style, x, channels, 2 if index == 0 else 1)
    return CalibrationNetwork(f"c{seed:03d}", chosen, size, _classified(w, style, x, size))


def _stem(w: GraphWriter, style: Style, x: FeatureMap, width: float, act: Activation) -> FeatureMap:
    r = w.random
    channels = style.up(r.choice([8, 16, 24, 32, 64]) * max(0.5, min(1.3, width)))
    kind = r.choice(["small", "small", "small", "large", "patches", "two"])
    if kind == "patches":
        side = r.choice([4, 4, 16])
        return w.conv(x, channels * (1 if side == 4 else 6), side, stride=side)
    x = w.conv(x, channels, 7 if kind == "large" else 3, stride=2, act=act)
    if kind == "two":
        x = w.conv(x, channels, 3, act=act)
    return w.pool(x, "Max", 3, 2) if kind == "large" or r.random() < 0.3 else x


def _classified(w: GraphWriter, style: Style, x: FeatureMap, size: int) -> bytes:
    """A classifier of maps, of vectors, or of all pixels with a hidden layer."""
    r = w.random
    last = r.choice([0, 0, 512, 960, 1280])
    x = w.conv(x, last, act=style.act) if last else x
    way = r.choice(["maps", "maps", "vectors", "pixels"])
    if way == "pixels" and x.channels * x.pixels < MOST_HIDDEN:
        inputs = x.channels * x.pixels
        hidden = _gemm(w, w.one("Flatten", x.name, axis=1), inputs, 512)
        return w.model(_gemm(w, w.activate(hidden, "relu"), 512), CLASSES, size)
    if way == "vectors":
        x = w.mean(x, keep=False)
        return w.model(_gemm(w, x.name, x.channels), CLASSES, size)
    x = w.mean(x)
    x = w.conv(x, 1280, act="hswish") if r.random() < 0.5 else x
    return w.model(_gemm(w, w.one("Flatten", x.name, axis=1), x.channels), CLASSES, size)


def _gemm(w: GraphWriter, name: str, inputs: int, outputs: int = CLASSES) -> str:
    weights = w.weights(outputs, inputs, fan_in=inputs)
    return w.one("Gemm", name, weights, w.weights(outputs, fan_in=16), transB=1)
