"""Exports of cases: the one ONNX file that every device times, verified, counted and cached."""

from benchbox.export.cache import is_copy, require_unchanged, versions
from benchbox.export.graph import Graph
from benchbox.export.modules import recipe
from benchbox.export.prepare import prepare

__all__ = ["Graph", "is_copy", "prepare", "recipe", "require_unchanged", "versions"]
