"""Names of nodes: the path of the module that each is from, and its operator."""

import ast
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain, count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx
    import onnx_ir

SCOPES = "pkg.torch.onnx.name_scopes"  # torch's exporter lists the modules around a node, and it
AGAIN = re.compile(r"@\d+")  # after a module that is called a second time


def assign(model: "onnx_ir.Model") -> None:
    """Name each node as `backbone.blocks.4/Conv`, and its results so as well.

    ONNX Runtime names a node that it makes after one that it replaces, or after what that gave. A
    node that a rewrite has put there is of the module before it.
    """
    import onnx_ir

    inputs = {value.name for value in model.graph.inputs}
    counts: Counter[str] = Counter()
    module = ""
    for node in onnx_ir.traversal.RecursiveGraphIterator(model.graph):
        own = _of_weights(node) or _of_scopes(node.metadata_props.get(SCOPES, ""))
        module = module if own is None else own
        base = f"{module}/{node.op_type}"
        name = f"{base}_{counts[base]}" if counts[base] else base
        counts[base] += 1
        node.name = name
        for index, value in enumerate(node.outputs):
            result = f"{name}:{index}" if index else name
            if not value.is_graph_output() and result not in inputs:
                value.name = result


def complete(model: "onnx.ModelProto") -> bool:
    """Give each node of a graph a name of its own; return whether some had none."""
    taken: Counter[str] = Counter(node.name for node in _nodes(model.graph.node))
    changed = False
    for index, node in enumerate(_nodes(model.graph.node)):
        if not node.name or taken[node.name] > 1:
            taken[node.name] -= 1
            stem = f"{node.name or node.op_type}_{index}"
            names = chain([stem], (f"{stem}_{number}" for number in count(1)))
            node.name = next(name for name in names if not taken[name])
            taken[node.name] += 1
            changed = True
    return changed


def modules(model: "onnx.ModelProto") -> dict[str, str]:
    """The module of each node by its name, which is its own; empty if nothing names modules.

    A node without one is of the module before it.
    """
    nodes = [node for node in _nodes(model.graph.node) if node.op_type != "Constant"]
    own = [_of_node(node) for node in nodes]
    if not any(own):
        return {}
    found, module = {}, next(each for each in own if each is not None)
    for node, each in zip(nodes, own, strict=True):
        module = module if each is None else each
        found[node.name] = module
    return found


def given(model: "onnx.ModelProto", module: str) -> list[str]:
    """The results of other nodes that those of a module, as `assign` names them, read."""
    nodes = model.graph.node
    own = [node for node in nodes if node.name.startswith(f"{module}/")]
    others = {name for node in nodes if node not in own for name in node.output}
    return list(dict.fromkeys(name for node in own for name in node.input if name in others))


def _of_node(node: "onnx.NodeProto") -> str | None:
    scopes = next((each.value for each in node.metadata_props if each.key == SCOPES), "")
    module = _of_scopes(scopes)
    return _of_name(node.name, node.op_type) if module is None else module


def _of_weights(node: "onnx_ir.Node") -> str:
    """The module of a convolution's weights; of one that took in a norm, scopes name the norm."""
    names = [value.name or "" for value in node.inputs if value is not None]
    is_own = node.op_type.startswith("Conv") and len(names) > 1 and names[1].endswith(".weight")
    return names[1].removesuffix(".weight") if is_own else ""


def _of_scopes(text: str) -> str | None:
    """The module of `['', 'features', 'features.0', 'conv2d']`: the last but one."""
    try:
        *modules, _ = ast.literal_eval(text)
        return AGAIN.sub("", modules[-1])
    except (ValueError, SyntaxError, TypeError, IndexError):  # none, or somebody else's
        return None


def _of_name(name: str, operator: str) -> str | None:
    """The module of `/layers/layers.0/conv/Conv` or `layers.0.conv.Conv_1`: `layers.0.conv`."""
    *parts, last = name.removeprefix("/").split("/")
    if "/" not in name:
        *parts, last = name.split(".")
        if parts and operator.lower() not in last.lower():
            parts.append(last)
        return ".".join(parts) or None
    path: list[str] = []
    for part in parts:
        if path and part.startswith(f"{path[-1]}."):
            path.pop()
        path.append(part)
    return ".".join(path)


def _nodes(nodes: "Iterable[onnx.NodeProto]") -> "Iterator[onnx.NodeProto]":
    """Every node, those of bodies after the one that holds them."""
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for body in chain([attribute.g], attribute.graphs):
                yield from _nodes(body.node)
