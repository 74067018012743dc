"""What a library holds and a net does not use: what stays out, and what stands there."""
