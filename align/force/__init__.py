"""Runs the port on the recording, every call alone."""
