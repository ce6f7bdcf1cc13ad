"""Errors of a GPU that the agent tells apart: lost for this process, or full."""

from benchbox.agent.stdio import Refusal


class GpuLostError(RuntimeError):
    """The GPU cannot be used by this process any more."""


class GpuFullError(RuntimeError, Refusal):
    """The GPU's memory is full; with less loaded there, a graph may fit."""
