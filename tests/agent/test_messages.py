"""Messages of ONNX Runtime as a user reads them."""

import pytest

from benchbox.agent import stdio
from benchbox.agent.ort import messages

HELPER = (
    "void onnxruntime::utils::ValidateOpset(const std::unordered_map<std::basic_string<char>, int>&"
    ", const std::function<void(int)>&, bool) const [with T = float] "
)


@pytest.mark.parametrize(
    "place",
    [
        "initializer.cc:51 onnxruntime::Initializer::Initializer(const onnx::Proto&, std::path&) ",
        "/onnxruntime_src/onnxruntime/core/math/ops.h:523 void onnxruntime::B::Init(ptrdiff_t) ",
        "[ONNXRuntimeError] : 1 : FAIL : tensorprotoutils.cc:633 GetExternalDataInfo ",
        f"/onnxruntime_src/core/graph/model.h:46 {HELPER}",
    ],
)
def test_a_message_names_no_source_of_onnx_runtime(place: str) -> None:
    text = f"{place}\x1b[96mw: size\x1b[0m\n mismatch: 16"
    assert messages.plain(text) == "w: size mismatch: 16"
    opened = messages.plain(f"Load model from /tmp/a/m.onnx failed:{text}")
    assert opened == "m.onnx: w: size mismatch: 16"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "ONNX Runtime only *guarantees* ... Opset 99 is under development and support for this "
            "is limited. ... Current official support for domain ai.onnx is till opset 26.",
            "its opset 99 is newer than this ONNX Runtime knows, which is 26 at most; export it "
            "with opset 26, or take a newer ONNX Runtime",
        ),
        (
            "Unsupported model IR version: 99, max supported IR version: 13",
            "its IR version 99 is newer than this ONNX Runtime reads, which is 13 at most; save it "
            "with ir_version = 13, or take a newer ONNX Runtime",
        ),
        (
            "Non-zero status code returned while running Gather node. Name:'/emb' Status Message: "
            "indices element out of data bounds, idx=9 must be within [-4,3]",
            "Gather /emb: indices element out of data bounds, idx=9 must be within [-4,3]; give "
            "values that fit with --input NAME=FILE.npy",
        ),
    ],
)
def test_a_message_says_what_to_do(text: str, said: str) -> None:
    assert messages.plain(text) == said
    error = RuntimeError(f"[ONNXRuntimeError] : 1 : FAIL : {text}")
    assert stdio.sentence(error) == said
    assert stdio.sentence(RuntimeError(text)) == f"RuntimeError: {said}"
