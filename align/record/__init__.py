"""Runs the reference once; what it left. Never loads Paddle."""
