"""GraphWriter: writes an ONNX graph node by node, with random weights, by onnx alone."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

OPSET, IR = 20, 9
INPUT, OUTPUT = "image", "scores"
FLOAT = 1  # a TensorProto.DataType

Activation = str


@dataclass(frozen=True, slots=True)
class FeatureMap:
    """A tensor of one image's channels, each of `size` x `size` pixels."""

    name: str
    channels: int
    size: int

    @property
    def pixels(self) -> int:
        """The pixels of a channel."""
        return self.size * self.size


class GraphWriter:
    """The graph so far. The random numbers decide its weights, and its shape where motifs ask."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self._weights = np.random.default_rng(seed)
        self._nodes: list[tuple[str, Sequence[str], Sequence[str], dict[str, Any]]] = []
        self._constants: list[tuple[str, NDArray[Any]]] = []

    def add(self, op: str, inputs: Sequence[str], outputs: int = 1, **attributes: Any) -> list[str]:  # noqa: ANN401 - an attribute's value
        """Add a node; the names of its results."""
        names = [f"t{len(self._nodes)}_{index}" for index in range(outputs)]
        self._nodes.append((op, inputs, names, attributes))
        return names

    def one(self, op: str, *inputs: str, **attributes: Any) -> str:  # noqa: ANN401 - the same
        """Add a node with one result; its name."""
        return self.add(op, inputs, **attributes)[0]

    def constant(self, values: Sequence[int] | Sequence[float]) -> str:
        """A list of integers or of floats."""
        kind = np.int64 if all(isinstance(each, int) for each in values) else np.float32
        return self._keep(np.array(values, kind))

    def weights(self, *shape: int, fan_in: int = 0, like: float = 0.0) -> str:
        """Random weights; around `like` where that is given, as those of a normalisation."""
        spread = 0.1 if like else math.sqrt(1.6 / max(1, fan_in))
        values = self._weights.standard_normal(shape, np.float32)
        return self._keep(values * np.float32(spread) + np.float32(like))

    def _keep(self, values: NDArray[Any]) -> str:
        self._constants.append((f"c{len(self._constants)}", values))
        return self._constants[-1][0]

    def conv(
        self,
        x: FeatureMap,
        channels: int,
        kernel: int | tuple[int, int] = 1,
        *,
        stride: int = 1,
        groups: int = 1,
        act: Activation = "",
    ) -> FeatureMap:
        """A convolution with bias that keeps the size, but for its stride, and an activation."""
        high, wide = (kernel, kernel) if isinstance(kernel, int) else kernel
        each = x.channels // groups
        fan_in = each * high * wide
        weights = self.weights(channels, each, high, wide, fan_in=fan_in)
        bias = self.weights(channels, fan_in=16)
        pads = [high // 2, wide // 2, (high - 1) // 2, (wide - 1) // 2]
        if max(high, wide) % 2 == 0:  # patches
            pads = [0, 0, 0, 0]
        name = self.one(
            *("Conv", x.name, weights, bias),
            kernel_shape=[high, wide],
            strides=[stride, stride],
            pads=pads,
            group=groups,
        )
        size = x.size // stride if high % 2 == 0 else -(-x.size // stride)
        return self.act(FeatureMap(name, channels, size), act)

    def act(self, x: FeatureMap, act: Activation) -> FeatureMap:
        """An activation by name; the map itself for none."""
        return replace(x, name=self.activate(x.name, act)) if act else x

    def activate(self, name: str, act: Activation) -> str:
        """An activation of any tensor."""
        if act == "relu6":
            return self.one("Clip", name, self._scalar(0.0), self._scalar(6.0))
        if act == "silu":
            return self.one("Mul", name, self.one("Sigmoid", name))
        if act == "hard_sigmoid":
            return self.one("HardSigmoid", name, alpha=1 / 6, beta=0.5)
        if act == "gelu":  # as exporters write it out
            inner = self.one("Erf", self.one("Div", name, self._scalar(math.sqrt(2))))
            half = self.one("Mul", name, self.one("Add", inner, self._scalar(1.0)))
            return self.one("Mul", half, self._scalar(0.5))
        ops = {"relu": "Relu", "hswish": "HardSwish", "sigmoid": "Sigmoid", "leaky": "LeakyRelu"}
        return self.one(ops[act], name)

    def _scalar(self, value: float) -> str:
        return self._keep(np.array(value, np.float32))

    def linear(self, name: str, inputs: int, outputs: int) -> str:
        """A product of tokens with weights, and a bias."""
        product = self.one("MatMul", name, self.weights(inputs, outputs, fan_in=inputs))
        return self.one("Add", product, self.weights(outputs, fan_in=16))

    def layer_norm(self, name: str, channels: int) -> str:
        """A normalisation over the last axis."""
        scale, bias = self.weights(channels, like=1.0), self.weights(channels, fan_in=64)
        return self.one("LayerNormalization", name, scale, bias, axis=-1, epsilon=1e-5)

    def batch_norm(self, x: FeatureMap) -> FeatureMap:
        """A normalisation that no convolution stands before."""
        count = x.channels
        scale, variance = self.weights(count, like=1.0), self.weights(count, like=1.0)
        bias, mean = self.weights(count, fan_in=64), self.weights(count, fan_in=64)
        name = self.one("BatchNormalization", x.name, scale, bias, mean, variance)
        return replace(x, name=name)

    def pool(self, x: FeatureMap, kind: str, kernel: int, stride: int = 1) -> FeatureMap:
        """A pooling, `Max` or `Average`, that keeps the size but for its stride."""
        low, high = (kernel - 1) // 2, kernel // 2
        pads = [low, low, high, high] if kernel % 2 else [0, 0, 0, 0]
        name = self.one(
            f"{kind}Pool", x.name, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=pads
        )
        size = (x.size + 2 * low * (kernel % 2) - kernel) // stride + 1
        return FeatureMap(name, x.channels, size)

    def plus(self, x: FeatureMap, y: FeatureMap) -> FeatureMap:
        """The sum of two maps."""
        return replace(x, name=self.one("Add", x.name, y.name))

    def times(self, x: FeatureMap, y: FeatureMap) -> FeatureMap:
        """The product of two maps, or of a map and a number for each channel."""
        return replace(x, name=self.one("Mul", x.name, y.name))

    def concat(self, *maps: FeatureMap) -> FeatureMap:
        """Channels of several maps, one after the other."""
        name = self.add("Concat", [each.name for each in maps], axis=1)[0]
        return replace(maps[0], name=name, channels=sum(each.channels for each in maps))

    def split(self, x: FeatureMap, *channels: int) -> list[FeatureMap]:
        """The channels of a map in parts."""
        names = self.add("Split", [x.name, self.constant(channels)], len(channels), axis=1)
        return [FeatureMap(name, each, x.size) for name, each in zip(names, channels, strict=True)]

    def reshape(self, name: str, *shape: int) -> str:
        """A tensor in another shape."""
        return self.one("Reshape", name, self.constant(shape))

    def mean(self, x: FeatureMap, *, keep: bool = True) -> FeatureMap:
        """The mean of each channel, as exporters write it in two ways."""
        if keep and self.random.random() < 0.4:
            return FeatureMap(self.one("GlobalAveragePool", x.name), x.channels, 1)
        axes = self.constant([2, 3])
        return FeatureMap(self.one("ReduceMean", x.name, axes, keepdims=int(keep)), x.channels, 1)

    def shuffle(self, x: FeatureMap, groups: int) -> FeatureMap:
        """Channels dealt out to groups."""
        each, size = x.channels // groups, x.size
        parts = self.reshape(x.name, 1, groups, each, size, size)
        turned = self.one("Transpose", parts, perm=[0, 2, 1, 3, 4])
        return replace(x, name=self.reshape(turned, 1, x.channels, size, size))

    def model(self, result: str, classes: int, size: int) -> bytes:
        """The file of the graph, from an image of `size` x `size` pixels to this result."""
        from onnx import helper, numpy_helper

        self._nodes.append(("Identity", [result], [OUTPUT], {}))
        graph = helper.make_graph(
            [
                helper.make_node(op, into, out, name=out[0], **named)
                for op, into, out, named in self._nodes
            ],
            "calibration",
            [helper.make_tensor_value_info(INPUT, FLOAT, [1, 3, size, size])],
            [helper.make_tensor_value_info(OUTPUT, FLOAT, [1, classes])],
            [numpy_helper.from_array(values, name) for name, values in self._constants],
        )
        opsets = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, ir_version=IR, opset_imports=opsets)
        return bytes(model.SerializeToString())
