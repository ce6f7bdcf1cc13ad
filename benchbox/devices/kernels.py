"""Kernels of ONNX Runtime that a processor's instruction sets switch on, in words.

As MLAS of version 1.31 chooses them, and as the wheels on PyPI are built: those for ARM have
KleidiAI, and no convolutions in blocks of channels.
"""

from collections.abc import Iterator, Sequence

from benchbox.devices.claims import ARM_MACHINES, X86_MACHINES

SETS = {
    "arm": ("dotprod", "fp16", "i8mm", "bf16", "sve", "sme"),
    "x86": ("avx2", "avx512", "avx_vnni", "avx512_vnni", "amx_int8", "amx_bf16"),
}
INT8 = {  # the first that there is
    "i8mm": "8-bit matrix products (i8mm)",
    "dotprod": "dot products (dotprod)",
    "amx_int8": "AMX",
    "avx512_vnni": "AVX-512 VNNI",
    "avx_vnni": "AVX-VNNI",
    "avx512": "AVX-512",
    "avx2": "AVX2",
}


def rows(found: Sequence[str] | None, machine: str) -> list[tuple[str, str]]:
    """The instruction sets of a processor and its kernels, as lines of a table."""
    is_arm = machine.lower() in ARM_MACHINES
    if found is None or not (is_arm or machine.lower() in X86_MACHINES):
        return []
    lacking = [name for name in SETS["arm" if is_arm else "x86"] if name not in found]
    parts = [", ".join(found) or "none of note", *(["no " + ", ".join(lacking)] if lacking else [])]
    words = _arm(found) if is_arm else _x86(found)
    return [("instructions", "; ".join(parts)), *(("kernels", each) for each in words)]


def _arm(found: Sequence[str]) -> Iterator[str]:
    sme = "sme" in found
    yield f"float32 by {'KleidiAI (SME)' if sme else 'NEON'}, not in blocks of channels (NCHWc)"
    yield f"int8 by {_int8(found, 'NEON without dot products')}"
    yield f"float16 {'by NEON' if 'fp16' in found else 'converted to float32'}"
    if "dotprod" in found and not sme:
        yield "KleidiAI for 4-bit weights alone"
    if "bf16" in found:
        yield "bf16 unused, as results would differ"


def _x86(found: Sequence[str]) -> Iterator[str]:
    wide = "avx512" in found
    by = "AVX-512" if wide else "AVX2" if "avx2" in found else "SSE or AVX"
    yield f"float32 by {by} in blocks of {16 if wide else 8} channels (NCHWc)"
    yield f"int8 by {_int8(found, 'SSE')}"
    if "amx_bf16" in found:
        yield "bfloat16 of AMX used by OpenVINO, not by ONNX Runtime's own kernels"


def _int8(found: Sequence[str], otherwise: str) -> str:
    return next((words for name, words in INT8.items() if name in found), otherwise)
