"""Panoptic segmentation on arrays: ids and segments, targets of nets, what is made of outputs."""
