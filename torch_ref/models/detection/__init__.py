"""Nets that find objects, each with its mask, and the pyramid that they share."""
