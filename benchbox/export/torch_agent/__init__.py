"""PyTorch agent: times the nn.Module itself with the weights and input of the ONNX graph.

It speaks the agent's protocol (benchbox.agent) with these fields more:

    hello: "provider": torch | torch-compile | torch-cudagraph
    load:  "module": what benchbox.export.modules builds, as benchbox.export.recipe returns it

What is timed is the nn.Module in eval mode under inference_mode, in torch's default memory layout,
with its batch norms as they are, on a GPU without TF32 and with cuDNN's algorithms as ONNX Runtime
has them chosen: all of them tried in the first calls, or by heuristics; `torch-compile` is
torch.compile with its defaults, for fixed shapes and as one graph; `torch-cudagraph` replays one
captured CUDA graph. On a GPU the loop, the sentinel and the counters are those of
benchbox.agent.gpu.device; of "driving" only the cache and the choice of algorithms have an effect.
A module is timed only if its output equals ONNX Runtime's of the graph at "path", which another
process runs. "load_s" is the time to build the module, move it and compile or capture it; a
module that was compiled before comes from the compiler's cache.
"""
