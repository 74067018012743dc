"""How far the outputs of a converted net may differ from the reference's, in float64.

Relative: the largest difference over the largest magnitude of the reference's tensor.
"""

NET_OUTPUTS = 1e-9
# Anything before or after a bilinear resize whose ratio float32 cannot hold, as Paddle does.
INEXACT_RESIZE = 5e-6
