"""Origins of the nodes that ran: nodes of the file, found by the names that ONNX Runtime gives."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchbox.analysis.operators import Category, Operation, kind

INSERTED = "InsertedPrecisionFreeCast_"  # begins the names of casts, before that of a result
BLOCKED = "_nchwc"  # ends the names of what computes in blocks of channels, after that of a result
FUSED = ("convolution", "matmul")  # kinds that take in the element-wise operators after them


@dataclass(frozen=True, slots=True)
class FileNode:
    """One node of a file, of the module at a path where nodes carry one, and its costs on paper.

    Costs are None where they are not known. `reads` and `makes` name its tensors, no constants.
    """

    name: str
    operation: Operation
    category: Category
    module: str | None = None
    macs: int | None = None
    memory_access_bytes: int | None = None
    reads: Sequence[str] = ()
    makes: Sequence[str] = ()


class Origins:
    """The nodes of a file, each of which has a name of its own."""

    def __init__(self, nodes: Sequence[FileNode]) -> None:
        self._named = {node.name: node for node in nodes}
        self._makers = {result: node for node in nodes for result in node.makes}

    def find(self, name: str, operation: Operation) -> FileNode | None:
        """The node that gave its name to one that ran; of a fused one, that of the same kind."""
        found = self._namesake(name, operation)
        return self._fused(found, kind(operation)) if found else None

    def _namesake(self, name: str, operation: Operation) -> FileNode | None:
        """The node whose name, or whose result's name, the name is or begins with."""
        if name.startswith(f"{operation.type}_token_"):  # of what ONNX Runtime adds of its own
            return None
        places = [self._named, self._makers]
        if name.endswith(BLOCKED):
            places.reverse()
        name = name.removeprefix(INSERTED)
        for end in range(len(name), 0, -1):
            for place in places:
                if name[:end] in place and not name[end : end + 1].isalnum():
                    return place[name[:end]]
        return None

    def _fused(self, node: FileNode, wanted: Category) -> FileNode:
        """The nearest node of that kind before a chain of element-wise ones, or the node itself."""
        chain = [node]
        for each in chain:
            if wanted not in FUSED or kind(each.operation) == wanted:
                return each
            if kind(each.operation) == "element-wise":
                makers = (self._makers[name] for name in each.reads if name in self._makers)
                chain += [maker for maker in makers if maker not in chain]
        return node


def modules(found: Sequence[FileNode | None], names: Sequence[str]) -> list[str | None]:
    """The module of each node that ran; one that ONNX Runtime added is with its neighbour.

    That is the node before it, or after one like `ReorderInput` or `gemm_input_reshape`.
    """
    own = [None if node is None else node.module for node in found]
    before, after = _filled(own), _filled(own[::-1])[::-1]
    neighbours = [
        (later, earlier) if "input" in name.lower() else (earlier, later)
        for name, earlier, later in zip(names, before, after, strict=True)
    ]
    return [first if first is not None else second for first, second in neighbours]


def _filled(modules: Sequence[str | None]) -> list[str | None]:
    """The modules, with the one before where there is none."""
    filled: list[str | None] = []
    for module in modules:
        filled.append(filled[-1] if module is None and filled else module)
    return filled
