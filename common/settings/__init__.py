"""What a config says: read, checked, as data."""
