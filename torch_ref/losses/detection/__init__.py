"""Criteria of nets that find objects."""
