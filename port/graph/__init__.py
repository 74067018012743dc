"""A net as its graph: what X2Paddle wrote of it, contained, mended and accounted for."""
