"""Feature extractors shared by several nets."""
