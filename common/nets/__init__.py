"""What a net holds."""
