"""Python with numpy and ONNX Runtime for phones that have none: fetched, packed and sent once.

A phone has another C library than Debian's Python and the wheels are built for, so that the right
one goes with them, and its loader starts Python: nothing of the phone is used but its kernel.
"""
