"""Instances: what nets of masks learn, and what their outputs say."""
