"""Placement: the provider, options and GPU that a graph is opened with."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Placement:
    """A provider with its options, and the device that holds the tensors of its graphs.

    `captured` if calls replay a CUDA graph, which the first call recorded. `rest` are the
    providers, with their options, of the nodes that it has no kernels for, before the processor's.
    """

    provider: str
    options: dict[str, str]
    device: str
    index: int
    captured: bool
    rest: dict[str, dict[str, str]] = field(default_factory=dict)
