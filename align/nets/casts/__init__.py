"""Casts to float32 in the code of a net: in a run in float64 they follow the run."""
