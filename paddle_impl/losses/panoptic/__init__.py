"""Criteria of panoptic nets."""
