"""A training step that was not finite, run again on both frameworks: where it begins."""
