"""Instances: how a net is asked for objects, how these are painted and scored."""
