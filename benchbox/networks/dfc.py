"""DFC attention of GhostNetV2 (arXiv 2211.12905), and self-attention to set beside it.

Both look at a map of half the size and return a gate in 0 to 1 for every value of the full one.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchbox.networks.layers import conv_bn

KERNELS = (3, 5, 7)
POOLS: Mapping[str, Callable[..., Tensor]] = {
    "average": functional.avg_pool2d,
    "max": functional.max_pool2d,
}
UPSAMPLINGS = ("nearest", "bilinear")
SIGMOIDS = ("before", "after")


def check(name: str, value: object, allowed: Sequence[object]) -> None:
    """Raise ValueError, naming what is allowed, for a value that is not."""
    if value not in allowed:
        *others, last = map(repr, allowed)
        raise ValueError(f"{name} is {value!r}; it must be {', '.join(others)} or {last}")


def check_resizing(pool: str, upsample: str, sigmoid: str) -> None:
    """Raise ValueError unless all three are options of HalfSize."""
    check("pool", pool, list(POOLS))
    check("upsample", upsample, UPSAMPLINGS)
    check("sigmoid", sigmoid, SIGMOIDS)


class HalfSize:
    """The frame of a gate: halve the map, attend to it, sigmoid, back to full size.

    `pool` ("average", "max") halves, `upsample` ("nearest", "bilinear") undoes it, and the sigmoid
    comes "before" the up-sampling or "after" it. An odd row or column is dropped, though never the
    only one; with `keep_odd` it is a position of its own. Raises ValueError for any other value.
    """

    def __init__(self, pool: str, upsample: str, sigmoid: str, *, keep_odd: bool = False) -> None:
        check_resizing(pool, upsample, sigmoid)
        self._keep_odd = keep_odd
        self._pool = POOLS[pool]
        self._upsample = upsample
        self._is_sigmoid_first = sigmoid == "before"

    def __call__(self, x: Tensor, attend: Callable[[Tensor], Tensor]) -> Tensor:
        """(n, c_in, h, w) -> (n, c_out, h, w), where `attend` maps (n, c_in, h / 2, w / 2)."""
        height, width = x.shape[-2:]
        window = (min(2, height), min(2, width))
        gate = attend(self._pool(x, window, ceil_mode=self._keep_odd))
        if self._is_sigmoid_first:
            gate = torch.sigmoid(gate)
        gate = functional.interpolate(gate, (height, width), mode=self._upsample)
        return gate if self._is_sigmoid_first else torch.sigmoid(gate)


class DFC(nn.Sequential):
    """Decoupled fully connected attention: along the rows, then along the columns.

    1x1 convolution to `c_out` channels, 1 x `kernel` and `kernel` x 1 depthwise, each with a batch
    norm and none with an activation, all at half size. The defaults are those of the authors'
    implementation. Raises ValueError for a kernel that is not 3, 5 or 7 and for other names of
    pooling, up-sampling and place of the sigmoid than HalfSize has.
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        kernel: int = 5,
        *,
        pool: str = "average",
        upsample: str = "nearest",
        sigmoid: str = "before",
        keep_odd: bool = False,
    ) -> None:
        check("kernel", kernel, KERNELS)
        super().__init__(
            *conv_bn(c_in, c_out),
            *conv_bn(c_out, c_out, (1, kernel), groups=c_out),
            *conv_bn(c_out, c_out, (kernel, 1), groups=c_out),
        )
        self._half_size = HalfSize(pool, upsample, sigmoid, keep_odd=keep_odd)

    def forward(self, x: Tensor) -> Tensor:
        """(n, c_in, h, w) -> the gate (n, c_out, h, w)."""
        return self._half_size(x, super().forward)


class SelfAttention(nn.Module):
    """Dot-product self-attention in DFC's place: every position against every other.

    One head; query, key and value have c_in / 4 channels each, from one 1x1 convolution, and a 1x1
    convolution leads to `c_out`; batch norms as in DFC. At half size as DFC is, for the matrix of
    h w / 4 by h w / 4 weights is what costs. Raises ValueError as HalfSize does.
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        *,
        pool: str = "average",
        upsample: str = "nearest",
        sigmoid: str = "before",
    ) -> None:
        super().__init__()
        self._inner = max(1, c_in // 4)
        self.qkv = nn.Sequential(*conv_bn(c_in, 3 * self._inner))
        self.expand = nn.Sequential(*conv_bn(self._inner, c_out))
        self._half_size = HalfSize(pool, upsample, sigmoid)

    def forward(self, x: Tensor) -> Tensor:
        """(n, c_in, h, w) -> the gate (n, c_out, h, w)."""
        return self._half_size(x, self._attend)

    def _attend(self, x: Tensor) -> Tensor:
        query, key, value = self.qkv(x).flatten(2).chunk(3, dim=1)
        scores = (query * self._inner**-0.5).transpose(1, 2) @ key
        mixed = value @ torch.softmax(scores, dim=2).transpose(1, 2)
        gate: Tensor = self.expand(mixed.unflatten(2, x.shape[-2:]))
        return gate
