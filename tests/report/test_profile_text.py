"""Sentences and footnotes of a profile."""

from benchbox.analysis.operators import Operation
from benchbox.analysis.profile import PaperCosts, estimate
from benchbox.report import profile_text
from benchbox.report.profile import shape, share
from tests.helpers.profiled import estimated, node, reply

IMAGE = (1, 8, 6, 6)


def test_the_sentence_sets_time_beside_flops() -> None:
    costs: PaperCosts = {"convolution": (900, 1), "depthwise": (100, 1), "element-wise": (0, 1)}
    found = estimated(
        node("a", "Conv", [62] * 8),
        {**node("b", "Conv", [22] * 8), "inputs": [IMAGE, (8, 1, 3, 3)]},
        node("c", "Add", [22] * 8),
        costs=costs,
    )
    first, second = profile_text.sentences(found)
    assert first == (
        "Convolutions have 90% of the FLOPs and take 60% of the time, depthwise ones 10% and 20%; "
        "what has no FLOPs takes 20% (element-wise 20%)."
    )
    assert second == (
        "ONNX Runtime runs 3 nodes for the file's 9; fusion and layout optimisation remove 50% of "
        "the time: 1.00 ms with them, 2.00 ms without, the profiler off."
    )


def test_without_flops_the_sentence_says_where_the_time_goes() -> None:
    found = estimated(node("a", "Conv", [32] * 8), node("b", "Gemm", [12] * 8))
    assert profile_text.sentences(found)[0] == ("The time goes to convolution 75% and other 25%.")
    assert "other is Gemm 25%" in profile_text.notes(found)


def test_optimisation_that_costs_time_is_said_to() -> None:
    found = estimated(node("a", "Conv", [32] * 8), unoptimised=0.5)
    assert "add 50% of the time: 1.00 ms with them, 0.500 ms" in profile_text.sentences(found)[1]
    assert any("makes it slower" in note for note in profile_text.notes(found))


def test_a_graph_that_does_not_run_unoptimised_says_why() -> None:
    answer = reply(node("a", "Conv", [32] * 8))
    del answer["latencies_ns"]["unoptimised"]
    found = estimate({**answer, "unoptimised_error": "Fail: no kernel"}, 1, {})
    _, second = profile_text.sentences(found)
    assert second.endswith("without optimisation it does not: Fail: no kernel.")


def test_notes_tell_of_layout_and_of_a_disturbed_machine() -> None:
    answer = reply(node("a", "Conv", [32] * 8), node("b", "ReorderOutput", [12] * 8))
    answer["latencies_ns"]["default"] = [1_000_000] * 4 + [3_000_000] * 16
    found = estimate(answer, 1, {})
    alone = " ".join(profile_text.notes(found))
    assert "layout takes 25% of the time" in alone
    assert "disturbed" in alone
    calm = estimated(node("a", "Conv", [32] * 8))
    both = profile_text.notes_of_many([("p", found), ("q", calm)])
    assert any(note.startswith("layout is ReorderInput") for note in both)
    assert any(note.startswith("p: the machine is disturbed") for note in both)
    assert profile_text.notes_of_many([]) == []


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
