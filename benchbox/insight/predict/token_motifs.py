"""Motifs of calibration networks that compute on tokens: ConvNeXt's and those of transformers."""

from dataclasses import replace

from benchbox.insight.predict.motifs import separable
from benchbox.insight.predict.style import Style
from benchbox.insight.predict.writer import FeatureMap, GraphWriter


def large_kernel(w: GraphWriter, s: Style, x: FeatureMap, to: int, stride: int) -> FeatureMap:
    """ConvNeXt's, in channels last, and the like that stay as they are."""
    if stride == 2 or x.channels != to:
        x = w.conv(x, to, stride, stride=stride)
    y = w.conv(x, to, w.random.choice([5, 7, 7]), groups=to)
    wide = s.up(to * w.random.choice([2, 3, 4]))
    if w.random.random() < 0.4:
        return w.plus(w.conv(w.conv(y, wide, act="gelu"), to), x)
    tokens = w.layer_norm(w.one("Transpose", y.name, perm=[0, 2, 3, 1]), to)
    tokens = _mlp(w, tokens, to, wide)
    back = w.one("Transpose", tokens, perm=[0, 3, 1, 2])
    return w.plus(replace(y, name=back), x)


def _mlp(w: GraphWriter, tokens: str, channels: int, wide: int) -> str:
    return w.linear(w.activate(w.linear(tokens, channels, wide), "gelu"), wide, channels)


def attention(w: GraphWriter, s: Style, x: FeatureMap, to: int, stride: int) -> FeatureMap:
    """A transformer's, over all pixels of a small map; of a large one a separable convolution."""
    to = s.up(to, 32)
    if x.size // stride > 20:
        return separable(w, s, x, to, stride)
    if stride == 2 or x.channels != to:
        x = w.conv(x, to, 3, stride=stride)
    tokens = w.one("Transpose", w.reshape(x.name, 1, to, x.pixels), perm=[0, 2, 1])
    tokens = w.one("Add", tokens, _attended(w, w.layer_norm(tokens, to), x, to))
    wide = to * w.random.choice([2, 3, 4])
    tokens = w.one("Add", tokens, _mlp(w, w.layer_norm(tokens, to), to, wide))
    back = w.one("Transpose", tokens, perm=[0, 2, 1])
    return replace(x, name=w.reshape(back, 1, to, x.size, x.size))


def _attended(w: GraphWriter, tokens: str, x: FeatureMap, channels: int) -> str:
    """Attention of heads of 32 channels."""
    heads = channels // 32
    parts = []
    for perm in ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]):
        each = w.reshape(w.linear(tokens, channels, channels), 1, x.pixels, heads, 32)
        parts.append(w.one("Transpose", each, perm=perm))
    query, key, value = parts
    scores = w.one("Mul", w.one("MatMul", query, key), w.constant([32**-0.5]))
    mixed = w.one("MatMul", w.one("Softmax", scores, axis=-1), value)
    joined = w.reshape(w.one("Transpose", mixed, perm=[0, 2, 1, 3]), 1, x.pixels, channels)
    return w.linear(joined, channels, channels)
