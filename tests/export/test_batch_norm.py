"""Batch norms folded before the export: which are, which are not, and nothing else changes."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils import _pytree

from benchbox import networks
from benchbox.export.batch_norm import folded

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
IMAGE = (2, 3, 8, 8)


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def lived(module: nn.Module) -> nn.Module:
    """Give batch norms statistics and weights as training leaves them, so that each matters."""
    for each in module.modules():
        if isinstance(each, NORMS):
            if each.running_mean is not None and each.running_var is not None:
                nn.init.uniform_(each.running_mean, -2, 2)
                nn.init.uniform_(each.running_var, 0.3, 3)
            if each.affine:
                nn.init.uniform_(each.weight, 0.5, 2)
                nn.init.uniform_(each.bias, -1, 1)
    return module.eval()


def count(module: nn.Module) -> int:
    return sum(isinstance(each, NORMS) for each in module.modules())


def outputs(module: nn.Module, *inputs: Tensor) -> Any:
    with torch.no_grad():
        return module(*inputs)


def check_equal(ours: object, theirs: object) -> None:
    """The same nesting, and in it the same figures."""
    (one, shape), (other, wanted) = (_pytree.tree_flatten(each) for each in (ours, theirs))
    assert shape == wanted
    for left, right in zip(one, other, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-5)


def fold(module: nn.Module, *inputs: Tensor, left: int = 0) -> nn.Module:
    """Fold a module; check that so many norms are left, and that nothing else has changed."""
    before = copy.deepcopy(module)
    wanted = outputs(before, *inputs)
    other = folded(module, inputs)
    assert other is not module
    assert count(other) == left
    check_equal(outputs(other, *inputs), wanted)
    more = [torch.randn_like(each) for each in inputs]
    check_equal(outputs(other, *more), outputs(before, *more))
    check_untouched(module, before)
    assert not any(each._forward_hooks for each in other.modules())
    return other


def check_untouched(module: nn.Module, before: nn.Module) -> None:
    assert [type(each) for each in module.modules()] == [type(each) for each in before.modules()]
    now, then = module.state_dict(), before.state_dict()
    assert list(now) == list(then)
    for name, tensor in then.items():
        assert torch.equal(now[name], tensor), name
    assert not any(each._forward_hooks for each in module.modules())
    assert not module.training


def check_left_alone(module: nn.Module, *inputs: Tensor) -> None:
    before = copy.deepcopy(module)
    assert folded(module, inputs) is module
    check_untouched(module, before)


class Block(nn.Module):
    """A convolution and its norm as attributes; `call` is its forward method."""

    def __init__(self, call: Any = None, *, bias: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1, bias=bias)
        self.norm = nn.BatchNorm2d(3)
        self.call = call

    def forward(self, x: Tensor) -> Any:
        return self.call(self, x) if self.call else self.norm(self.conv(x)).relu()


# what is folded


def in_places() -> nn.Module:
    inner = nn.ModuleDict({"a": nn.Sequential(Block(), Block()), "b": Block()})
    return nn.Sequential(*inner.values(), Block())


def of_one_weight() -> nn.Module:
    first, second = Block(), Block()
    second.conv.weight = first.conv.weight
    return nn.Sequential(first, second)


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (nn.Sequential(*Block().children(), nn.ReLU(), *Block(bias=True).children()), IMAGE),
        (nn.Sequential(nn.Conv1d(3, 5, 3), nn.BatchNorm1d(5)), (2, 3, 9)),
        (nn.Sequential(nn.Conv3d(3, 5, 2), nn.BatchNorm3d(5)), (2, 3, 4, 4, 4)),
        (nn.Sequential(nn.Conv2d(3, 6, 3, groups=3, stride=2), nn.BatchNorm2d(6)), IMAGE),
        (nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, affine=False)), IMAGE),
        (in_places(), IMAGE),
        (of_one_weight(), IMAGE),
    ],
)
def test_a_norm_after_its_convolution_is_folded(module: nn.Module, shape: tuple[int, ...]) -> None:
    fold(lived(module), torch.randn(shape))


def test_a_norm_that_is_reached_under_two_names_is_folded_under_both() -> None:
    block = Block()
    block.alias = block.norm
    other = fold(lived(block), torch.randn(IMAGE))
    assert isinstance(other.alias, nn.Identity)


# what is not


NORM, AGAIN = nn.BatchNorm2d(3), Block()
STAYING = {
    "norm first": (nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)),
    "something between": (nn.Conv2d(3, 3, 1), nn.ReLU(), nn.BatchNorm2d(3)),
    "transposed": (nn.ConvTranspose2d(3, 3, 2), nn.BatchNorm2d(3)),
    "no statistics": (nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3, track_running_stats=False)),
    "conv twice": (Block(lambda b, x: b.conv(b.norm(b.conv(x)))),),
    "norm twice": (Block(lambda b, x: b.norm(b.norm(b.conv(x)))),),
    "block in two places": (AGAIN, nn.ReLU(), AGAIN),
    "one norm in two places": (NORM, nn.Conv2d(3, 3, 1), NORM),
}


@pytest.mark.parametrize("name", STAYING)
def test_a_norm_stays_unless_it_alone_reads_one_call_of_one_convolution(name: str) -> None:
    fold(lived(nn.Sequential(*STAYING[name], Block())), torch.randn(IMAGE), left=1)


class Beside(Block):
    """Reads what the convolution made in one more way; none of it shows in the figures."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.inplace = nn.ReLU(inplace=True)
        self.other = nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Any:
        made = self.conv(x)
        made = self.inplace(made) if self.how == "inplace" else made
        result = self.norm(made)
        extra = {
            "method": lambda: made.mean(),
            "list": lambda: torch.stack([x, made]),
            "keyword": lambda: torch.relu(input=made),
            "norm": lambda: self.other(made),
            "aten": lambda: torch.ops.aten.relu.default(made),
            "inplace": lambda: x,
            "nothing": lambda: x,
        }[self.how]()
        discrete = (extra.sum() > 1e9).long()
        return (result > 1e9).long() + discrete, 1e-30 * result.abs()


@pytest.mark.parametrize("how", ["method", "list", "keyword", "norm", "aten", "inplace"])
def test_what_is_read_elsewhere_is_not_folded_where_no_figure_shows_it(how: str) -> None:
    check_left_alone(lived(Beside(how)), torch.randn(IMAGE))
    assert count(folded(lived(Beside("nothing")), [torch.randn(IMAGE)])) == 1


@pytest.mark.parametrize("name", ["yolov10n", "yolo11n"])
def test_detectors_with_random_weights_are_folded_whatever_they_choose(name: str) -> None:
    assert count(folded(networks.create(name), [torch.randn(1, 3, 256, 320)])) == 0


def test_the_module_itself_is_never_called() -> None:
    called: list[nn.Module] = []
    module = lived(Block(lambda b, x: called.append(b) or b.norm(b.conv(x))))
    assert folded(module, [torch.randn(IMAGE)]) is not module
    assert called
    assert not any(each is module for each in called)


# modules that will not have it


class Uncopied(Block):
    def __deepcopy__(self, _: object) -> "Uncopied":
        raise TypeError("cannot be copied")


class Once(Block):
    """Raises when it is called more often."""

    def __init__(self, calls: int = 1) -> None:
        super().__init__()
        self.left = calls

    def forward(self, x: Tensor) -> Any:
        if not self.left:
            raise RuntimeError("called again")
        self.left -= 1
        return super().forward(x)


@pytest.mark.parametrize("calls", [0, 1])
def test_a_module_that_raises_when_it_is_called_again_comes_back_uncalled(calls: int) -> None:
    module = lived(Once(calls))
    assert folded(module, [torch.randn(IMAGE)]) is module
    assert isinstance(module, Once)
    assert module.left == calls


def returned(block: Any, x: Tensor) -> Any:
    made = block.conv(x)
    return (block.norm(made) > 1e9).long(), {"made": made}


@pytest.mark.parametrize(
    "module",
    [
        Block(returned),
        Block(lambda b, x: b.norm(made := b.conv(x)) + made),
        Block(lambda b, x: b.norm(b.conv(x)) * b.conv.weight.sum()),
        Block(lambda b, x: b.norm(b.conv(x)) * b.norm.state_dict()["running_var"].sum()),
        Block(lambda b, x: b.norm(input=b.conv(x))),
        Block(lambda b, x: b.norm(b.conv(x)) + torch.rand(x.shape)),
        nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU()),
    ],
)
def test_a_module_that_cannot_be_folded_comes_back_as_it_was(module: nn.Module) -> None:
    check_left_alone(lived(module), torch.randn(IMAGE))


@pytest.mark.parametrize("block", [Block, Uncopied])
def test_what_is_not_finite_or_cannot_be_copied_comes_back(block: type[Block]) -> None:
    module = lived(block())
    assert isinstance(module, Block)
    assert module.norm.running_mean is not None
    if block is Block:
        module.norm.running_mean.fill_(float("nan"))
    assert folded(module, [torch.randn(IMAGE)]) is module
