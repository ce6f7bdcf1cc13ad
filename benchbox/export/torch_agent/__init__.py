"""The program that times PyTorch itself, beside ONNX Runtime: the same weights and input.

It speaks the agent's protocol (benchbox.agent) with these fields more:

    hello: "provider": torch | torch-compile | torch-cudagraph
    load:  "module": what benchbox.export.modules builds, as benchbox.export.recipe returns it

What is timed is the nn.Module in eval mode under inference_mode, in torch's default memory layout,
with its batch norms as they are, on a GPU without TF32 and with cuDNN's algorithms as ONNX Runtime
has them chosen: all of them tried in the first calls, or by heuristics; `torch-compile` is
torch.compile with its defaults, for fixed shapes and as one graph; `torch-cudagraph` replays one
captured CUDA graph. On a GPU the loop, the probes and what watches it are those of
benchbox.agent.gpu.device; of its "driving" only the cache and the choice of algorithms are heard.
A module is timed only if its output equals ONNX Runtime's of the graph at "path", which another
process runs. "load_s" is what building the module, moving it and compiling or capturing it take; a
module that was compiled before comes from the compiler's cache.
"""
