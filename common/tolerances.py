"""How far our own healthy pairs may differ in float64: convert/, align/ and the tests all read it.

Relative: the largest difference over the largest magnitude of the reference's tensor.
"""

LAYER_FORWARD = 1e-11  # one layer or glue, forced
LAYER_BACKWARD = 1e-9
AVERAGE_POOL_BACKWARD = 1e-7  # Paddle multiplies by a float32 1 / k
NET_OUTPUTS = 1e-9
NET_GRADIENTS = 1e-7
# Anything before or after a bilinear resize whose ratio float32 cannot hold, as Paddle does.
INEXACT_RESIZE = 5e-6
SCHEDULES = 1e-12
