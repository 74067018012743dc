"""Weights and slots after an update: compared, and why they differ."""
