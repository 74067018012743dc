"""Scoring a trained net, in either framework or as an exported file."""
