"""Placement: the provider, options and GPU that a graph is opened with."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Placement:
    """Where graphs run and how: a provider, its options, and the device that holds their tensors.

    `captured` says whether calls replay a CUDA graph, which the first call recorded. `rest` are the
    providers, with their options, of the nodes that it has no kernels for, before the processor's.
    """

    provider: str
    options: dict[str, str]
    device: str
    index: int
    captured: bool
    rest: dict[str, dict[str, str]] = field(default_factory=dict)
