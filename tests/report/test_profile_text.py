"""Sentences and footnotes of a profile."""

from benchbox.analysis.operators import Operation
from benchbox.analysis.origins import FileNode
from benchbox.analysis.parts import By, split
from benchbox.analysis.profile import Profile, estimate
from benchbox.report import profile_text
from benchbox.report.profile import shape, share
from tests.helpers.profiled import Costs, estimated, node, reply

IMAGE = (1, 8, 6, 6)


def sentences(profile: Profile, by: By = "category") -> list[str]:
    return profile_text.sentences(profile, split(profile, by), by)


def notes(profile: Profile, by: By = "category") -> str:
    return "; ".join(profile_text.notes(profile, by))


def test_the_sentence_sets_time_beside_flops() -> None:
    costs: Costs = {"convolution": (900, 1), "depthwise": (100, 1), "element-wise": (0, 1)}
    found = estimated(
        node("a", "Conv", [62] * 8),
        {**node("b", "Conv", [22] * 8), "inputs": [IMAGE, (8, 1, 3, 3)]},
        node("c", "Add", [22] * 8),
        costs=costs,
    )
    first, second = sentences(found)
    assert first == (
        "Convolutions have 90% of the FLOPs and take 60% of the time, depthwise ones 10% and 20%; "
        "what has no FLOPs takes 20% (element-wise 20%)."
    )
    assert second == (
        "ONNX Runtime runs 3 nodes for the file's 9; optimisation removes 50% of the time: "
        "1.00 ms with it, 2.00 ms without, the profiler off."
    )


def test_without_flops_the_sentence_says_where_the_time_goes() -> None:
    found = estimated(node("a", "Conv", [32] * 8), node("b", "Softmax", [12] * 8))
    assert sentences(found)[0] == ("The time goes to convolution 75% and other 25%.")
    assert "other is Softmax 25%" in notes(found)


def test_optimisation_that_costs_time_is_said_to() -> None:
    found = estimated(node("a", "Conv", [32] * 8), unoptimised=0.5)
    assert "optimisation adds 50% of the time: 1.00 ms with it, 0.500 ms" in sentences(found)[1]
    assert "makes it slower: by what, its nodes do not show" in notes(found)


def test_blocks_are_blamed_only_where_the_nodes_show_them() -> None:
    wide = {"outputs": [(1, 24, 6, 6)]}
    file = [FileNode("c", Operation("Conv", (), wide["outputs"]), "convolution", makes=["co"])]
    padded = {**node("co_nchwc", "Conv", [32] * 8), "outputs": [(1, 32, 6, 6)]}
    reorder = node("ReorderInput", "ReorderInput", [12] * 8)
    for nodes, cause in (
        ([padded], "channels that are no multiple of a block are padded"),
        ([{**padded, **wide}, reorder], "some convolutions are left between two layouts"),
        ([{**padded, **wide}], "by what, its nodes do not show"),
    ):
        found = estimated(*nodes, file=file, unoptimised=0.5)
        assert notes(found).endswith(f"makes it slower: {cause}")


def test_a_graph_that_does_not_run_unoptimised_says_why() -> None:
    answer = reply(node("a", "Conv", [32] * 8))
    del answer["latencies_ns"]["unoptimised"]
    found = estimate({**answer, "unoptimised_error": "Fail: no kernel"}, 1)
    _, second = sentences(found)
    assert second.endswith("without optimisation it does not: Fail: no kernel.")


def test_notes_tell_of_layout_and_of_a_disturbed_machine() -> None:
    answer = reply(node("a", "Conv", [32] * 8), node("b", "ReorderOutput", [12] * 8))
    answer["latencies_ns"]["default"] = [1_000_000] * 4 + [3_000_000] * 16
    found = estimate(answer, 1)
    alone = notes(found)
    assert "layout takes 25% of the time" in alone
    assert "disturbed" in alone
    calm = estimated(node("a", "Conv", [32] * 8))
    both = profile_text.notes_of_many([("p", found), ("q", calm)], "category")
    assert any(note.startswith("layout is ReorderInput") for note in both)
    assert any(note.startswith("p: the machine is disturbed") for note in both)
    assert profile_text.notes_of_many([], "category") == []


def test_shapes_and_shares_are_short() -> None:
    conv = Operation("Conv", [IMAGE, (16, 8, 3, 3)], [(1, 16, 6, 6)])
    found = estimated(
        {**node("a", "Conv", [9] * 8), "inputs": conv.inputs, "outputs": conv.outputs}
    )
    assert shape(found.nodes[0]) == "1x8x6x6 -> 1x16x6x6, 3x3"
    assert shape(estimated(node("a", "Add", [9] * 8)).nodes[0]) == "-"
    assert [share(each) for each in (None, 0.0, 0.004, 0.005, 0.126, 1.0)] == [
        *("-", "0%", "<1%", "0%", "13%", "100%"),
    ]


def test_modules_and_types_are_said_by_their_share_of_the_time() -> None:
    nodes = [node(name, "Conv", [12] * 8) for name in ("a/x", "a/y", "/z")]
    file = [
        FileNode(name, Operation("Conv"), "convolution", module, 1, 1)
        for name, module in (("a/x", "a"), ("a/y", "a"), ("/z", ""))
    ]
    found = estimated(*nodes, node("ReorderInput", "ReorderInput", [12] * 8), file=file)
    assert sentences(found, "module")[0] == "The time goes to a 50% and (top level) 50%."
    added = "what ONNX Runtime names anew, with 25% of the time, counts with the module next to it"
    assert f"{added}: ReorderInput" in notes(found, "module")
    assert sentences(found, "type")[0] == "The time goes to Conv 75% and ReorderInput 25%."
    assert "FLOPs" not in notes(found, "type")


def test_a_profiler_that_takes_longer_than_the_graph_is_warned_of() -> None:
    file = [FileNode("a", Operation("Conv"), "convolution", "", 1, 1)]
    nodes = node("a", "Conv", [32] * 8), node("b", "Cast", [9] * 8)
    found = estimated(*nodes, file=file, profiled=4)
    first, _ = sentences(found)
    assert first.startswith("The profiler makes a call 4.00x as long, too much to tell where")
    assert "%" not in first + notes(found)
    many = profile_text.notes_of_many([("p", found)], "category")
    assert "profiler makes" not in " ".join(many)


def test_a_quantised_graph_has_its_integer_kernels_counted() -> None:
    kinds = "QLinearConv", "Conv", "MatMulInteger"
    nodes = [node(kind, kind, [32] * 8) for kind in kinds]
    found = notes(estimated(*nodes, node("q", "QuantizeLinear", [12] * 8)))
    assert "2 of 3 convolutions and matrix products compute in integers; quantising" in found
    assert "which are element-wise, take 10% of the time" in found
