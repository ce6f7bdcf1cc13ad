"""Specs (one TOML, .onnx file or builder each) and the cases they hold: what is timed."""

from benchbox.specs.comparison import NAME as COMPARE
from benchbox.specs.comparison import comparison
from benchbox.specs.dtype import QUANTISED, is_quantised, with_dtype
from benchbox.specs.find import bundled, find, is_network, split
from benchbox.specs.model import (
    BlockSpec,
    Builder,
    Case,
    Claim,
    Match,
    OnnxFile,
    Paper,
    Platform,
    Precision,
    Published,
    Scalar,
    Selection,
    TensorSpec,
    with_references,
)
from benchbox.specs.network_input import with_head, with_weights

__all__ = [
    "COMPARE",
    "QUANTISED",
    "BlockSpec",
    "Builder",
    "Case",
    "Claim",
    "Match",
    "OnnxFile",
    "Paper",
    "Platform",
    "Precision",
    "Published",
    "Scalar",
    "Selection",
    "TensorSpec",
    "bundled",
    "comparison",
    "find",
    "is_network",
    "is_quantised",
    "split",
    "with_dtype",
    "with_head",
    "with_references",
    "with_weights",
]
