"""ONNX files, read without their library: its tensors are views of the mapped file."""
