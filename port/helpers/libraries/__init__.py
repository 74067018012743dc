"""What stands in a port instead of the machinery of libraries."""
