"""The discrete steps of a run: what code sorted, ranked and held against a threshold."""
