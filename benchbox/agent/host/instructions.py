"""Instruction sets of the processors by which ONNX Runtime chooses its kernels."""

from collections.abc import Mapping, Sequence

# By the flags of /proc/cpuinfo, all of which one needs; the best of its kind comes last.
ARM: Mapping[str, Sequence[str]] = {
    "dotprod": ("asimddp",),
    "fp16": ("asimdhp",),
    "i8mm": ("i8mm",),
    "bf16": ("bf16",),
    "sve": ("sve",),
    "sme": ("sme",),
}
X86: Mapping[str, Sequence[str]] = {
    "avx2": ("avx2", "fma"),
    "avx512": ("avx512f", "avx512bw", "avx512dq", "avx512vl"),
    "avx_vnni": ("avx_vnni",),
    "avx512_vnni": ("avx512_vnni",),
    "amx_int8": ("amx_tile", "amx_int8"),
    "amx_bf16": ("amx_tile", "amx_bf16"),
}


def read(cpuinfo: Mapping[str, str]) -> list[str] | None:
    """Those that there are, from the first fields of /proc/cpuinfo; None where it lists none."""
    features, flags = cpuinfo.get("Features"), cpuinfo.get("flags")
    if features is None and flags is None:
        return None
    known, there = (ARM, features) if features is not None else (X86, flags or "")
    has = set(there.split())
    return [name for name, needed in known.items() if has.issuperset(needed)]
