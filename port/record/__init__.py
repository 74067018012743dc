"""Runs the reference once: which blocks ran, what was called where, with what."""
