"""ONNX Runtime sessions: inputs, outputs, profiles and node types."""
