"""Volumes: reading, patches, augmentation, sliding prediction; NumPy in, NumPy out."""
