"""CUDA: sessions bound to a GPU, spans on its stream, NVML and ceilings."""
