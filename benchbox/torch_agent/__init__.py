"""The program that times PyTorch itself, beside ONNX Runtime: the same weights and input.

It speaks the agent's protocol (benchbox.agent) with these fields more:

    hello: "provider": torch | torch-compile | torch-cudagraph, "gpu": "" | "cuda:0"
    load:  "module": what benchbox.export.building builds, as benchbox.export.recipe returns it

What is timed is the nn.Module in eval mode under inference_mode, in torch's default memory layout,
with its batch norms as they are, on a GPU without TF32; `torch-compile` is torch.compile with its
defaults, for fixed shapes and as one graph; `torch-cudagraph` replays one captured CUDA graph. A
module is timed only if its output equals ONNX Runtime's of the graph at "path", which another
process runs. "load_s" is what building the module, moving it and compiling or capturing it take; a
module that was compiled before comes from the compiler's cache.
"""
