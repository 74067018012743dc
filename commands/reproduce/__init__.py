"""The whole ladder of one config, and the evidence that is handed in."""
