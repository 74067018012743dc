"""Writes Paddle source over the reference's: each recorded call respelled where it stands."""
