"""The rungs of the ladder: one file a public verb."""
