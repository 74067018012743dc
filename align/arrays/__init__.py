"""What travels between the frameworks: arrays, trees, batches, distances."""
