"""The rungs with an ONNX graph: as the reference, and as a third witness beside it."""
