"""A graph of ONNX as a reference or a third witness: what it says of which layer."""
