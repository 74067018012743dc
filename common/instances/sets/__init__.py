"""Sets of instances as they lie on disk."""
