"""Nets of volumes."""
