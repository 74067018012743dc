"""Bytes to arrays and back; no code of a file runs. Imports `convert.names` alone."""
