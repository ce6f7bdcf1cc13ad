"""Exports of cases: the one ONNX file that every device times, verified, counted and cached."""

from benchbox.export.cache import versions
from benchbox.export.graph import Graph
from benchbox.export.modules import recipe
from benchbox.export.prepare import prepare

__all__ = ["Graph", "prepare", "recipe", "versions"]
