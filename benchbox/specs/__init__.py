"""Specs (one TOML, .onnx file or builder each) and the cases they hold: what is timed."""

from benchbox.specs.comparison import NAME as COMPARE
from benchbox.specs.comparison import beside, comparison, timed_alone
from benchbox.specs.dtype import QUANTISED, is_quantised, with_dtype
from benchbox.specs.find import bundled, find, find_all, is_file, is_network, split
from benchbox.specs.model import (
    PRECISIONS,
    BlockSpec,
    Builder,
    Case,
    Checkout,
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
    Values,
    unfolded,
    with_references,
)
from benchbox.specs.network_input import with_head, with_weights
from benchbox.specs.shapes import shape
from benchbox.specs.values import parse as parse_values
from benchbox.specs.values import with_values

__all__ = [
    "COMPARE",
    "PRECISIONS",
    "QUANTISED",
    "BlockSpec",
    "Builder",
    "Case",
    "Checkout",
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
    "Values",
    "beside",
    "bundled",
    "comparison",
    "find",
    "find_all",
    "is_file",
    "is_network",
    "is_quantised",
    "parse_values",
    "shape",
    "split",
    "timed_alone",
    "unfolded",
    "with_dtype",
    "with_head",
    "with_references",
    "with_values",
    "with_weights",
]
