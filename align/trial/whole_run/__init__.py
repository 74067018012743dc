"""A loss that differentiates the net: net and loss run freely on both sides, judged as a whole."""
