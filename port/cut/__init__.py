"""What of the reference stands in the port: followed by names from the factory."""
