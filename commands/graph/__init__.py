"""The command that makes a Paddle net of a graph, through X2Paddle, and judges it."""
