"""Discrete steps of the port: judged on both sides' scores, and given the reference's choice."""
