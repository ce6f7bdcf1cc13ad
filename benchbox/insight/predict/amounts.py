"""Amounts of work that kernels of one kind take time for, and what else matters, as columns."""

from collections.abc import Sequence
from operator import attrgetter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchbox.insight.predict.work import BLOCK, BYTES, Work

Floats = NDArray[np.float64]
CACHE = 1 << 20  # bytes: about what one core keeps for itself
COOLING_US = 4_000, 32_000  # while which weights leave a shared cache
MOST_COLD_US = 500  # for a megabyte of them: memory that gives 2 GB/s
ROWS, COLUMNS = 12, 16  # of the results of a product that are computed at once


class Call(NamedTuple):
    """What passes through the caches in a call of a network, and about how long that takes."""

    footprint_bytes: float
    memory_bytes: float
    weight_bytes: float
    about_us: float


class _Columns(NamedTuple):
    """What works of a kind have, a number of each."""

    macs: Floats
    memory: Floats
    weights: Floats
    result: Floats
    inputs: Floats
    outputs: Floats
    each: Floats
    groups: Floats
    high: Floats
    wide: Floats
    stride: Floats
    height: Floats
    width: Floats
    input_pixels: Floats
    activation: Floats
    adds: Floats
    parts: Floats

    @property
    def pixels(self) -> Floats:
        """The results of a channel."""
        return self.height * self.width

    @property
    def window(self) -> Floats:
        """The pixels that one result needs of a channel."""
        return self.high * self.wide

    @property
    def spilled(self) -> Floats:
        """The bytes of maps that do not stay in a core's cache."""
        return np.maximum(0, self.memory - self.weights - CACHE / 2)


_own = attrgetter(
    *("macs", "memory_bytes", "weight_bytes", "result_bytes", "inputs", "outputs", "each"),
    *("groups", "kernel", "stride", "height", "width", "input_pixels", "activation", "adds"),
    "parts",
)


def _columns(works: Sequence[Work]) -> _Columns:
    rows = []
    for work in works:
        *first, kernel, stride, height, width, pixels, activation, adds, parts = _own(work)
        rows.append((*first, *kernel, stride, height, width, pixels, len(activation), adds, parts))
    return _Columns(*np.array(rows, float).T)


def up(count: Floats, multiple: int) -> Floats:
    """The next multiples."""
    return np.ceil(count / multiple) * multiple


def physics(works: Sequence[Work], calls: Sequence[Call]) -> Floats:
    """A row for each of the works, all of one kind: amounts in thousands or millions."""
    own, kind = _columns(works), works[0].kind
    if not works[0].macs:
        amounts = _moving(own)
    elif kind == "blocked depthwise":
        amounts = _depthwise(own)
    elif kind.startswith("plain"):
        amounts = _plain(own)
    else:
        amounts = _computing(own, is_product=kind.startswith("product"))
    cold = [_cold(own, calls)] if works[0].macs else []
    return np.column_stack([np.ones(len(works)), *amounts, *cold])


def _cold(own: _Columns, calls: Sequence[Call]) -> Floats:
    """Weights that have left the cache since they were used: the more, the longer that was ago."""
    ago, (first, last) = np.log([call.about_us for call in calls]), np.log(COOLING_US)
    return np.asarray(own.weights * np.clip((ago - first) / (last - first), 0, 1) / 1e6)


def _depthwise(own: _Columns) -> Sequence[Floats]:
    inner = [
        np.maximum(0, side - 2 * np.ceil(window // 2 / own.stride))
        for side, window in ((own.height, own.high), (own.width, own.wide))
    ]
    edge = (own.pixels - inner[0] * inner[1]) * own.outputs  # windows that reach beyond the map
    return [
        own.macs / 1e6,
        own.pixels * own.outputs / 1e6,
        own.memory / 1e6,
        own.height * own.outputs / BLOCK / 1e3,
        edge * own.window / 1e6,
        own.outputs / 1e3,
        own.pixels * own.outputs * (own.stride > 1) / 1e6,
        own.spilled / 1e6,
    ]


def _plain(own: _Columns) -> Sequence[Floats]:
    """Convolutions that are a product for each group, of what is unrolled for some."""
    rows, depth = own.outputs / own.groups, own.each * own.window
    columns = up(own.pixels, COLUMNS)
    unrolled = own.pixels * own.inputs * own.window
    return [
        own.macs / 1e6,
        own.groups * rows * depth * columns / 1e6,
        own.groups * up(rows, ROWS) * depth * columns / 1e6,
        own.memory / 1e6,
        own.weights / 1e6,
        own.pixels * own.outputs / 1e6,
        unrolled / 1e6,
        unrolled * ((own.window > 1) | (own.stride > 1)) / 1e6,
        own.groups / 100,
        own.spilled / 1e6,
        np.maximum(0, own.weights - CACHE / 2) / 1e6,
    ]


def _computing(own: _Columns, *, is_product: bool) -> Sequence[Floats]:
    padded = own.pixels * up(own.outputs, BLOCK) * own.each * own.window
    return [
        (own.macs if is_product else padded) / 1e6,
        own.memory / 1e6,
        own.weights / 1e6,
        own.pixels * up(own.outputs, BLOCK) / 1e6,
        own.groups / 100,
        own.groups * own.pixels * own.each * own.window / 1e6,
        own.spilled / 1e6,
        np.maximum(0, own.weights - CACHE / 2) / 1e6,
    ]


def _moving(own: _Columns) -> Sequence[Floats]:
    return [
        own.memory / 1e6,
        own.result / 1e6,
        own.outputs / 1e3,
        own.outputs * own.height / 1e5,
        own.input_pixels * own.inputs / 1e6,
        own.memory / BYTES / own.each / 1e4,
        own.result * own.window / 1e6,
        own.spilled / 1e6,
    ]


def learned(works: Sequence[Work], calls: Sequence[Call]) -> Floats:
    """What else may matter: alignment, sizes, and what passes through the caches meanwhile."""
    own, passing = _columns(works), np.array(calls, float).T
    moved = own.memory - own.weights
    sizes = [
        *(own.macs + 1, own.memory + 1, own.weights + 1, own.inputs, own.outputs, own.pixels),
        *(own.height, own.width, own.groups, own.each, own.outputs / own.groups),
        *(own.each * own.window, (own.macs + 1) / (own.memory + 1)),
        *(*passing, moved + passing[0] / 100, np.maximum(1, moved / CACHE)),
    ]
    return np.column_stack(
        [
            *(np.log(np.maximum(each, 1e-9)) for each in sizes),
            *(own.high, own.wide, own.stride, own.activation, own.adds, own.parts),
            *(each / up(each, BLOCK) for each in (own.inputs, own.outputs, own.each)),
            own.width % BLOCK,
            up(own.outputs, BLOCK) // BLOCK % 4,
            own.pixels % 6,
            np.minimum(1, own.weights / CACHE),
        ]
    )
