"""What to time: specs (one TOML, .onnx file or builder each) and the cases they hold."""

from benchbox.specs.find import bundled, find, split
from benchbox.specs.model import (
    BlockSpec,
    Builder,
    Case,
    Claim,
    Match,
    OnnxFile,
    Platform,
    Published,
    Scalar,
    Selection,
    TensorSpec,
    with_references,
)

__all__ = [
    "BlockSpec",
    "Builder",
    "Case",
    "Claim",
    "Match",
    "OnnxFile",
    "Platform",
    "Published",
    "Scalar",
    "Selection",
    "TensorSpec",
    "bundled",
    "find",
    "split",
    "with_references",
]
