"""Batch norms folded before the export: which are, which are not, and nothing else changes."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils import _pytree

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
    """A convolution and its norm as attributes; `forward` is what a test gives it."""

    def __init__(self, *, bias: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1, bias=bias)
        self.norm = nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Any:
        return self.norm(self.conv(x)).relu()


# what is folded


@pytest.mark.parametrize("bias", [True, False])
def test_a_norm_after_its_convolution_is_folded(bias: bool) -> None:
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3, bias=bias), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 4, 1, bias=bias), nn.BatchNorm2d(4),
    )  # fmt: skip
    other = fold(lived(module), torch.randn(IMAGE))
    assert sum(isinstance(each, nn.Conv2d) for each in other.modules()) == 2
    assert isinstance(fold(lived(Block(bias=bias)), torch.randn(IMAGE)).norm, nn.Identity)


def test_norms_in_deep_and_in_numbered_places_are_folded() -> None:
    inner = nn.ModuleDict({"a": nn.Sequential(Block(), Block()), "b": Block()})
    module = nn.Sequential(*inner.values(), Block())
    fold(lived(module), torch.randn(IMAGE))


@pytest.mark.parametrize(
    ("conv", "norm", "shape"),
    [
        (nn.Conv1d(3, 5, 3), nn.BatchNorm1d(5), (2, 3, 9)),
        (nn.Conv3d(3, 5, 2), nn.BatchNorm3d(5), (2, 3, 4, 4, 4)),
        (nn.Conv2d(4, 8, 3, groups=4, stride=2, dilation=2), nn.BatchNorm2d(8), (2, 4, 9, 9)),
        (nn.Conv2d(3, 5, 3, padding=1, padding_mode="reflect"), nn.BatchNorm2d(5), IMAGE),
        (nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, affine=False), IMAGE),
    ],
)
def test_convolutions_of_any_dimension_and_kind_are_folded(
    conv: nn.Module, norm: nn.Module, shape: tuple[int, ...]
) -> None:
    fold(lived(nn.Sequential(conv, norm)), torch.randn(shape))


def test_a_norm_that_is_reached_under_two_names_is_folded_under_both() -> None:
    block = Block()
    block.alias = block.norm
    other = fold(lived(block), torch.randn(IMAGE))
    assert isinstance(other.alias, nn.Identity)


def test_two_convolutions_of_one_weight_each_get_their_own() -> None:
    first, second = Block(), Block()
    second.conv.weight = first.conv.weight
    fold(lived(nn.Sequential(first, second)), torch.randn(IMAGE))


def test_several_inputs_reach_their_own_convolutions_and_outputs_may_be_nested() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right = Block(), Block()

        def forward(self, x: Tensor, y: Tensor) -> Any:
            left, right = self.left(x), self.right(y)
            return {"a": (left + right, [x, {"deep": left * 2}]), "none": None, "b": right.sum()}

    fold(lived(Two()), torch.randn(IMAGE), torch.randn(IMAGE))


# what is not


class Again(nn.Sequential):
    """Calls its first layer a second time, after the others."""

    def forward(self, x: Tensor) -> Any:
        return self[0](super().forward(x))


class Twice(Block):
    """Calls its convolution, its norm, or both twice."""

    def __init__(self, which: str) -> None:
        super().__init__()
        self.which = which

    def forward(self, x: Tensor) -> Any:
        first = self.norm(self.conv(x))
        if self.which == "conv":
            return self.conv(first)
        return self.norm(first) if self.which == "norm" else self.norm(self.conv(first))


NORM = nn.BatchNorm2d(3)
STAYING = {
    "norm first": (nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)),
    "something between": (nn.Conv2d(3, 3, 1), nn.ReLU(), nn.BatchNorm2d(3)),
    "transposed": (nn.ConvTranspose2d(3, 3, 2), nn.BatchNorm2d(3)),
    "no statistics": (nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3, track_running_stats=False)),
    **{f"{which} twice": (Twice(which),) for which in ("conv", "norm", "both")},
    "block in two places": (Again(Block(), nn.ReLU()),),
    "one norm in two places": (NORM, nn.Conv2d(3, 3, 1), NORM),
}


@pytest.mark.parametrize("name", STAYING)
def test_a_norm_stays_unless_it_alone_reads_one_call_of_one_convolution(name: str) -> None:
    fold(lived(nn.Sequential(*STAYING[name], Block())), torch.randn(IMAGE), left=1)


class Elsewhere(Block):
    def forward(self, x: Tensor) -> Any:
        made = self.conv(x)
        return self.norm(made) + made


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
            "operator": lambda: made + 1,
            "method": lambda: made.mean(),
            "index": lambda: made[0],
            "list": lambda: torch.stack([x, made]),
            "keyword": lambda: torch.relu(input=made),
            "module": lambda: self.inplace(made),
            "norm": lambda: self.other(made),
            "conv": lambda: self.conv.__class__.forward(self.conv, made),
            "aten": lambda: torch.ops.aten.relu.default(made),
            "output": lambda: made,
            "inplace": lambda: x,
            "nothing": lambda: x,
        }[self.how]()
        discrete = (extra.sum() > 1e9).long()
        return (result > 1e9).long() + discrete, 1e-30 * result.abs()


READS = (
    *("operator", "method", "index", "list", "keyword", "module"),
    *("norm", "conv", "aten", "output", "inplace"),
)


@pytest.mark.parametrize("how", READS)
def test_what_is_read_elsewhere_is_not_folded_where_no_figure_shows_it(how: str) -> None:
    check_left_alone(lived(Beside(how)), torch.randn(IMAGE))
    assert count(folded(lived(Beside("nothing")), [torch.randn(IMAGE)])) == 1


class Tiny(Elsewhere):
    def forward(self, x: Tensor) -> Any:
        return 1e-30 * super().forward(x), super().forward(x).argmax()


class Returned(Block):
    def forward(self, x: Tensor) -> Any:
        made = self.conv(x)
        return (self.norm(made) > 1e9).long(), {"made": made}


@pytest.mark.parametrize("block", [Block, Elsewhere])
def test_the_module_itself_is_never_called(block: type[Block]) -> None:
    module = lived(block())
    called: list[nn.Module] = []

    class Told(type(module)):  # type: ignore[misc]
        def forward(self, x: Tensor) -> Any:
            called.append(self)
            return super().forward(x)

    module.__class__ = Told
    folded(module, [torch.randn(IMAGE)])
    assert called
    assert not any(each is module for each in called)


class Read(Block):
    def forward(self, x: Tensor) -> Any:
        return self.norm(self.conv(x)) * self.conv.weight.sum()


class Asked(Block):
    def forward(self, x: Tensor) -> Any:
        return self.norm(self.conv(x)) * self.norm.state_dict()["running_var"].sum()


# modules that will not have it


class Uncopied(Block):
    def __deepcopy__(self, _: object) -> "Uncopied":
        raise TypeError("cannot be copied")


class Once(Block):
    """Raises when it is called a second time."""

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


class Slotted(Block):
    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, nn.Identity):
            raise TypeError("a norm, please")
        super().__setattr__(name, value)


class Keyword(Block):
    def forward(self, x: Tensor) -> Any:
        return self.norm(input=self.conv(x))


@pytest.mark.parametrize("block", [Tiny, Returned, Elsewhere, Read, Asked, Slotted, Keyword])
def test_a_module_that_cannot_be_folded_comes_back_as_it_was(block: type[Block]) -> None:
    check_left_alone(lived(block()), torch.randn(IMAGE))
    plain = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU()).eval()
    check_left_alone(plain, torch.randn(IMAGE))


class Changing(Block):
    """Adds the number of the call to its result."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: Tensor) -> Any:
        self.calls += 1
        return super().forward(x) + self.calls


class Noisy(Block):
    def forward(self, x: Tensor) -> Any:
        return super().forward(x) + torch.rand(x.shape)


@pytest.mark.parametrize("block", [Changing, Noisy, Uncopied])
def test_a_module_that_is_never_the_same_comes_back(block: type[Block]) -> None:
    module = lived(block())
    assert folded(module, [torch.randn(IMAGE)]) is module
    assert count(module) == 1


def test_results_that_are_not_finite_are_no_evidence() -> None:
    module = lived(Block())
    assert isinstance(module, Block)
    assert module.norm.running_mean is not None
    module.norm.running_mean.fill_(float("nan"))
    assert folded(module, [torch.randn(IMAGE)]) is module


def test_the_copy_is_what_an_exporter_traces() -> None:
    """No gradient, no hook and no second norm is in its way."""
    other = fold(lived(nn.Sequential(Block(), Block())), torch.randn(IMAGE))
    graph = torch.export.export(other, (torch.randn(IMAGE),)).graph
    names = [str(node.target) for node in graph.nodes]
    assert not any("batch_norm" in name for name in names)
    assert sum("conv2d" in name for name in names) == 2
