"""Two arrays and an allowance: a verdict. And the table of Paddle's inexact kernels."""
