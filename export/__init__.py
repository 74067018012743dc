"""From a trained net to a file that runs without it, verified; and what runs such a file.

`export.engines` and `export.deployment` need neither the nets nor the training: NumPy, and Paddle
or ONNX Runtime.
"""
