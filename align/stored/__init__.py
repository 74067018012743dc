"""A trace on disk, and a reference read from it."""
